//! Reads what a caller sent: bounded, strict JSON of a known form, strict queries, path segments.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header;
use axum::http::request::Parts;
use hmac_sha256::Hash;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::failure::{Failure, Refusal};
use crate::service::Service;

/// Longest part of a member's name that is repeated to the caller.
const NAME_MAX_CHARACTERS: usize = 100;

/// A JSON body, and the SHA-256 of its bytes.
pub(super) struct Json<T> {
    pub(super) value: T,
    pub(super) digest: [u8; 32],
}

/// A query string with known parameters only.
pub(super) struct Parameters<T>(pub(super) T);

/// The one variable segment of a path.
pub(super) struct Segment(pub(super) String);

impl<T: DeserializeOwned> FromRequest<Arc<Service>> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, service: &Arc<Service>) -> Result<Self, Failure> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        if !content_type.is_some_and(|value| is_json(value.as_bytes())) {
            return Err(malformed("Content-Type must be application/json"));
        }
        let settings = &service.settings;
        let whole = read(request.into_body(), settings.request_body_max_bytes);
        // Half of the time that the whole request has: the other half is for its work.
        let bytes = tokio::time::timeout(settings.request_timeout / 2, whole)
            .await
            .unwrap_or(Err(Refusal::BodyTimedOut.into()))?;
        let document = hallpass_session::json::parse(&bytes)
            .ok_or(malformed("the body is not JSON, or names a member twice"))?;
        // Serde would take an array for its members in order, and `[]` for an empty object.
        if !document.is_object() {
            return Err(malformed("the body must be a JSON object"));
        }
        let value = serde_path_to_error::deserialize(document)
            .map_err(|error| Refusal::BodyMalformed(complain(&error)))?;
        Ok(Self {
            value,
            digest: Hash::hash(&bytes),
        })
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let parsed = Query::from_request_parts(parts, state).await;
        parsed.map(|Query(value)| Self(value)).map_err(|_| {
            malformed("a parameter of the query is unknown, missing, repeated or of the wrong type")
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let segment = Path::from_request_parts(parts, state).await;
        segment
            .map(|Path(text)| Self(text))
            .map_err(|_| malformed("the path is not UTF-8"))
    }
}

async fn read(body: Body, max_bytes: usize) -> Result<Vec<u8>, Failure> {
    match Limited::new(body, max_bytes).collect().await {
        Ok(collected) => Ok(collected.to_bytes().into()),
        Err(error) if error.is::<LengthLimitError>() => Err(Refusal::RequestTooLarge.into()),
        Err(_) => Err(malformed("the body broke off")),
    }
}

/// Says which member is wrong without repeating a value, which may be a token.
fn complain(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let words = error.inner().to_string();
    let named = |kind: &str| words.strip_prefix(kind)?.split('`').nth(1);
    let known_names = ["missing field ", "unknown field "];
    for kind in known_names {
        if let Some(name) = named(kind) {
            let name: String = name.chars().take(NAME_MAX_CHARACTERS).collect();
            return format!("{kind}`{name}`");
        }
    }
    let path: String = error
        .path()
        .to_string()
        .chars()
        .take(NAME_MAX_CHARACTERS)
        .collect();
    format!("wrong type or range at `{path}`")
}

/// `application/json`, with or without parameters.
fn is_json(value: &[u8]) -> bool {
    let essence = value.split(|byte| *byte == b';').next().unwrap_or_default();
    essence
        .trim_ascii()
        .eq_ignore_ascii_case(b"application/json")
}

fn malformed(what: &'static str) -> Failure {
    Refusal::RequestMalformed(what).into()
}
