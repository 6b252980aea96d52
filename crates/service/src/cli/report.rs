//! Reports: a table for people, JSON for programs.

use std::io::Write;

use comfy_table::{ContentArrangement, Table, presets};
use hallpass_session::time::UnixSeconds;
use serde::Serialize;

/// Who reads a report.
#[derive(Clone, Copy)]
pub(super) enum Format {
    /// People.
    Human,
    /// Programs.
    Json,
}

/// Writes `value` as JSON, or as what `human` makes of it.
pub(super) fn write<T: Serialize>(format: Format, value: &T, human: impl FnOnce(&T) -> String) {
    let text = match format {
        Format::Json => ascii(&serde_json::to_string_pretty(value).unwrap_or_default()),
        Format::Human => human(value),
    };
    // A reader that closed its end, such as `head`, has seen enough.
    let _closed = writeln!(std::io::stdout(), "{text}");
}

/// The same JSON in printable ASCII, so that no text in it can steer a terminal.
pub(super) fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if matches!(character, '\n' | ' '..='~') {
            text.push(character);
        } else {
            // Beyond ASCII, and DEL: these stand within strings only.
            let units = character.encode_utf16(&mut [0; 2]).to_vec();
            text.extend(units.into_iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    text
}

/// A table with a heading; a sentence if it is empty.
pub(super) fn table(heading: &[&str], rows: Vec<Vec<String>>, empty: &str) -> String {
    if rows.is_empty() {
        return empty.to_owned();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(heading.iter().map(|title| title.to_uppercase()));
    table.add_rows(rows);
    table.trim_fmt()
}

/// A time for people, in UTC.
pub(super) fn time(time: UnixSeconds) -> String {
    let second = i64::try_from(time.get()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(second).map_or_else(|_| "?".to_owned(), |time| time.to_string())
}

/// A time that may not have come.
pub(super) fn maybe_time(at: Option<UnixSeconds>) -> String {
    at.map_or_else(|| "-".to_owned(), time)
}

#[cfg(test)]
mod tests {
    use super::ascii;

    #[test]
    fn ascii_says_the_same_without_what_steers_a_terminal() {
        let value = serde_json::json!({"ü\u{1b}": "\u{9b}2J\u{202e}\u{7f}\u{1f600}"});

        let text = ascii(&value.to_string());

        assert!(
            text.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{text}"
        );
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            value
        );
    }
}
