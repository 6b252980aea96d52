//! What a session token says, and whether that is a token for this app now.
//!
//! Two steps. [`SessionClaims::parse`] reads types and bounds: after it no field can hold what its
//! type does not allow. [`TokenPolicy::check`] compares with the settings and the clock. Unknown
//! members are ignored and never kept.
//!
//! Source: docs/protocol.md §1; RFC 7519 §4.1.

use crate::base64url;
use crate::refusal::{Refusal, until_broken};
use crate::time::{Seconds, UnixSeconds};
use serde_json::{Map, Value};
use std::ops::ControlFlow::{self, Break, Continue};

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
        Self::read(&mut payload).map_err(|_| Refusal::TokenInvalid)
    }

    /// Reads a payload, naming the claim that will not do.
    pub(crate) fn read(payload: &mut Map<String, Value>) -> Result<Self, ClaimFault> {
        Ok(Self {
            iss: text(payload, "iss", |_| true)?,
            aud: text(payload, "aud", |_| true)?,
            sub: text(payload, "sub", is_subject)?,
            sid: text(payload, "sid", is_sid)?,
            idx: index(payload, "idx")?,
            iat: time(payload, "iat")?,
            exp: time(payload, "exp")?,
            auth_time: time(payload, "auth_time")?,
            nbf: optional(time(payload, "nbf"))?,
            amr: optional(take(payload, "amr", amr))?.unwrap_or_default(),
            ext: optional(take(payload, "ext", ext))?,
        })
    }

    /// How long the token lives.
    #[must_use]
    pub const fn lifetime(&self) -> Seconds {
        self.exp.since(self.iat)
    }
}

/// A claim that will not do: for who explains a refusal, not for who is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimFault {
    /// It is not there.
    Missing(&'static str),
    /// It is of another type or out of its bounds.
    Form(&'static str),
}

/// One rule of [`TokenPolicy::check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyRule {
    /// `iss` is the configured issuer.
    Issuer,
    /// `aud` is the configured audience.
    Audience,
    /// `auth_time <= iat < exp` and `nbf <= exp`.
    TimesInOrder,
    /// `exp - iat` is within its bound.
    Lifetime,
    /// `iat`, `auth_time` and `nbf` are not further ahead than clocks may differ.
    NotAhead,
    /// `exp` has not come.
    NotExpired,
}

impl PolicyRule {
    /// Every rule, in the order of judgement.
    pub const ALL: [Self; 6] = [
        Self::Issuer,
        Self::Audience,
        Self::TimesInOrder,
        Self::Lifetime,
        Self::NotAhead,
        Self::NotExpired,
    ];

    /// What breaking it is called in public.
    #[must_use]
    pub const fn refusal(self) -> Refusal {
        match self {
            Self::NotExpired => Refusal::TokenExpired,
            _ => Refusal::TokenInvalid,
        }
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
        match self.visit_rules(claims, grace, now, until_broken) {
            Continue(()) => Ok(()),
            Break(rule) => Err(rule.refusal()),
        }
    }

    /// Tells `visit` of each rule whether it holds, in the order of [`PolicyRule::ALL`], until it
    /// has seen enough.
    pub(crate) fn visit_rules<B>(
        &self,
        claims: &SessionClaims,
        grace: Seconds,
        now: UnixSeconds,
        mut visit: impl FnMut(PolicyRule, bool) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        visit(PolicyRule::Issuer, claims.iss == self.issuer)?;
        visit(PolicyRule::Audience, claims.aud == self.audience)?;
        let nbf = claims.nbf.unwrap_or(claims.iat);
        let in_order =
            claims.auth_time <= claims.iat && claims.iat < claims.exp && nbf <= claims.exp;
        visit(PolicyRule::TimesInOrder, in_order)?;
        let lifetime = claims.lifetime() <= self.max_token_lifetime;
        visit(PolicyRule::Lifetime, lifetime)?;
        let latest = now.plus(self.clock_skew);
        let furthest = claims.iat.max(claims.auth_time).max(nbf);
        visit(PolicyRule::NotAhead, furthest <= latest)?;
        visit(PolicyRule::NotExpired, now < claims.exp.plus(grace))
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

fn take<T>(
    payload: &mut Map<String, Value>,
    claim: &'static str,
    read: impl FnOnce(Value) -> Option<T>,
) -> Result<T, ClaimFault> {
    let value = payload.remove(claim).ok_or(ClaimFault::Missing(claim))?;
    read(value).ok_or(ClaimFault::Form(claim))
}

fn text(
    payload: &mut Map<String, Value>,
    claim: &'static str,
    is_good: impl FnOnce(&str) -> bool,
) -> Result<String, ClaimFault> {
    take(payload, claim, |value| match value {
        Value::String(text) if is_good(&text) => Some(text),
        _ => None,
    })
}

/// Only non-negative integers: `1e3`, `1.0`, `-0` and strings are no numbers of ours.
fn number(payload: &Map<String, Value>, claim: &'static str) -> Result<u64, ClaimFault> {
    let value = payload.get(claim).ok_or(ClaimFault::Missing(claim))?;
    value.as_u64().ok_or(ClaimFault::Form(claim))
}

fn index(payload: &Map<String, Value>, claim: &'static str) -> Result<u32, ClaimFault> {
    let number = number(payload, claim)?;
    number.try_into().map_err(|_| ClaimFault::Form(claim))
}

fn time(payload: &Map<String, Value>, claim: &'static str) -> Result<UnixSeconds, ClaimFault> {
    number(payload, claim).map(UnixSeconds::new)
}

fn optional<T>(read: Result<T, ClaimFault>) -> Result<Option<T>, ClaimFault> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(ClaimFault::Missing(_)) => Ok(None),
        Err(fault) => Err(fault),
    }
}

fn amr(value: Value) -> Option<Vec<String>> {
    let entries: Vec<String> = serde_json::from_value(value).ok()?;
    is_amr(&entries).then_some(entries)
}

fn ext(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(ext) if is_ext(&ext) => Some(ext),
        _ => None,
    }
}
