//! The edge's word to the app: who this request is, and that it came through here.
//!
//! A JWS of `typ` `assertion+jwt`, good for 30 seconds, bound to method, path and query, and to the
//! origin the user asked for. Without a session it has no `sub`, so that an app can tell "nobody is
//! signed in" from "somebody went around the edge". It does not bind the body.
//!
//! Source: docs/protocol.md §6.

use crate::config::AssertionForm;
use crate::platform::Thrown;
use hallpass_session::admission::LiveSession;
use hallpass_session::base64url;
use hallpass_session::time::{Seconds, UnixSeconds};
use jwt_simple::prelude::{
    Duration, Ed25519KeyPair, EdDSAKeyPairLike, HS256Key, HeaderOptions, JWTClaims, MACLike,
    UnixTimeStamp,
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use wasm_bindgen::JsValue;

/// How long an assertion is good: the longest an app should take to look at its headers.
const LIFETIME: Seconds = Seconds::new(30);
/// `typ` of an assertion.
const TYP: &str = "assertion+jwt";
/// `kid` of the assertion's key.
const KID: &str = "assertion";
/// PKCS #8 of an Ed25519 private key up to its 32-byte seed (RFC 8410 §7).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// What one assertion is about.
pub(crate) struct Subject<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) audience: &'a str,
    pub(crate) request_id: &'a str,
    pub(crate) method: &'a str,
    /// Path and query as forwarded.
    pub(crate) target: &'a str,
    pub(crate) session: Option<&'a LiveSession>,
}

#[derive(Serialize)]
struct Payload<'a> {
    htm: &'a str,
    htu: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<UnixSeconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amr: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ext: Option<&'a Map<String, Value>>,
}

/// Signs an assertion; `None` when the settings want none.
pub(crate) fn sign(
    form: AssertionForm,
    key: &[u8],
    subject: &Subject<'_>,
    now: UnixSeconds,
) -> Result<Option<String>, Thrown> {
    let header = HeaderOptions {
        content_type: None,
        signature_type: Some(TYP.to_owned()),
    };
    let signed = match form {
        AssertionForm::Off => return Ok(None),
        AssertionForm::Hmac => HS256Key::from_bytes(key)
            .with_key_id(KID)
            .authenticate_with_options(claims(subject, now), &header),
        AssertionForm::EdDsa => {
            key_pair(key).and_then(|pair| pair.sign_with_options(claims(subject, now), &header))
        }
    };
    signed
        .map(Some)
        .map_err(|_| Thrown::from(JsValue::from_str("assertion")))
}

/// The public half of an `eddsa` key as a JWK set; `None` for every other form.
pub(crate) fn public_keys(form: AssertionForm, key: &[u8]) -> Option<Value> {
    let pair = key_pair(key)
        .ok()
        .filter(|_| form == AssertionForm::EdDsa)?;
    let x = base64url::encode(&pair.public_key().to_bytes());
    Some(json!({"keys": [
        {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": KID, "x": x}
    ]}))
}

fn key_pair(seed: &[u8]) -> Result<Ed25519KeyPair, jwt_simple::Error> {
    let der = [&PKCS8_PREFIX[..], seed].concat();
    Ok(Ed25519KeyPair::from_der(&der)?.with_key_id(KID))
}

fn claims<'a>(subject: &Subject<'a>, now: UnixSeconds) -> JWTClaims<Payload<'a>> {
    let session = subject.session.map(LiveSession::claims);
    let custom = Payload {
        htm: subject.method,
        htu: subject.target,
        sid: session.map(|claims| claims.sid.as_str()),
        auth_time: session.map(|claims| claims.auth_time),
        amr: session
            .map(|claims| claims.amr.as_slice())
            .filter(|amr| !amr.is_empty()),
        ext: session.and_then(|claims| claims.ext.as_ref()),
    };
    let claims = JWTClaims {
        issued_at: Some(timestamp(now)),
        expires_at: Some(timestamp(now.plus(LIFETIME))),
        invalid_before: None,
        issuer: Some(subject.issuer.to_owned()),
        subject: session.map(|claims| claims.sub.clone()),
        audiences: None,
        jwt_id: Some(subject.request_id.to_owned()),
        nonce: None,
        custom,
    };
    claims.with_audience(subject.audience)
}

fn timestamp(time: UnixSeconds) -> UnixTimeStamp {
    Duration::from_secs(time.get())
}
