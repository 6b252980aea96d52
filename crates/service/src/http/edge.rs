//! What edges ask: keys, the revocation list, renewal, whether a session lives.
//!
//! Source: docs/protocol.md §3.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hallpass_session::time::Seconds;
use hallpass_session::wire::{EdgeKeys, LIST_HEADER, Liveness, Position, RenewRequest};
use serde::Deserialize;

use super::body::{Json, Parameters, Segment};
use super::observe::{CallerRequest, ReceivedUs};
use super::problem::Answer;
use crate::edges::EdgePoll;
use crate::failure::{Failure, Fault, Refusal};
use crate::list::{ListAnswer, ListPoll};
use crate::record::parse_sid;
use crate::service::Service;

/// Longest id an edge may give itself, in bytes.
const EDGE_ID_MAX_BYTES: usize = 64;
/// Longest epoch, in bytes; ours have 22.
const EPOCH_MAX_BYTES: usize = 64;

/// `GET /v1/edge/keys`
pub(super) async fn keys(State(service): State<Arc<Service>>) -> Answer<axum::Json<EdgeKeys>> {
    let keys = service.reload_keys().await?;
    Ok(axum::Json(EdgeKeys {
        session: keys.session_jwks(),
        list: keys.list_jwks(),
    }))
}

/// `GET /.well-known/jwks.json`: the session keys for everybody.
pub(super) async fn public_keys(State(service): State<Arc<Service>>) -> Response {
    let keys = service.keys().session_jwks();
    let cacheable = [(header::CACHE_CONTROL, "public, max-age=300")];
    (cacheable, axum::Json(keys)).into_response()
}

/// Query of `GET /v1/edge/revocations`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RevocationsQuery {
    epoch: Option<String>,
    #[serde(default)]
    after: u64,
    #[serde(default)]
    wait: u64,
    edge: Option<String>,
    bound: Option<u64>,
    shared: Option<u8>,
}

impl RevocationsQuery {
    fn check(&self) -> Result<(), Failure> {
        let short = |text: &Option<String>, max| text.as_ref().is_none_or(|text| text.len() <= max);
        let fault = if !short(&self.epoch, EPOCH_MAX_BYTES) {
            "epoch: at most 64 bytes"
        } else if self.epoch.is_none() && self.after != 0 {
            "after: needs its epoch"
        } else if !short(&self.edge, EDGE_ID_MAX_BYTES) {
            "edge: at most 64 bytes"
        } else if self.wait > crate::list::WAIT_MAX.get() {
            "wait: 0 to 5 seconds"
        } else if self.bound.is_some_and(|bound| bound == 0 || bound > 86_400) {
            "bound: 1 to 86400 seconds"
        } else if self.shared.is_some_and(|shared| shared > 1) {
            "shared: 0 or 1"
        } else {
            return Ok(());
        };
        Err(Refusal::RequestMalformed(fault).into())
    }

    fn holds(&self) -> Option<Position> {
        let epoch = self.epoch.clone()?;
        Some(Position {
            epoch,
            to: self.after,
        })
    }

    fn edge_poll(self) -> Option<EdgePoll> {
        let holds = self.holds();
        Some(EdgePoll {
            edge: self.edge?,
            holds,
            bound_ms: self.bound.map(|bound| bound.saturating_mul(1000)),
            shared: self.shared == Some(1),
        })
    }
}

/// `GET /v1/edge/revocations`
pub(super) async fn revocations(
    State(service): State<Arc<Service>>,
    Extension(ReceivedUs(received_us)): Extension<ReceivedUs>,
    Parameters(query): Parameters<RevocationsQuery>,
) -> Answer<Response> {
    query.check()?;
    let wait = Seconds::new(query.wait);
    let poll = ListPoll {
        holds: query.holds(),
        wait,
        received_us,
    };
    let answer = match query.edge_poll() {
        Some(edge) => service.poll_as(&edge, &poll).await?,
        None => service.poll_list(&poll).await?,
    };
    list_response(answer)
}

fn list_response(answer: ListAnswer) -> Answer<Response> {
    let value = HeaderValue::from_str(&answer.header.encode()).map_err(|_| Fault::Answer)?;
    let position = [(HeaderName::from_static(LIST_HEADER), value)];
    let jose = [(header::CONTENT_TYPE, "application/jose")];
    Ok(match answer.body {
        Some(list) => (position, jose, list).into_response(),
        None => (StatusCode::NO_CONTENT, position).into_response(),
    })
}

/// `POST /v1/edge/renew`
pub(super) async fn renew(
    State(service): State<Arc<Service>>,
    body: Json<RenewRequest>,
) -> Response {
    let renewed = service.renew(&body.value).await.map(axum::Json);
    let mut response = renewed.into_response();
    let edge_request = CallerRequest::new(&body.value.request_id);
    response.extensions_mut().insert(edge_request);
    response
}

/// `GET /v1/edge/sessions/{sid}`
pub(super) async fn liveness(
    State(service): State<Arc<Service>>,
    Segment(sid): Segment,
) -> Answer<axum::Json<Liveness>> {
    let sid = parse_sid(&sid).ok_or(Refusal::SessionUnknown)?;
    service.liveness(sid).await.map(axum::Json)
}
