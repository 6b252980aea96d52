//! Time and randomness, handed to whoever needs them.
//!
//! The only file that reads the machine's clock or its randomness. Tests hand in a [`ManualClock`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hallpass_session::time::UnixSeconds;

/// A source of time.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970 UTC.
    fn unix_ms(&self) -> u64;

    /// Microseconds since some fixed moment; never goes back.
    fn monotonic_us(&self) -> u64;

    /// The current whole second.
    fn now(&self) -> UnixSeconds {
        UnixSeconds::from_ms(self.unix_ms())
    }
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl Default for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that is handed in"
    )]
    fn default() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that is handed in"
    )]
    fn unix_ms(&self) -> u64 {
        as_ms(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        )
    }

    fn monotonic_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub struct ManualClock {
    ms: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: UnixSeconds) -> Self {
        Self {
            ms: AtomicU64::new(now.get().saturating_mul(1000)),
        }
    }

    /// Moves it on by `ms` milliseconds.
    pub fn advance_ms(&self, ms: u64) {
        self.ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn unix_ms(&self) -> u64 {
        self.ms.load(Ordering::SeqCst)
    }

    fn monotonic_us(&self) -> u64 {
        self.ms.load(Ordering::SeqCst).saturating_mul(1000)
    }
}

/// `N` random bytes from the machine.
///
/// # Errors
///
/// When the machine has none.
#[expect(
    clippy::disallowed_methods,
    reason = "the service's one source of randomness"
)]
pub fn random_bytes<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

fn as_ms(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}
