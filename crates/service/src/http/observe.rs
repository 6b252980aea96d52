//! What every request gets: an id, limits of size and time, one line in the log, and `no-store`.
//!
//! The id is ours and new for each request, since whoever chose it could make two look like one;
//! the caller's own, from `X-Request-Id` or the body of a renewal, stands beside it in the line.
//! The line has the route's pattern, never its path or query, and no other header: so no token,
//! cookie or credential can be in it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hallpass_session::base64url;
use tracing::Instrument;

use super::problem::{Code, refuse};
use crate::clock::random_bytes;
use crate::failure::{Failure, Outage, Refusal};
use crate::list::WAIT_MAX;
use crate::service::Service;

/// Where edges poll: a route that may take its time.
pub(super) const LIST_ROUTE: &str = "/v1/edge/revocations";
/// Where apps read events: the other one.
pub(super) const EVENTS_ROUTE: &str = "/v1/events";
/// Longest head of a request, in bytes: two tokens of 4 KiB, and room.
const HEAD_MAX_BYTES: usize = 16 << 10;
/// Most header lines of a request.
const HEADERS_MAX: usize = 64;
/// Longest id of a caller's that is logged, in bytes: a UUID has 36, a secret of ours at least 43.
const CALLER_REQUEST_MAX_BYTES: usize = 40;

const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    /// Id of the request that this task answers.
    pub(super) static REQUEST_ID: String;
}

/// When the request's head had been read, by the monotonic clock.
#[derive(Clone, Copy)]
pub(super) struct ReceivedUs(pub(super) u64);

/// The caller's own id of a request, for the log line.
#[derive(Clone, Default)]
pub(super) struct CallerRequest(String);

impl CallerRequest {
    /// Keeps what can be an id, and nothing that could forge a log line or be a secret: our tokens
    /// and credentials are all longer.
    pub(super) fn new(id: &str) -> Self {
        let is_id = id.len() <= CALLER_REQUEST_MAX_BYTES && id.bytes().all(base64url::is_character);
        Self(if is_id { id.to_owned() } else { String::new() })
    }

    fn of(headers: &HeaderMap) -> Self {
        let id = headers.get(REQUEST_ID_HEADER);
        id.and_then(|id| id.to_str().ok())
            .map(Self::new)
            .unwrap_or_default()
    }
}

/// What is said of a request beside its answer.
struct Asked {
    method: Method,
    route: String,
    id: String,
    caller_request: CallerRequest,
    started_us: u64,
}

/// Wraps a request from its first to its last line of ours.
pub(super) async fn observe(
    State(service): State<Arc<Service>>,
    mut request: Request,
    next: Next,
) -> Response {
    let asked = Asked::new(&request, service.clock.monotonic_us());
    let received = ReceivedUs(asked.started_us);
    request.extensions_mut().insert(received);
    // Not by level: whatever is logged below has the id.
    let span = tracing::error_span!("request", request_id = asked.id);
    let answer = within_limits(&service, &asked.route, request, next).instrument(span);
    let mut response = REQUEST_ID.scope(asked.id.clone(), answer).await;
    mark(&mut response, &asked.id);
    asked.note(&service, &response);
    response
}

async fn within_limits(service: &Service, route: &str, request: Request, next: Next) -> Response {
    if is_head_too_large(&request) {
        return refuse(Refusal::RequestHeadTooLarge);
    }
    let late = |_| Failure::from(Outage::TimedOut).into_response();
    tokio::time::timeout(time_limit(service, route), next.run(request))
        .await
        .unwrap_or_else(late)
}

fn is_head_too_large(request: &Request) -> bool {
    let lines = request.headers().iter();
    let bytes: usize = lines
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    let path = request.uri().path().len() + request.uri().query().map_or(0, str::len);
    request.headers().len() > HEADERS_MAX || bytes + path > HEAD_MAX_BYTES
}

fn time_limit(service: &Service, route: &str) -> Duration {
    let limit = service.settings.request_timeout;
    if route == LIST_ROUTE || route == EVENTS_ROUTE {
        limit + Duration::from_secs(WAIT_MAX.get())
    } else {
        limit
    }
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

impl Asked {
    fn new(request: &Request, started_us: u64) -> Self {
        let id = random_bytes::<16>();
        let matched = request.extensions().get::<MatchedPath>();
        Self {
            method: request.method().clone(),
            route: matched.map_or_else(|| "-".to_owned(), |path| path.as_str().to_owned()),
            id: id.map_or_else(|_| String::new(), |bytes| base64url::encode(&bytes)),
            caller_request: CallerRequest::of(request.headers()),
            started_us,
        }
    }

    /// Logs and counts the answer.
    fn note(&self, service: &Service, response: &Response) {
        let us = service.clock.monotonic_us().saturating_sub(self.started_us);
        let status = response.status().as_u16();
        let extensions = response.extensions();
        let code = extensions.get::<Code>().map_or("", |code| code.0);
        let caller_request = extensions.get().unwrap_or(&self.caller_request);
        // A method may be any word, and anybody may choose it.
        let method = match self.method {
            Method::GET
            | Method::POST
            | Method::DELETE
            | Method::HEAD
            | Method::OPTIONS
            | Method::PUT
            | Method::PATCH => self.method.as_str(),
            _ => "other",
        };
        let took = Duration::from_micros(us);
        service
            .metrics
            .note_answer(&self.route, method, status, took);
        tracing::info!(
            method,
            route = self.route,
            status,
            code,
            ms = us / 1000,
            request_id = self.id,
            caller_request = caller_request.0,
            "request"
        );
    }
}
