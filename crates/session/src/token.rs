//! The session token: a JWS of kind `session+jwt` whose payload has the claims of a session.
//!
//! ```text
//! base64url({"alg":"EdDSA","kid":"…","typ":"session+jwt"}) . base64url(claims) . base64url(signature)
//! ```
//!
//! [`parse`] judges the form; [`judge`] is the whole order of checks in one place, for a shell that
//! can verify at once: form → key → signature → claims and time.
//!
//! Source: docs/protocol.md §1.

use crate::claims::{SessionClaims, TokenPolicy};
use crate::jws::{KeyMismatch, Kind, SignatureQuestion, Unverified, Verdict, Verified};
use crate::keyring::Keyring;
use crate::refusal::Refusal;
use crate::time::{Seconds, UnixSeconds};

/// Longest session token, in bytes: what browsers keep of one cookie.
pub const MAX_TOKEN_BYTES: usize = 4096;
/// `typ` of a session token.
pub const TYP: &str = "session+jwt";

pub(crate) const KIND: Kind = Kind {
    typ: TYP,
    max_bytes: MAX_TOKEN_BYTES,
};

/// A session token by its form only.
pub type UnverifiedToken = Unverified<SessionClaims>;
/// A session token whose signature is good; its time and revocation are still open.
pub type VerifiedToken = Verified<SessionClaims>;

/// Reads a session token's form.
///
/// # Errors
///
/// `Refusal::TokenMalformed` for the form, `Refusal::TokenInvalid` for claims out of their bounds.
pub fn parse(text: &str) -> Result<UnverifiedToken, Refusal> {
    let jws = Unverified::parse(text, KIND).map_err(|_| Refusal::TokenMalformed)?;
    jws.map(SessionClaims::parse)
}

/// Judges a token from its text to its claims at `now`, asking `verify` about the signature.
///
/// # Errors
///
/// The first check that fails: `TokenMalformed`, `TokenInvalid`, `TokenUntrusted`, `TokenExpired`.
pub fn judge(
    text: &str,
    keyring: &Keyring,
    policy: &TokenPolicy,
    verify: impl FnOnce(&SignatureQuestion<SessionClaims>) -> Verdict,
    now: UnixSeconds,
) -> Result<VerifiedToken, Refusal> {
    let question = parse(text)?.question(keyring).map_err(untrusted)?;
    let verdict = verify(&question);
    let token = question
        .answered(verdict)
        .map_err(|_| Refusal::TokenUntrusted)?;
    policy.check(token.content(), Seconds::new(0), now)?;
    Ok(token)
}

/// One refusal for every mismatch of key and algorithm: nobody learns which.
fn untrusted(_: KeyMismatch) -> Refusal {
    Refusal::TokenUntrusted
}
