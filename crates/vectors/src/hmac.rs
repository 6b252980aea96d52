//! Wycheproof's HMAC-SHA256 at the signature layer: whole tags as they are labelled, and no tag cut
//! short, however right it begins, since a JWS carries the whole one (RFC 7518 §3.2).
//!
//! Source: C2SP/wycheproof, `hmac_sha256_test.json`.

use crate::machine::{self, bytes};
use crate::{BadData, Tally, oracle};
use serde::Deserialize;

const FILE: &str = "wycheproof/hmac_sha256_test.json";
/// Length of a whole tag.
const WHOLE_BITS: u32 = 256;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    number_of_tests: u64,
    test_groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    tag_size: u32,
    tests: Vec<Test>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Test {
    tc_id: u32,
    comment: String,
    key: String,
    msg: String,
    tag: String,
    result: String,
}

/// Runs the file.
pub(crate) fn run(data: &str) -> Result<Tally, BadData> {
    let file: File = machine::read_json(data, FILE)?;
    let mut tally = Tally::new("hmac");
    for Group { tag_size, tests } in &file.test_groups {
        for test in tests {
            let [key, message, tag] = [bytes(&test.key)?, bytes(&test.msg)?, bytes(&test.tag)?];
            let good = oracle::hs256_is_good(&key, &message, &tag);
            let expected = *tag_size == WHOLE_BITS && test.result == "valid";
            let verdict = if good { "accepted" } else { "refused" };
            tally.count(&format!("{tag_size} bits, {}", test.result), verdict);
            tally.expect(good == expected, || {
                format!("tc {} ({}): {}", test.tc_id, test.result, test.comment)
            });
        }
    }
    tally.expect(tally.cases == file.number_of_tests, || {
        format!("the file says {} cases", file.number_of_tests)
    });
    tally.note("tags of 128 bits are refused even when right: a JWS carries all 256");
    Ok(tally)
}
