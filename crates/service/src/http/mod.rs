//! The service over HTTP: every route in one table.
//!
//! `server` accepts connections, `observe` gives each request an id, a time limit and a log line,
//! `auth` says who calls, `body` reads what they sent, `edge`, `app` and `me` answer, `problem`
//! turns failures into status codes.

mod app;
mod auth;
mod body;
mod edge;
mod me;
mod observe;
mod problem;
mod server;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use self::problem::Answer;
use crate::credential::Scope;
use crate::failure::Refusal;
use crate::service::Service;

pub use self::server::serve;

/// The routes of a service.
pub fn router(service: Arc<Service>) -> Router {
    let guarded = |routes: Router<Arc<Service>>, scope: Scope| {
        routes.route_layer(from_fn_with_state(
            (Arc::clone(&service), scope),
            auth::require,
        ))
    };
    Router::new()
        .merge(guarded(edge_routes(), Scope::Edge))
        .merge(guarded(app_routes(), Scope::App))
        .merge(guarded(admin_routes(), Scope::Admin))
        .merge(open_routes())
        .fallback(async || problem::refuse(Refusal::PathUnknown))
        .method_not_allowed_fallback(async || problem::refuse(Refusal::MethodRefused))
        .layer(from_fn_with_state(Arc::clone(&service), observe::observe))
        .with_state(service)
}

fn edge_routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/edge/keys", get(edge::keys))
        .route(observe::LIST_ROUTE, get(edge::revocations))
        .route("/v1/edge/renew", post(edge::renew))
        .route("/v1/edge/sessions/{sid}", get(edge::liveness))
        .route("/v1/edge/me/sessions", get(me::sessions))
        .route("/v1/edge/me/revoke", post(me::revoke))
        .route("/v1/edge/me/in-force", get(me::in_force))
}

fn app_routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/sessions", post(app::create))
        .route("/v1/sessions/{sid}", get(app::show).delete(app::revoke))
        .route(
            "/v1/subjects/{b64sub}/sessions",
            get(app::sessions_of).delete(app::revoke_subject),
        )
}

fn admin_routes() -> Router<Arc<Service>> {
    Router::new().route("/v1/revoked-before", post(app::revoke_everything))
}

fn open_routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/.well-known/jwks.json", get(edge::public_keys))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
}

async fn ready(State(service): State<Arc<Service>>) -> Answer<Response> {
    let (status, text) = if service.is_ready().await {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    };
    Ok((status, text).into_response())
}
