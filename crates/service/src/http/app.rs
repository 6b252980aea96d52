//! What apps and operators ask: create, show and end sessions.
//!
//! Source: docs/protocol.md §5.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use hallpass_session::base64url;
use hallpass_session::time::Seconds;
use hallpass_session::wire::{
    CreateSession, Created, EndedBy, InForce, Revoked, Session, Sessions,
};
use hmac_sha256::Hash;
use serde::Deserialize;

use super::auth::Caller;
use super::body::{Json, Parameters, Segment};
use super::me::InForceQuery;
use super::problem::Answer;
use crate::failure::Refusal;
use crate::record::{Sid, parse_sid};
use crate::service::Service;
use crate::store::{Cause, Idempotency, Selection};

const BY_APP: Cause = Cause {
    by: EndedBy::App,
    reason: "ended_by_app",
};
/// How long a repeated creation is recognised: a day, longer than any sensible retry.
const IDEMPOTENCY_KEPT: Seconds = Seconds::new(86_400);
/// Longest `Idempotency-Key`, in bytes.
const IDEMPOTENCY_KEY_MAX_BYTES: usize = 255;

/// `POST /v1/sessions`
pub(super) async fn create(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Json<CreateSession>,
) -> Answer<(StatusCode, axum::Json<Created>)> {
    let idempotency = idempotency(&headers, &caller, body.digest)?;
    let created = service.create_session(&body.value, idempotency).await?;
    Ok((StatusCode::CREATED, axum::Json(created)))
}

/// `GET /v1/sessions/{sid}`
pub(super) async fn show(
    State(service): State<Arc<Service>>,
    Segment(sid): Segment,
) -> Answer<axum::Json<Session>> {
    service.show_session(known_sid(&sid)?).await.map(axum::Json)
}

/// `DELETE /v1/sessions/{sid}`
pub(super) async fn revoke(
    State(service): State<Arc<Service>>,
    Segment(sid): Segment,
) -> Answer<axum::Json<Revoked>> {
    service
        .revoke_session(known_sid(&sid)?, BY_APP)
        .await
        .map(axum::Json)
}

/// `GET /v1/subjects/{b64sub}/sessions`
pub(super) async fn sessions_of(
    State(service): State<Arc<Service>>,
    Segment(subject): Segment,
) -> Answer<axum::Json<Sessions>> {
    service
        .sessions_of(&parse_subject(&subject)?, None)
        .await
        .map(axum::Json)
}

/// Query of `DELETE /v1/subjects/{b64sub}/sessions`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RevokeSubjectQuery {
    except: Option<String>,
}

/// `DELETE /v1/subjects/{b64sub}/sessions`
pub(super) async fn revoke_subject(
    State(service): State<Arc<Service>>,
    Segment(subject): Segment,
    Parameters(query): Parameters<RevokeSubjectQuery>,
) -> Answer<axum::Json<Revoked>> {
    let subject = parse_subject(&subject)?;
    let malformed = || Refusal::RequestMalformed("except: 22 characters of base64url");
    let except = query
        .except
        .map(|sid| parse_sid(&sid).ok_or_else(malformed))
        .transpose()?;
    service
        .revoke(Selection::Subject { subject, except }, BY_APP)
        .await
        .map(axum::Json)
}

/// Body of `POST /v1/revoked-before`: an empty object, so that nobody ends everything by a
/// request that was meant for another path.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RevokedBefore {}

/// `POST /v1/revoked-before`
pub(super) async fn revoke_everything(
    State(service): State<Arc<Service>>,
    _body: Json<RevokedBefore>,
) -> Answer<axum::Json<Revoked>> {
    service.revoke_everything().await.map(axum::Json)
}

/// `GET /v1/in-force`
pub(super) async fn in_force(
    State(service): State<Arc<Service>>,
    Parameters(query): Parameters<InForceQuery>,
) -> Answer<axum::Json<InForce>> {
    let position = query.position();
    service.judge_in_force(&position).await.map(axum::Json)
}

fn known_sid(text: &str) -> Result<Sid, Refusal> {
    parse_sid(text).ok_or(Refusal::SessionUnknown)
}

fn parse_subject(text: &str) -> Result<String, Refusal> {
    base64url::decode(text)
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or(Refusal::RequestMalformed(
            "the path must have the subject in base64url",
        ))
}

fn idempotency(
    headers: &HeaderMap,
    caller: &Caller,
    request_digest: [u8; 32],
) -> Result<Option<Idempotency>, Refusal> {
    let Some(key) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    if !(1..=IDEMPOTENCY_KEY_MAX_BYTES).contains(&key.len()) {
        return Err(Refusal::RequestMalformed("Idempotency-Key: 1 to 255 bytes"));
    }
    let id = Hash::hash([caller.0.as_bytes(), key.as_bytes()].join(&0).as_slice());
    Ok(Some(Idempotency {
        id,
        request_digest,
        keep: IDEMPOTENCY_KEPT,
    }))
}
