//! Wycheproof's HMAC-SHA256 at the signature layer: whole tags as they are labelled, and no tag cut
//! short, however right it begins, since a JWS carries the whole one (RFC 7518 §3.2).
//!
//! Source: C2SP/wycheproof, `hmac_sha256_test.json`.

use crate::machine::bytes;
use crate::{BadData, Tally, oracle, wycheproof};
use serde::Deserialize;

const FILE: &str = "wycheproof/hmac_sha256_test.json";
/// Length of a whole tag.
const WHOLE_BITS: u32 = 256;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Size {
    tag_size: u32,
}

#[derive(Deserialize)]
struct Tagged {
    key: String,
    msg: String,
    tag: String,
}

type Test = wycheproof::Test<Tagged>;

/// Runs the file.
pub(crate) fn run(data: &str) -> Result<Tally, BadData> {
    let mut tally = wycheproof::run("hmac", data, FILE, judge)?;
    tally.note("tags of 128 bits are refused even when right: a JWS carries all 256");
    Ok(tally)
}

fn judge(tally: &mut Tally, size: &Size, test: &Test) -> Result<(), BadData> {
    let Tagged { key, msg, tag } = &test.given;
    let good = oracle::hs256_is_good(&bytes(key)?, &bytes(msg)?, &bytes(tag)?);
    let expected = size.tag_size == WHOLE_BITS && test.is_valid();
    let verdict = if good { "accepted" } else { "refused" };
    tally.count(&format!("{} bits, {}", size.tag_size, test.result), verdict);
    tally.expect(good == expected, || test.describe());
    Ok(())
}
