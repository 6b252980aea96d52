//! The credentials of a request, and the cookies of an answer.
//!
//! Which values count is the rules' (`hallpass_session::presented`, `cookie`); here they are read
//! from the two headers once and written as `Set-Cookie` lines.

use crate::arrival::Arrival;
use hallpass_session::cookie::{self, Found, Lifetime, RENEWAL_COOKIE, SESSION_COOKIE};
use hallpass_session::presented::{Presented, our_bearer};
use hallpass_session::refusal::Refusal;
use hallpass_session::time::UnixSeconds;
use std::rc::Rc;

/// What one answer does to the browser's cookies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CookieChange(Vec<String>);

impl CookieChange {
    /// Stores a session's two tokens until `ends_at`, or until the browser closes.
    pub(crate) fn store(
        session_token: &str,
        renewal_token: &str,
        persistence: Persistence,
        now: UnixSeconds,
    ) -> Self {
        let lifetime = match persistence {
            Persistence::Browser => Lifetime::Browser,
            Persistence::Until(end) => Lifetime::For(end.since(now)),
        };
        Self(vec![
            cookie::set(SESSION_COOKIE, session_token, lifetime),
            cookie::set(RENEWAL_COOKIE, renewal_token, lifetime),
        ])
    }

    /// Removes both.
    pub(crate) fn clear() -> Self {
        Self(vec![
            cookie::clear(SESSION_COOKIE),
            cookie::clear(RENEWAL_COOKIE),
        ])
    }

    /// The `Set-Cookie` lines.
    pub(crate) fn lines(&self) -> &[String] {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How long cookies stay.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Persistence {
    Browser,
    Until(UnixSeconds),
}

impl Persistence {
    /// As the service says it: the session's end, and whether the cookies outlive the browser.
    pub(crate) const fn of(ends_at: u64, persistent: bool) -> Self {
        if persistent {
            Self::Until(UnixSeconds::new(ends_at))
        } else {
            Self::Browser
        }
    }
}

/// What the request presents: read when first asked for.
pub(crate) fn read(arrival: &Arrival) -> Result<Rc<Presented>, Refusal> {
    let (cookies, authorization) = (&arrival.cookie, &arrival.authorization);
    let read = || Presented::read(cookies.as_deref(), authorization.as_deref()).map(Rc::new);
    arrival.presented.get_or_init(read).clone()
}

/// Whether somebody wrote our token into `Authorization`: browsers never do so by themselves.
pub(crate) fn is_bearer(arrival: &Arrival) -> bool {
    arrival
        .authorization
        .as_deref()
        .and_then(our_bearer)
        .is_some()
}

/// Whether a browser sent the credentials along by itself: our cookies, and no bearer token of ours.
pub(crate) fn are_cookies(arrival: &Arrival) -> bool {
    let cookies = arrival.cookie.as_deref().unwrap_or_default();
    let sent = |name| cookie::find(cookies, name) != Found::Absent;
    !is_bearer(arrival) && (sent(SESSION_COOKIE) || sent(RENEWAL_COOKIE))
}
