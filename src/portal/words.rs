//! Sessions in plain words: how long ago, where, why it ended.
//!
//! `www/portal.js` keeps the relative times fresh with the same borders as [`ago`].

use hallpass_session::time::UnixSeconds;
use hallpass_session::wire::{Ended, EndedBy, Session};
use time::OffsetDateTime;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Thirty days: near enough for "3 months ago", with the exact time beside it.
const MONTH: u64 = 30 * DAY;
const YEAR: u64 = 365 * DAY;

/// Longest text of a stranger's shown, in characters: a label such as "Samsung Internet on Android"
/// has under 40; what is longer was written to fill the page.
const MAX_SHOWN_CHARS: usize = 80;

/// `count` and the noun, in the plural where it is one: "1 device", "2 devices".
pub(super) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// How long ago `then` was: "just now", "4 minutes ago". The future is "just now" too, since two
/// clocks may differ.
pub(super) fn ago(then: UnixSeconds, now: UnixSeconds) -> String {
    let seconds = now.since(then).get();
    let (count, noun) = match seconds {
        0..MINUTE => return "just now".to_owned(),
        MINUTE..HOUR => (seconds / MINUTE, "minute"),
        HOUR..DAY => (seconds / HOUR, "hour"),
        DAY..MONTH => (seconds / DAY, "day"),
        MONTH..YEAR => (seconds / MONTH, "month"),
        YEAR.. => (seconds / YEAR, "year"),
    };
    format!("{} ago", counted(count, noun))
}

/// The moment for people: "21 November 2026, 05:43 UTC".
pub(super) fn exact(at: UnixSeconds) -> String {
    utc(at).map_or_else(
        || "far in the future".to_owned(),
        |t| {
            let (day, month, year) = (t.day(), t.month(), t.year());
            format!(
                "{day} {month} {year}, {:02}:{:02} UTC",
                t.hour(),
                t.minute()
            )
        },
    )
}

/// The moment for programs, as `datetime` wants it: "2026-11-21T05:43:47Z".
pub(super) fn machine(at: UnixSeconds) -> String {
    utc(at).map_or_else(String::new, |t| {
        let (year, month, day) = (t.year(), u8::from(t.month()), t.day());
        let (hour, minute, second) = t.to_hms();
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    })
}

fn utc(at: UnixSeconds) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(i64::try_from(at.get()).ok()?).ok()
}

/// What a device is called; strangers write user agents, so it goes through [`shown`].
pub(super) fn device(session: &Session) -> String {
    let label = shown(&session.device.label);
    if label.is_empty() {
        "Unknown device".to_owned()
    } else {
        label
    }
}

/// Where a session was last seen, as coarse as it is known: "about Bergen, NO".
pub(super) fn place(session: &Session) -> String {
    let place = &session.place;
    let country = place
        .country
        .as_deref()
        .map(shown)
        .filter(|code| code != "XX");
    if country.as_deref() == Some("T1") {
        return "through the Tor network".to_owned();
    }
    let near = place.city.as_deref().or(place.region.as_deref()).map(shown);
    let known: Vec<String> = [near, country]
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .collect();
    if !known.is_empty() {
        return format!("about {}", known.join(", "));
    }
    match session.ip.as_deref().map(shown).filter(|ip| !ip.is_empty()) {
        Some(ip) => format!("from {ip}"),
        None => "place unknown".to_owned(),
    }
}

/// By whom and why a session ended, as a sentence to its user.
pub(super) fn ending(ended: &Ended) -> &'static str {
    match (ended.reason.as_str(), ended.by) {
        ("renewal_reused", _) => {
            "Ended for your safety: this device's cookies were used from two places, so somebody \
             else may hold a copy of them."
        }
        ("replaced", _) => "Replaced when you signed in again in the same browser.",
        ("idle", _) => "Ended by itself: it was not used for a long time.",
        ("expired", _) => "Ended by itself: its time was over.",
        ("limit_reached", _) => {
            "Ended by itself: you signed in on more devices than this site allows."
        }
        ("signed_out", EndedBy::User) => "You signed out on it.",
        (_, EndedBy::User) => "You signed it out from another device.",
        (_, EndedBy::Admin) => "Signed out by the people who run this site.",
        (_, EndedBy::App) => "Signed out by this site.",
        (_, EndedBy::System) => "Ended by itself.",
    }
}

/// Whether somebody else may have held this session's cookies.
pub(super) fn is_replay(session: &Session) -> bool {
    session
        .ended
        .as_ref()
        .is_some_and(|ended| ended.reason == "renewal_reused")
}

/// A stranger's text as it may be shown: one line, no control or direction marks, not endless.
pub(super) fn shown(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .collect();
    let mut shown: String = line
        .trim()
        .chars()
        .filter(|&c| !is_invisible(c))
        .take(MAX_SHOWN_CHARS)
        .collect();
    if line
        .trim()
        .chars()
        .filter(|&c| !is_invisible(c))
        .nth(MAX_SHOWN_CHARS)
        .is_some()
    {
        shown.push('…');
    }
    shown
}

/// Control characters, and those that turn the direction of what follows or take no room.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// `path` if it stays on this site, else the front page.
pub(super) fn local_path(path: &str) -> &str {
    let leaves = path.starts_with("//") || path.contains(['\\', '\n', '\r', '\t']);
    if path.starts_with('/') && !leaves {
        path
    } else {
        "/"
    }
}

#[cfg(test)]
mod tests {
    use super::{ago, counted, ending, exact, local_path, machine, shown};
    use hallpass_session::time::UnixSeconds;
    use hallpass_session::wire::{Ended, EndedBy};

    #[test]
    fn ago_changes_its_unit_at_each_border() {
        let (minute, hour, day) = (60, 3_600, 86_400);
        let then = UnixSeconds::new(1_000);
        for (age, words) in [
            (0, "just now"),
            (minute - 1, "just now"),
            (minute, "1 minute ago"),
            (2 * minute - 1, "1 minute ago"),
            (2 * minute, "2 minutes ago"),
            (hour - 1, "59 minutes ago"),
            (hour, "1 hour ago"),
            (day - 1, "23 hours ago"),
            (day, "1 day ago"),
            (30 * day - 1, "29 days ago"),
            (30 * day, "1 month ago"),
            (365 * day - 1, "12 months ago"),
            (365 * day, "1 year ago"),
            (730 * day, "2 years ago"),
        ] {
            assert_eq!(ago(then, UnixSeconds::new(1_000 + age)), words, "{age}");
        }
        assert_eq!(ago(then, UnixSeconds::new(0)), "just now");
    }

    #[test]
    fn exact_and_machine_agree_on_known_moments() {
        for (at, words, iso) in [
            (0, "1 January 1970, 00:00 UTC", "1970-01-01T00:00:00Z"),
            (
                951_782_399,
                "28 February 2000, 23:59 UTC",
                "2000-02-28T23:59:59Z",
            ),
            (
                951_782_400,
                "29 February 2000, 00:00 UTC",
                "2000-02-29T00:00:00Z",
            ),
            (
                1_795_239_827,
                "21 November 2026, 05:43 UTC",
                "2026-11-21T05:43:47Z",
            ),
        ] {
            assert_eq!(exact(UnixSeconds::new(at)), words);
            assert_eq!(machine(UnixSeconds::new(at)), iso);
        }
        assert_eq!(exact(UnixSeconds::new(u64::MAX)), "far in the future");
        assert_eq!(machine(UnixSeconds::new(u64::MAX)), "");
    }

    #[test]
    fn counted_has_a_plural_for_all_but_one() {
        assert_eq!(counted(0, "device"), "0 devices");
        assert_eq!(counted(1, "device"), "1 device");
        assert_eq!(counted(2, "device"), "2 devices");
    }

    #[test]
    fn ending_tells_who_and_why() {
        let words = |by, reason: &str| {
            ending(&Ended {
                at: 0,
                by,
                reason: reason.to_owned(),
            })
        };
        assert!(words(EndedBy::System, "renewal_reused").contains("somebody else"));
        assert!(words(EndedBy::User, "signed_out").contains("You signed out"));
        assert!(words(EndedBy::User, "ended_by_user").contains("from another device"));
        assert!(words(EndedBy::Admin, "whatever").contains("who run this site"));
        assert!(words(EndedBy::App, "").contains("by this site"));
        assert!(words(EndedBy::System, "expired").contains("time was over"));
        assert!(words(EndedBy::System, "replaced").contains("signed in again"));
        assert!(words(EndedBy::System, "idle").contains("not used"));
        assert!(words(EndedBy::System, "limit_reached").contains("more devices"));
        assert_eq!(words(EndedBy::System, "<b>"), "Ended by itself.");
    }

    #[test]
    fn shown_keeps_one_short_line_without_marks() {
        assert_eq!(shown(" a\nb\tc\u{0}\u{202e}d\u{200b} "), "a b cd");
        assert_eq!(shown(&"x".repeat(80)), "x".repeat(80));
        assert_eq!(shown(&"x".repeat(81)), format!("{}…", "x".repeat(80)));
        assert_eq!(shown("\u{feff}\u{202d}"), "");
        assert_eq!(shown("فايرفوكس"), "فايرفوكس");
    }

    #[test]
    fn local_path_never_leaves_the_site() {
        for path in [
            "//else.example",
            "/\\else.example",
            "https://else.example",
            "",
            "x",
            "/\t/e",
        ] {
            assert_eq!(local_path(path), "/", "{path:?}");
        }
        assert_eq!(
            local_path("/sign-in?return_to=%2F"),
            "/sign-in?return_to=%2F"
        );
    }
}
