//! Wycheproof's compact JWS, twice: under the rules, which refuse every one of them, and at the
//! signature layer, where jwt-simple must agree with every label but those reviewed as faulty.
//!
//! Source: C2SP/wycheproof, `json_web_signature_test.json`; the reviewed labels are in
//! `exclusions.json` beside it.

use crate::issuer::{Issuer, word};
use crate::wycheproof::JwkPair;
use crate::{BadData, Tally, machine, oracle, wycheproof};
use hallpass_session::keyring::{JwkSet, Keyring};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const FILE: &str = "wycheproof/json_web_signature_test.json";
const EXCLUSIONS: &str = "wycheproof/exclusions.json";

#[derive(Deserialize)]
struct Compact {
    jws: String,
}

type Test = wycheproof::Test<Compact>;

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
    let listed: Exclusions = machine::read_json(data, EXCLUSIONS)?;
    let exclusions: BTreeMap<_, _> = listed.exclusions.iter().map(|e| (e.tc_id, e)).collect();
    let judge = |tally: &mut Tally, keys: &JwkPair<Value>, test: &Test| {
        let jwk = keys.for_verifier().unwrap_or(&Value::Null);
        judge_by_rules(tally, issuer, &trusting(issuer, jwk), test);
        judge_signature(tally, jwk, test, exclusions.get(&test.tc_id).copied());
        Ok(())
    };
    let mut tally = wycheproof::run("jws", data, FILE, judge)?;
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
    let verdict = word(issuer.judge_with(&test.given.jws, keyring));
    tally.count("under the rules", verdict);
    tally.expect(verdict != "accepted", || {
        format!("tc {} passed the rules", test.tc_id)
    });
}

fn judge_signature(tally: &mut Tally, jwk: &Value, test: &Test, exclusion: Option<&Exclusion>) {
    let good = oracle::jws_is_good(jwk, &test.given.jws);
    let says = if good { "accept" } else { "refuse" };
    let algorithm = jwk.get("alg").and_then(Value::as_str).unwrap_or("none");
    tally.add(
        &format!("signature alone, {algorithm} {}", test.result),
        says,
    );
    tally.mark(u64::from(test.tc_id) << 32, says);
    let expected = exclusion.map_or_else(|| by_label(test), |e| &e.we_expect);
    tally.add(
        "signature alone",
        match exclusion {
            Some(_) => "excluded",
            None if says == expected => "agrees with the label",
            None => "disagrees with the label",
        },
    );
    tally.expect(says == expected, || format!("{says}s {}", test.describe()));
}

fn by_label(test: &Test) -> &'static str {
    if test.is_valid() { "accept" } else { "refuse" }
}
