//! What a user may see and do with their own token.
//!
//! The edge's credential is not enough here: who asks is taken from the user's session token,
//! judged as at the edge and against the table itself. To end its own session, a token past its
//! `exp` or a renewal token will do: whoever wants out must get out.
//!
//! Source: docs/protocol.md §3 (`/v1/edge/me/…`).

use hallpass_session::claims::{SessionClaims, TokenPolicy};
use hallpass_session::keyring::JwkSet;
use hallpass_session::refusal::Refusal as TokenRefusal;
use hallpass_session::time::Seconds;
use hallpass_session::token;
use hallpass_session::wire::{EndedBy, InForce, Position, RevokeMine, Revoked, Sessions};

use crate::failure::{Failure, Fault, Refusal};
use crate::record::{SessionRecord, Sid, Standing, parse_sid};
use crate::service::Service;
use crate::store::{Cause, Selection};

const SIGNED_OUT: Cause = Cause {
    by: EndedBy::User,
    reason: "signed_out",
};
const ENDED_BY_USER: Cause = Cause {
    by: EndedBy::User,
    reason: "ended_by_user",
};
/// As at the edge (`clock_skew_secs`).
const CLOCK_SKEW: Seconds = Seconds::new(5);
/// As at the edge (`max_token_lifetime_secs`).
const MAX_TOKEN_LIFETIME: Seconds = Seconds::new(3600);

/// What a user asks to end.
enum Target {
    One(Sid),
    Others,
}

impl Service {
    /// The user's sessions.
    ///
    /// # Errors
    ///
    /// A refusal of the token.
    pub async fn my_sessions(&self, token: &str) -> Result<Sessions, Failure> {
        let asker = self.asker(token).await?;
        self.sessions_of(&asker.subject, Some(&asker.sid)).await
    }

    /// Ends one of the user's sessions, or all others.
    ///
    /// # Errors
    ///
    /// A refusal of the token; `SessionUnknown` for a session that is not theirs.
    pub async fn revoke_mine(
        &self,
        token: Option<&str>,
        request: &RevokeMine,
    ) -> Result<Revoked, Failure> {
        match (token, &request.renewal_token) {
            (Some(token), None) => self.revoke_by_token(token, target(request)?).await,
            (None, Some(renewal)) => self.revoke_by_renewal(renewal, request).await,
            (Some(_), Some(_)) => Err(malformed("either a token or a renewal_token, not both")),
            (None, None) => Err(refused(TokenRefusal::SessionMissing)),
        }
    }

    /// Whether a revocation is in force at every edge.
    ///
    /// # Errors
    ///
    /// A refusal of the token.
    pub async fn in_force(&self, token: &str, position: &Position) -> Result<InForce, Failure> {
        self.verified(token, Seconds::new(u64::MAX))?;
        self.judge_in_force(position).await
    }

    async fn revoke_by_token(&self, token: &str, target: Target) -> Result<Revoked, Failure> {
        let claims = self.verified(token, Seconds::new(u64::MAX))?;
        if let Target::One(sid) = target
            && Some(sid) == parse_sid(&claims.sid)
        {
            return self.revoke(Selection::Session(sid), SIGNED_OUT).await;
        }
        let asker = self.asker(token).await?;
        match target {
            Target::One(sid) => {
                let theirs = self.store.find(sid).await?;
                theirs
                    .filter(|record| record.subject == asker.subject)
                    .ok_or(Refusal::SessionUnknown)?;
                self.revoke(Selection::Session(sid), ENDED_BY_USER).await
            }
            Target::Others => {
                let except = Some(asker.sid);
                let others = Selection::Subject {
                    subject: asker.subject,
                    except,
                };
                self.revoke(others, ENDED_BY_USER).await
            }
        }
    }

    async fn revoke_by_renewal(
        &self,
        renewal: &str,
        request: &RevokeMine,
    ) -> Result<Revoked, Failure> {
        let own = self.authenticate_renewal(renewal).await?.sid;
        let asked = match (&request.sid, request.others) {
            (None, None) => Some(own),
            (Some(sid), None) => parse_sid(sid),
            _ => None,
        };
        if asked != Some(own) {
            return Err(malformed("a renewal_token ends its own session only"));
        }
        self.revoke(Selection::Session(own), SIGNED_OUT).await
    }

    /// Who asks: a token that passes every check, of a session that lives.
    async fn asker(&self, token: &str) -> Result<SessionRecord, Failure> {
        let claims = self.verified(token, Seconds::new(0))?;
        let sid = parse_sid(&claims.sid)
            .ok_or(TokenRefusal::TokenInvalid)
            .map_err(refused)?;
        let record = self.store.find(sid).await?;
        let record = record.filter(|record| record.subject == claims.sub);
        let record = record
            .ok_or(TokenRefusal::SessionRevoked)
            .map_err(refused)?;
        match record.standing(self.clock.now()) {
            _ if claims.iat < record.revoked_before => Err(refused(TokenRefusal::SessionRevoked)),
            Standing::Live => Ok(record),
            Standing::Revoked(_) => Err(refused(TokenRefusal::SessionRevoked)),
            Standing::Expired(_) => Err(refused(TokenRefusal::SessionExpired)),
        }
    }

    /// A token's claims after every check but that of the table; `grace` past its `exp` included.
    fn verified(&self, text: &str, grace: Seconds) -> Result<SessionClaims, Failure> {
        let keyring = JwkSet::parse(&self.keys().session_jwks())
            .and_then(|set| set.checked(hallpass_signature::is_sound))
            .map_err(|_| Fault::Keys("the session keys are not a good set".to_owned()))?;
        let policy = TokenPolicy {
            issuer: self.settings.issuer.clone(),
            audience: self.settings.audience.clone(),
            clock_skew: CLOCK_SKEW,
            max_token_lifetime: MAX_TOKEN_LIFETIME,
        };
        let judged = token::parse(text).and_then(|token| {
            let question = token
                .question(&keyring)
                .map_err(|_| TokenRefusal::TokenUntrusted)?;
            let verdict = hallpass_signature::verify(&question);
            let good = question
                .answered(verdict)
                .map_err(|_| TokenRefusal::TokenUntrusted)?;
            policy.check(good.content(), grace, self.clock.now())?;
            Ok(good.content().clone())
        });
        judged.map_err(refused)
    }
}

fn target(request: &RevokeMine) -> Result<Target, Failure> {
    match (&request.sid, request.others) {
        (Some(sid), None) => {
            let sid = parse_sid(sid).ok_or_else(|| malformed("sid: 22 characters of base64url"))?;
            Ok(Target::One(sid))
        }
        (None, Some(true)) => Ok(Target::Others),
        _ => Err(malformed("exactly one of sid and others: true")),
    }
}

fn refused(refusal: TokenRefusal) -> Failure {
    Refusal::Token(refusal).into()
}

fn malformed(what: &'static str) -> Failure {
    Refusal::RequestMalformed(what).into()
}
