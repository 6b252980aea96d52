//! The service over HTTP: every route in one table.
//!
//! `server` accepts connections, with `tls` if it has a certificate; `observe` gives each request an
//! id, limits and a log line; `auth` says who calls and `attempts` how often it may fail; `body` reads what they sent, `edge`, `app`, `events` and `me` answer, `problem`
//! turns failures into status codes, `openapi` says all this to programs.

mod app;
mod attempts;
mod auth;
mod body;
mod edge;
mod events;
mod me;
mod observe;
mod openapi;
mod problem;
mod server;
mod tls;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use self::attempts::Attempts;
use self::auth::Guard;
use self::problem::Answer;
use crate::credential::Scope;
use crate::failure::Refusal;
use crate::service::Service;

pub use self::openapi::document as openapi_document;
pub use self::server::{Listening, serve};
pub use self::tls::Tls;

/// The routes of a service.
pub fn router(service: Arc<Service>) -> Router {
    let attempts = Arc::new(Attempts::new());
    let guarded = |routes: Router<Arc<Service>>, scope| {
        let guard = Guard {
            service: Arc::clone(&service),
            attempts: Arc::clone(&attempts),
            scope,
        };
        routes.route_layer(from_fn_with_state(guard, auth::require))
    };
    let routes = Router::new()
        .merge(guarded(edge_routes(), Scope::Edge))
        .merge(guarded(app_routes(), Scope::App))
        .merge(guarded(admin_routes(), Scope::Admin))
        .merge(open_routes());
    observed(routes, service)
}

/// The routes of `metrics_listen`: metrics without a credential, and nothing else.
pub fn metrics_router(service: Arc<Service>) -> Router {
    observed(metrics_routes(), service)
}

fn observed(routes: Router<Arc<Service>>, service: Arc<Service>) -> Router {
    routes
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
        .route(observe::EVENTS_ROUTE, get(events::list))
        .route("/v1/in-force", get(app::in_force))
        .route("/v1/sessions", post(app::create))
        .route("/v1/sessions/{sid}", get(app::show).delete(app::revoke))
        .route(
            "/v1/subjects/{b64sub}/sessions",
            get(app::sessions_of).delete(app::revoke_subject),
        )
}

fn admin_routes() -> Router<Arc<Service>> {
    metrics_routes().route("/v1/revoked-before", post(app::revoke_everything))
}

fn metrics_routes() -> Router<Arc<Service>> {
    Router::new().route("/metrics", get(metrics))
}

fn open_routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/.well-known/jwks.json", get(edge::public_keys))
        .route("/openapi.json", get(openapi))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
}

async fn openapi() -> axum::Json<serde_json::Value> {
    axum::Json(openapi_document())
}

async fn metrics(State(service): State<Arc<Service>>) -> Response {
    let content_type = [(header::CONTENT_TYPE, crate::metrics::CONTENT_TYPE)];
    (content_type, service.metrics_text()).into_response()
}

async fn ready(State(service): State<Arc<Service>>) -> Answer<Response> {
    let (status, text) = if service.is_ready().await {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    };
    let text = match service.journal_failures() {
        0 => text.to_owned(),
        failures => format!("{text}{failures} writes of the revocation journal failed\n"),
    };
    Ok((status, text).into_response())
}
