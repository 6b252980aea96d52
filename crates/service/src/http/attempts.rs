//! How often somebody may present a credential that is none.
//!
//! Looked at only after a credential was refused, so that a good one never meets a limit: an edge
//! takes 429 for an outage. Memory is constant: addresses share a table of slots by a keyed hash,
//! which nobody outside can steer, and one more slot counts everybody together. Each slot is one
//! number, the moment at which the attempts so far are worked off (GCRA).

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::failure::Refusal;

/// Slots that addresses share: 8 KiB.
const SLOTS: usize = 1024;
/// Of one address: 100 at once, then one a second. A person who mistypes stays far below.
const OF_ONE: Limit = Limit {
    at_once: 100,
    every_ms: 1000,
};
/// Of all together: 1000 at once, then fifty a second.
const OF_ALL: Limit = Limit {
    at_once: 1000,
    every_ms: 20,
};

struct Limit {
    at_once: u64,
    every_ms: u64,
}

/// Attempts so far.
pub(super) struct Attempts {
    hasher: RandomState,
    slots: Mutex<Slots>,
}

struct Slots {
    by_address: [u64; SLOTS],
    of_all: u64,
}

impl Attempts {
    /// None yet.
    pub(super) fn new() -> Self {
        let slots = Slots {
            by_address: [0; SLOTS],
            of_all: 0,
        };
        Self {
            hasher: RandomState::new(),
            slots: Mutex::new(slots),
        }
    }

    /// Notes one more from `address` and says how it is refused.
    pub(super) fn refuse(&self, address: IpAddr, now_ms: u64) -> Refusal {
        let slot = self.slot_of(address);
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let of_all = OF_ALL.charge(&mut slots.of_all, now_ms);
        let of_one = slots
            .by_address
            .get_mut(slot)
            .map_or(Ok(()), |slot| OF_ONE.charge(slot, now_ms));
        match of_one.and(of_all) {
            Ok(()) => Refusal::CredentialInvalid,
            Err(wait_ms) => Refusal::AttemptsLimited {
                retry_after_secs: wait_ms.div_ceil(1000),
            },
        }
    }

    /// Who has one IPv6 address has its whole /64.
    fn slot_of(&self, address: IpAddr) -> usize {
        let network = match address.to_canonical() {
            IpAddr::V4(address) => u64::from(u32::from(address)),
            IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
        };
        // The low 16 bits: no fewer than there are slots.
        let [low, next, ..] = self.hasher.hash_one(network).to_le_bytes();
        usize::from(u16::from_le_bytes([low, next])) % SLOTS
    }
}

impl Limit {
    /// Counts one attempt, or says in how many milliseconds one would count.
    fn charge(&self, worked_off_at: &mut u64, now_ms: u64) -> Result<(), u64> {
        let from = (*worked_off_at).max(now_ms);
        let wait_ms = (from - now_ms).saturating_sub((self.at_once - 1) * self.every_ms);
        if wait_ms > 0 {
            return Err(wait_ms);
        }
        *worked_off_at = from + self.every_ms;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Attempts, OF_ALL, OF_ONE};
    use crate::failure::Refusal;

    fn limited(attempts: &Attempts, address: &str, now_ms: u64) -> Option<u64> {
        match attempts.refuse(address.parse().unwrap(), now_ms) {
            Refusal::AttemptsLimited { retry_after_secs } => Some(retry_after_secs),
            _ => None,
        }
    }

    #[test]
    fn refuse_limits_one_address_and_forgets_with_time() {
        let attempts = Attempts::new();
        for attempt in 0..OF_ONE.at_once {
            assert_eq!(limited(&attempts, "192.0.2.1", 5_000), None, "{attempt}");
        }
        assert_eq!(limited(&attempts, "192.0.2.1", 5_000), Some(1));
        assert_eq!(limited(&attempts, "192.0.2.1", 5_999), Some(1));
        assert_eq!(limited(&attempts, "192.0.2.1", 6_000), None);
        assert_eq!(limited(&attempts, "192.0.2.1", 6_000), Some(1));
    }

    #[test]
    fn refuse_takes_a_network_of_ipv6_and_a_mapped_ipv4_for_one() {
        let attempts = Attempts::new();
        for host in 0..OF_ONE.at_once {
            limited(&attempts, &format!("2001:db8::{host:x}"), 0);
            limited(&attempts, "::ffff:192.0.2.1", 0);
        }
        assert_eq!(limited(&attempts, "2001:db8::ffff:1", 0), Some(1));
        assert_eq!(limited(&attempts, "192.0.2.1", 0), Some(1));
    }

    #[test]
    fn refuse_limits_all_together() {
        let attempts = Attempts::new();
        let address = |number: u64| format!("10.0.{}.{}", number / 256, number % 256);
        for number in 0..OF_ALL.at_once {
            assert_eq!(limited(&attempts, &address(number), 0), None, "{number}");
        }
        assert_eq!(limited(&attempts, "192.0.2.1", 0), Some(1));
        assert_eq!(limited(&attempts, "192.0.2.1", 20), None);
    }
}
