//! The service's state, and how it comes up.
//!
//! Everything a request needs hangs here; what requests do with it is one file per idea:
//! [`crate::creation`], [`crate::renew`], [`crate::list`], [`crate::me`], [`crate::revoke`].

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use hallpass_session::wire::Position;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::Settings;
use crate::edges::Edges;
use crate::failure::Failure;
use crate::in_force::Reporter;
use crate::journal::Journal;
use crate::key_changes::{KeyMaker, change_keys, first_keys};
use crate::keys::Keys;
use crate::list::ListMemory;
use crate::master_key::MasterKey;
use crate::metrics::Metrics;
use crate::store::{AuditEntry, AuditFilter, Forgotten, KeyRow, Revocation, Store, StoreError};
use crate::upkeep::{prune, retention};

/// A running session service.
pub struct Service {
    /// Its settings.
    pub settings: Settings,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) list: ListMemory,
    pub(crate) edges: Edges,
    pub(crate) reporter: Reporter,
    pub(crate) metrics: Metrics,
    master: Option<MasterKey>,
    keys: RwLock<Arc<Keys>>,
    /// Number of the change of a key that `keys` is sure to have.
    keys_seq: AtomicU64,
    leaving: AtomicBool,
    /// Each poll that is being answered holds one more.
    pub(crate) open_polls: Arc<()>,
    stopping: watch::Sender<bool>,
}

impl Service {
    /// Makes first keys where the table has none, opens and proves them all.
    ///
    /// # Errors
    ///
    /// When the table cannot be used, or its keys are not for this master key and issuer.
    pub async fn start(
        settings: Settings,
        master: Option<MasterKey>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Failure> {
        let first = first_keys(master.as_ref(), &settings.issuer, clock.now())?;
        store.add_first_keys(first).await?;
        // Looked at after the keys: from now on nothing can be restored into this table.
        if store.recovery_state().await?.restored_at.is_some() {
            return Err(StoreError::Restored.into());
        }
        store.note_token_lifetime(settings.token_lifetime).await?;
        let maker = KeyMaker {
            master: master.as_ref(),
            issuer: &settings.issuer,
            now: clock.now(),
        };
        seal_keys(&*store, &maker).await?;
        let keys = Keys::open(&store.keys().await?, master.as_ref(), &settings.issuer)?;
        Ok(Self {
            edges: Edges::new(clock.unix_ms()),
            reporter: Reporter::new()?,
            list: ListMemory::default(),
            metrics: Metrics::new(clock.now().get()),
            keys: RwLock::new(Arc::new(keys)),
            keys_seq: AtomicU64::new(0),
            leaving: AtomicBool::new(false),
            open_polls: Arc::default(),
            stopping: watch::Sender::new(false),
            settings,
            store,
            clock,
            master,
        })
    }

    /// The keys as last read.
    pub(crate) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the keys anew: another process may have changed them.
    pub(crate) async fn reload_keys(&self) -> Result<Arc<Keys>, Failure> {
        let rows = self.store.keys().await?;
        let master = self.master.as_ref();
        let keys = Arc::new(self.keys().reopen(&rows, master, &self.settings.issuer)?);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&keys);
        Ok(keys)
    }

    /// Reads the keys anew if one changed since they were read: `keys_seq` is the number of the last
    /// change, as a read or a transaction found it. Whether they were read.
    pub(crate) async fn keep_keys_current(&self, keys_seq: u64) -> Result<bool, Failure> {
        if self.keys_seq.load(Ordering::Acquire) == keys_seq {
            return Ok(false);
        }
        self.reload_keys().await?;
        // They were read after the number was, so they have at least that change.
        self.keys_seq.store(keys_seq, Ordering::Release);
        Ok(true)
    }

    /// Tells the in-force record of a commit. Returns when it was, in ms.
    pub(crate) fn announce(&self, revocation: &Revocation) -> u64 {
        let now_ms = self.clock.unix_ms();
        let position = Position {
            epoch: revocation.epoch.clone(),
            to: revocation.seq,
        };
        self.note_entry(&position, now_ms);
        self.metrics.note_list_head(revocation.seq);
        now_ms
    }

    /// How many polls are being answered, waiting ones included.
    #[must_use]
    pub fn open_polls(&self) -> usize {
        Arc::strong_count(&self.open_polls) - 1
    }

    /// Becomes true when the service is about to stop.
    #[must_use]
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Says that the service will soon stop: it is no longer ready, and serves on.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Says that the service stops now: it is no longer ready, and waiting polls are answered.
    pub fn stop(&self) {
        self.leave();
        self.stopping.send_replace(true);
    }

    /// The newest entries of the audit log, newest first.
    ///
    /// # Errors
    ///
    /// When the table cannot be read.
    pub async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>, Failure> {
        Ok(self.store.audit(filter).await?)
    }

    /// The metrics as text, with what is true now.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        let edges = self
            .edges
            .seen(self.metrics.list_head(), self.clock.unix_ms());
        let load = self.store.load();
        self.metrics.write(&edges, self.open_polls(), load)
    }

    /// Whether requests will be served.
    pub(crate) async fn is_ready(&self) -> bool {
        !self.leaving.load(Ordering::Relaxed) && self.store.check_writable().await.is_ok()
    }

    /// How many writes of the revocation journal failed.
    pub(crate) fn journal_failures(&self) -> u64 {
        self.store.journal().map_or(0, Journal::failures)
    }

    /// Forgets what nobody needs any more.
    ///
    /// # Errors
    ///
    /// When the table cannot be read or written.
    pub async fn prune(&self) -> Result<Forgotten, Failure> {
        let now = self.clock.now();
        if let Some(journal) = self.store.journal().cloned() {
            let pruned = tokio::task::spawn_blocking(move || journal.prune(now)).await;
            if let Ok(Err(error)) = pruned {
                tracing::warn!(%error, "the revocation journal could not be pruned");
            }
        }
        prune(&*self.store, retention(&self.settings, now)).await
    }

    /// Finishes what was accepted and lets go of the database.
    pub async fn close(&self) {
        self.leave_row().await;
        self.store.close().await;
    }
}

/// Seals keys that rest in clear, once there is a master key.
async fn seal_keys(store: &dyn Store, maker: &KeyMaker<'_>) -> Result<(), Failure> {
    let plan = |keys: &[KeyRow]| Ok(maker.seal_those_in_clear(keys)?);
    let (_, sealed) = change_keys::<Failure>(store, plan).await?;
    if !sealed.is_empty() {
        tracing::warn!(
            keys = sealed.len(),
            "keys that rested in clear are sealed now; copies of the database made before still \
             hold them in clear: rotate them if others may have such a copy"
        );
    }
    Ok(())
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
