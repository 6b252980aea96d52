//! Forgetting what nobody needs any more, once an hour and by `hallpass table prune`.
//!
//! A session that ended goes once it is no longer shown and the list no longer needs it, with its
//! renewal and its revocation. An address goes once it is old, while its session lives on. Audit and
//! events go after a fixed time. A few rows are forgotten in one transaction, so that renewals do
//! not wait.

use std::sync::Arc;
use std::time::Duration;

use hallpass_session::time::{Seconds, UnixSeconds};

use crate::config::Settings;
use crate::failure::Failure;
use crate::service::Service;
use crate::store::{Due, Forgotten, Retention, Store};

/// How long events can be asked for.
const EVENTS_RETAIN: Seconds = Seconds::new(30 * 86_400);
/// How long it is kept who did what.
const AUDIT_RETAIN: Seconds = Seconds::new(400 * 86_400);
/// Most rows of a sort in one transaction.
const BATCH: usize = 100;
/// Time between two turns.
const INTERVAL: Duration = Duration::from_hours(1);
/// Time before the first turn: a service that starts has better things to do.
const FIRST: Duration = Duration::from_mins(1);

/// What may be forgotten at `now`.
#[must_use]
pub fn retention(settings: &Settings, now: UnixSeconds) -> Retention {
    Retention {
        ended_before: now.minus(settings.ended_retain),
        listed_before: now.minus(settings.list_retain),
        addresses_before: now.minus(settings.address_retain),
        events_before: now.minus(EVENTS_RETAIN),
        audit_before: now.minus(AUDIT_RETAIN),
    }
}

/// Forgets everything that is due.
///
/// # Errors
///
/// When the table cannot be read or written. What was forgotten stays so.
pub async fn prune(store: &dyn Store, retention: Retention) -> Result<Forgotten, Failure> {
    let mut all = Forgotten::default();
    loop {
        let due = store.due(&retention).await?;
        let turn = forget(store, due, retention).await?;
        all.add(turn);
        if turn == Forgotten::default() {
            break;
        }
    }
    loop {
        let lines = store.forget_logs(retention).await?;
        all.lines += lines;
        if lines == 0 {
            return Ok(all);
        }
    }
}

async fn forget(
    store: &dyn Store,
    mut due: Due,
    retention: Retention,
) -> Result<Forgotten, Failure> {
    let mut all = Forgotten::default();
    let take = |sids: &mut Vec<_>| sids.split_off(sids.len().saturating_sub(BATCH));
    while !due.is_empty() {
        let batch = Due {
            ended: take(&mut due.ended),
            seen: take(&mut due.seen),
            signed_in: take(&mut due.signed_in),
        };
        all.add(store.forget(batch, retention).await?);
    }
    Ok(all)
}

/// Prunes table and journal until the service stops.
pub async fn keep_up(service: Arc<Service>) {
    let mut stopping = service.stopping();
    tokio::select! {
        // Fails only when the service is gone, which is a reason to stop as well.
        _ = stopping.wait_for(|stop| *stop) => {}
        () = prune_for_ever(&service) => {}
    }
}

async fn prune_for_ever(service: &Service) {
    tokio::time::sleep(FIRST).await;
    loop {
        match service.prune().await {
            Ok(forgotten) if forgotten == Forgotten::default() => {}
            Ok(forgotten) => tracing::info!(
                sessions = forgotten.sessions,
                addresses = forgotten.addresses,
                lines = forgotten.lines,
                "forgot what nobody needs any more"
            ),
            Err(failure) => tracing::warn!(?failure, "what is old could not be forgotten"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
