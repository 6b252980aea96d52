//! Wycheproof's JWK sets under the rules for key sets: what is labelled invalid must not get in.
//!
//! The rules take Ed25519 and P-256 only, so most sets are refused for their kind of key. Three are
//! invalid not for the set but for the signature; such a set may get in when its signature is bad.
//!
//! Source: C2SP/wycheproof, `json_web_key_test.json`.

use crate::wycheproof::JwkPair;
use crate::{BadData, Tally, oracle, wycheproof};
use hallpass_session::keyring::{JwkSet, KeySetFault, Keyring};
use serde::Deserialize;
use serde_json::Value;

const FILE: &str = "wycheproof/json_web_key_test.json";

#[derive(Deserialize)]
struct Signed {
    jws: Value,
}

type Test = wycheproof::Test<Signed>;

/// Runs the file.
pub(crate) fn run(data: &str) -> Result<Tally, BadData> {
    let mut tally = wycheproof::run("jwk", data, FILE, |tally, keys, test| {
        judge(tally, keys, test);
        Ok(())
    })?;
    tally
        .note("the sets labelled valid hold symmetric or RSA keys, which the rules refuse as well");
    Ok(tally)
}

fn judge(tally: &mut Tally, keys: &JwkPair<Value>, test: &Test) {
    let set = keys.for_verifier().unwrap_or(&Value::Null);
    let taken = JwkSet::parse(set).and_then(|set| set.checked(hallpass_signature::is_sound));
    tally.count(&test.result, name(&taken));
    let harmless = taken.is_err() || !any_signature_is_good(set, &test.given.jws);
    tally.expect(test.is_valid() || harmless, || {
        format!("{} got in", test.describe())
    });
}

fn name(taken: &Result<Keyring, KeySetFault>) -> &'static str {
    match taken {
        Ok(_) => "taken in",
        Err(KeySetFault::Form) => "refused: form",
        Err(KeySetFault::Key) => "refused: a key",
        Err(KeySetFault::DuplicateKid) => "refused: kid twice",
        Err(KeySetFault::Weak) => "refused: weak or off its curve",
    }
}

fn any_signature_is_good(set: &Value, jws: &Value) -> bool {
    let keys = set.get("keys").and_then(Value::as_array);
    keys.into_iter().flatten().any(|jwk| {
        jws.as_str()
            .is_some_and(|jws| oracle::jws_is_good(jwk, jws))
    })
}
