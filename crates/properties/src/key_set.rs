//! Any bytes in the place of a JWK set: taken whole, with nothing in it that signs, or not at all.

use hallpass_session::json;
use hallpass_session::keyring::{Algorithm, JwkSet, KeySetFault};
use serde_json::{Value, json};

/// Checks one set.
///
/// # Panics
///
/// If a promise is broken.
pub fn check(set: &[u8]) {
    let Some(set) = json::parse(set) else { return };
    let Ok(parsed) = JwkSet::parse(&set) else {
        return;
    };
    let keys = set["keys"].as_array().expect("an array of keys");
    assert!((1..=16).contains(&keys.len()));
    for key in keys {
        check_key(key);
    }
    check_refused_whole(keys);

    let sound = parsed.checked(hallpass_signature::is_sound);
    for (position, jwk) in keys.iter().enumerate() {
        let kid = jwk["kid"].as_str().expect("a kid");
        assert!(keys[..position].iter().all(|other| other["kid"] != kid));
        let Ok(keyring) = &sound else { continue };
        let key = keyring.find(kid).expect("every key of the set");
        let bytes = if key.algorithm() == Algorithm::Es256 {
            65
        } else {
            32
        };
        assert_eq!((key.kid(), key.material().len()), (kid, bytes));
        assert_eq!(Some(key.algorithm().name()), jwk["alg"].as_str());
    }
}

/// Public, for checking signatures, on the curve of its algorithm.
fn check_key(jwk: &Value) {
    let member = |name: &str| jwk[name].as_str().unwrap_or_default();
    let kind = (member("alg"), member("kty"), member("crv"));
    let known = [
        ("EdDSA", "OKP", "Ed25519"),
        ("Ed25519", "OKP", "Ed25519"),
        ("ES256", "EC", "P-256"),
    ];
    assert!(known.contains(&kind), "{kind:?}");
    assert_eq!(member("use"), "sig");
    assert!(jwk.get("d").is_none() && jwk.get("k").is_none(), "a secret");
    assert!((1..=64).contains(&member("kid").len()) && member("kid") != "hs256");
}

/// A good set with one bad key more is no good set.
fn check_refused_whole(keys: &[Value]) {
    let with = |key: Value| {
        let mut more = keys.to_vec();
        more.push(key);
        JwkSet::parse(&json!({ "keys": more })).err()
    };
    let mut private = keys[0].clone();
    private["kid"] = "another".into();
    private["d"] = private["x"].clone();
    let full = keys.len() == 16;
    let expected = |fault| Some(if full { KeySetFault::Form } else { fault });
    assert_eq!(with(private), expected(KeySetFault::Key));
    assert_eq!(with(keys[0].clone()), expected(KeySetFault::DuplicateKid));
}
