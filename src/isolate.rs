//! This isolate's memory: settings, keys, revocation list, remembered signatures.
//!
//! Everything here can be rebuilt, since isolates come and go. Plain bytes and numbers only: no
//! request ever waits for another's promise, and no borrow is held across an `.await`. What somebody
//! is doing right now is a deadline, never a flag, so that work that dies is replaced.
//!
//! The memory knows how old things are; `freshness.rs` decides what must be fetched.

use crate::config::{Settings, SettingsFault};
use crate::memo::TokenMemo;
use crate::platform::{self, Dataset};
use crate::secrets::Secrets;
use crate::service::ServiceClient;
use crate::webcrypto::PlatformKeys;
use hallpass_session::base64url;
use hallpass_session::keyring::Keyring;
use hallpass_session::revocation::RevocationList;
use hallpass_session::time::Seconds;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use worker::Env;

thread_local! {
    static EDGE: OnceCell<Result<Rc<Edge>, SettingsFault>> = const { OnceCell::new() };
}

/// One edge: what it was told and what it remembers.
pub(crate) struct Edge {
    pub(crate) settings: Settings,
    pub(crate) secrets: Secrets,
    pub(crate) service: ServiceClient,
    /// Random per isolate: how the service tells edges apart.
    pub(crate) id: String,
    pub(crate) keys: RefCell<Keys>,
    pub(crate) list: RefCell<List>,
    pub(crate) memo: RefCell<TokenMemo>,
    /// Keys as the platform holds them.
    pub(crate) platform_keys: PlatformKeys,
    /// Until when a failed renewal keeps this isolate from trying again, in milliseconds.
    pub(crate) renewal_rests_until_ms: Cell<i64>,
    /// Where data points go, if a dataset is bound.
    pub(crate) analytics: Option<Dataset>,
    pub(crate) counters: Counters,
}

/// The keys as this isolate knows them.
#[derive(Default)]
pub(crate) struct Keys {
    /// Keys of session tokens; `None` until the first fetch.
    pub(crate) session: Option<Keyring>,
    /// Keys of revocation lists.
    pub(crate) list: Keyring,
    /// When the fetch began that brought them.
    pub(crate) fetched_ms: i64,
    /// When a fetch was last begun.
    pub(crate) tried_ms: i64,
    /// Until when a fetch before an answer counts as running.
    pub(crate) fetching_until_ms: i64,
    /// When a fetch last failed; 0 after one that did not.
    pub(crate) failed_ms: i64,
    /// When a fetch was last begun because a token named an unknown key.
    pub(crate) asked_for_token_ms: i64,
    /// When a fetch was last begun because a list named one.
    pub(crate) asked_for_list_ms: i64,
}

/// The revocation list as this isolate knows it.
#[derive(Default)]
pub(crate) struct List {
    /// `None` until the first fetch.
    pub(crate) known: Option<RevocationList>,
    /// When the list was last proven to be the newest, on our own clock.
    pub(crate) confirmed_ms: i64,
    /// Until when a poll behind an answer counts as running.
    pub(crate) polling_until_ms: i64,
    /// Until when a fetch before an answer counts as running.
    pub(crate) fetching_until_ms: i64,
    /// When a fetch last failed; 0 after one that did not.
    pub(crate) failed_ms: i64,
    /// When a request was last decided here.
    pub(crate) decided_ms: i64,
}

/// What has happened in this isolate since it began.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) forwarded: Cell<u64>,
    pub(crate) refused: Cell<u64>,
    pub(crate) outages: Cell<u64>,
    pub(crate) renewed: Cell<u64>,
    pub(crate) lists_refused: Cell<u64>,
    pub(crate) memo_hits: Cell<u64>,
    pub(crate) memo_misses: Cell<u64>,
}

impl Edge {
    /// This isolate's edge; the settings are read on the first request.
    pub(crate) fn of(env: &Env) -> Result<Rc<Self>, SettingsFault> {
        EDGE.with(|edge| edge.get_or_init(|| Self::read(env).map(Rc::new)).clone())
    }

    fn read(env: &Env) -> Result<Self, SettingsFault> {
        let settings = platform::json_binding(env, "HALLPASS")
            .ok_or_else(|| SettingsFault::new("HALLPASS", "is not set: [vars.HALLPASS]"))
            .and_then(|text| Settings::parse(&text))?;
        let secrets = Secrets::read(&settings, |name| platform::text_binding(env, name))?;
        let id = platform::random::<16>()
            .map_err(|_| SettingsFault::new("edge", "no randomness on this platform"))?;
        Ok(Self {
            service: ServiceClient::new(&settings, &secrets),
            id: base64url::encode(&id),
            keys: RefCell::default(),
            list: RefCell::default(),
            memo: RefCell::default(),
            platform_keys: PlatformKeys::default(),
            renewal_rests_until_ms: Cell::new(0),
            analytics: Dataset::bound(env),
            counters: Counters::default(),
            settings,
            secrets,
        })
    }

    /// Age of the list at `now_ms`; `None` without a list.
    pub(crate) fn list_age(&self, now_ms: i64) -> Option<Seconds> {
        let list = self.list.borrow();
        list.known
            .as_ref()
            .map(|_| elapsed(list.confirmed_ms, now_ms))
    }

    /// Age of the keys at `now_ms`; `None` without keys.
    pub(crate) fn keys_age(&self, now_ms: i64) -> Option<Seconds> {
        let keys = self.keys.borrow();
        keys.session
            .as_ref()
            .map(|_| elapsed(keys.fetched_ms, now_ms))
    }
}

/// Most that a clock may step back unnoticed, in milliseconds.
const BACK_STEP_MS: i64 = 1000;

/// Whether a deadline of at most `most_ms` still lies ahead. One further away was set before the
/// clock stepped back, and is over.
pub(crate) fn is_ahead(until_ms: i64, now_ms: i64, most_ms: i64) -> bool {
    (1..=most_ms).contains(&until_ms.saturating_sub(now_ms))
}

/// Whole seconds from one time to a later one, rounded up so that a bound is never passed unseen; a
/// time in the future is as old as can be, since the clock has stepped back behind it.
pub(crate) fn elapsed(from_ms: i64, to_ms: i64) -> Seconds {
    let ms = to_ms.saturating_sub(from_ms);
    if ms < -BACK_STEP_MS {
        return Seconds::new(u64::MAX);
    }
    Seconds::new(u64::try_from(ms).unwrap_or(0).div_ceil(1000))
}

/// Adds one.
pub(crate) fn count(counter: &Cell<u64>) {
    counter.set(counter.get().saturating_add(1));
}

#[cfg(test)]
mod tests {
    use super::{elapsed, is_ahead};
    use hallpass_session::time::Seconds;

    #[test]
    fn elapsed_rounds_up_and_takes_the_future_for_ages_ago() {
        for (from, to, secs) in [
            (0, 0, 0),
            (0, 1, 1),
            (0, 10_000, 10),
            (0, 10_001, 11),
            (1000, 0, 0),
            (1001, 0, u64::MAX),
        ] {
            assert_eq!(elapsed(from, to), Seconds::new(secs), "{from} {to}");
        }
    }

    #[test]
    fn is_ahead_ends_with_the_deadline_and_with_a_clock_that_stepped_back() {
        assert!(is_ahead(100, 99, 50) && is_ahead(100, 50, 50));
        assert!(!is_ahead(100, 100, 50) && !is_ahead(100, 49, 50) && !is_ahead(0, 100, 50));
    }
}
