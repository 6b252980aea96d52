//! One request, from arrival to answer: read this file first.
//!
//! 1. [`serve`] reads the request and the settings; wrong settings answer 503 to everything.
//! 2. [`pass`] finds what the request is about: host, method, one canonical path; our own pages go to
//!    `own.rs`, everything else falls under a route.
//! 3. [`admit`] judges the credentials: keys and list fresh enough (`freshness.rs`), token good
//!    (`verification.rs`), and then the rules decide (`hallpass_session::admission`): forward, renew
//!    first, or refuse.
//! 4. `upstream.rs` forwards, `handoff.rs` looks for a session that the app begins or ends, and the
//!    answer goes out with the cookies it needs.
//! 5. Whatever stops a request on the way is a [`Stop`], and `refusal.rs` answers it.
//!
//! Source: docs/protocol.md §2, §6, §9.

use crate::arrival::{self, Arrival};
use crate::credentials::{self, CookieChange};
use crate::csrf::{self, Provenance, Target};
use crate::decision::Decision;
use crate::freshness::{self, Footing};
use crate::isolate::{Edge, count};
use crate::platform;
use crate::renewal::{self, Beside, Renewal};
use crate::route::{self, Csrf, OnOutage, Preflight, Rule, Upgrade};
use crate::service::Unrenewed;
use crate::upstream::{self, Identity};
use crate::{handoff, own, refusal, socket, verification};
use hallpass_session::admission::{self, Access, Admission, LiveSession, Renewal as CanRenew};
use hallpass_session::path::CanonicalPath;
use hallpass_session::presented::Presented;
use hallpass_session::refusal::{Outage, Refusal};
use hallpass_session::time::Seconds;
use std::rc::Rc;
use web_sys::{Request, Response};
use worker::{Context, Env};

/// Why a request goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The client's fault.
    Refused(Refusal),
    /// The service has said that the session is over: the cookies go too.
    Ended(Refusal),
    /// A dependency's.
    Outage(Outage),
    /// The app handed over a session that is not this request's, or not a good one.
    HandoffRefused,
    /// Nothing of that name among our own pages.
    NotFound,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Outage> for Stop {
    fn from(outage: Outage) -> Self {
        Self::Outage(outage)
    }
}

/// Who a request is, and what its answer does to the cookies.
pub(crate) struct Admitted {
    /// The session, or nobody on a route that is for everybody.
    pub(crate) session: Option<LiveSession>,
    /// What that rests on.
    pub(crate) footing: Footing,
    /// What became of the renewal cookie.
    pub(crate) renewal: Renewing,
}

/// What became of the renewal cookie.
pub(crate) enum Renewing {
    /// Nothing.
    Idle,
    /// A renewal runs beside forwarding.
    Beside(Beside),
    /// There is a new token already.
    Done(Box<Renewal>),
    /// The service has said that the session is over; the route is for everybody.
    Over,
}

/// Answers one request.
pub(crate) async fn serve(
    request: Request,
    env: &Env,
    context: &Context,
) -> Result<Response, platform::Thrown> {
    let arrival = Arrival::read(request)?;
    let edge = match Edge::of(env) {
        Ok(edge) => edge,
        Err(fault) => {
            platform::alarm(&format!("misconfigured: {fault}"));
            return refusal::misconfigured(&arrival);
        }
    };
    let mut decision = Decision::default();
    let outcome = pass(&edge, &arrival, env, context, &mut decision).await;
    let response = match outcome {
        Ok(response) => {
            count(&edge.counters.forwarded);
            response
        }
        Err(stop) => {
            count(if matches!(stop, Stop::Refused(_) | Stop::Ended(_)) {
                &edge.counters.refused
            } else {
                &edge.counters.outages
            });
            decision.code = stop.code();
            refusal::answer(&edge.settings, &arrival, stop)?
        }
    };
    decision.finish(&edge, &arrival, response)
}

async fn pass(
    edge: &Rc<Edge>,
    arrival: &Arrival,
    env: &Env,
    context: &Context,
    decision: &mut Decision,
) -> Result<Response, Stop> {
    if !edge.settings.hosts.contains(&arrival.host) {
        return Err(Refusal::HostUnknown.into());
    }
    if matches!(arrival.method.as_str(), "TRACE" | "CONNECT") {
        return Err(Refusal::MethodRefused.into());
    }
    let path = CanonicalPath::parse(&arrival.raw_path)?;
    if route::is_own(&path) {
        "own".clone_into(&mut decision.route);
        return own::serve(edge, arrival, &path, env, context, decision).await;
    }
    let rule = edge.settings.rules.find(&path, &arrival.method);
    rule.path().clone_into(&mut decision.route);
    check_upgrade(arrival, rule)?;
    check_origin(edge, arrival, &path, rule)?;
    let passes = arrival.is_preflight() && rule.preflight == Preflight::Pass;
    if rule.demands.access == Access::Public || passes {
        return carry(edge, arrival, &path, rule, None, context).await;
    }
    let admitted = admit(edge, arrival, rule, context, decision).await?;
    carry(edge, arrival, &path, rule, Some(admitted), context).await
}

/// Forwards, and finishes the answer.
async fn carry(
    edge: &Rc<Edge>,
    arrival: &Arrival,
    path: &CanonicalPath,
    rule: &Rule,
    admitted: Option<Admitted>,
    context: &Context,
) -> Result<Response, Stop> {
    let identity = match &admitted {
        None => Identity::Unread,
        Some(Admitted { session: None, .. }) => Identity::Anonymous,
        Some(Admitted {
            session: Some(session),
            footing,
            ..
        }) => Identity::Session(session, *footing),
    };
    let mut response = upstream::forward(edge, arrival, path, identity).await?;
    let handed_over = handoff::take(edge, arrival, rule, &response, context)
        .await
        .inspect_err(|_| socket::abandon(&response))?;
    if let (101, Upgrade::Guard, Some(session)) =
        (response.status(), rule.upgrade, identity.session())
    {
        response = socket::guard(edge, &response, session, rule)?;
    }
    let cookies = handed_over.unwrap_or_else(|| {
        admitted
            .as_ref()
            .map_or_else(CookieChange::default, |it| it.renewal.cookies(arrival))
    });
    upstream::finish(response, identity, &cookies)
}

/// Judges the credentials on a `session` or `optional` route.
pub(crate) async fn admit(
    edge: &Rc<Edge>,
    arrival: &Arrival,
    rule: &Rule,
    context: &Context,
    decision: &mut Decision,
) -> Result<Admitted, Stop> {
    let admitted = match judge(edge, arrival, rule, context, decision).await {
        // Where everybody may pass, an outage makes nobody of the user and keeps the cookies.
        Err(Stop::Outage(Outage::Service)) if rule.demands.access == Access::Optional => {
            Admitted::nobody(Footing::Degraded, Renewing::Idle)
        }
        outcome => outcome?,
    };
    decision.admitted(&admitted);
    Ok(admitted)
}

async fn judge(
    edge: &Rc<Edge>,
    arrival: &Arrival,
    rule: &Rule,
    context: &Context,
    decision: &mut Decision,
) -> Result<Admitted, Stop> {
    let access = rule.demands.access;
    let presented = match credentials::read(arrival) {
        Ok(presented) => presented,
        Err(refusal) => return without_session(refusal, access, Renewing::Idle),
    };
    if presented.token().is_none() && presented.renewal().is_none() {
        return without_session(Refusal::SessionMissing, access, Renewing::Idle);
    }
    let prepared = freshness::prepare(edge, rule).await?;
    freshness::refresh_behind(edge, context);
    let (judged, footing) = match judge_token(edge, &presented, rule, decision).await? {
        Ok((session, footing)) => (Ok(session), footing),
        Err(refusal) => (Err(refusal), prepared),
    };
    let can_renew = if presented.renewal().is_some() {
        CanRenew::Possible
    } else {
        CanRenew::Impossible
    };
    match admission::decide(judged, can_renew, &rule.demands, arrival::now()) {
        Admission::Forward(session) => Ok(Admitted::session(session, footing, Renewing::Idle)),
        Admission::ForwardAndRenew(session) => {
            let token = presented.renewal().unwrap_or_default();
            let beside = Beside::start(edge, arrival, token, &session.claims().sid, context);
            Ok(Admitted::session(
                session,
                footing,
                Renewing::Beside(beside),
            ))
        }
        Admission::ForwardAnonymously(_) => Ok(Admitted::nobody(footing, Renewing::Idle)),
        Admission::Refuse(refusal) => Err(refusal.into()),
        Admission::Renew(_) => renew_first(edge, arrival, rule, &presented, footing).await,
    }
}

/// Renews and judges again with the new token; when that fails, the old one may have a grace.
async fn renew_first(
    edge: &Rc<Edge>,
    arrival: &Arrival,
    rule: &Rule,
    presented: &Presented,
    footing: Footing,
) -> Result<Admitted, Stop> {
    let token = presented.renewal().unwrap_or_default();
    let renewal = match renewal::renew(edge, arrival, token).await {
        Ok(renewal) => renewal,
        Err(Unrenewed::Ended(refusal)) => {
            return match rule.demands.access {
                Access::Optional => Ok(Admitted::nobody(footing, Renewing::Over)),
                Access::Public | Access::Session => Err(Stop::Ended(refusal)),
            };
        }
        // The service works: a grace is for when it does not.
        Err(Unrenewed::Undecided) => return Err(Outage::Service.into()),
        Err(Unrenewed::Outage) => return within_grace(edge, rule, presented).await,
    };
    let access = rule.demands.access;
    if names_another_session(edge, presented, &renewal).await {
        return without_session(Refusal::CredentialsConflict, access, Renewing::Idle);
    }
    let token = Rc::clone(renewal.session.token());
    let (session, footing) = verification::admit(edge, token, rule).await?;
    let renewing = Renewing::Done(Box::new(renewal));
    let now = arrival::now();
    match admission::decide(Ok(session), CanRenew::Impossible, &rule.demands, now) {
        Admission::Forward(session) => Ok(Admitted::session(session, footing, renewing)),
        Admission::Refuse(refusal) => Err(refusal.into()),
        _ => Ok(Admitted::nobody(footing, renewing)),
    }
}

async fn within_grace(
    edge: &Rc<Edge>,
    rule: &Rule,
    presented: &Presented,
) -> Result<Admitted, Stop> {
    let outage = Stop::Outage(Outage::Service);
    if rule.on_outage == OnOutage::Refuse || rule.outage_grace == Seconds::default() {
        return Err(outage);
    }
    let Some((token, _)) = presented.token() else {
        return Err(outage);
    };
    // Only a renewal could have said what becomes of a token that was never good.
    let Ok((verified, _)) = verification::verify(edge, token).await else {
        return Err(outage);
    };
    let judged = match verification::admit_now(edge, verified, rule.outage_grace) {
        Ok(session) => Ok(session),
        Err(Stop::Refused(refusal)) => Err(refusal),
        Err(stop) => return Err(stop),
    };
    match admission::decide(judged, CanRenew::Impossible, &rule.demands, arrival::now()) {
        Admission::Forward(session) => Ok(Admitted::session(
            session,
            Footing::Degraded,
            Renewing::Idle,
        )),
        _ => Err(outage),
    }
}

/// The outer error is an outage, the inner one what is wrong with the token.
async fn judge_token(
    edge: &Rc<Edge>,
    presented: &Presented,
    rule: &Rule,
    decision: &mut Decision,
) -> Result<Result<(LiveSession, Footing), Refusal>, Stop> {
    let Some((token, _)) = presented.token() else {
        return Ok(Err(Refusal::SessionMissing));
    };
    let judged = match verification::verify(edge, token).await {
        Ok((verified, signature)) => {
            decision.verified(signature);
            verification::admit(edge, verified, rule).await
        }
        Err(stop) => Err(stop),
    };
    match judged {
        Ok(judged) => Ok(Ok(judged)),
        Err(Stop::Refused(refusal)) => Ok(Err(refusal)),
        Err(stop) => Err(stop),
    }
}

/// Whether the token presented is well signed and of another session than the renewed one.
async fn names_another_session(edge: &Rc<Edge>, presented: &Presented, renewal: &Renewal) -> bool {
    let Some((token, _)) = presented.token() else {
        return false;
    };
    let old = verification::verify(edge, token).await;
    old.is_ok_and(|(old, _)| old.content().sid != renewal.session.claims().sid)
}

fn without_session(refusal: Refusal, access: Access, renewal: Renewing) -> Result<Admitted, Stop> {
    match admission::refuse(refusal, access) {
        Admission::ForwardAnonymously(_) => Ok(Admitted::nobody(Footing::Firm, renewal)),
        _ => Err(refusal.into()),
    }
}

fn check_upgrade(arrival: &Arrival, rule: &Rule) -> Result<(), Stop> {
    if arrival.is_upgrade() && rule.upgrade == Upgrade::Refuse {
        return Err(Refusal::RequestMalformed.into());
    }
    Ok(())
}

/// Unsafe requests whose credential is a cookie, all unsafe ones to the sign-in page, every upgrade.
fn check_origin(
    edge: &Edge,
    arrival: &Arrival,
    path: &CanonicalPath,
    rule: &Rule,
) -> Result<(), Stop> {
    if arrival.is_upgrade() {
        return from_our_own(edge, arrival, Target::Upgrade);
    }
    let signs_in = path.as_str() == edge.settings.sign_in_path;
    let by_cookie = || {
        rule.csrf == Csrf::Checked
            && rule.demands.access != Access::Public
            && credentials::are_cookies(arrival)
    };
    if arrival.is_unsafe() && (signs_in || by_cookie()) {
        return from_our_own(edge, arrival, Target::App);
    }
    Ok(())
}

/// Checks where a request comes from.
pub(crate) fn from_our_own(edge: &Edge, arrival: &Arrival, target: Target) -> Result<(), Stop> {
    let (site, origin) = (arrival.header("sec-fetch-site"), arrival.header("origin"));
    let from = Provenance {
        site: site.as_deref(),
        origin: origin.as_deref(),
    };
    Ok(csrf::check(
        from,
        &arrival.origin,
        &edge.settings.csrf_origins,
        target,
    )?)
}

impl Admitted {
    fn session(session: LiveSession, footing: Footing, renewal: Renewing) -> Self {
        Self {
            session: Some(session),
            footing,
            renewal,
        }
    }

    fn nobody(footing: Footing, renewal: Renewing) -> Self {
        Self {
            session: None,
            footing,
            renewal,
        }
    }
}

impl Renewing {
    /// The cookies to set, as far as they are ready.
    pub(crate) fn cookies(&self, arrival: &Arrival) -> CookieChange {
        match self {
            Self::Idle => CookieChange::default(),
            Self::Beside(beside) => beside.cookies(arrival),
            Self::Done(renewal) => renewal.cookies(arrival),
            Self::Over => CookieChange::clear(),
        }
    }
}
