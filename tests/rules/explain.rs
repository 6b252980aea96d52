//! The explanation of a token: its verdict is the judgement's, for every token of every rule test
//! ([`agrees`] is asked for each), and the first broken rule is the reason.

use crate::support::{
    ISSUER, KID, NOW, bucket, claims, header, keyring, list, list_claims, other_key, policy, sign,
    sign_text, token, verified_list, with, without,
};
use hallpass_session::admission::LiveSession;
use hallpass_session::claims::{ClaimFault, PolicyRule};
use hallpass_session::explain::{Cure, Judgement, Outcome, Report, Rule, Why, explain};
use hallpass_session::jws::Malformed;
use hallpass_session::refusal::{Outage, Refusal};
use hallpass_session::revocation::{ListRule, RevocationList};
use hallpass_session::time::{Seconds, UnixSeconds};
use hallpass_session::token::VerifiedToken;
use hallpass_session::wire::ListClaims;
use serde_json::{Value, json};
use std::rc::Rc;
use wasm_bindgen_test::wasm_bindgen_test;

thread_local! {
    /// Signed once: [`agrees`] is asked thousands of times.
    static EMPTY_LIST: RevocationList = list(&list_claims());
}

/// Asserts that the explanation of a token comes to the judgement of its form, key, signature and
/// claims, and then to the list's.
pub(crate) fn agrees(text: &str, judged: Result<&VerifiedToken, Refusal>, now: u64) {
    EMPTY_LIST.with(|list| {
        let admitted = judged.and_then(|token| admitted(token, list, now));
        assert_eq!(verdict(&report(text, list, now)), admitted, "{text:.80}");
    });
}

fn admitted(token: &VerifiedToken, list: &RevocationList, now: u64) -> Result<(), Refusal> {
    let (token, none) = (Rc::new(token.clone()), Seconds::new(0));
    LiveSession::admit(token, &policy(), list, none, UnixSeconds::new(now)).map(|_| ())
}

fn report(text: &str, list: &RevocationList, now: u64) -> Report {
    let now = UnixSeconds::new(now);
    let verify = hallpass_signature::verify;
    explain(text, &keyring(), &policy(), list, verify, now)
}

fn explained(text: &str) -> Report {
    report(text, &list(&list_claims()), NOW)
}

/// What the edge would do; the first broken rule must be its reason.
fn verdict(report: &Report) -> Result<(), Refusal> {
    let reason = report.first_broken().map(Rule::refusal);
    match report.judgement() {
        Judgement::Passes => {
            assert_eq!(reason, None);
            assert!(report.findings.iter().all(|(_, o)| *o == Outcome::Holds));
            Ok(())
        }
        Judgement::Refused(refusal) => {
            assert_eq!(reason, Some(refusal));
            Err(refusal)
        }
        Judgement::Outage(_) => panic!("only for a key that the list trusts"),
    }
}

/// A token that breaks each rule first, by what breaks it.
fn odd_tokens() -> Vec<(Rule, String)> {
    let claim = |name, value| sign(&header(), &with(claims(), name, value));
    let head = |name, value| sign(&with(header(), name, value), &claims());
    let text = |members| Value::Object(members).to_string();
    let (first, good) = (text(header()), text(claims()));
    vec![
        (Rule::Length, "a".repeat(5000)),
        (Rule::Form, "a.b".to_owned()),
        (Rule::Header, head("crit", json!(["b64"]))),
        (
            Rule::Payload,
            sign_text(&crate::support::key(), &first, "[]"),
        ),
        (Rule::Claims, sign(&header(), &without(claims(), "idx"))),
        (Rule::Key, head("kid", json!("k9"))),
        (Rule::Algorithm, head("alg", json!("none"))),
        (Rule::Signature, sign_text(&other_key(), &first, &good)),
        (
            Rule::Policy(PolicyRule::Issuer),
            claim("iss", json!("other")),
        ),
        (
            Rule::Policy(PolicyRule::Audience),
            claim("aud", json!("other")),
        ),
        (
            Rule::Policy(PolicyRule::TimesInOrder),
            claim("auth_time", json!(NOW)),
        ),
        (
            Rule::Policy(PolicyRule::Lifetime),
            claim("exp", json!(NOW + 4000)),
        ),
        (
            Rule::Policy(PolicyRule::NotAhead),
            claim("nbf", json!(NOW + 6)),
        ),
        (
            Rule::Policy(PolicyRule::NotExpired),
            claim("exp", json!(NOW)),
        ),
        (Rule::List(ListRule::NotRevoked), claim("idx", json!(8))),
        (
            Rule::List(ListRule::NotRevokedBefore),
            claim("idx", json!(9)),
        ),
        (
            Rule::List(ListRule::AfterWatermark),
            claim("iat", json!(NOW - 100)),
        ),
    ]
}

/// A list in its second epoch that revokes index 8, in the first 9, and what was made 90 s ago.
fn busy_list() -> RevocationList {
    let mut list = list(&ListClaims {
        sessions: vec![bucket(NOW + 360, &[9])],
        ..list_claims()
    });
    let next = ListClaims {
        epoch: "e2".to_owned(),
        began: NOW - 30,
        revoked_before: NOW - 90,
        sessions: vec![bucket(NOW + 360, &[8])],
        ..list_claims()
    };
    let taken = list.apply(verified_list(&next), ISSUER, UnixSeconds::new(NOW));
    taken.expect("a new epoch");
    list
}

#[wasm_bindgen_test(unsupported = test)]
fn explain_finds_nothing_wrong_with_a_good_token() {
    let report = explained(&token());

    assert_eq!(verdict(&report), Ok(()));
    assert_eq!(report.cure(), Cure::Unneeded);
    assert!(report.is_proven());
    let order: Vec<Rule> = report.findings.iter().map(|(rule, _)| *rule).collect();
    assert_eq!(order, Rule::all().collect::<Vec<_>>());
}

#[wasm_bindgen_test(unsupported = test)]
fn explain_names_the_rule_that_each_odd_token_breaks_first() {
    let busy = busy_list();
    for (rule, odd) in odd_tokens() {
        let judged = crate::support::judge(&odd, NOW);
        let expected = judged.and_then(|token| admitted(&token, &busy, NOW));
        let report = report(&odd, &busy, NOW);

        assert_eq!(report.first_broken(), Some(rule), "{}", rule.name());
        assert_eq!(verdict(&report), expected, "{}", rule.name());
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn explain_judges_what_does_not_need_the_broken_rule() {
    // Another's signature, a foreign issuer, expired, and of a revoked session.
    let claims = with(with(claims(), "iss", json!("other")), "exp", json!(NOW - 1));
    let text = |members| Value::Object(members).to_string();
    let odd = sign_text(
        &other_key(),
        &text(header()),
        &text(with(claims, "idx", json!(8))),
    );
    let report = report(&odd, &busy_list(), NOW);

    for rule in [
        Rule::Signature,
        Rule::Policy(PolicyRule::Issuer),
        Rule::Policy(PolicyRule::NotExpired),
        Rule::List(ListRule::NotRevoked),
    ] {
        assert_eq!(
            report.outcome(rule),
            Outcome::Broken(Why::Plain),
            "{}",
            rule.name()
        );
    }
    assert_eq!(
        report.outcome(Rule::Policy(PolicyRule::Audience)),
        Outcome::Holds
    );
    assert_eq!(verdict(&report), Err(Refusal::TokenUntrusted));
}

#[wasm_bindgen_test(unsupported = test)]
fn explain_says_which_broken_rule_leaves_others_open() {
    let too_long = explained(&"a".repeat(1 << 20));
    for rule in Rule::all().skip(1) {
        assert_eq!(too_long.outcome(rule), Outcome::Unjudged(Rule::Length));
    }
    let typ = explained(&sign(&with(header(), "typ", json!("JWT")), &claims()));
    assert_eq!(
        typ.outcome(Rule::Header),
        Outcome::Broken(Why::Form(Malformed::Typ))
    );
    assert_eq!(
        typ.outcome(Rule::Signature),
        Outcome::Unjudged(Rule::Header)
    );
    assert_eq!(
        typ.outcome(Rule::Policy(PolicyRule::Issuer)),
        Outcome::Holds
    );
    let idx = explained(&sign(&header(), &with(claims(), "idx", json!("7"))));
    let fault = Why::Claim(ClaimFault::Form("idx"));
    assert_eq!(idx.outcome(Rule::Claims), Outcome::Broken(fault));
    assert_eq!(idx.outcome(Rule::Signature), Outcome::Holds);
    let issuer = idx.outcome(Rule::Policy(PolicyRule::Issuer));
    assert_eq!(issuer, Outcome::Unjudged(Rule::Claims));
}

#[wasm_bindgen_test(unsupported = test)]
fn explain_calls_a_key_that_only_the_list_has_an_outage() {
    let list = list(&ListClaims {
        kids: vec![KID.to_owned(), "k2".to_owned()],
        ..list_claims()
    });
    let newer = sign(&with(header(), "kid", json!("k2")), &claims());

    let report = report(&newer, &list, NOW);

    assert_eq!(report.first_broken(), Some(Rule::Key));
    assert_eq!(report.judgement(), Judgement::Outage(Outage::Service));
    assert_eq!(report.cure(), Cure::None);
}

#[wasm_bindgen_test(unsupported = test)]
fn explain_refuses_a_removed_key_for_its_key() {
    let list = list(&ListClaims {
        kids: vec!["k2".to_owned()],
        ..list_claims()
    });

    let report = report(&token(), &list, NOW);

    assert_eq!(
        report.first_broken(),
        Some(Rule::List(ListRule::KeyTrusted))
    );
    assert_eq!(verdict(&report), Err(Refusal::TokenUntrusted));
}

#[wasm_bindgen_test(unsupported = test)]
fn cure_is_vain_once_a_proven_session_is_revoked() {
    let expired = |idx| {
        sign(
            &header(),
            &with(with(claims(), "idx", idx), "exp", json!(NOW)),
        )
    };
    let cure = |text: &str| report(text, &busy_list(), NOW).cure();
    let (input, _) = expired(json!(8))
        .rsplit_once('.')
        .map(|(a, b)| (a.to_owned(), b.len()))
        .expect("parts");

    assert_eq!(cure(&expired(json!(7))), Cure::Renewal);
    assert_eq!(cure(&expired(json!(8))), Cure::Vain);
    // Nobody vouches for this index: the renewal cookie may be of another session.
    assert_eq!(cure(&format!("{input}.{}", "A".repeat(86))), Cure::Renewal);
    assert_eq!(
        cure(&sign(&header(), &with(claims(), "idx", json!(8)))),
        Cure::None
    );
}
