//! The hand-off: an app's answer that begins a session or ends one.
//!
//! `Hallpass-Set-Session` becomes cookies only if it answers this very request, came from no cache,
//! and its token passes every check; otherwise nobody could tell whose session it is, and the answer
//! is refused. A different live session that the request carried is revoked: signing in replaces it.
//! `Hallpass-Clear-Session` revokes the presented session and clears its cookies. When both are
//! there, clearing comes first and wins.
//!
//! Source: docs/protocol.md §5.

use crate::arrival::{self, Arrival};
use crate::credentials::{self, CookieChange, Persistence};
use crate::gate::Stop;
use crate::isolate::Edge;
use crate::route::Rule;
use crate::service::Actor;
use crate::{freshness, platform, verification};
use hallpass_session::base64url;
use hallpass_session::json;
use hallpass_session::presented::Presented;
use hallpass_session::refusal::Outage;
use hallpass_session::renewal::RenewalToken;
use hallpass_session::wire::{
    CLEAR_SESSION_HEADER, MAX_SET_SESSION_BYTES, RevokeMine, SET_SESSION_HEADER, SetSession,
};
use std::rc::Rc;
use web_sys::{Headers, Response};
use worker::Context;

/// What the app's answer does to the session; `None` when it does nothing.
pub(crate) async fn take(
    edge: &Rc<Edge>,
    arrival: &Arrival,
    rule: &Rule,
    response: &Response,
    context: &Context,
) -> Result<Option<CookieChange>, Stop> {
    let headers = response.headers();
    // A stored answer was meant for somebody else.
    let from_cache = platform::header(&headers, "age").is_some();
    if clears(&headers) && !from_cache {
        if let Ok(presented) = credentials::read(arrival) {
            end_behind(edge, presented, context);
        }
        return Ok(Some(CookieChange::clear()));
    }
    let Some(text) = platform::header(&headers, SET_SESSION_HEADER) else {
        return Ok(None);
    };
    let set = read(&text).filter(|set| !from_cache && set.request == arrival.id);
    let set = set.ok_or_else(|| refuse("not an answer to this request"))?;
    freshness::keep_keys(edge).await;
    let judged = verification::judge(edge, &set.session_token, rule).await;
    let session = match judged {
        Ok((session, _)) => session,
        Err(Stop::Outage(outage)) => return Err(outage.into()),
        Err(stop) => return Err(refuse(stop.code())),
    };
    replace_presented(edge, arrival, &session.claims().sid, context).await;
    let persistence = Persistence::of(set.session_ends_at, set.persistent);
    let now = arrival::now();
    Ok(Some(CookieChange::store(
        &set.session_token,
        &set.renewal_token,
        persistence,
        now,
    )))
}

/// Ends the session that the request presents; whether it worked, or an outage.
pub(crate) async fn end(edge: &Edge, presented: &Presented) -> Result<(), Outage> {
    let token = presented.token().map(|(token, _)| token);
    let by_token = match token.and_then(|token| Some((token, own_sid(token)?))) {
        Some((token, sid)) => {
            let own = RevokeMine {
                sid: Some(sid),
                ..RevokeMine::default()
            };
            Some(edge.service.revoke_mine(&Actor::Token(token), &own).await?)
        }
        None => None,
    };
    // A token that is no longer believed leaves the renewal token to say whose session it is.
    let declined = !matches!(by_token, Some(Ok(_)));
    if let (true, Some(renewal_token)) = (declined, presented.renewal()) {
        let own = RevokeMine {
            renewal_token: Some(renewal_token.to_owned()),
            ..RevokeMine::default()
        };
        // Whatever the service declines here, there is no live session of that token left to end.
        let _ = edge.service.revoke_mine(&Actor::Body, &own).await?;
    }
    Ok(())
}

/// What a token says of itself; `None` for what is no token.
fn own_sid(token: &str) -> Option<String> {
    hallpass_session::token::parse(token)
        .ok()
        .map(|token| token.hearsay().sid.clone())
}

fn read(text: &str) -> Option<SetSession> {
    if text.len() > MAX_SET_SESSION_BYTES {
        return None;
    }
    let set: SetSession = json::parse_as(&base64url::decode(text)?)?;
    RenewalToken::is_well_formed(&set.renewal_token).then_some(set)
}

fn refuse(why: &str) -> Stop {
    platform::alarm(&format!("{{\"at\":\"handoff_refused\",\"why\":\"{why}\"}}"));
    Stop::HandoffRefused
}

/// Whether the app says that the session is over; a header that was set twice arrives as one.
fn clears(headers: &Headers) -> bool {
    platform::header(headers, CLEAR_SESSION_HEADER)
        .is_some_and(|text| text.split(',').any(|word| word.trim() == "1"))
}

fn end_behind(edge: &Rc<Edge>, presented: Rc<Presented>, context: &Context) {
    let edge = Rc::clone(edge);
    context.wait_until(async move {
        if end(&edge, &presented).await.is_err() {
            platform::alarm("{\"at\":\"session_not_ended\"}");
        }
    });
}

/// Ends the session that the request carried, if it is not the new one.
async fn replace_presented(edge: &Rc<Edge>, arrival: &Arrival, new_sid: &str, context: &Context) {
    let Ok(presented) = credentials::read(arrival) else {
        return;
    };
    let old = presented_sid(edge, &presented).await;
    if old.is_some_and(|old| old != new_sid) {
        end_behind(edge, presented, context);
    }
}

/// Which session a request carried: by a well-signed token, or else by its renewal token, whose word
/// the service checks before it ends anything.
async fn presented_sid(edge: &Rc<Edge>, presented: &Presented) -> Option<String> {
    if let Some((token, _)) = presented.token()
        && let Ok((old, _)) = verification::verify(edge, token).await
    {
        return Some(old.content().sid.clone());
    }
    let renewal = RenewalToken::parse(presented.renewal()?)?;
    Some(base64url::encode(&renewal.sid))
}
