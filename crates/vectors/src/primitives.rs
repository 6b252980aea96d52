//! Wycheproof's raw signatures under the two curves of ours, at the signature layer.
//!
//! Source: C2SP/wycheproof, `ed25519_test.json` and `ecdsa_secp256r1_sha256_p1363_test.json`.

use crate::machine::{self, bytes};
use crate::{BadData, Tally, oracle};
use serde::Deserialize;

const ED25519_FILE: &str = "wycheproof/ed25519_test.json";
const P256_FILE: &str = "wycheproof/ecdsa_secp256r1_sha256_p1363_test.json";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    number_of_tests: u64,
    test_groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    public_key: PublicKey,
    tests: Vec<Test>,
}

/// One of the two, by the file.
#[derive(Deserialize)]
struct PublicKey {
    pk: Option<String>,
    uncompressed: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Test {
    tc_id: u32,
    comment: String,
    msg: String,
    sig: String,
    result: String,
}

/// Runs the Ed25519 file.
pub(crate) fn ed25519(data: &str) -> Result<Tally, BadData> {
    run("ed25519", data, ED25519_FILE, oracle::ed25519_is_good)
}

/// Runs the P-256 file.
pub(crate) fn p256(data: &str) -> Result<Tally, BadData> {
    run("p256", data, P256_FILE, oracle::p256_is_good)
}

fn run(
    name: &str,
    data: &str,
    path: &str,
    is_good: fn(&[u8], &[u8], &[u8]) -> bool,
) -> Result<Tally, BadData> {
    let file: File = machine::read_json(data, path)?;
    let mut tally = Tally::new(name);
    for group in &file.test_groups {
        let key = group
            .public_key
            .pk
            .as_ref()
            .or(group.public_key.uncompressed.as_ref());
        let key = bytes(key.map_or("", String::as_str))?;
        for test in &group.tests {
            let good = is_good(&key, &bytes(&test.msg)?, &bytes(&test.sig)?);
            tally.count(&test.result, if good { "accepted" } else { "refused" });
            tally.expect(good == (test.result == "valid"), || {
                format!("tc {} ({}): {}", test.tc_id, test.result, test.comment)
            });
        }
    }
    tally.expect(tally.cases == file.number_of_tests, || {
        format!("the file says {} cases", file.number_of_tests)
    });
    Ok(tally)
}
