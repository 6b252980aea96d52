//! Who calls: one bearer credential of the scope that a route demands.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;

use super::problem::Answer;
use crate::credential::{Scope, recognise};
use crate::failure::Refusal;
use crate::service::Service;

/// Id of the credential that was presented.
#[derive(Clone, Debug)]
pub(super) struct Caller(pub(super) String);

/// Lets a request through if its credential covers the scope.
pub(super) async fn require(
    State((service, scope)): State<(Arc<Service>, Scope)>,
    mut request: Request,
    next: Next,
) -> Answer<Response> {
    let presented = bearer(request.headers()).ok_or(Refusal::CredentialInvalid)?;
    let known = recognise(service.store.as_ref(), presented).await?;
    let (id, held) = known.ok_or(Refusal::CredentialInvalid)?;
    if !held.covers(scope) {
        return Err(Refusal::ScopeInsufficient.into());
    }
    request.extensions_mut().insert(Caller(id));
    Ok(next.run(request).await)
}

/// The one bearer credential; two `Authorization` lines are none.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let line = lines.next()?;
    if lines.next().is_some() {
        return None;
    }
    let (scheme, credential) = line.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(credential)
}
