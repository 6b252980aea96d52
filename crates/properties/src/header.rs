//! Any bytes in the place of a token's header: only exactly `alg`, `kid`, `typ` is one.

use crate::issuer::{compact, keyring};
use hallpass_session::jws::claims_typ;
use hallpass_session::token::{TYP, parse};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// A good payload, so that nothing but the header is judged.
const PAYLOAD: &[u8] = include_bytes!("../../../fuzz/corpus/claims/good");

/// Checks one header.
///
/// # Panics
///
/// If a promise is broken.
pub fn check(header: &[u8]) {
    let text = compact(header, PAYLOAD);
    let Ok(token) = parse(&text) else { return };
    let members: Map<String, Value> = serde_json::from_slice(header).expect("an object");
    let names: BTreeSet<&str> = members.keys().map(String::as_str).collect();
    let member = |name: &str| members.get(name).and_then(Value::as_str);

    assert!(header.len() <= 512);
    assert_eq!(names, BTreeSet::from(["alg", "kid", "typ"]));
    assert_eq!(member("typ"), Some(TYP));
    assert_eq!(member("kid"), Some(token.kid()));
    assert!(claims_typ(&text, TYP), "a bearer that would not be ours");

    if let Ok(question) = token.question(&keyring()) {
        assert_eq!(member("alg"), Some(question.key().algorithm().name()));
        assert_eq!(member("kid"), Some(question.key().kid()));
    }
}
