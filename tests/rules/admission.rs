//! What happens with a judged token: forwarded, renewed, refused; natively and in wasm.

use crate::support::{NOW, claims, header, live_session, sign, token, with};
use hallpass_session::admission::{Access, Admission, Demands, Renewal, Requirement, decide};
use hallpass_session::presented::{Presented, Source};
use hallpass_session::refusal::Refusal;
use hallpass_session::time::{Seconds, UnixSeconds};
use serde_json::json;
use wasm_bindgen_test::wasm_bindgen_test;

fn demands(access: Access) -> Demands {
    Demands {
        access,
        renew_before: Seconds::new(30),
        ..Demands::default()
    }
}

/// A decision in a word, for tables.
fn word(admission: &Admission) -> &'static str {
    match admission {
        Admission::Forward(_) => "forward",
        Admission::ForwardAndRenew(_) => "forward and renew",
        Admission::ForwardAnonymously(_) => "anonymous",
        Admission::Renew(_) => "renew",
        Admission::Refuse(refusal) => refusal.code(),
    }
}

fn decided(outcome: Result<u64, Refusal>, renewal: Renewal, demands: &Demands) -> &'static str {
    let (judged, now) = match outcome {
        Ok(now) => (live_session(&claims(), now), now),
        Err(refusal) => (Err(refusal), NOW),
    };
    word(&decide(judged, renewal, demands, UnixSeconds::new(now)))
}

#[wasm_bindgen_test(unsupported = test)]
fn decide_renews_beside_forwarding_from_thirty_seconds_before_the_end() {
    let session = demands(Access::Session);
    let end = NOW + 240;
    assert_eq!(
        decided(Ok(end - 31), Renewal::Possible, &session),
        "forward"
    );
    assert_eq!(
        decided(Ok(end - 30), Renewal::Possible, &session),
        "forward and renew"
    );
    assert_eq!(
        decided(Ok(end - 1), Renewal::Possible, &session),
        "forward and renew"
    );
    assert_eq!(
        decided(Ok(end - 1), Renewal::Impossible, &session),
        "forward"
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn decide_renews_within_a_fifth_of_a_short_life() {
    let short = with(with(claims(), "iat", json!(NOW)), "exp", json!(NOW + 10));
    let at = |now: u64| {
        let judged = live_session(&short, now);
        word(&decide(
            judged,
            Renewal::Possible,
            &demands(Access::Session),
            UnixSeconds::new(now),
        ))
    };
    assert_eq!(at(NOW + 7), "forward");
    assert_eq!(at(NOW + 8), "forward and renew");
}

#[wasm_bindgen_test(unsupported = test)]
fn decide_renews_first_for_everything_a_new_token_cures() {
    let session = demands(Access::Session);
    for refusal in [
        Refusal::SessionMissing,
        Refusal::TokenExpired,
        Refusal::TokenInvalid,
        Refusal::TokenMalformed,
        Refusal::TokenUntrusted,
    ] {
        assert_eq!(decided(Err(refusal), Renewal::Possible, &session), "renew");
        assert_eq!(
            decided(Err(refusal), Renewal::Impossible, &session),
            refusal.code()
        );
        let optional = demands(Access::Optional);
        assert_eq!(
            decided(Err(refusal), Renewal::Impossible, &optional),
            "anonymous"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn decide_never_renews_after_revocation_or_conflict() {
    for refusal in [Refusal::SessionRevoked, Refusal::CredentialsConflict] {
        for renewal in [Renewal::Possible, Renewal::Impossible] {
            assert_eq!(
                decided(Err(refusal), renewal, &demands(Access::Session)),
                refusal.code()
            );
            assert_eq!(
                decided(Err(refusal), renewal, &demands(Access::Optional)),
                "anonymous"
            );
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn decide_asks_for_a_new_sign_in_past_the_age_of_the_last() {
    // The claims say that the user signed in an hour before.
    let at_most = |secs| Demands {
        max_auth_age: Some(Seconds::new(secs)),
        ..demands(Access::Session)
    };
    assert_eq!(
        decided(Ok(NOW), Renewal::Possible, &at_most(3601)),
        "forward"
    );
    assert_eq!(
        decided(Ok(NOW), Renewal::Possible, &at_most(3600)),
        "forward"
    );
    assert_eq!(
        decided(Ok(NOW), Renewal::Possible, &at_most(3599)),
        "reauthentication_required"
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn decide_wants_every_required_claim() {
    let require = |claim: &str, value: &str| Demands {
        require: vec![Requirement {
            claim: claim.to_owned(),
            values: vec![value.to_owned()],
        }],
        ..demands(Access::Session)
    };
    for (claim, value) in [("role", "editor"), ("sub", "ada"), ("amr", "pwd")] {
        assert_eq!(
            decided(Ok(NOW), Renewal::Impossible, &require(claim, value)),
            "forward"
        );
    }
    for (claim, value) in [
        ("role", "admin"),
        ("sub", "Ada"),
        ("amr", "otp"),
        ("none", "editor"),
    ] {
        let demands = require(claim, value);
        assert_eq!(
            decided(Ok(NOW), Renewal::Impossible, &demands),
            "requirement_unmet"
        );
    }
    let optional = Demands {
        access: Access::Optional,
        ..require("role", "admin")
    };
    assert_eq!(
        decided(Ok(NOW), Renewal::Impossible, &optional),
        "requirement_unmet"
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn decide_reads_a_required_claim_of_every_kind() {
    let ext = json!({
        "teams": ["blue", "red", 7], "admin": true, "trial": false, "level": 3, "none": null,
        "inner": {"a": "b"},
    });
    let claims = with(claims(), "ext", ext);
    for (claim, value, outcome) in [
        ("teams", "blue", "forward"),
        ("teams", "red", "forward"),
        ("teams", "green", "requirement_unmet"),
        ("teams", "7", "requirement_unmet"),
        ("admin", "true", "forward"),
        ("admin", "false", "requirement_unmet"),
        ("trial", "false", "forward"),
        ("trial", "true", "requirement_unmet"),
        ("level", "3", "forward"),
        ("level", "4", "requirement_unmet"),
        ("none", "null", "requirement_unmet"),
        ("inner", "b", "requirement_unmet"),
    ] {
        let demands = Demands {
            require: vec![Requirement {
                claim: claim.to_owned(),
                values: vec!["other".to_owned(), value.to_owned()],
            }],
            ..demands(Access::Session)
        };
        let session = live_session(&claims, NOW);
        let decision = decide(
            session,
            Renewal::Impossible,
            &demands,
            UnixSeconds::new(NOW),
        );
        assert_eq!(word(&decision), outcome, "{claim} = {value}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn admit_keeps_the_key_that_signed() {
    let session = live_session(&claims(), NOW).expect("a live session");

    assert_eq!(session.kid(), "k1");
    assert_eq!(session.claims().sub, "ada");
}

#[wasm_bindgen_test(unsupported = test)]
fn read_takes_cookie_bearer_and_renewal_apart() {
    let good = token();
    let cookies = format!("a=1; __Host-session={good}; __Host-renewal=hp1.AAAA");

    let presented = Presented::read(Some(&cookies), None).expect("no conflict");
    assert_eq!(presented.token(), Some((good.as_str(), Source::Cookie)));
    assert_eq!(presented.renewal(), Some("hp1.AAAA"));
    assert_eq!(format!("{presented:?}"), "Presented([redacted])");

    let bearer = format!("Bearer {good}");
    let presented = Presented::read(Some(&cookies), Some(&bearer)).expect("the same session");
    assert_eq!(presented.token(), Some((good.as_str(), Source::Bearer)));
    assert_eq!(presented.renewal(), None);
}

#[wasm_bindgen_test(unsupported = test)]
fn read_leaves_every_other_authorization_to_the_app() {
    let good = token();
    let access_token = sign(&with(header(), "typ", json!("at+jwt")), &claims());
    for authorization in [
        String::new(),
        "Basic YTpi".to_owned(),
        "Bearer opaque".to_owned(),
        format!("bearer {good}"),
        format!("Bearer  {good}"),
        format!("Bearer {access_token}"),
        format!("Token {good}"),
    ] {
        let presented = Presented::read(None, Some(&authorization)).expect("no conflict");
        assert_eq!(presented.token(), None, "{authorization:.40}");
    }
    // Two joined lines begin like ours: they are ours to refuse, and never the app's.
    let joined = format!("Bearer {good}, Bearer {good}");
    let presented = Presented::read(None, Some(&joined)).expect("no conflict");
    let (text, _) = presented.token().expect("ours");
    assert_eq!(crate::support::refusal(text), Some(Refusal::TokenMalformed));
}

#[wasm_bindgen_test(unsupported = test)]
fn read_refuses_two_values_of_one_credential() {
    let good = token();
    let other = sign(
        &header(),
        &with(claims(), "sid", json!("BAAAAAAAAAAAAAAAAAAAAA")),
    );
    for cookies in [
        format!("__Host-session={good}; __Host-session={other}"),
        format!("__Host-session={other}; __Host-session={good}"),
        "__Host-renewal=hp1.A; __Host-renewal=hp1.B".to_owned(),
    ] {
        assert_eq!(
            Presented::read(Some(&cookies), None),
            Err(Refusal::CredentialsConflict)
        );
    }
    let (cookie, bearer) = (format!("__Host-session={good}"), format!("Bearer {other}"));
    let outcome = Presented::read(Some(&cookie), Some(&bearer));
    assert_eq!(outcome, Err(Refusal::CredentialsConflict));
}

#[wasm_bindgen_test(unsupported = test)]
fn read_ignores_renewal_cookie_that_is_not_well_formed() {
    let long = format!("hp1.{}", "A".repeat(300));
    for value in ["", "hp2.AAAA", "hp1.", "hp1.A+A", "hp1.A A", long.as_str()] {
        let cookies = format!("__Host-renewal={value}");
        let presented = Presented::read(Some(&cookies), None).expect("no conflict");
        assert_eq!(presented.renewal(), None, "{value:.40}");
    }
}
