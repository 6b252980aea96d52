//! Any bytes in the place of a token's claims, signed by whoever holds the key.
//!
//! The table of docs/protocol.md §1 stands here once more, in the plainest words: what it allows is
//! accepted and nothing else. JSON is read as another parser reads it, and what the service mints
//! is read back as it was meant.

use crate::issuer::{AUDIENCE, ISSUER, KID, NOW, compact, keyring, now, policy, trust};
use hallpass_session::base64url::is_character;
use hallpass_session::claims::SessionClaims;
use hallpass_session::json;
use hallpass_session::token::{MAX_TOKEN_BYTES, TYP, judge, parse};
use hallpass_signature::SigningKey;
use serde_json::{Map, Value};

thread_local! {
    static SIGNING_KEY: SigningKey = SigningKey::generate(KID);
}

/// Checks one payload.
///
/// # Panics
///
/// If a promise is broken.
pub fn check(payload: &[u8]) {
    check_json(payload);
    let header = serde_json::json!({"alg": "EdDSA", "kid": KID, "typ": TYP}).to_string();
    let text = compact(header.as_bytes(), payload);
    let judged = judge(&text, &keyring(), &policy(), trust, now());

    let claims = json::parse_object(payload).filter(|_| text.len() <= MAX_TOKEN_BYTES);
    let allowed = claims.as_ref().is_some_and(is_allowed);
    assert_eq!(judged.is_ok(), allowed, "{judged:?}");
    if let Ok(token) = judged {
        check_minted(token.content());
    }
}

/// What we read, another parser reads alike.
fn check_json(bytes: &[u8]) {
    let Some(value) = json::parse(bytes) else {
        return;
    };
    let theirs: Value = serde_json::from_slice(bytes).expect("JSON to others too");
    assert_eq!(value, theirs);
    let written = serde_json::to_vec(&value).expect("JSON can be written");
    assert!(json::parse(&written).is_some(), "what we write, we read");
}

/// What the service mints of these claims is read as these claims.
fn check_minted(claims: &SessionClaims) {
    let minted = SIGNING_KEY.with(|key| key.sign_session_token(claims));
    let minted = minted.expect("a token");
    // Escapes and numbers may be written longer than they were read.
    if minted.len() <= MAX_TOKEN_BYTES {
        let read = parse(&minted).expect("a token that we read");
        assert_eq!(read.hearsay(), claims);
    }
}

fn is_allowed(claims: &Map<String, Value>) -> bool {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let has_names = text("iss") == ISSUER
        && text("aud") == AUDIENCE
        && is_subject(text("sub"))
        && is_sid(text("sid"));
    let idx = claims.get("idx").and_then(Value::as_u64);
    has_names
        && idx.is_some_and(|idx| idx < 1 << 32)
        && are_times(claims)
        && claims.get("amr").is_none_or(is_amr)
        && claims.get("ext").is_none_or(is_ext)
}

fn are_times(claims: &Map<String, Value>) -> bool {
    let time = |name: &str| claims.get(name).and_then(Value::as_u64).map(u128::from);
    let (Some(iat), Some(exp), Some(auth_time)) = (time("iat"), time("exp"), time("auth_time"))
    else {
        return false;
    };
    let (now, latest) = (u128::from(NOW), u128::from(NOW) + 5);
    let in_order = auth_time <= iat && iat < exp && exp - iat <= 3600;
    let nbf_holds =
        !claims.contains_key("nbf") || time("nbf").is_some_and(|nbf| nbf <= exp && nbf <= latest);
    in_order && iat <= latest && nbf_holds && now < exp
}

fn is_subject(sub: &str) -> bool {
    let safe = |c: char| ('!'..='~').contains(&c) && !"\",;\\".contains(c);
    (1..=255).contains(&sub.len()) && sub.chars().all(safe)
}

/// 22 characters hold 132 bits, an id has 128: the last character ends in four zero bits.
fn is_sid(sid: &str) -> bool {
    sid.len() == 22 && sid.bytes().all(is_character) && sid.ends_with(['A', 'Q', 'g', 'w'])
}

fn is_amr(amr: &Value) -> bool {
    let fits = |entry: &Value| {
        let text = entry.as_str();
        text.is_some_and(|text| (1..=64).contains(&text.len()) && text.is_ascii())
    };
    let entries = amr.as_array();
    entries.is_some_and(|entries| entries.len() <= 8 && entries.iter().all(fits))
}

fn is_ext(ext: &Value) -> bool {
    ext.is_object() && ext.to_string().len() <= 1024
}
