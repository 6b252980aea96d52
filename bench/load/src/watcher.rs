//! An edge that holds the revocation list and only ever takes in deltas.
//!
//! If a number became visible after a higher one, this is who would miss it for good.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hallpass_session::base64url;
use hallpass_session::revocation::ListHeader;
use hallpass_session::wire::{ListClaims, Position};
use roaring::RoaringBitmap;
use tokio::time::Instant;

use crate::client::Client;
use crate::history::{History, Revocation};

/// Between attempts while the service is down.
const RETRY: Duration = Duration::from_millis(20);

/// What it holds.
#[derive(Clone, Default)]
pub(crate) struct Watcher(Arc<Mutex<Held>>);

#[derive(Clone, Default)]
struct Held {
    position: Option<Position>,
    revoked: HashSet<u32>,
    /// When it came to each position.
    reached: Vec<(Position, Instant)>,
}

impl Watcher {
    /// Polls until the task is dropped.
    ///
    /// Each poll waits so many seconds for news.
    pub(crate) async fn watch(self, client: Client, history: Arc<History>, wait_secs: u64) {
        loop {
            let position = self.position();
            match client.poll(position.as_ref(), wait_secs).await {
                Ok((header, list)) => {
                    if let Err(error) = self.take_in(&header, list.as_deref()) {
                        history.note_violation(format!("list: {error:#}"));
                    }
                    history.note_list();
                }
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }

    /// Whether it has everything that was acknowledged as revoked, or has to be waited for.
    ///
    /// # Errors
    /// The revocation it passed over, in words.
    pub(crate) fn check(&self, acknowledged: &[Revocation]) -> Result<bool> {
        let held = self.held();
        let Some(position) = held.position else {
            return Ok(false);
        };
        for revocation in acknowledged {
            if revocation.position.to > position.to {
                return Ok(false);
            }
            ensure!(
                held.revoked.contains(&revocation.idx),
                "{} was revoked as number {}; an edge at {} never heard of it",
                revocation.sid,
                revocation.position.to,
                position.to
            );
        }
        Ok(true)
    }

    fn take_in(&self, header: &ListHeader, list: Option<&str>) -> Result<()> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &held.position {
            ensure!(
                header.position.epoch == known.epoch,
                "a new epoch though nothing was restored"
            );
            ensure!(
                header.position.to >= known.to,
                "from {} back to {}",
                known.to,
                header.position.to
            );
        }
        if let Some(list) = list {
            let claims = read(list)?;
            let known = held.position.as_ref().map_or(0, |known| known.to);
            ensure!(
                claims.from <= known,
                "a delta after {}, held was {known}",
                claims.from
            );
            held.revoked.extend(indexes(&claims)?);
        }
        if held.position.as_ref() != Some(&header.position) {
            let reached = (header.position.clone(), Instant::now());
            held.reached.push(reached);
        }
        held.position = Some(header.position.clone());
        Ok(())
    }

    /// Whether it is as far as `entry`.
    pub(crate) fn has(&self, entry: &Position) -> bool {
        self.position()
            .is_some_and(|held| held.epoch == entry.epoch && held.to >= entry.to)
    }

    /// When it came as far as `entry`; waits for it until `deadline`.
    pub(crate) async fn reached(&self, entry: &Position, deadline: Instant) -> Option<Instant> {
        while !self.has(entry) && Instant::now() < deadline {
            tokio::time::sleep(RETRY).await;
        }
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let far_enough = |(position, _): &&(Position, Instant)| position.to >= entry.to;
        held.reached.iter().find(far_enough).map(|(_, at)| *at)
    }

    fn position(&self) -> Option<Position> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.position.clone()
    }

    fn held(&self) -> Held {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The claims of a compact list; that its signature is judged is tested elsewhere.
///
/// # Errors
/// When it is not a list.
pub(crate) fn read(compact: &str) -> Result<ListClaims> {
    let payload = compact.split('.').nth(1).context("no payload")?;
    let payload = base64url::decode(payload).context("the payload is not base64url")?;
    serde_json::from_slice(&payload).context("the payload is not a list")
}

/// Every index a list names.
///
/// # Errors
/// When a bucket is not a bitmap.
pub(crate) fn indexes(claims: &ListClaims) -> Result<HashSet<u32>> {
    let mut indexes = HashSet::new();
    for bucket in &claims.sessions {
        let bytes = base64url::decode(&bucket.idx).context("a bucket is not base64url")?;
        indexes.extend(RoaringBitmap::deserialize_from(bytes.as_slice())?);
    }
    Ok(indexes)
}
