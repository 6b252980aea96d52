//! Any text in the place of a `Cookie` or `Set-Cookie` line, with the `cookie` crate as the second
//! opinion where both define what a line means.

use cookie::{Cookie, SameSite};
use hallpass_session::cookie::{
    Found, Lifetime, RENEWAL_COOKIE, SESSION_COOKIE, find, set, sets_ours, without_ours,
};
use hallpass_session::presented::Presented;
use hallpass_session::renewal::{MAX_RENEWAL_TOKEN_BYTES, RenewalToken};
use hallpass_session::time::Seconds;

/// Checks one line.
///
/// # Panics
///
/// If a promise is broken.
pub fn check(input: &[u8]) {
    let Ok(line) = std::str::from_utf8(input) else {
        return;
    };
    for name in [SESSION_COOKIE, RENEWAL_COOKIE] {
        check_found(line, name);
    }
    check_presented(line);
    check_kept_from_app(line);
    check_set_by_app(line);
    check_written(line);
}

fn check_found(line: &str, name: &str) {
    let found = find(line, name);
    if let Found::One(value) = found {
        assert!(!value.contains(';') && value.trim_matches([' ', '\t']) == value);
        assert!(line.contains(name) && line.contains(value));
    }
    if is_plain(line) {
        assert_eq!(found, second_opinion(line, name), "{line:?}");
    }
}

/// The other crate trims more than spaces and tabs; on lines without those both mean the same.
fn is_plain(line: &str) -> bool {
    line.bytes()
        .all(|b| b.is_ascii_graphic() || b == b' ' || b == b'\t')
}

fn second_opinion<'a>(line: &'a str, name: &str) -> Found<'a> {
    let parsed = Cookie::split_parse(line).filter_map(Result::ok);
    let of_name = parsed.filter(|cookie| cookie.name() == name);
    let mut values: Vec<&str> = of_name.filter_map(|cookie| cookie.value_raw()).collect();
    values.dedup();
    match values[..] {
        [] => Found::Absent,
        [value] => Found::One(value),
        _ => Found::Conflict,
    }
}

fn check_presented(line: &str) {
    let Ok(presented) = Presented::read(Some(line), None) else {
        return;
    };
    let session = presented
        .token()
        .map_or(Found::Absent, |(value, _)| Found::One(value));
    assert_eq!(find(line, SESSION_COOKIE), session);
    let Some(renewal) = presented.renewal() else {
        return;
    };
    assert_eq!(find(line, RENEWAL_COOKIE), Found::One(renewal));
    assert!(renewal.len() <= MAX_RENEWAL_TOKEN_BYTES);
    if let Some(token) = RenewalToken::parse(renewal) {
        assert_eq!(token.encode(), renewal, "two texts for one renewal token");
    }
}

/// The app never sees our cookies, in whatever letters, and sees all the others in their order.
fn check_kept_from_app(line: &str) {
    let kept = without_ours(line).unwrap_or_default();
    let pairs = |text: &str| -> Vec<String> {
        let trimmed = text.split(';').map(|pair| pair.trim_matches([' ', '\t']));
        let told = trimmed.filter(|pair| !pair.is_empty());
        told.map(str::to_owned).collect()
    };
    let harmless = |pair: &String| !pair.to_ascii_lowercase().contains("__host-");
    let wanted: Vec<String> = pairs(line).into_iter().filter(harmless).collect();
    let others: Vec<String> = pairs(&kept).into_iter().filter(harmless).collect();
    assert_eq!(others, wanted);
    assert_eq!(without_ours(&kept).unwrap_or_default(), kept);
    for cookie in Cookie::split_parse(kept).filter_map(Result::ok) {
        assert!(!is_ours(cookie.name()), "{line:?}");
    }
}

/// No line of the app that sets our cookie in another program's eyes escapes ours, and none that
/// does not name it is taken for one.
fn check_set_by_app(line: &str) {
    let theirs = Cookie::parse(line).is_ok_and(|cookie| is_ours(cookie.name()));
    assert!(!theirs || sets_ours(line), "{line:?}");
    let lower = line.to_ascii_lowercase();
    let named = [SESSION_COOKIE, RENEWAL_COOKIE]
        .iter()
        .any(|ours| lower.contains(&ours.to_ascii_lowercase()));
    assert!(named || !sets_ours(line), "{line:?}");
}

/// What we write has every attribute, and cannot be widened by a value of our alphabet.
fn check_written(line: &str) {
    let value: String = line.chars().filter(char::is_ascii_alphanumeric).collect();
    let lifetime = Seconds::new(value.len() as u64);
    let written = set(SESSION_COOKIE, &value, Lifetime::For(lifetime));
    let cookie = Cookie::parse(written.as_str()).expect("a cookie");
    assert_eq!(cookie.name_value(), (SESSION_COOKIE, value.as_str()));
    assert_eq!(cookie.secure(), Some(true));
    assert_eq!(cookie.http_only(), Some(true));
    assert_eq!(cookie.same_site(), Some(SameSite::Lax));
    assert_eq!((cookie.path(), cookie.domain()), (Some("/"), None));
    assert!(written.contains(&format!("; Max-Age={}; ", lifetime.get())));
}

fn is_ours(name: &str) -> bool {
    [SESSION_COOKIE, RENEWAL_COOKIE]
        .iter()
        .any(|ours| ours.eq_ignore_ascii_case(name))
}
