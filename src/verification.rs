//! From a presented token to a live session, with what this isolate knows.
//!
//! The order is the rules' (`hallpass_session::token`, `admission`); here a remembered signature
//! saves the computation, and a key we do not have is fetched once before its token is refused.

use crate::arrival;
use crate::freshness::{self, Footing, NamedBy};
use crate::gate::Stop;
use crate::isolate::{Edge, count};
use crate::route::Rule;
use hallpass_session::admission::LiveSession;
use hallpass_session::claims::SessionClaims;
use hallpass_session::jws::{KeyMismatch, SignatureQuestion};
use hallpass_session::refusal::{Outage, Refusal};
use hallpass_session::time::Seconds;
use hallpass_session::token::{self, UnverifiedToken, VerifiedToken};
use std::rc::Rc;

/// Whether a signature had to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signature {
    Checked,
    Remembered,
}

/// Judges a session token for a route.
pub(crate) async fn judge(
    edge: &Rc<Edge>,
    text: &str,
    rule: &Rule,
) -> Result<(LiveSession, Footing), Stop> {
    let (verified, _) = verify(edge, text).await?;
    admit(edge, verified, rule).await
}

/// Admits a verified token for a route. Time has passed with every wait before: the list's age is
/// looked at here, and nothing is awaited between that look and the decision.
pub(crate) async fn admit(
    edge: &Rc<Edge>,
    token: Rc<VerifiedToken>,
    rule: &Rule,
) -> Result<(LiveSession, Footing), Stop> {
    let footing = freshness::prepare(edge, rule).await?;
    let grace = match footing {
        Footing::Firm => Seconds::default(),
        Footing::Degraded => rule.outage_grace,
    };
    Ok((admit_now(edge, token, grace)?, footing))
}

/// Admits a verified token by the list as it is, up to `grace` past its `exp`.
pub(crate) fn admit_now(
    edge: &Edge,
    token: Rc<VerifiedToken>,
    grace: Seconds,
) -> Result<LiveSession, Stop> {
    let memory = edge.list.borrow();
    let list = memory.known.as_ref().ok_or(Outage::Service)?;
    let now = arrival::now();
    Ok(LiveSession::admit(
        token,
        &edge.settings.policy,
        list,
        grace,
        now,
    )?)
}

/// Checks a token's signature, or remembers that it is good. Time and revocation are still open.
pub(crate) async fn verify(
    edge: &Rc<Edge>,
    text: &str,
) -> Result<(Rc<VerifiedToken>, Signature), Stop> {
    if let Some(token) = edge.memo.borrow_mut().find(text) {
        count(&edge.counters.memo_hits);
        return Ok((token, Signature::Remembered));
    }
    count(&edge.counters.memo_misses);
    let question = ask(edge, token::parse(text)?).await?;
    let emptied = edge.memo.borrow().emptied();
    if !edge
        .settings
        .token_algs
        .contains(&question.key().algorithm())
    {
        return Err(Refusal::TokenUntrusted.into());
    }
    let verdict = edge.platform_keys.verify(&question).await;
    let token = Rc::new(
        question
            .answered(verdict)
            .map_err(|_| Refusal::TokenUntrusted)?,
    );
    edge.memo
        .borrow_mut()
        .keep_since(emptied, text, Rc::clone(&token));
    Ok((token, Signature::Checked))
}

async fn ask(
    edge: &Rc<Edge>,
    token: UnverifiedToken,
) -> Result<SignatureQuestion<SessionClaims>, Stop> {
    let keyring = || edge.keys.borrow().session.clone().ok_or(Outage::Service);
    match token.clone().question(&keyring()?) {
        Ok(question) => Ok(question),
        Err(KeyMismatch::OtherAlgorithm) => Err(Refusal::TokenUntrusted.into()),
        Err(KeyMismatch::UnknownKid) => {
            freshness::fetch_unknown_key(edge, NamedBy::Token).await;
            let trusted = edge
                .list
                .borrow()
                .known
                .as_ref()
                .is_some_and(|l| l.trusts(token.kid()));
            token.question(&keyring()?).map_err(|_| {
                // The list names the key, so the token may be good: that is our outage.
                if trusted {
                    Outage::Service.into()
                } else {
                    Refusal::TokenUntrusted.into()
                }
            })
        }
    }
}
