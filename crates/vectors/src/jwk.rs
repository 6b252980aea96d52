//! Wycheproof's JWK sets under the rules for key sets: what is labelled invalid must not get in.
//!
//! The rules take Ed25519 and P-256 only, so most sets are refused for their kind of key. Three are
//! invalid not for the set but for the signature; such a set may get in when its signature is bad.
//!
//! Source: C2SP/wycheproof, `json_web_key_test.json`.

use crate::{BadData, Tally, machine, oracle};
use hallpass_session::keyring::{JwkSet, KeySetFault, Keyring};
use serde::Deserialize;
use serde_json::Value;

const FILE: &str = "wycheproof/json_web_key_test.json";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    number_of_tests: u64,
    test_groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    public: Option<Value>,
    /// Of a symmetric key there is no other.
    private: Option<Value>,
    tests: Vec<Test>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Test {
    tc_id: u32,
    comment: String,
    jws: Value,
    result: String,
}

/// Runs the file.
pub(crate) fn run(data: &str) -> Result<Tally, BadData> {
    let file: File = machine::read_json(data, FILE)?;
    let mut tally = Tally::new("jwk");
    for group in &file.test_groups {
        let set = group
            .public
            .as_ref()
            .or(group.private.as_ref())
            .unwrap_or(&Value::Null);
        let taken = JwkSet::parse(set).and_then(|set| set.checked(hallpass_signature::is_sound));
        for test in &group.tests {
            tally.count(&test.result, name(&taken));
            let harmless = taken.is_err() || !any_signature_is_good(set, &test.jws);
            tally.expect(test.result == "valid" || harmless, || {
                format!("tc {} ({}) got in", test.tc_id, test.comment)
            });
        }
    }
    tally.expect(tally.cases == file.number_of_tests, || {
        format!("the file says {} cases", file.number_of_tests)
    });
    tally
        .note("the sets labelled valid hold symmetric or RSA keys, which the rules refuse as well");
    Ok(tally)
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
