//! One canonical form of a path: the one that is judged and the one that is forwarded.
//!
//! Escapes of unreserved characters are resolved, all others are written in upper case, and bytes
//! that do not belong in a path are escaped. What two programs could read differently is refused
//! and not repaired: encoded slashes, backslashes and control bytes, parameters (`;`), empty
//! segments, dot segments, bad escapes, text that is not UTF-8.
//!
//! Source: RFC 3986 §2.3, §3.3, §6.2.2; docs/protocol.md §9.

use crate::refusal::Refusal;
use std::fmt::Write as _;

/// Longest path with query that `return_to` carries, in bytes; longer ones lead to `/`.
const MAX_RETURN_TO_BYTES: usize = 2048;

/// A path in its one form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalPath(String);

impl CanonicalPath {
    /// Reads the path of a request, without query.
    ///
    /// # Errors
    ///
    /// `Refusal::PathAmbiguous`.
    pub fn parse(raw: &str) -> Result<Self, Refusal> {
        canonicalise(raw).map(Self).ok_or(Refusal::PathAmbiguous)
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a route's `path` covers this one: exact, or a prefix that ends in `/*`.
    #[must_use]
    pub fn matches(&self, pattern: &str) -> bool {
        match pattern.strip_suffix('*') {
            Some(prefix) if prefix.ends_with('/') => self.0.starts_with(prefix),
            _ => self.0 == pattern,
        }
    }

    /// Where to send the user after sign-in: this path with its query, percent-encoded as one query
    /// value.
    #[must_use]
    pub fn return_to(&self, query: Option<&str>) -> String {
        let target = match query {
            Some(query) if !query.is_empty() => format!("{}?{query}", self.0),
            _ => self.0.clone(),
        };
        escape_query_value(if is_return_to(&target) { &target } else { "/" })
    }
}

/// Writes a query as URL parsers do, so that the query that is signed is the one that arrives.
///
/// Source: WHATWG URL, special-query percent-encode set.
#[must_use]
pub fn canonical_query(raw: &str) -> String {
    let mut query = String::with_capacity(raw.len());
    for byte in raw.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'#' | b'<' | b'>' | b'\'') {
            query.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(query, "%{byte:02X}");
        }
    }
    query
}

/// Whether `target` is a path on the same origin: one leading `/`, not followed by `/` or `\`,
/// nothing a browser would drop or read as a scheme, at most 2048 bytes.
#[must_use]
pub fn is_return_to(target: &str) -> bool {
    let mut bytes = target.bytes();
    target.len() <= MAX_RETURN_TO_BYTES
        && bytes.next() == Some(b'/')
        && !matches!(bytes.next(), Some(b'/' | b'\\'))
        && target.bytes().all(|b| b > 0x20 && b != 0x7f && b != b'\\')
}

fn canonicalise(raw: &str) -> Option<String> {
    let mut path = String::with_capacity(raw.len());
    // The bytes the path stands for: they must be UTF-8.
    let mut meaning = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        let escaped = byte == b'%';
        let byte = if escaped {
            hex_pair(bytes.next()?, bytes.next()?)?
        } else {
            byte
        };
        if is_ambiguous(byte, escaped) {
            return None;
        }
        meaning.push(byte);
        let literal = is_unreserved(byte) || (!escaped && is_delimiter(byte));
        if literal {
            path.push(char::from(byte));
        } else {
            write!(path, "%{byte:02X}").ok()?;
        }
    }
    std::str::from_utf8(&meaning).ok()?;
    has_plain_segments(&path).then_some(path)
}

fn is_ambiguous(byte: u8, escaped: bool) -> bool {
    let slash = byte == b'/' && escaped;
    slash || byte == b'\\' || byte == b';' || byte < 0x20 || byte == 0x7f
        // These end a path: unescaped they cannot be part of one.
        || (!escaped && matches!(byte, b'?' | b'#'))
}

/// RFC 3986 §2.3: escaping these never changes a URL's meaning.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What may stand unescaped in a path besides; `;` is refused before.
const fn is_delimiter(byte: u8) -> bool {
    matches!(
        byte,
        b'/' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@'
    )
}

/// Begins with `/`; no segment is empty (but the last may be), `.` or `..`.
fn has_plain_segments(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else {
        return false;
    };
    let inner = rest.strip_suffix('/').unwrap_or(rest);
    rest.is_empty()
        || (!inner.is_empty()
            && inner
                .split('/')
                .all(|segment| !matches!(segment, "" | "." | "..")))
}

fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    digit(high)?.checked_mul(16)?.checked_add(digit(low)?)
}

fn escape_query_value(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_unreserved(byte) || byte == b'/' {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::{CanonicalPath, canonical_query, is_return_to};

    fn canonical(raw: &str) -> Option<String> {
        CanonicalPath::parse(raw)
            .ok()
            .map(|path| path.as_str().to_owned())
    }

    #[test]
    fn parse_writes_equal_paths_in_one_form() {
        for (raw, form) in [
            ("/", "/"),
            ("/a/b/", "/a/b/"),
            ("/%61dm%69n", "/admin"),
            ("/%7euser", "/~user"),
            ("/a%2cb", "/a%2Cb"),
            ("/a,b", "/a,b"),
            ("/%252e%252e", "/%252e%252e"),
            ("/a b", "/a%20b"),
            ("/ü", "/%C3%BC"),
            ("/%c3%bc", "/%C3%BC"),
            ("/a%3fb", "/a%3Fb"),
            ("/a%23b", "/a%23b"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
        ] {
            assert_eq!(canonical(raw).as_deref(), Some(form), "{raw}");
        }
    }

    #[test]
    fn parse_refuses_what_two_programs_could_read_differently() {
        for raw in [
            "",
            "a",
            "//",
            "//admin",
            "/a//b",
            "/a//",
            "/.",
            "/..",
            "/a/../b",
            "/a/./b",
            "/%2e%2e/a",
            "/a/%2E",
            "/.%2e/a",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a%00",
            "/a\0",
            "/a%0a",
            "/a\n",
            "/a\t",
            "/a%7f",
            "/a;b",
            "/a%3bb",
            "/public/..;/admin",
            "/%zz",
            "/%",
            "/%4",
            "/a%c0%ae",
            "/%ff",
            "/a?b",
            "/a#b",
            "http://h/",
            "*",
        ] {
            assert_eq!(canonical(raw), None, "{raw:?}");
        }
    }

    #[test]
    fn parse_is_idempotent() {
        for raw in ["/%61/b,c/%2c/ü/a%20b/%252e", "/", "/x/"] {
            let once = canonical(raw).unwrap();
            assert_eq!(canonical(&once), Some(once.clone()));
        }
    }

    #[test]
    fn canonical_query_escapes_what_url_parsers_escape() {
        assert_eq!(canonical_query("a=1&b=%2f+{}|`^?"), "a=1&b=%2f+{}|`^?");
        assert_eq!(canonical_query("a='\"<>ü "), "a=%27%22%3C%3E%C3%BC%20");
    }

    #[test]
    fn matches_takes_exact_paths_and_whole_segments() {
        let path = |raw| CanonicalPath::parse(raw).unwrap();

        assert!(path("/public/a").matches("/public/*"));
        assert!(path("/public/").matches("/public/*"));
        assert!(path("/a").matches("/*"));
        assert!(!path("/public").matches("/public/*"));
        assert!(!path("/publicity/a").matches("/public/*"));
        assert!(!path("/public/a").matches("/public"));
        assert!(!path("/Public/a").matches("/public/*"));
        assert!(!path("/public").matches("/pub*"));
        assert!(path("/pub*").matches("/pub*"));
    }

    #[test]
    fn is_return_to_refuses_other_origins() {
        for target in [
            "",
            "a",
            "//evil",
            "/\\evil",
            "https://evil",
            "/\t/evil",
            "\\/evil",
            "/a\\b",
            "/a b",
            "/a\nb",
            "javascript:alert(1)",
        ] {
            assert!(!is_return_to(target), "{target:?}");
        }
        assert!(is_return_to("/"));
        assert!(is_return_to("/a?b=//c"));
        assert!(is_return_to(&format!("/{}", "a".repeat(2047))));
        assert!(!is_return_to(&format!("/{}", "a".repeat(2048))));
    }

    #[test]
    fn return_to_escapes_path_and_query_as_one_value() {
        let path = CanonicalPath::parse("/a/b").unwrap();

        assert_eq!(path.return_to(Some("x=1&y=2#")), "/a/b%3Fx%3D1%26y%3D2%23");
        assert_eq!(path.return_to(None), "/a/b");
        assert_eq!(path.return_to(Some("")), "/a/b");
        assert_eq!(path.return_to(Some(&"q".repeat(3000))), "/");
    }
}
