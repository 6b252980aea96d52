//! What a user asks through the edge: their sessions, ending them, whether that is in force.
//!
//! Source: docs/protocol.md §3.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use hallpass_session::refusal::Refusal as TokenRefusal;
use hallpass_session::wire::{
    InForce, Position, RevokeMine, Revoked, SESSION_TOKEN_HEADER, Sessions,
};
use serde::Deserialize;

use super::body::{Json, Parameters};
use super::problem::Answer;
use crate::failure::Refusal;
use crate::service::Service;

/// `GET /v1/edge/me/sessions`
pub(super) async fn sessions(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
) -> Answer<axum::Json<Sessions>> {
    service
        .my_sessions(required_token(&headers)?)
        .await
        .map(axum::Json)
}

/// `POST /v1/edge/me/revoke`
pub(super) async fn revoke(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Json<RevokeMine>,
) -> Answer<axum::Json<Revoked>> {
    service
        .revoke_mine(token(&headers)?, &body.value)
        .await
        .map(axum::Json)
}

/// `GET /v1/edge/me/in-force`
pub(super) async fn in_force(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    Parameters(query): Parameters<InForceQuery>,
) -> Answer<axum::Json<InForce>> {
    service
        .in_force(required_token(&headers)?, &query.position())
        .await
        .map(axum::Json)
}

/// Query of `GET /v1/edge/me/in-force` and `GET /v1/in-force`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InForceQuery {
    epoch: String,
    to: u64,
}

impl InForceQuery {
    /// What is asked about.
    pub(super) fn position(self) -> Position {
        Position {
            epoch: self.epoch,
            to: self.to,
        }
    }
}

fn required_token(headers: &HeaderMap) -> Result<&str, Refusal> {
    token(headers)?.ok_or(Refusal::Token(TokenRefusal::SessionMissing))
}

/// The user's own token; two header lines are a malformed request.
fn token(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut lines = headers.get_all(SESSION_TOKEN_HEADER).iter();
    let line = lines.next();
    if lines.next().is_some() {
        return Err(Refusal::RequestMalformed(
            "hallpass-session-token stands there twice",
        ));
    }
    let malformed = Refusal::Token(TokenRefusal::TokenMalformed);
    line.map(|line| line.to_str().map_err(|_| malformed))
        .transpose()
}
