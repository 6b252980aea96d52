//! Any text in the place of a session token: none is accepted but those that were signed.

use crate::issuer::{SIGNED, keyring, now, policy};
use hallpass_session::base64url::{decode, encode};
use hallpass_session::claims::SessionClaims;
use hallpass_session::cookie::SESSION_COOKIE;
use hallpass_session::presented::{Presented, Source, our_bearer};
use hallpass_session::refusal::Refusal;
use hallpass_session::time::{Seconds, UnixSeconds};
use hallpass_session::token::{MAX_TOKEN_BYTES, judge, parse};

/// Checks one text.
///
/// # Panics
///
/// If a promise is broken.
pub fn check(input: &[u8]) {
    // Header values arrive as text.
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if parse(text).is_ok() {
        check_form(text);
        check_presented(text);
    }
    let verify = hallpass_signature::verify;
    if let Ok(token) = judge(text, &keyring(), &policy(), verify, now()) {
        assert!(is_signed(text), "accepted a forgery: {text}");
        check_expiry(token.content());
    }
}

/// One text stands for one token: canonical parts, within bounds.
fn check_form(text: &str) {
    assert!(text.len() <= MAX_TOKEN_BYTES);
    let parts: Vec<&str> = text.split('.').collect();
    assert_eq!(parts.len(), 3, "{text}");
    for part in parts {
        let bytes = decode(part).expect("a part that decodes");
        assert_eq!(encode(&bytes), part);
    }
}

/// However a well-formed token is presented, it is this text that will be judged.
fn check_presented(text: &str) {
    let bearer = format!("Bearer {text}");
    assert_eq!(our_bearer(&bearer), Some(text));
    let cookie = format!("{SESSION_COOKIE}={text}");
    let read = |cookies, bearer| Presented::read(cookies, bearer).expect("one session");
    let presented = read(Some(cookie.as_str()), None);
    assert_eq!(presented.token(), Some((text, Source::Cookie)));
    let presented = read(Some(cookie.as_str()), Some(bearer.as_str()));
    assert_eq!(presented.token(), Some((text, Source::Bearer)));
}

/// Signed, or the ES256 signature's twin (`n − s` for `s`) over the very same bytes.
fn is_signed(text: &str) -> bool {
    let input = |token: &str| token.rsplit_once('.').map(|(input, _)| input.to_owned());
    let [_, es256, _] = SIGNED;
    SIGNED.contains(&text) || input(text) == input(es256)
}

/// What is good now is good until its end, and never after it.
fn check_expiry(claims: &SessionClaims) {
    let at = |time: UnixSeconds| policy().check(claims, Seconds::new(0), time);
    let end = claims.exp;
    for time in [now(), end.minus(Seconds::new(1))] {
        assert_eq!(at(time), Ok(()), "{time:?}");
    }
    for later in [0, 1, 3600, u64::MAX] {
        let time = end.plus(Seconds::new(later));
        assert_eq!(at(time), Err(Refusal::TokenExpired), "{time:?}");
    }
}
