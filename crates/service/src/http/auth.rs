//! Who calls: one bearer credential of the scope that a route demands.
//!
//! A bad one is counted by `attempts`, a good one never.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;

use super::attempts::Attempts;
use super::observe::REQUEST_ID;
use super::problem::Answer;
use super::server::Peer;
use crate::actor::Actor;
use crate::credential::{Scope, recognise};
use crate::failure::{Failure, Refusal};
use crate::service::Service;

/// Id of the credential that was presented.
#[derive(Clone, Debug)]
pub(super) struct Caller(pub(super) String);

/// What a route demands, and what it judges callers by.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) service: Arc<Service>,
    pub(super) attempts: Arc<Attempts>,
    pub(super) scope: Scope,
}

/// Lets a request through if its credential covers the scope.
pub(super) async fn require(
    State(guard): State<Guard>,
    mut request: Request,
    next: Next,
) -> Answer<Response> {
    let peer = request.extensions().get::<Peer>().copied();
    match guard.judge(request.headers(), peer).await {
        Ok(caller) => {
            let request_id = REQUEST_ID.try_with(Clone::clone).ok();
            let actor = Actor::caller(&caller.0, peer.map(|peer| peer.0), request_id);
            request.extensions_mut().insert(caller);
            Ok(actor.does(next.run(request)).await)
        }
        Err(Failure::Refusal(refusal)) => {
            guard.service.metrics.note_refused_credential(&refusal);
            Err(refusal.into())
        }
        Err(failure) => Err(failure),
    }
}

impl Guard {
    async fn judge(&self, headers: &HeaderMap, peer: Option<Peer>) -> Answer<Caller> {
        let known = match bearer(headers) {
            Some(presented) => recognise(self.service.store.as_ref(), presented).await?,
            None => None,
        };
        match known {
            Some((id, held)) if held.covers(self.scope) => Ok(Caller(id)),
            Some(_) => Err(Refusal::ScopeInsufficient.into()),
            None => Err(self.refuse(peer).into()),
        }
    }

    /// How a bad credential is refused: in words, or by asking for patience.
    fn refuse(&self, peer: Option<Peer>) -> Refusal {
        let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0);
        let now_ms = self.service.clock.monotonic_us() / 1000;
        self.attempts.refuse(address, now_ms)
    }
}

/// The one bearer credential; two `Authorization` lines are none.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let line = lines.next()?;
    if lines.next().is_some() {
        return None;
    }
    let (scheme, credential) = line.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(credential)
}
