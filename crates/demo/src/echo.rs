//! `/echo`: any method and body back, to see what reaches an app.
//!
//! The body is passed on as it arrives and never collected. It is somebody else's text under this
//! app's name, so it is answered in a sandbox and may not run or load anything.

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::Limited;

use crate::refusal::{Refusal, Representation};

/// Largest body, in bytes: what Cloudflare's smallest plan lets through, and some.
const MAX_BODY_BYTES: usize = 128 * 1024 * 1024;
const SANDBOX: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox");
const METHOD_HEADER: HeaderName = HeaderName::from_static("x-method");

/// The body, under the content type it came with; `X-Method` names the method.
pub(crate) async fn answer(request: Request) -> Response {
    if request.body().size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "Too large",
            "The body is larger than this app echoes: 128 MiB.",
        )
        .into_response(Representation::wanted_by(request.headers()));
    }
    let content_type = request
        .headers()
        .get(header::CONTENT_TYPE)
        .cloned()
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let method = HeaderValue::from_str(request.method().as_str())
        .unwrap_or(HeaderValue::from_static("unknown"));
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, SANDBOX),
        (METHOD_HEADER, method),
    ];
    let body = Body::new(Limited::new(request.into_body(), MAX_BODY_BYTES));
    (headers, body).into_response()
}
