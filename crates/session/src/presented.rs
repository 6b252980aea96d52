//! What a request presents: the credentials in its `Cookie` and `Authorization` headers.
//!
//! A bearer token is ours only if it is `Bearer ` and a compact JWS whose header says `session+jwt`;
//! every other `Authorization` belongs to the app. Two different values of one credential are a
//! conflict: nobody picks one.
//!
//! Source: docs/protocol.md §2; RFC 6750 §2.1.

use crate::cookie::{self, Found, RENEWAL_COOKIE, SESSION_COOKIE};
use crate::jws;
use crate::refusal::Refusal;
use crate::renewal::RenewalToken;
use crate::token::{self, UnverifiedToken};

/// Where a session token came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The session cookie: browsers send it along by themselves.
    Cookie,
    /// The `Authorization` header: somebody wrote it there.
    Bearer,
}

/// A request's credentials, unjudged.
#[derive(Default, PartialEq, Eq)]
pub struct Presented {
    cookie: Option<String>,
    bearer: Option<String>,
    renewal: Option<String>,
}

impl Presented {
    /// Reads both headers.
    ///
    /// # Errors
    ///
    /// `Refusal::CredentialsConflict`.
    pub fn read(cookies: Option<&str>, authorization: Option<&str>) -> Result<Self, Refusal> {
        let cookies = cookies.unwrap_or_default();
        let presented = Self {
            cookie: one(cookie::find(cookies, SESSION_COOKIE))?,
            bearer: authorization.and_then(our_bearer).map(str::to_owned),
            renewal: one(cookie::find(cookies, RENEWAL_COOKIE))?
                .filter(|token| RenewalToken::is_well_formed(token)),
        };
        if presented.names_two_sessions() {
            return Err(Refusal::CredentialsConflict);
        }
        Ok(presented)
    }

    /// The session token to judge and where it came from.
    #[must_use]
    pub fn token(&self) -> Option<(&str, Source)> {
        let bearer = self.bearer.as_deref().map(|token| (token, Source::Bearer));
        bearer.or_else(|| self.cookie.as_deref().map(|token| (token, Source::Cookie)))
    }

    /// The renewal token, if renewal may be tried: well formed, and no bearer of ours.
    #[must_use]
    pub fn renewal(&self) -> Option<&str> {
        self.renewal.as_deref().filter(|_| self.bearer.is_none())
    }

    fn names_two_sessions(&self) -> bool {
        let (Some(cookie), Some(bearer)) = (&self.cookie, &self.bearer) else {
            return false;
        };
        let sid = |token: UnverifiedToken| token.hearsay().sid.clone();
        match (token::parse(cookie).map(sid), token::parse(bearer).map(sid)) {
            (Ok(one), Ok(other)) => one != other,
            _ => false,
        }
    }
}

impl std::fmt::Debug for Presented {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Presented([redacted])")
    }
}

/// The token of an `Authorization` header that is ours to judge and to remove.
#[must_use]
pub fn our_bearer(authorization: &str) -> Option<&str> {
    authorization
        .strip_prefix("Bearer ")
        .filter(|text| jws::claims_typ(text, token::TYP))
}

fn one(found: Found<'_>) -> Result<Option<String>, Refusal> {
    match found {
        Found::Absent => Ok(None),
        Found::One(value) => Ok(Some(value.to_owned())),
        Found::Conflict => Err(Refusal::CredentialsConflict),
    }
}
