//! What happened to sessions, as apps read it.
//!
//! Numbers are commit order, so an app that asks for what came after the last one it knows misses
//! nothing, whichever process it asks and however often either was restarted.
//!
//! Source: docs/events.md.

use std::time::Duration;

use hallpass_session::time::Seconds;
use serde::Serialize;

use crate::failure::Failure;
use crate::list::WAIT_MAX;
use crate::service::Service;
use crate::store::Event;

/// How often a waiting request looks again: what other processes wrote, and what takes no number of
/// the list, comes by this only.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// An app asks for events.
#[derive(Clone, Copy, Debug)]
pub struct EventsPoll {
    /// Number of the last one it knows.
    pub after: u64,
    /// At most so many.
    pub limit: u32,
    /// How long to wait for one.
    pub wait: Seconds,
}

/// What it gets.
#[derive(Debug, Serialize)]
pub struct Events {
    /// Oldest first.
    pub events: Vec<Event>,
    /// What to ask for next.
    pub next: u64,
}

impl Service {
    /// Events after a number, after waiting for one if asked to.
    ///
    /// # Errors
    ///
    /// When the table cannot be read.
    pub async fn poll_events(&self, poll: EventsPoll) -> Result<Events, Failure> {
        let mut stopping = self.stopping();
        let wait = Duration::from_secs(poll.wait.min(WAIT_MAX).get());
        let mut waited = Duration::ZERO;
        loop {
            let events = self.store.events(poll.after, poll.limit).await?;
            if !events.is_empty() || waited >= wait || *stopping.borrow() {
                let next = events.last().map_or(poll.after, |event| event.id);
                return Ok(Events { events, next });
            }
            tokio::select! {
                _ = stopping.changed() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
            waited += LOOK_AGAIN;
        }
    }
}
