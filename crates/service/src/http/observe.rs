//! What every request gets: an id, a time limit, one line in the log, and `no-store`.
//!
//! The line has the route's pattern, never its path or query, and no header: so no token, cookie or
//! credential can be in it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hallpass_session::base64url;

use super::problem::Code;
use crate::clock::random_bytes;
use crate::failure::{Failure, Outage};
use crate::list::WAIT_MAX;
use crate::service::Service;

/// Where edges poll: the one route that may take its time.
pub(super) const LIST_ROUTE: &str = "/v1/edge/revocations";

const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    /// Id of the request that this task answers.
    pub(super) static REQUEST_ID: String;
}

/// When the request's head had been read, by the monotonic clock.
#[derive(Clone, Copy)]
pub(super) struct ReceivedUs(pub(super) u64);

/// The edge's own id of a request, for the log line.
#[derive(Clone)]
pub(super) struct EdgeRequest(String);

impl EdgeRequest {
    /// Keeps what can be an id; the rest could forge a log line.
    pub(super) fn new(id: &str) -> Self {
        let safe = |character: &char| u8::try_from(*character).is_ok_and(base64url::is_character);
        Self(id.chars().filter(safe).take(64).collect())
    }
}

/// Wraps a request from its first to its last line of ours.
pub(super) async fn observe(
    State(service): State<Arc<Service>>,
    mut request: Request,
    next: Next,
) -> Response {
    let started_us = service.clock.monotonic_us();
    request.extensions_mut().insert(ReceivedUs(started_us));
    let id = random_bytes::<16>().map_or_else(|_| String::new(), |bytes| base64url::encode(&bytes));
    let method = request.method().clone();
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or_else(|| "-".to_owned(), |path| path.as_str().to_owned());
    let answer = in_time(time_limit(&service, &route), next.run(request));
    let mut response = REQUEST_ID.scope(id.clone(), answer).await;
    mark(&mut response, &id);
    let ms = service.clock.monotonic_us().saturating_sub(started_us) / 1000;
    log(&method, &route, &response, &id, ms);
    response
}

async fn in_time(limit: Duration, answer: impl Future<Output = Response>) -> Response {
    let late = |_| Failure::from(Outage::TimedOut).into_response();
    tokio::time::timeout(limit, answer)
        .await
        .unwrap_or_else(late)
}

/// Adds the id, and `no-store` where nothing else is said.
fn mark(response: &mut Response, id: &str) {
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID_HEADER, value);
    }
    let no_store = HeaderValue::from_static("no-store");
    headers.entry(header::CACHE_CONTROL).or_insert(no_store);
}

fn log(method: &Method, route: &str, response: &Response, request_id: &str, ms: u64) {
    let status = response.status().as_u16();
    let extensions = response.extensions();
    let code = extensions.get::<Code>().map_or("", |code| code.0);
    let edge_request = extensions.get::<EdgeRequest>();
    let edge_request = edge_request.map_or("", |request| request.0.as_str());
    tracing::info!(%method, route, status, code, ms, request_id, edge_request, "request");
}

fn time_limit(service: &Service, route: &str) -> Duration {
    let limit = service.settings.request_timeout;
    if route == LIST_ROUTE {
        limit + Duration::from_secs(WAIT_MAX.get())
    } else {
        limit
    }
}
