//! The table of what is let in and what is refused, and why.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
use jwt_simple::prelude::{HS256Key, MACLike};
use serde_json::{Value, json};

use super::{AssertionRefusal, AssertionVerifier, VerifiedAssertion, is_subject};

const KEY: &[u8; 32] = b"an assertion key of 32 bytes....";
const NOW_SECS: u64 = 1_795_239_036;
const HEADER: &str = r#"{"alg":"HS256","typ":"assertion+jwt"}"#;

type Outcome = Result<VerifiedAssertion, AssertionRefusal>;

/// A request as the edge makes it; each test changes one thing about it.
struct Request {
    key: Vec<u8>,
    header: String,
    claims: Value,
    method: Method,
    uri: &'static str,
    headers: Vec<(&'static str, String)>,
}

impl Request {
    fn anonymous() -> Self {
        let claims = json!({
            "iss": "https://session.example", "aud": "https://app.example",
            "iat": NOW_SECS, "exp": NOW_SECS + 30, "jti": "a-jti",
            "htm": "GET", "htu": "/page?q=1",
        });
        Self {
            key: KEY.to_vec(),
            header: HEADER.to_owned(),
            claims,
            method: Method::GET,
            uri: "/page?q=1",
            headers: Vec::new(),
        }
    }

    fn of_alice() -> Self {
        Self::anonymous()
            .claim("sub", json!("alice"))
            .claim("sid", json!("AAAAAAAAAAAAAAAAAAAAAA"))
            .claim("auth_time", json!(NOW_SECS - 60))
            .claim("amr", json!(["pwd"]))
            .claim("ext", json!({ "role": "demo" }))
            .with("hallpass-subject", "alice")
            .with("hallpass-session", "AAAAAAAAAAAAAAAAAAAAAA")
            .with("hallpass-auth-time", &(NOW_SECS - 60).to_string())
    }

    fn claim(mut self, name: &str, value: Value) -> Self {
        if value.is_null() {
            self.claims.as_object_mut().expect("an object").remove(name);
        } else {
            self.claims[name] = value;
        }
        self
    }

    fn header(mut self, header: &str) -> Self {
        header.clone_into(&mut self.header);
        self
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(present, _)| *present != name);
        self
    }

    fn token(&self) -> String {
        sign(&self.key, &self.header, &self.claims.to_string())
    }

    fn judged(&self) -> Outcome {
        self.judged_at(NOW_SECS)
    }

    fn judged_at(&self, now_secs: u64) -> Outcome {
        self.judged_with(&[&self.token()], now_secs)
    }

    fn judged_with(&self, tokens: &[&str], now_secs: u64) -> Outcome {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(
                HeaderName::from_static(name),
                value.parse().expect("a value"),
            );
        }
        for token in tokens {
            let value = HeaderValue::from_str(token).expect("a value");
            headers.append("hallpass-assertion", value);
        }
        verifier().verify(
            &self.method,
            &Uri::from_static(self.uri),
            &headers,
            now_secs,
        )
    }
}

fn verifier() -> AssertionVerifier {
    let audiences = ["https://app.example", "https://www.app.example"].map(str::to_owned);
    AssertionVerifier::new(KEY, "https://session.example", audiences).expect("a long key")
}

fn sign(key: &[u8], header: &str, payload: &str) -> String {
    let encode = |text: &[u8]| Base64UrlSafeNoPadding::encode_to_string(text).expect("encodes");
    let signed = format!(
        "{}.{}",
        encode(header.as_bytes()),
        encode(payload.as_bytes())
    );
    let tag = HS256Key::from_bytes(key).authentication_tag(signed.as_bytes());
    format!("{signed}.{}", encode(&tag))
}

fn refusal(outcome: Outcome) -> Option<AssertionRefusal> {
    outcome.err()
}

#[test]
fn verify_names_the_caller() {
    let assertion = Request::of_alice().judged().expect("lets in");
    let caller = assertion.caller().expect("a caller");
    assert_eq!(caller.subject, "alice");
    assert_eq!(caller.session, "AAAAAAAAAAAAAAAAAAAAAA");
    assert_eq!(caller.auth_time, NOW_SECS - 60);
    assert_eq!(caller.amr, ["pwd"]);
    assert_eq!(caller.ext["role"], "demo");
    assert_eq!(assertion.issued_at(), NOW_SECS);
    assert_eq!(assertion.id(), "a-jti");
}

#[test]
fn verify_tells_anonymous_from_bypassed() {
    let anonymous = Request::anonymous();
    assert!(anonymous.judged().expect("lets in").caller().is_none());
    let bypassed = refusal(anonymous.judged_with(&[], NOW_SECS));
    assert_eq!(bypassed, Some(AssertionRefusal::Missing));
}

#[test]
fn verify_refuses_an_assertion_that_came_twice() {
    let request = Request::of_alice();
    let token = request.token();
    let outcome = refusal(request.judged_with(&[&token, &token], NOW_SECS));
    assert_eq!(outcome, Some(AssertionRefusal::Repeated));
}

#[test]
fn verify_refuses_another_key() {
    let mut request = Request::of_alice();
    request.key = b"another assertion key, 32 bytes.".to_vec();
    assert_eq!(refusal(request.judged()), Some(AssertionRefusal::Untrusted));
}

#[test]
fn verify_refuses_every_changed_character() {
    let request = Request::of_alice();
    let token = request.token();
    for position in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[position] = if changed[position] == b'A' {
            b'B'
        } else {
            b'A'
        };
        let changed = String::from_utf8(changed).expect("ASCII");
        assert!(
            request.judged_with(&[&changed], NOW_SECS).is_err(),
            "{position}"
        );
    }
}

#[test]
fn verify_refuses_other_headers_under_the_right_key() {
    use AssertionRefusal::{Malformed, Untrusted};
    for (header, expected) in [
        (r#"{"alg":"none","typ":"assertion+jwt"}"#, Untrusted),
        (r#"{"alg":"HS384","typ":"assertion+jwt"}"#, Untrusted),
        (r#"{"alg":"EdDSA","typ":"assertion+jwt"}"#, Untrusted),
        (r#"{"alg":"hs256","typ":"assertion+jwt"}"#, Untrusted),
        (r#"{"alg":"HS256","typ":"session+jwt"}"#, Untrusted),
        (r#"{"alg":"HS256","typ":"JWT"}"#, Untrusted),
        (r#"{"alg":"HS256","typ":"Assertion+JWT"}"#, Untrusted),
        (r#"{"alg":"HS256"}"#, Malformed),
        (r#"{"typ":"assertion+jwt"}"#, Malformed),
        (
            r#"{"alg":"HS256","typ":"assertion+jwt","crit":[]}"#,
            Malformed,
        ),
        (
            r#"{"alg":"HS256","typ":"assertion+jwt","b64":false}"#,
            Malformed,
        ),
        (
            r#"{"alg":"HS256","typ":"assertion+jwt","jwk":"x"}"#,
            Malformed,
        ),
        (
            r#"{"alg":"HS256","typ":"assertion+jwt","typ":"assertion+jwt"}"#,
            Malformed,
        ),
        (r#"["HS256","assertion+jwt",null]"#, Malformed),
        ("null", Malformed),
        ("", Malformed),
    ] {
        let outcome = refusal(Request::of_alice().header(header).judged());
        assert_eq!(outcome, Some(expected), "{header}");
    }
    let with_kid = r#"{"alg":"HS256","kid":"a1","typ":"assertion+jwt"}"#;
    assert!(Request::of_alice().header(with_kid).judged().is_ok());
}

#[test]
fn verify_refuses_what_is_no_compact_jws() {
    let request = Request::of_alice();
    let token = request.token();
    let (unsigned, signature) = token.rsplit_once('.').expect("three parts");
    for malformed in [
        String::new(),
        "x".to_owned(),
        "..".to_owned(),
        format!("{unsigned}."),
        unsigned.to_owned(),
        format!("{token}.{signature}"),
        format!("{token}="),
        format!(" {token}"),
        format!("{unsigned}.{}", "A".repeat(20_000)),
        format!("{}.{token}", "A".repeat(257)),
    ] {
        let outcome = request.judged_with(&[&malformed], NOW_SECS);
        assert!(outcome.is_err(), "{malformed:.80}");
    }
}

#[test]
fn verify_refuses_from_the_second_of_expiry_on() {
    let request = Request::of_alice();
    assert!(request.judged_at(NOW_SECS + 29).is_ok());
    for late_secs in [30, 31, 36, 901] {
        let outcome = refusal(request.judged_at(NOW_SECS + late_secs));
        assert_eq!(outcome, Some(AssertionRefusal::Expired), "{late_secs}");
    }
}

#[test]
fn verify_refuses_old_assertions_that_say_they_live_longer() {
    let request = Request::of_alice().claim("exp", json!(NOW_SECS + 9_999));
    assert!(request.judged_at(NOW_SECS + 30).is_ok());
    let outcome = refusal(request.judged_at(NOW_SECS + 31));
    assert_eq!(outcome, Some(AssertionRefusal::Expired));
}

#[test]
fn verify_lets_the_edges_clock_be_five_seconds_ahead() {
    let request = Request::of_alice();
    assert!(request.judged_at(NOW_SECS - 5).is_ok());
    let outcome = refusal(request.judged_at(NOW_SECS - 6));
    assert_eq!(outcome, Some(AssertionRefusal::NotYetValid));
}

#[test]
fn verify_refuses_wrong_and_missing_claims() {
    use AssertionRefusal::{Expired, Malformed, WrongAudience, WrongIssuer, WrongRequest};
    for (name, value, expected) in [
        ("iss", json!("https://session.example/"), WrongIssuer),
        ("iss", Value::Null, WrongIssuer),
        ("iss", json!(["https://session.example"]), Malformed),
        ("aud", json!("https://other.example"), WrongAudience),
        ("aud", Value::Null, WrongAudience),
        ("aud", json!(["https://app.example"]), Malformed),
        ("iat", Value::Null, Expired),
        ("exp", Value::Null, Malformed),
        ("exp", json!(1_795_239_066.5), Malformed),
        ("iat", json!(1_795_239_036.0), Malformed),
        ("exp", json!("1795239066"), Malformed),
        ("exp", json!(-1), Malformed),
        ("jti", Value::Null, Malformed),
        ("htm", Value::Null, Malformed),
        ("htm", json!("POST"), WrongRequest),
        ("htm", json!("get"), WrongRequest),
        ("htu", json!("/page"), WrongRequest),
        ("htu", json!("/page?q=1&r=2"), WrongRequest),
        ("htu", json!("https://app.example/page?q=1"), WrongRequest),
        ("htu", Value::Null, Malformed),
        ("sub", Value::Null, Malformed),
        ("sub", json!(""), Malformed),
        ("sub", json!("a b"), Malformed),
        ("sub", json!("a\nb"), Malformed),
        ("sid", Value::Null, Malformed),
        ("auth_time", Value::Null, Malformed),
        ("amr", json!("pwd"), Malformed),
        ("ext", json!([]), Malformed),
    ] {
        let outcome = refusal(Request::of_alice().claim(name, value.clone()).judged());
        assert_eq!(outcome, Some(expected), "{name}: {value}");
    }
}

#[test]
fn verify_takes_any_of_its_audiences() {
    let request = Request::of_alice().claim("aud", json!("https://www.app.example"));
    assert!(request.judged().is_ok());
}

#[test]
fn verify_refuses_another_method_and_another_path() {
    let mut posted = Request::of_alice();
    posted.method = Method::POST;
    assert_eq!(
        refusal(posted.judged()),
        Some(AssertionRefusal::WrongRequest)
    );
    for uri in [
        "/page",
        "/page?q=2",
        "/page/?q=1",
        "/Page?q=1",
        "/%70age?q=1",
        "/",
    ] {
        let mut moved = Request::of_alice();
        moved.uri = uri;
        assert_eq!(
            refusal(moved.judged()),
            Some(AssertionRefusal::WrongRequest),
            "{uri}"
        );
    }
}

#[test]
fn verify_refuses_headers_that_disagree_with_the_assertion() {
    for name in ["hallpass-subject", "hallpass-session", "hallpass-auth-time"] {
        let disagree = Some(AssertionRefusal::HeadersDisagree);
        let absent = Request::of_alice().without(name);
        assert_eq!(refusal(absent.judged()), disagree, "absent {name}");
        let changed = Request::of_alice().without(name).with(name, "mallory");
        assert_eq!(refusal(changed.judged()), disagree, "changed {name}");
        let added = Request::anonymous().with(name, "mallory");
        assert_eq!(refusal(added.judged()), disagree, "added {name}");
        let twice = Request::of_alice().with(name, "mallory");
        assert_eq!(
            refusal(twice.judged()),
            Some(AssertionRefusal::Repeated),
            "two {name}"
        );
    }
}

#[test]
fn verifier_refuses_short_keys() {
    assert!(AssertionVerifier::new(&KEY[..31], "i", []).is_err());
    assert!(AssertionVerifier::new(&[], "i", []).is_err());
}

#[test]
fn is_subject_bounds_length_and_alphabet() {
    let longest = "a".repeat(255);
    for subject in ["a", "alice@example.org", "<b>", longest.as_str()] {
        assert!(is_subject(subject), "{subject}");
    }
    let longer = "a".repeat(256);
    for other in [
        "",
        " ",
        "a b",
        "a\"b",
        "a,b",
        "a;b",
        "a\\b",
        "é",
        "a\u{7f}",
        longer.as_str(),
    ] {
        assert!(!is_subject(other), "{other}");
    }
}
