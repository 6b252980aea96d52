//! What apps ask to learn what happened.
//!
//! Source: docs/events.md.

use std::sync::Arc;

use axum::extract::State;
use hallpass_session::time::Seconds;
use serde::Deserialize;

use super::body::Parameters;
use super::problem::Answer;
use crate::events::{Events, EventsPoll};
use crate::failure::Refusal;
use crate::list::WAIT_MAX;
use crate::service::Service;

/// Most events of one answer, and how many there are when nothing is said.
const LIMIT: (u32, u32) = (1000, 100);

/// Query of `GET /v1/events`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    #[serde(default)]
    after: u64,
    limit: Option<u32>,
    #[serde(default)]
    wait: u64,
}

/// `GET /v1/events`
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    Parameters(query): Parameters<EventsQuery>,
) -> Answer<axum::Json<Events>> {
    let (most, default) = LIMIT;
    let limit = query.limit.unwrap_or(default);
    if !(1..=most).contains(&limit) {
        return Err(Refusal::RequestMalformed("limit: 1 to 1000").into());
    }
    if query.wait > WAIT_MAX.get() {
        return Err(Refusal::RequestMalformed("wait: 0 to 5 seconds").into());
    }
    let poll = EventsPoll {
        after: query.after,
        limit,
        wait: Seconds::new(query.wait),
    };
    service.poll_events(poll).await.map(axum::Json)
}
