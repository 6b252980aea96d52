//! What the rule tests share: an issuer with a key, and tokens that it signs, good or odd.
//!
//! Odd tokens are signed over any bytes by the right key, so that each test meets one guard only.

use ed25519_compact::{KeyPair, Seed};
use hallpass_session::admission::LiveSession;
use hallpass_session::base64url::encode;
use hallpass_session::claims::TokenPolicy;
use hallpass_session::jws::{SignatureQuestion, Verdict, Verified};
use hallpass_session::keyring::{JwkSet, Keyring};
use hallpass_session::refusal::Refusal;
use hallpass_session::revocation::{self, RevocationList, encode_bitmap};
use hallpass_session::time::{Seconds, UnixSeconds};
use hallpass_session::token::{self, VerifiedToken};
use hallpass_session::wire::{ListBucket, ListClaims};
use serde_json::{Map, Value, json};
use std::rc::Rc;

/// The second at which every test begins.
pub(crate) const NOW: u64 = 1_795_224_155;
pub(crate) const ISSUER: &str = "https://sessions.example";
pub(crate) const KID: &str = "k1";

/// The key that signs, from a fixed seed: failures repeat.
pub(crate) fn key() -> KeyPair {
    KeyPair::from_seed(Seed::new([7; 32]))
}

pub(crate) fn other_key() -> KeyPair {
    KeyPair::from_seed(Seed::new([8; 32]))
}

pub(crate) fn keyring() -> Keyring {
    let x = encode(&key().pk[..]);
    let jwk =
        json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": KID, "x": x});
    let set = JwkSet::parse(&json!({"keys": [jwk]})).expect("a good set");
    set.checked(hallpass_signature::is_sound)
        .expect("a sound key")
}

pub(crate) fn policy() -> TokenPolicy {
    TokenPolicy {
        issuer: ISSUER.to_owned(),
        audience: "app".to_owned(),
        clock_skew: Seconds::new(5),
        max_token_lifetime: Seconds::new(3600),
    }
}

/// A good header; tests change members of it.
pub(crate) fn header() -> Map<String, Value> {
    object(json!({"alg": "EdDSA", "kid": KID, "typ": "session+jwt"}))
}

/// Good claims of a token made a minute ago that lives five.
pub(crate) fn claims() -> Map<String, Value> {
    object(json!({
        "iss": ISSUER, "aud": "app", "sub": "ada", "sid": "AAAAAAAAAAAAAAAAAAAAAA", "idx": 7,
        "iat": NOW - 60, "exp": NOW + 240, "auth_time": NOW - 3600, "amr": ["pwd"],
        "ext": {"role": "editor"},
    }))
}

pub(crate) fn with(
    mut members: Map<String, Value>,
    name: &str,
    value: Value,
) -> Map<String, Value> {
    members.insert(name.to_owned(), value);
    members
}

pub(crate) fn without(mut members: Map<String, Value>, name: &str) -> Map<String, Value> {
    members.remove(name);
    members
}

/// Signs any two texts as header and payload.
pub(crate) fn sign_text(key: &KeyPair, header: &str, payload: &str) -> String {
    sign_bytes(key, header.as_bytes(), payload.as_bytes())
}

/// Signs any bytes as header and payload.
pub(crate) fn sign_bytes(key: &KeyPair, header: &[u8], payload: &[u8]) -> String {
    let input = format!("{}.{}", encode(header), encode(payload));
    let signature = key.sk.sign(&input, None);
    format!("{input}.{}", encode(&signature[..]))
}

pub(crate) fn sign(header: &Map<String, Value>, claims: &Map<String, Value>) -> String {
    let text = |members: &Map<String, Value>| Value::Object(members.clone()).to_string();
    sign_text(&key(), &text(header), &text(claims))
}

pub(crate) fn token() -> String {
    sign(&header(), &claims())
}

/// Judges a token as the edge does, at `now`; its explanation must agree.
pub(crate) fn judge(text: &str, now: u64) -> Result<VerifiedToken, Refusal> {
    let (verify, at) = (hallpass_signature::verify, UnixSeconds::new(now));
    let judged = token::judge(text, &keyring(), &policy(), verify, at);
    crate::explain::agrees(text, judged.as_ref().map_err(|refusal| *refusal), now);
    judged
}

pub(crate) fn refusal(text: &str) -> Option<Refusal> {
    judge(text, NOW).err()
}

/// An empty whole list that trusts the key.
pub(crate) fn list_claims() -> ListClaims {
    ListClaims {
        iss: ISSUER.to_owned(),
        iat: NOW,
        exp: NOW + 300,
        epoch: "e1".to_owned(),
        began: NOW - 100_000,
        from: 0,
        to: 10,
        revoked_before: 0,
        kids: vec![KID.to_owned()],
        sessions: Vec::new(),
    }
}

pub(crate) fn bucket(exp: u64, indexes: &[u32]) -> ListBucket {
    ListBucket {
        exp,
        idx: encode_bitmap(&indexes.iter().copied().collect()),
    }
}

/// Signs a list and takes it through the question, as the edge does.
pub(crate) fn verified_list(claims: &ListClaims) -> Verified<ListClaims> {
    let payload = serde_json::to_string(claims).expect("a list is JSON");
    let header = json!({"alg": "EdDSA", "kid": KID, "typ": "revocations+jwt"}).to_string();
    let text = sign_text(&key(), &header, &payload);
    let question = revocation::parse(&text)
        .expect("a list")
        .question(&keyring())
        .expect("a key");
    answered(question)
}

pub(crate) fn list(claims: &ListClaims) -> RevocationList {
    RevocationList::new(verified_list(claims), ISSUER, UnixSeconds::new(NOW)).expect("a good list")
}

pub(crate) fn live_session(claims: &Map<String, Value>, now: u64) -> Result<LiveSession, Refusal> {
    let token = Rc::new(judge(&sign(&header(), claims), NOW)?);
    let now = UnixSeconds::new(now);
    LiveSession::admit(
        token,
        &policy(),
        &list(&list_claims()),
        Seconds::new(0),
        now,
    )
}

fn answered<C>(question: SignatureQuestion<C>) -> Verified<C> {
    let verdict = hallpass_signature::verify(&question);
    assert_eq!(verdict, Verdict::Good);
    question.answered(verdict).expect("a good answer")
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
