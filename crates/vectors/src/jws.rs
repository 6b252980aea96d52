//! Wycheproof's compact JWS, twice: under the rules, which refuse every one of them, and at the
//! signature layer, where jwt-simple must agree with every label but those reviewed as faulty.
//!
//! Source: C2SP/wycheproof, `json_web_signature_test.json`; the reviewed labels are in
//! `exclusions.json` beside it.

use crate::issuer::{Issuer, word};
use crate::{BadData, Tally, machine, oracle};
use hallpass_session::keyring::{JwkSet, Keyring};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const FILE: &str = "wycheproof/json_web_signature_test.json";
const EXCLUSIONS: &str = "wycheproof/exclusions.json";

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
    private: Value,
    tests: Vec<Test>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Test {
    tc_id: u32,
    comment: String,
    jws: String,
    result: String,
}

#[derive(Deserialize)]
struct Exclusions {
    exclusions: Vec<Exclusion>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Exclusion {
    tc_id: u32,
    label: String,
    #[serde(rename = "we_expect")]
    we_expect: String,
    why: String,
}

/// Runs the file.
pub(crate) fn run(data: &str, issuer: &Issuer) -> Result<Tally, BadData> {
    let file: File = machine::read_json(data, FILE)?;
    let listed: Exclusions = machine::read_json(data, EXCLUSIONS)?;
    let exclusions: BTreeMap<_, _> = listed.exclusions.iter().map(|e| (e.tc_id, e)).collect();
    let mut tally = Tally::new("jws");
    for group in &file.test_groups {
        let jwk = group.public.as_ref().unwrap_or(&group.private);
        let keyring = trusting(issuer, jwk);
        for test in &group.tests {
            judge_by_rules(&mut tally, issuer, &keyring, test);
            judge_signature(&mut tally, jwk, test, exclusions.get(&test.tc_id).copied());
        }
    }
    tally.expect(tally.cases == file.number_of_tests, || {
        format!("the file says {} cases", file.number_of_tests)
    });
    tally.note("no header of the file says session+jwt: the rules refuse each for its form");
    for exclusion in &listed.exclusions {
        let Exclusion {
            tc_id, label, why, ..
        } = exclusion;
        tally.note(format!("excluded: tc {tc_id}, labelled {label}: {why}"));
    }
    Ok(tally)
}

/// The edge's keyring, with the group's key in it where the rules let it in.
fn trusting(issuer: &Issuer, jwk: &Value) -> Keyring {
    let set = JwkSet::parse(&json!({"keys": [jwk]}));
    let checked = set.and_then(|set| set.checked(hallpass_signature::is_sound));
    checked.unwrap_or_else(|_| issuer.keyring().clone())
}

fn judge_by_rules(tally: &mut Tally, issuer: &Issuer, keyring: &Keyring, test: &Test) {
    let verdict = word(issuer.judge_with(&test.jws, keyring));
    tally.count("under the rules", verdict);
    tally.expect(verdict != "accepted", || {
        format!("tc {} passed the rules", test.tc_id)
    });
}

fn judge_signature(tally: &mut Tally, jwk: &Value, test: &Test, exclusion: Option<&Exclusion>) {
    let good = oracle::jws_is_good(jwk, &test.jws);
    let says = if good { "accept" } else { "refuse" };
    let algorithm = jwk.get("alg").and_then(Value::as_str).unwrap_or("none");
    tally.add(
        &format!("signature alone, {algorithm} {}", test.result),
        says,
    );
    tally.mark(u64::from(test.tc_id) << 32, says);
    let expected = exclusion.map_or_else(|| by_label(&test.result), |e| &e.we_expect);
    tally.add(
        "signature alone",
        match exclusion {
            Some(_) => "excluded",
            None if says == expected => "agrees with the label",
            None => "disagrees with the label",
        },
    );
    tally.expect(says == expected, || {
        format!(
            "tc {} ({}): {says}s: {}",
            test.tc_id, test.result, test.comment
        )
    });
}

fn by_label(result: &str) -> &'static str {
    if result == "valid" {
        "accept"
    } else {
        "refuse"
    }
}
