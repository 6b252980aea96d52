//! The one place that reads the clock, and how a time is written for people.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// Seconds since 1970 UTC; 0 on a machine whose clock is set before that, where every assertion is
/// then refused as made in the future.
#[expect(
    clippy::disallowed_methods,
    reason = "the demo's one look at the clock"
)]
pub(crate) fn now_secs() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// A time as `<time datetime>` wants it; `None` past the year 9999.
pub(crate) fn to_rfc3339(secs: u64) -> Option<String> {
    to_timestamp(secs).map(|timestamp| timestamp.to_string())
}

/// A time as `21 Nov 2026, 05:30:36 UTC`; the bare number past the year 9999.
pub(crate) fn to_words(secs: u64) -> String {
    to_timestamp(secs).map_or_else(
        || secs.to_string(),
        |timestamp| timestamp.strftime("%-d %b %Y, %H:%M:%S UTC").to_string(),
    )
}

/// How long ago `secs` is, in the one unit that fits.
pub(crate) fn to_age(secs: u64, now_secs: u64) -> String {
    let age = now_secs.saturating_sub(secs);
    let (count, unit) = match age {
        0..=4 => return "just now".to_owned(),
        5..=59 => (age, "second"),
        60..=3_599 => (age / 60, "minute"),
        3_600..=86_399 => (age / 3_600, "hour"),
        _ => (age / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural} ago")
}

fn to_timestamp(secs: u64) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(secs).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::{to_age, to_rfc3339, to_words};

    #[test]
    fn to_words_writes_a_date_and_the_bare_number_past_the_calendar() {
        assert_eq!(to_words(1_795_239_036), "21 Nov 2026, 05:30:36 UTC");
        assert_eq!(to_words(u64::MAX), u64::MAX.to_string());
    }

    #[test]
    fn to_rfc3339_has_no_answer_past_the_calendar() {
        assert_eq!(to_rfc3339(0).as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(to_rfc3339(u64::MAX), None);
    }

    #[test]
    fn to_age_changes_its_unit_at_each_border() {
        for (age, expected) in [
            (4, "just now"),
            (5, "5 seconds ago"),
            (59, "59 seconds ago"),
            (60, "1 minute ago"),
            (3_599, "59 minutes ago"),
            (3_600, "1 hour ago"),
            (86_399, "23 hours ago"),
            (172_800, "2 days ago"),
        ] {
            assert_eq!(to_age(1_000_000 - age, 1_000_000), expected);
        }
        assert_eq!(to_age(2_000_000, 1_000_000), "just now");
    }
}
