//! What happens with one request: forwarded, renewed first, or refused.
//!
//! [`LiveSession::admit`] is the last step of trust: a verified token, checked again at `now`
//! against the settings and the revocation list. It is asked on every request, also when the
//! signature was remembered. [`decide`] then weighs the outcome with the route's rules and the
//! renewal cookie.
//!
//! Source: docs/protocol.md §2, §9.

use crate::claims::{SessionClaims, TokenPolicy};
use crate::refusal::Refusal;
use crate::revocation::RevocationList;
use crate::time::{Seconds, UnixSeconds};
use crate::token::VerifiedToken;
use serde_json::Value;
use std::rc::Rc;

/// Who may use a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Anybody; no identity is looked at or passed on.
    Public,
    /// Anybody; a session's identity is passed on.
    Optional,
    /// Sessions only.
    #[default]
    Session,
}

/// A claim that a session must have on a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// `sub`, `amr`, or a member of `ext`.
    pub claim: String,
    /// One of these must be the claim's value, or among its values.
    pub values: Vec<String>,
}

/// What a route demands of a session.
#[derive(Clone, Debug, Default)]
pub struct Demands {
    /// Who may use it.
    pub access: Access,
    /// How long ago the user may have proved who they are.
    pub max_auth_age: Option<Seconds>,
    /// Claims that must hold, all of them.
    pub require: Vec<Requirement>,
    /// How long before its end a token is renewed beside forwarding.
    pub renew_before: Seconds,
}

/// Whether the request carries what renewal needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// One well-formed renewal cookie and no bearer of ours.
    Possible,
    /// Anything else.
    Impossible,
}

/// A session that may pass now. Only [`LiveSession::admit`] makes one.
#[derive(Clone, Debug)]
pub struct LiveSession {
    token: Rc<VerifiedToken>,
}

/// What to do with a request.
#[derive(Clone, Debug)]
pub enum Admission {
    /// Forward with this identity.
    Forward(LiveSession),
    /// Forward with this identity and renew beside it.
    ForwardAndRenew(LiveSession),
    /// Forward without identity, for this reason.
    ForwardAnonymously(Refusal),
    /// Renew, judge the new token, and only then forward; this is why the old one would not do.
    Renew(Refusal),
    /// Do not forward.
    Refuse(Refusal),
}

impl LiveSession {
    /// Admits a verified token at `now`, up to `grace` past its `exp`.
    ///
    /// # Errors
    ///
    /// `TokenInvalid`, `TokenExpired`, `TokenUntrusted` (its key was removed), `SessionRevoked`.
    pub fn admit(
        token: Rc<VerifiedToken>,
        policy: &TokenPolicy,
        list: &RevocationList,
        grace: Seconds,
        now: UnixSeconds,
    ) -> Result<Self, Refusal> {
        policy.check(token.content(), grace, now)?;
        list.judge(token.kid(), token.content())?;
        Ok(Self { token })
    }

    /// The session's claims.
    #[must_use]
    pub fn claims(&self) -> &SessionClaims {
        self.token.content()
    }

    /// Its token, to be admitted again at another time.
    #[must_use]
    pub const fn token(&self) -> &Rc<VerifiedToken> {
        &self.token
    }

    /// The key that signed its token.
    #[must_use]
    pub fn kid(&self) -> &str {
        self.token.kid()
    }

    /// Whether the token is within `min(renew_before, lifetime / 5)` of its end.
    #[must_use]
    pub fn is_due(&self, renew_before: Seconds, now: UnixSeconds) -> bool {
        let fifth = Seconds::new(self.claims().lifetime().get() / 5);
        self.claims().exp.since(now) <= renew_before.min(fifth)
    }

    fn meets(&self, demands: &Demands, now: UnixSeconds) -> Result<(), Refusal> {
        let auth_age = now.since(self.claims().auth_time);
        if demands.max_auth_age.is_some_and(|max| auth_age > max) {
            return Err(Refusal::ReauthenticationRequired);
        }
        if demands
            .require
            .iter()
            .all(|requirement| requirement.holds(self.claims()))
        {
            Ok(())
        } else {
            Err(Refusal::RequirementUnmet)
        }
    }
}

impl Requirement {
    fn holds(&self, claims: &SessionClaims) -> bool {
        let allowed = |value: &str| self.values.iter().any(|allowed| allowed == value);
        match self.claim.as_str() {
            "sub" => allowed(&claims.sub),
            "amr" => claims.amr.iter().any(|value| allowed(value)),
            member => match claims.ext.as_ref().and_then(|ext| ext.get(member)) {
                Some(Value::String(value)) => allowed(value),
                Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).any(allowed),
                Some(Value::Bool(value)) => allowed(if *value { "true" } else { "false" }),
                Some(Value::Number(value)) => allowed(&value.to_string()),
                _ => false,
            },
        }
    }
}

/// Decides one request on a `session` or `optional` route at `now`.
#[must_use]
pub fn decide(
    judged: Result<LiveSession, Refusal>,
    renewal: Renewal,
    demands: &Demands,
    now: UnixSeconds,
) -> Admission {
    let judged = judged.and_then(|session| session.meets(demands, now).map(|()| session));
    match judged {
        Ok(session)
            if renewal == Renewal::Possible && session.is_due(demands.renew_before, now) =>
        {
            Admission::ForwardAndRenew(session)
        }
        Ok(session) => Admission::Forward(session),
        Err(refusal) if renewal == Renewal::Possible && is_renewable(refusal) => {
            Admission::Renew(refusal)
        }
        Err(refusal) => refuse(refusal, demands.access),
    }
}

/// Refuses, or forwards without identity where the route allows that.
#[must_use]
pub fn refuse(refusal: Refusal, access: Access) -> Admission {
    if access == Access::Optional && refusal.is_about_identity() {
        Admission::ForwardAnonymously(refusal)
    } else {
        Admission::Refuse(refusal)
    }
}

/// A new token cures what is wrong with the old one, not what is wrong with the session.
pub(crate) const fn is_renewable(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::SessionMissing
            | Refusal::TokenExpired
            | Refusal::TokenInvalid
            | Refusal::TokenMalformed
            | Refusal::TokenUntrusted
    )
}
