//! Decides where a sign-in may send the browser afterwards: to a path of this origin, or to `/`.
//!
//! `return_to` comes from a link that anybody can make. Taken as it is, it would send a user who
//! has just signed in to a site of the link's author.
//!
//! Source: docs/protocol.md §8.

use axum::http::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// Longest path, in bytes.
const MAX_BYTES: usize = 2048;
/// What a Location header cannot carry as it is; bytes from 0x80 on are always encoded.
const NOT_IN_A_LOCATION: &AsciiSet = &CONTROLS.add(b' ');

/// A path, query and fragment on the app's own origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnPath(String);

impl ReturnPath {
    /// `candidate` if it is a same-origin path, else `/`.
    ///
    /// Browsers read `//host` and `/\host` as another host, and drop tabs and line ends before they
    /// look; so one leading `/`, neither `/` nor `\` after it, and no control characters at all.
    #[must_use]
    pub fn parse(candidate: &str) -> Self {
        let local = candidate.len() <= MAX_BYTES
            && candidate.starts_with('/')
            && !candidate.starts_with("//")
            && !candidate.starts_with("/\\")
            && !candidate.chars().any(char::is_control);
        Self(if local { candidate } else { "/" }.to_owned())
    }

    /// The path as text, for a form field.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path as the value of a Location header.
    #[must_use]
    pub fn to_location(&self) -> HeaderValue {
        let encoded = utf8_percent_encode(&self.0, NOT_IN_A_LOCATION).to_string();
        HeaderValue::try_from(encoded).unwrap_or(HeaderValue::from_static("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_BYTES, ReturnPath};

    #[test]
    fn parse_keeps_same_origin_paths() {
        for path in [
            "/",
            "/a",
            "/a/b?c=d&e=//f#g",
            "/a\\b",
            "/.//host",
            "/%2f/host",
            "/é",
            "/:80",
        ] {
            assert_eq!(ReturnPath::parse(path).as_str(), path);
        }
    }

    #[test]
    fn parse_answers_the_root_for_everything_else() {
        for candidate in [
            "",
            "a",
            "//",
            "//host",
            "///host",
            "/\\host",
            "\\/host",
            "\\\\host",
            "https://host/",
            "javascript:alert(1)",
            " /a",
            "/\thost",
            "/\n/host",
            "/a\r\nSet-Cookie: b",
            "/a\0",
            "/\u{7f}",
            "/\u{85}",
            "?a",
            "#a",
            ".",
        ] {
            assert_eq!(ReturnPath::parse(candidate).as_str(), "/", "{candidate:?}");
        }
    }

    #[test]
    fn parse_bounds_the_length() {
        let longest = format!("/{}", "a".repeat(MAX_BYTES - 1));
        assert_eq!(ReturnPath::parse(&longest).as_str(), longest);
        assert_eq!(ReturnPath::parse(&format!("{longest}a")).as_str(), "/");
    }

    #[test]
    fn to_location_encodes_what_a_header_cannot_carry() {
        for (path, location) in [
            ("/a?b=%20c", "/a?b=%20c"),
            ("/a b", "/a%20b"),
            ("/é", "/%C3%A9"),
        ] {
            assert_eq!(ReturnPath::parse(path).to_location(), location);
        }
    }
}
