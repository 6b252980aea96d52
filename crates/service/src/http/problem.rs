//! Failures as HTTP: the only place with status codes of errors.
//!
//! Every failure is an RFC 9457 document with a stable `code`. Inner words of outages and faults go
//! to the log, under the same request id.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hallpass_session::wire::Problem;

use super::observe::REQUEST_ID;
use crate::failure::{Failure, Refusal};

/// What a handler returns.
pub(super) type Answer<T> = Result<T, Failure>;

/// Code of a failed request, for its log line.
#[derive(Clone, Copy)]
pub(super) struct Code(pub(super) &'static str);

/// Answers with a refusal.
pub(super) fn refuse(refusal: Refusal) -> Response {
    Failure::from(refusal).into_response()
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, code) = (status(&self), self.code());
        match &self {
            Self::Refusal(_) => {}
            Self::Outage(outage) => tracing::warn!(code, ?outage, "outage"),
            Self::Fault(fault) => tracing::error!(code, ?fault, "fault"),
        }
        let detail = match &self {
            Self::Refusal(Refusal::RequestMalformed(what)) => Some((*what).to_owned()),
            Self::Refusal(Refusal::BodyMalformed(what)) => Some(what.clone()),
            _ => None,
        };
        let problem = Problem {
            kind: "about:blank".to_owned(),
            title: title(code),
            status: status.as_u16(),
            code: code.to_owned(),
            request_id: REQUEST_ID.try_with(Clone::clone).unwrap_or_default(),
            detail,
        };
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        let problem_json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, problem_json);
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(secs) = retry_after_secs(&self) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        response.extensions_mut().insert(Code(code));
        response
    }
}

fn retry_after_secs(failure: &Failure) -> Option<u64> {
    match failure {
        Failure::Refusal(Refusal::AttemptsLimited { retry_after_secs }) => Some(*retry_after_secs),
        Failure::Outage(_) => Some(1),
        _ => None,
    }
}

/// The status of a failure.
pub(super) const fn status(failure: &Failure) -> StatusCode {
    match failure {
        Failure::Refusal(refusal) => refusal_status(refusal),
        Failure::Outage(_) => StatusCode::SERVICE_UNAVAILABLE,
        Failure::Fault(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

const fn refusal_status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::CredentialInvalid
        | Refusal::RenewalMalformed
        | Refusal::RenewalUnknown
        | Refusal::RenewalReused
        | Refusal::SessionRevoked
        | Refusal::SessionExpired
        | Refusal::Token(_) => StatusCode::UNAUTHORIZED,
        Refusal::ScopeInsufficient => StatusCode::FORBIDDEN,
        Refusal::RequestMalformed(_) | Refusal::BodyMalformed(_) => StatusCode::BAD_REQUEST,
        Refusal::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::RequestHeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Refusal::BodyTimedOut => StatusCode::REQUEST_TIMEOUT,
        Refusal::AttemptsLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
        Refusal::PathUnknown | Refusal::SessionUnknown => StatusCode::NOT_FOUND,
        Refusal::MethodRefused => StatusCode::METHOD_NOT_ALLOWED,
        Refusal::IdempotencyKeyReused | Refusal::IdempotentSessionEnded => StatusCode::CONFLICT,
    }
}

/// The code in words: `session_unknown` → `Session unknown`.
fn title(code: &str) -> String {
    let mut title = code.replace('_', " ");
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    title
}
