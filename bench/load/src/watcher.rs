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

use crate::client::Client;
use crate::history::{History, Revocation};

/// How long the poll of an edge waits for news.
const WAIT_SECS: u64 = 1;
/// Between attempts while the service is down.
const RETRY: Duration = Duration::from_millis(20);

/// What it holds.
#[derive(Clone, Default)]
pub(crate) struct Watcher(Arc<Mutex<Held>>);

#[derive(Clone, Default)]
struct Held {
    position: Option<Position>,
    revoked: HashSet<u32>,
}

impl Watcher {
    /// Polls until the task is dropped.
    pub(crate) async fn watch(self, client: Client, history: Arc<History>) {
        loop {
            let position = self.held().position;
            match client.poll(position.as_ref(), WAIT_SECS).await {
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
        held.position = Some(header.position.clone());
        Ok(())
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
