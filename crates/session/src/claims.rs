//! What a session token says, and whether that is a token for this app now.
//!
//! Two steps. [`SessionClaims::parse`] reads types and bounds: after it no field can hold what its
//! type does not allow. [`TokenPolicy::check`] compares with the settings and the clock. Unknown
//! members are ignored and never kept.
//!
//! Source: docs/protocol.md §1; RFC 7519 §4.1.

use crate::base64url;
use crate::refusal::Refusal;
use crate::time::{Seconds, UnixSeconds};
use serde_json::{Map, Value};

/// Longest `sub`, in bytes: it becomes one header value.
const MAX_SUBJECT_BYTES: usize = 255;
/// 16 random bytes in base64url.
const SID_CHARACTERS: usize = 22;
/// Most entries of `amr`; RFC 8176 has about 20 names, a sign-in uses two or three.
const MAX_AMR: usize = 8;
/// Longest entry of `amr`, in bytes.
const MAX_AMR_BYTES: usize = 64;
/// Longest `ext` as JSON, in bytes: it becomes one header value of 1.4 KB.
pub const MAX_EXT_BYTES: usize = 1024;

/// The claims of a session token.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionClaims {
    /// Issuer.
    pub iss: String,
    /// The one audience.
    pub aud: String,
    /// Who it is: 1–255 bytes of printable ASCII without space `"` `,` `;` `\`.
    pub sub: String,
    /// Session id, 22 characters of base64url.
    pub sid: String,
    /// The session's place in the revocation list's bitmaps.
    pub idx: u32,
    /// When the token was made.
    pub iat: UnixSeconds,
    /// First second in which it is no longer good.
    pub exp: UnixSeconds,
    /// When the user last proved who they are.
    pub auth_time: UnixSeconds,
    /// First second in which it is good, if not `iat`.
    pub nbf: Option<UnixSeconds>,
    /// How they did.
    pub amr: Vec<String>,
    /// The app's own claims.
    pub ext: Option<Map<String, Value>>,
}

impl SessionClaims {
    /// Reads a token's payload.
    ///
    /// # Errors
    ///
    /// `Refusal::TokenInvalid` for a missing claim, a wrong type or a value out of bounds.
    pub fn parse(mut payload: Map<String, Value>) -> Result<Self, Refusal> {
        Self::read(&mut payload).ok_or(Refusal::TokenInvalid)
    }

    fn read(payload: &mut Map<String, Value>) -> Option<Self> {
        Some(Self {
            iss: take_text(payload, "iss")?,
            aud: take_text(payload, "aud")?,
            sub: take_text(payload, "sub").filter(|sub| is_subject(sub))?,
            sid: take_text(payload, "sid").filter(|sid| is_sid(sid))?,
            idx: payload.get("idx")?.as_u64()?.try_into().ok()?,
            iat: time(payload.get("iat")?)?,
            exp: time(payload.get("exp")?)?,
            auth_time: time(payload.get("auth_time")?)?,
            nbf: payload
                .get("nbf")
                .map_or(Some(None), |nbf| time(nbf).map(Some))?,
            amr: payload.remove("amr").map_or(Some(Vec::new()), amr)?,
            ext: payload
                .remove("ext")
                .map_or(Some(None), |ext| read_ext(ext).map(Some))?,
        })
    }

    /// How long the token lives.
    #[must_use]
    pub const fn lifetime(&self) -> Seconds {
        self.exp.since(self.iat)
    }
}

/// What the settings demand of a token.
#[derive(Clone, Debug)]
pub struct TokenPolicy {
    /// The one issuer.
    pub issuer: String,
    /// The one audience.
    pub audience: String,
    /// How far `iat`, `auth_time` and `nbf` may lie ahead.
    pub clock_skew: Seconds,
    /// Longest `exp − iat`.
    pub max_token_lifetime: Seconds,
}

impl TokenPolicy {
    /// Checks a verified token's claims at `now`; good while `now < exp + grace`.
    ///
    /// # Errors
    ///
    /// `Refusal::TokenInvalid` for everything but `exp`, then `Refusal::TokenExpired`.
    pub fn check(
        &self,
        claims: &SessionClaims,
        grace: Seconds,
        now: UnixSeconds,
    ) -> Result<(), Refusal> {
        let latest = now.plus(self.clock_skew);
        let nbf = claims.nbf.unwrap_or(claims.iat);
        let invalid = claims.iss != self.issuer
            || claims.aud != self.audience
            || claims.auth_time > claims.iat
            || claims.iat >= claims.exp
            || nbf > claims.exp
            || claims.lifetime() > self.max_token_lifetime
            || claims.iat > latest
            || claims.auth_time > latest
            || nbf > latest;
        if invalid {
            Err(Refusal::TokenInvalid)
        } else if now >= claims.exp.plus(grace) {
            Err(Refusal::TokenExpired)
        } else {
            Ok(())
        }
    }
}

/// Whether `sub` may be a subject: safe as one header value and in logs.
#[must_use]
pub fn is_subject(sub: &str) -> bool {
    let safe = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b',' | b';' | b'\\');
    !sub.is_empty() && sub.len() <= MAX_SUBJECT_BYTES && sub.bytes().all(safe)
}

/// Whether `sid` has the form of a session id.
#[must_use]
pub fn is_sid(sid: &str) -> bool {
    sid.len() == SID_CHARACTERS && base64url::decode(sid).is_some()
}

/// Whether `amr` is within its bounds.
#[must_use]
pub fn is_amr<S: AsRef<str>>(amr: &[S]) -> bool {
    let fits = |text: &str| (1..=MAX_AMR_BYTES).contains(&text.len()) && text.is_ascii();
    amr.len() <= MAX_AMR && amr.iter().all(|entry| fits(entry.as_ref()))
}

/// Whether `ext` is within its bound, as it will be written.
#[must_use]
pub fn is_ext(ext: &Map<String, Value>) -> bool {
    serde_json::to_vec(ext).is_ok_and(|json| json.len() <= MAX_EXT_BYTES)
}

fn take_text(payload: &mut Map<String, Value>, name: &str) -> Option<String> {
    match payload.remove(name)? {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// Only non-negative integers: `1e3`, `1.0`, `-0` and strings are no times.
fn time(value: &Value) -> Option<UnixSeconds> {
    value.as_u64().map(UnixSeconds::new)
}

fn amr(value: Value) -> Option<Vec<String>> {
    let entries: Vec<String> = serde_json::from_value(value).ok()?;
    is_amr(&entries).then_some(entries)
}

fn read_ext(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(ext) if is_ext(&ext) => Some(ext),
        _ => None,
    }
}
