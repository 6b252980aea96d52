//! Any text in the place of `return_to`: whoever follows it stays on the origin.

use hallpass_session::path::{CanonicalPath, is_return_to};
use url::{Url, form_urlencoded};

/// Checks one target, as it is and as it would be made of a path and query.
///
/// # Panics
///
/// If a promise is broken.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if is_return_to(text) {
        check_stays(text);
    }
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    };
    if let Ok(path) = CanonicalPath::parse(path) {
        check_made(&path, query);
    }
}

fn check_stays(target: &str) {
    let here = Url::parse("https://app.example/sign-in?a=1").expect("a URL");
    let there = here.join(target).expect("a target that parses");
    assert_eq!(there.origin(), here.origin(), "{target:?}");
    assert!(there.username().is_empty() && there.password().is_none());
    assert!(target.len() <= 2048);
}

/// The value survives as one query value, and means what was meant or the start page.
fn check_made(path: &CanonicalPath, query: Option<&str>) {
    let value = path.return_to(query);
    let line = format!("return_to={value}");
    let pairs: Vec<_> = form_urlencoded::parse(line.as_bytes()).collect();
    let [(name, target)] = &pairs[..] else {
        panic!("not one value: {value}");
    };
    assert_eq!(name, "return_to");
    assert!(is_return_to(target), "{target:?}");
    let query = query.filter(|query| !query.is_empty());
    let meant = query.map_or(path.as_str().to_owned(), |q| {
        format!("{}?{q}", path.as_str())
    });
    assert!(*target == meant || target == "/", "{target:?}");
    check_stays(target);
}
