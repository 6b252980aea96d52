//! Decides whether a request came through the edge, and whose it is.
//!
//! This is the one check an app behind Hallpass has to make, and the file to copy. The edge puts a
//! `Hallpass-Assertion` on every request it forwards: a JWS, `typ` `assertion+jwt`, HS256 under a
//! key that only edge and app hold, made for this method, path and query and good for 30 seconds.
//! With a session it carries `sub` and `sid`; without one it carries neither, so that *anonymous*
//! and *went around the edge* are told apart: the second has no assertion and is refused.
//!
//! What it leaves to others: where the key comes from (`config`), what a refusal looks like
//! (`refusal`), and what the app does with a caller. It does not bind the body, and within its 30
//! seconds the same request can be replayed by whoever saw it: keep the way from the edge to the
//! app private.
//!
//! Source: docs/protocol.md §6.

use std::collections::HashSet;

use axum::http::{HeaderMap, Method, Uri};
use ct_codecs::{Base64UrlSafeNoPadding, Decoder};
use jwt_simple::JWTError;
use jwt_simple::prelude::{
    Duration, HS256Key, MACLike, NoCustomClaims, UnixTimeStamp, VerificationOptions,
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Name of the request header that carries the assertion.
pub const ASSERTION_HEADER: &str = "hallpass-assertion";
/// Name of the request header that repeats the assertion's `sub`.
pub const SUBJECT_HEADER: &str = "hallpass-subject";
/// Name of the request header that repeats the assertion's `sid`.
pub const SESSION_HEADER: &str = "hallpass-session";
/// Name of the request header that repeats the assertion's `auth_time`.
pub const AUTH_TIME_HEADER: &str = "hallpass-auth-time";

/// The `typ` of an assertion, byte for byte: no other kind of token under the same key passes.
const ASSERTION_TYP: &str = "assertion+jwt";
/// The one algorithm; `none` and everything else is refused.
const ASSERTION_ALG: &str = "HS256";
/// Shortest key, in bytes: RFC 7518 §3.2 asks for the length of the hash.
pub const MIN_KEY_BYTES: usize = 32;
/// Longest assertion, in bytes: an `htu` of 8 KiB and an `ext` of 1 KiB, in base64url, and the rest.
const MAX_ASSERTION_BYTES: usize = 16 * 1024;
/// Longest header part of it, in bytes of base64url; the edge's has 50.
const MAX_HEADER_BYTES: usize = 256;
/// How long after `iat` an assertion is good, in seconds, whatever its `exp` says.
const MAX_AGE_SECS: u64 = 30;
/// How far ahead of our clock the edge's may be, in seconds. `exp` gets no such leeway.
const CLOCK_SKEW_SECS: u64 = 5;

/// Checks assertions: a key, and for whom and by whom they must be made.
pub struct AssertionVerifier {
    key: HS256Key,
    issuer: String,
    audiences: HashSet<String>,
}

/// An assertion that passed every check, for the very request it came with.
///
/// [`AssertionVerifier::verify`] is its only maker: whoever holds one need not check again.
#[derive(Clone, Debug)]
pub struct VerifiedAssertion {
    claims: Claims,
    caller: Option<Caller>,
}

/// Who makes a request, when the request has a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user: 1–255 printable ASCII bytes.
    pub subject: String,
    /// The session's public id, safe to show and to log; it opens nothing.
    pub session: String,
    /// When the user last proved who they are, in seconds since 1970.
    pub auth_time: u64,
    /// How, as RFC 8176 names: `pwd`, `otp`, ….
    pub amr: Vec<String>,
    /// The app's own claims, as it gave them when it created the session.
    pub ext: Map<String, Value>,
}

/// The claims as signed. Times must be whole numbers and `aud` one string: other forms do not parse.
#[derive(Clone, Debug, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    iat: u64,
    exp: u64,
    jti: String,
    htm: String,
    htu: String,
    sub: Option<String>,
    sid: Option<String>,
    auth_time: Option<u64>,
    amr: Option<Vec<String>>,
    ext: Option<Map<String, Value>>,
}

/// The protected header. Nothing else may be in it, so neither `crit` nor a key of the sender's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProtectedHeader {
    alg: String,
    typ: String,
    #[serde(rename = "kid")]
    _kid: Option<String>,
}

/// Why a request is refused. The text of an inner error is never kept: it can quote the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssertionRefusal {
    /// No assertion: the request went around the edge, or the edge's setting `assertion` is `off`.
    Missing,
    /// A header of ours came twice, so nobody can say which one counts.
    Repeated,
    /// Not a compact JWS of the agreed form.
    Malformed,
    /// Another `typ`, another `alg`, another key, or a changed byte.
    Untrusted,
    /// Made by another issuer.
    WrongIssuer,
    /// Made for another audience.
    WrongAudience,
    /// Past its `exp`, or older than 30 seconds.
    Expired,
    /// Made in the future: the clocks are further apart than 5 seconds.
    NotYetValid,
    /// Made for another method, path or query.
    WrongRequest,
    /// `Hallpass-Subject`, `Hallpass-Session` or `Hallpass-Auth-Time` say something else.
    HeadersDisagree,
}

impl AssertionVerifier {
    /// A verifier for assertions by `issuer`, for any one of `audiences`, under `key`.
    ///
    /// # Errors
    /// [`WeakKey`] if the key has fewer than 32 bytes.
    pub fn new(
        key: &[u8],
        issuer: impl Into<String>,
        audiences: impl IntoIterator<Item = String>,
    ) -> Result<Self, WeakKey> {
        if key.len() < MIN_KEY_BYTES {
            return Err(WeakKey);
        }
        Ok(Self {
            key: HS256Key::from_bytes(key),
            issuer: issuer.into(),
            audiences: audiences.into_iter().collect(),
        })
    }

    /// Judges the request `method uri` with its `headers`, at `now_secs` since 1970.
    ///
    /// # Errors
    /// An [`AssertionRefusal`] that says which check failed first. Answer it with 403.
    pub fn verify(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        now_secs: u64,
    ) -> Result<VerifiedAssertion, AssertionRefusal> {
        let token = only_value(headers, ASSERTION_HEADER)?.ok_or(AssertionRefusal::Missing)?;
        let claims = self.verify_token(token, now_secs)?;
        if claims.htm != method.as_str() || claims.htu != path_and_query(uri) {
            return Err(AssertionRefusal::WrongRequest);
        }
        let caller = caller_of(&claims)?;
        require_agreement(headers, caller.as_ref())?;
        Ok(VerifiedAssertion { claims, caller })
    }

    /// Form first, then signature, then the claims about who made it, for whom and when.
    fn verify_token(&self, token: &str, now_secs: u64) -> Result<Claims, AssertionRefusal> {
        let [header, payload] = parse_parts(token)?;
        check_header(header)?;
        self.key
            .verify_token::<NoCustomClaims>(token, Some(self.options(now_secs)))
            .map_err(|error| refusal_of(&error))?;
        // The signature is good, so these are the edge's own words. jwt-simple would read `1e3`
        // and 1000.5 as times and take a missing `exp` for "never"; this reading does not.
        let claims: Claims = parse_object(payload)?;
        if now_secs >= claims.exp {
            return Err(AssertionRefusal::Expired);
        }
        Ok(claims)
    }

    /// Every option is set, since the defaults let pass: 15 minutes past `exp`, any issuer, any
    /// audience, any `typ`, tokens of a megabyte.
    fn options(&self, now_secs: u64) -> VerificationOptions {
        VerificationOptions {
            reject_before: None,
            accept_future: false,
            required_subject: None,
            required_key_id: None,
            required_signature_type: Some(ASSERTION_TYP.to_owned()),
            required_content_type: None,
            required_nonce: None,
            allowed_issuers: Some(HashSet::from([self.issuer.clone()])),
            allowed_audiences: Some(self.audiences.clone()),
            time_tolerance: Some(Duration::from_secs(CLOCK_SKEW_SECS)),
            max_validity: Some(Duration::from_secs(MAX_AGE_SECS)),
            max_token_length: Some(MAX_ASSERTION_BYTES),
            max_header_length: Some(MAX_HEADER_BYTES),
            artificial_time: Some(UnixTimeStamp::from_secs(now_secs)),
        }
    }
}

impl VerifiedAssertion {
    /// Who makes the request; `None` when it is anonymous.
    #[must_use]
    pub fn caller(&self) -> Option<&Caller> {
        self.caller.as_ref()
    }

    /// Who made the assertion.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.claims.iss
    }

    /// For whom it was made.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.claims.aud
    }

    /// When it was made, in seconds since 1970: a moment ago, on every request anew.
    #[must_use]
    pub fn issued_at(&self) -> u64 {
        self.claims.iat
    }

    /// From when on it is refused, in seconds since 1970.
    #[must_use]
    pub fn expires_at(&self) -> u64 {
        self.claims.exp
    }

    /// Its own id, never the same twice.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.claims.jti
    }

    /// The method it was made for, which is this request's.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.claims.htm
    }

    /// The path and query it was made for, which are this request's.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.claims.htu
    }
}

impl AssertionRefusal {
    /// A stable word for it, for logs and problem documents.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "assertion_missing",
            Self::Repeated => "assertion_repeated",
            Self::Malformed => "assertion_malformed",
            Self::Untrusted => "assertion_untrusted",
            Self::WrongIssuer => "assertion_wrong_issuer",
            Self::WrongAudience => "assertion_wrong_audience",
            Self::Expired => "assertion_expired",
            Self::NotYetValid => "assertion_not_yet_valid",
            Self::WrongRequest => "assertion_wrong_request",
            Self::HeadersDisagree => "identity_headers_disagree",
        }
    }
}

/// A key with fewer than 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeakKey;

/// Whether `text` has the form of a subject: 1–255 printable ASCII bytes without `"` `,` `;` `\`.
#[must_use]
pub fn is_subject(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\'))
}

/// The value of a header that may be there once at most.
fn only_value<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, AssertionRefusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(AssertionRefusal::Malformed),
        },
        (Some(_), Some(_)) => Err(AssertionRefusal::Repeated),
    }
}

/// Header and payload of a compact JWS, still encoded; bounded before anything is decoded.
fn parse_parts(token: &str) -> Result<[&str; 2], AssertionRefusal> {
    if token.len() > MAX_ASSERTION_BYTES {
        return Err(AssertionRefusal::Malformed);
    }
    let mut parts = token.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(header), Some(payload), Some(_signature), None)
            if header.len() <= MAX_HEADER_BYTES =>
        {
            Ok([header, payload])
        }
        _ => Err(AssertionRefusal::Malformed),
    }
}

/// `typ` and `alg` byte for byte: jwt-simple compares `typ` without regard to case, and lets
/// unknown members and an empty `crit` pass.
fn check_header(encoded: &str) -> Result<(), AssertionRefusal> {
    let header: ProtectedHeader = parse_object(encoded)?;
    if header.typ != ASSERTION_TYP || header.alg != ASSERTION_ALG {
        return Err(AssertionRefusal::Untrusted);
    }
    Ok(())
}

/// A base64url part as a JSON object. Serde would also fill a struct from an array, by position.
fn parse_object<T: for<'de> Deserialize<'de>>(encoded: &str) -> Result<T, AssertionRefusal> {
    let json = Base64UrlSafeNoPadding::decode_to_vec(encoded, None)
        .map_err(|_| AssertionRefusal::Malformed)?;
    if json.first() != Some(&b'{') {
        return Err(AssertionRefusal::Malformed);
    }
    serde_json::from_slice(&json).map_err(|_| AssertionRefusal::Malformed)
}

/// Which of our words fits a jwt-simple error.
fn refusal_of(error: &jwt_simple::Error) -> AssertionRefusal {
    match error.downcast_ref::<JWTError>() {
        Some(JWTError::RequiredIssuerMismatch | JWTError::RequiredIssuerMissing) => {
            AssertionRefusal::WrongIssuer
        }
        Some(JWTError::RequiredAudienceMismatch | JWTError::RequiredAudienceMissing) => {
            AssertionRefusal::WrongAudience
        }
        Some(JWTError::TokenHasExpired | JWTError::TokenIsTooOld) => AssertionRefusal::Expired,
        Some(JWTError::ClockDrift | JWTError::TokenNotValidYet) => AssertionRefusal::NotYetValid,
        Some(JWTError::InvalidAuthenticationTag | JWTError::AlgorithmMismatch) => {
            AssertionRefusal::Untrusted
        }
        _ => AssertionRefusal::Malformed,
    }
}

/// The request's path and query, as they stand on the request line.
fn path_and_query(uri: &Uri) -> &str {
    uri.path_and_query().map_or("", |target| target.as_str())
}

/// The caller the claims name: either all of `sub`, `sid` and `auth_time`, or none of them.
fn caller_of(claims: &Claims) -> Result<Option<Caller>, AssertionRefusal> {
    match (&claims.sub, &claims.sid, claims.auth_time) {
        (None, None, None) => Ok(None),
        (Some(sub), Some(sid), Some(auth_time)) if is_subject(sub) && is_subject(sid) => {
            Ok(Some(Caller {
                subject: sub.clone(),
                session: sid.clone(),
                auth_time,
                amr: claims.amr.clone().unwrap_or_default(),
                ext: claims.ext.clone().unwrap_or_default(),
            }))
        }
        _ => Err(AssertionRefusal::Malformed),
    }
}

/// The plain headers must say what the assertion says, so that code which reads them is right too.
fn require_agreement(headers: &HeaderMap, caller: Option<&Caller>) -> Result<(), AssertionRefusal> {
    let auth_time = caller.map(|caller| caller.auth_time.to_string());
    let agrees = only_value(headers, SUBJECT_HEADER)? == caller.map(|caller| &*caller.subject)
        && only_value(headers, SESSION_HEADER)? == caller.map(|caller| &*caller.session)
        && only_value(headers, AUTH_TIME_HEADER)? == auth_time.as_deref();
    if agrees {
        Ok(())
    } else {
        Err(AssertionRefusal::HeadersDisagree)
    }
}

#[cfg(test)]
mod tests;
