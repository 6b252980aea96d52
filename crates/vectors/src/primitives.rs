//! Wycheproof's raw signatures under the two curves of ours, at the signature layer.
//!
//! Source: C2SP/wycheproof, `ed25519_test.json` and `ecdsa_secp256r1_sha256_p1363_test.json`.

use crate::machine::bytes;
use crate::{BadData, Tally, oracle, wycheproof};
use serde::Deserialize;

const ED25519_FILE: &str = "wycheproof/ed25519_test.json";
const P256_FILE: &str = "wycheproof/ecdsa_secp256r1_sha256_p1363_test.json";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Key {
    public_key: PublicKey,
}

/// One of the two, by the file.
#[derive(Deserialize)]
struct PublicKey {
    pk: Option<String>,
    uncompressed: Option<String>,
}

#[derive(Deserialize)]
struct Signed {
    msg: String,
    sig: String,
}

type Test = wycheproof::Test<Signed>;

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
    file: &str,
    is_good: fn(&[u8], &[u8], &[u8]) -> bool,
) -> Result<Tally, BadData> {
    wycheproof::run(name, data, file, |tally, key: &Key, test: &Test| {
        let PublicKey { pk, uncompressed } = &key.public_key;
        let key = bytes(
            pk.as_ref()
                .or(uncompressed.as_ref())
                .map_or("", String::as_str),
        )?;
        let good = is_good(&key, &bytes(&test.given.msg)?, &bytes(&test.given.sig)?);
        tally.count(&test.result, if good { "accepted" } else { "refused" });
        tally.expect(good == test.is_valid(), || test.describe());
        Ok(())
    })
}
