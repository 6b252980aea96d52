//! Our two cookies: found in a `Cookie` header, written as `Set-Cookie`, kept away from the app.
//!
//! Names match as exact bytes after trimming spaces and tabs: no case folding, no quotes, no
//! percent-decoding. Workers joins repeated header lines with `", "`; a pair behind such a comma is
//! part of the value before it and never becomes our cookie.
//!
//! Source: RFC 6265bis §4.1.3, §5.7; docs/protocol.md §2.

use crate::time::Seconds;

/// Name of the cookie with the session token.
pub const SESSION_COOKIE: &str = "__Host-session";
/// Name of the cookie with the renewal token.
pub const RENEWAL_COOKIE: &str = "__Host-renewal";
/// Longest `Max-Age` browsers honour: 400 days.
const MAX_AGE_LIMIT: Seconds = Seconds::new(400 * 24 * 3600);

/// What a `Cookie` header has under one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// Nothing.
    Absent,
    /// One value, perhaps repeated.
    One(&'a str),
    /// Two different values.
    Conflict,
}

/// How long a browser keeps a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until the browser forgets its session.
    Browser,
    /// This long, 400 days at most.
    For(Seconds),
}

/// Finds the cookie called `name`.
#[must_use]
pub fn find<'a>(header: &'a str, name: &str) -> Found<'a> {
    let mut found = Found::Absent;
    for (_, value) in pairs(header).filter(|(key, _)| *key == name) {
        found = match found {
            Found::One(other) if other != value => return Found::Conflict,
            _ => Found::One(value),
        };
    }
    found
}

/// The header without our cookies; `None` when nothing is left.
#[must_use]
pub fn without_ours(header: &str) -> Option<String> {
    let others: Vec<&str> = header
        .split(';')
        .map(trim)
        .filter(|pair| !pair.is_empty() && !mentions_ours(pair))
        .collect();
    (!others.is_empty()).then(|| others.join("; "))
}

/// Whether a `Set-Cookie` line of the app is about one of our cookies, in any letter case.
#[must_use]
pub fn sets_ours(set_cookie: &str) -> bool {
    let pair = set_cookie.split(';').next().unwrap_or_default();
    is_ours_to_others(named(pair))
}

/// A `Set-Cookie` line that stores `value`.
#[must_use]
pub fn set(name: &str, value: &str, lifetime: Lifetime) -> String {
    let attributes = "Path=/; Secure; HttpOnly; SameSite=Lax";
    match lifetime {
        Lifetime::Browser => format!("{name}={value}; {attributes}"),
        Lifetime::For(length) => {
            let max_age = length.min(MAX_AGE_LIMIT).get();
            format!("{name}={value}; Max-Age={max_age}; {attributes}")
        }
    }
}

/// A `Set-Cookie` line that removes the cookie.
#[must_use]
pub fn clear(name: &str) -> String {
    set(name, "", Lifetime::For(Seconds::new(0)))
}

fn pairs(header: &str) -> impl Iterator<Item = (&str, &str)> {
    header
        .split(';')
        .filter_map(|pair| pair.split_once('='))
        .map(|(k, v)| (trim(k), trim(v)))
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Whether a pair is ours, or hides one of ours behind a comma that joined two header lines.
fn mentions_ours(pair: &str) -> bool {
    pair.split(',').any(|part| is_ours_to_others(named(part)))
}

/// The name of a pair as it may be read again: a cookie without a name (`=__Host-session=x`) can be
/// sent without its first `=`, and then its value reads like one of ours.
fn named(pair: &str) -> &str {
    let pair = pair.trim_start_matches(|c: char| c == '=' || !c.is_ascii_graphic());
    pair.split('=').next().unwrap_or_default()
}

/// Whether some program might take `name` for one of ours: others fold case, and trim more than
/// spaces and tabs (any white space of Unicode, control bytes, a byte order mark).
fn is_ours_to_others(name: &str) -> bool {
    let name = name.trim_matches(|c: char| !c.is_ascii_graphic());
    [SESSION_COOKIE, RENEWAL_COOKIE]
        .iter()
        .any(|ours| ours.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::{
        Found, Lifetime, RENEWAL_COOKIE, SESSION_COOKIE, clear, find, set, sets_ours, without_ours,
    };
    use crate::time::Seconds;

    #[test]
    fn find_returns_value_among_others_with_any_spacing() {
        for header in [
            "__Host-session=x",
            "a=1; __Host-session=x; b=2",
            "a=1;__Host-session=x;b",
            " \t__Host-session\t= x \t;a",
            "__Host-session=x; __Host-session=x",
            ";;; __Host-session=x",
        ] {
            assert_eq!(find(header, SESSION_COOKIE), Found::One("x"), "{header}");
        }
    }

    #[test]
    fn find_refuses_every_other_spelling_of_the_name() {
        for header in [
            "",
            "__Host-session",
            "__host-session=x",
            "__HOST-Session=x",
            "\u{a0}__Host-session=x",
            "\u{2000}__Host-session=x",
            "%5f%5fHost-session=x",
            "=__Host-session=x",
            "\"__Host-session\"=x",
            "$Version=1, __Host-session=x",
            "a=1, __Host-session=x",
            "__Host-session2=x",
        ] {
            assert_eq!(find(header, SESSION_COOKIE), Found::Absent, "{header}");
        }
    }

    #[test]
    fn find_reports_conflict_whatever_the_order() {
        for header in [
            "__Host-session=x; __Host-session=y",
            "__Host-session=y; a=1; __Host-session=x",
            "__Host-session=x; __Host-session=x; __Host-session=",
        ] {
            assert_eq!(find(header, SESSION_COOKIE), Found::Conflict, "{header}");
        }
    }

    #[test]
    fn without_ours_keeps_the_others_in_order() {
        assert_eq!(
            without_ours("a=1; __Host-session=x; b=2").as_deref(),
            Some("a=1; b=2")
        );
        assert_eq!(without_ours("__Host-session=x; __Host-renewal=y"), None);
        assert_eq!(
            without_ours("c=3;a=1, __Host-session=x").as_deref(),
            Some("c=3")
        );
        assert_eq!(
            without_ours("c=3; __host-SESSION=x").as_deref(),
            Some("c=3")
        );
        assert_eq!(
            without_ours("a=1; =__Host-session=x").as_deref(),
            Some("a=1")
        );
        assert_eq!(without_ours(""), None);
    }

    #[test]
    fn without_ours_drops_what_other_parsers_trim_to_our_names() {
        for space in [
            "\u{a0}",
            "\u{2000}",
            "\u{feff}",
            "\x0b",
            "\0",
            "\u{3000} \t",
        ] {
            for header in [
                format!("{space}__Host-session=x; c=3"),
                format!("c=3; __host-renewal{space}=x"),
                format!("c=3; a=1,{space}__Host-session{space}=x"),
            ] {
                assert_eq!(without_ours(&header).as_deref(), Some("c=3"), "{header:?}");
            }
            assert!(sets_ours(&format!("{space}__Host-session{space}=x")));
        }
    }

    #[test]
    fn sets_ours_recognises_our_names_only() {
        for line in [
            "__Host-session=x",
            " __host-Renewal =; Path=/",
            "__Host-session",
            "__HOST-SESSION=;",
            "=__Host-session=x; Path=/",
            "= __Host-session=x",
        ] {
            assert!(sets_ours(line), "{line}");
        }
        for line in [
            "session=x",
            "a=__Host-session",
            "",
            "__Host-sessions=x; Path=/",
        ] {
            assert!(!sets_ours(line), "{line}");
        }
    }

    #[test]
    fn set_writes_every_attribute_and_caps_max_age() {
        assert_eq!(
            set(SESSION_COOKIE, "v", Lifetime::For(Seconds::new(60))),
            "__Host-session=v; Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Lax"
        );
        assert_eq!(
            set(RENEWAL_COOKIE, "v", Lifetime::Browser),
            "__Host-renewal=v; Path=/; Secure; HttpOnly; SameSite=Lax"
        );
        assert!(set("a", "v", Lifetime::For(Seconds::new(u64::MAX))).contains("Max-Age=34560000;"));
        assert!(clear(SESSION_COOKIE).starts_with("__Host-session=; Max-Age=0; Path=/; Secure"));
    }
}
