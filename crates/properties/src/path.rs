//! Any text in the place of a path and query: what is judged is what every URL parser arrives at.

use hallpass_session::path::{CanonicalPath, canonical_query};
use url::Url;

/// Checks one path with its query.
///
/// # Panics
///
/// If a promise is broken.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    if let Ok(canonical) = CanonicalPath::parse(path) {
        check_canonical(canonical.as_str());
        assert!(canonical.matches("/*") && canonical.matches(canonical.as_str()));
    }
    check_query(query);
}

fn check_canonical(path: &str) {
    let again = CanonicalPath::parse(path).expect("a canonical path is a path");
    assert_eq!(again.as_str(), path);
    assert!(path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic()));
    let upper = path.to_ascii_uppercase();
    for ambiguous in [
        "%2F", "%5C", "%00", "%3B", "%7F", "%0A", "%2E", "\\", ";", "//", "?", "#",
    ] {
        assert!(!upper.contains(ambiguous), "{ambiguous} in {path}");
    }
    for segment in path.split('/') {
        assert!(!matches!(segment, "." | ".."), "{path}");
    }
    assert_eq!(url(path).path(), path, "another path to a URL parser");
}

fn check_query(query: &str) {
    let canonical = canonical_query(query);
    let seen = url(&format!("/?{canonical}"));
    assert_eq!(seen.query(), Some(canonical.as_str()));
    assert_eq!(seen.fragment(), None);
    assert_eq!(canonical_query(&canonical), canonical);
    // A parser drops these, and ends the query at a number sign; a request line has none of them.
    let dropped = |c: char| c <= ' ' || c == '#';
    if !query.contains(dropped) {
        let theirs = url(&format!("/?{query}"));
        assert_eq!(theirs.query(), Some(canonical.as_str()));
    }
}

fn url(path_and_query: &str) -> Url {
    Url::parse(&format!("https://app.example{path_and_query}")).expect("a URL")
}
