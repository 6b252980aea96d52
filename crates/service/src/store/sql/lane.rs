//! The serial lane: every write of this process that takes a number or changes a one-row table.
//!
//! One task on one connection takes the works in order and commits as many as are waiting in one
//! transaction, so that full durability is paid once per batch. The transaction begins by locking
//! the head row, so that the lanes of all processes on one database exclude each other. When a work
//! fails the batch is rolled back and each work runs alone, so that only the culprit fails. A caller
//! hears back only after the commit; a caller that went away does not stop its work. Works of one
//! batch were all asked for before any of them was answered, so their order is free: renewals come
//! last, together (`ahead`).
//!
//! What passes by itself is tried again: a lock that was not got, and a connection that broke before
//! anything was committed. After a commit whose answer was lost only works that may run twice do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::{AnyConnection, Connection as _};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use super::Now;
use super::dialect::{Dialect, Purpose};
use super::fault::failed;
use super::source::Source;
use super::transaction::{Connection, Transaction};
use crate::actor::Actor;
use crate::journal::{Entry, Journal};
use crate::record::Sid;
use crate::store::{News, StoreError};

/// Most works in one transaction: bounds how long the first of them waits.
const BATCH_MAX: usize = 64;
/// Works that may wait before callers do.
const QUEUE_MAX: usize = 1024;
/// How often a batch is begun anew after a lock was not got.
pub(super) const BUSY_RETRIES: u32 = 3;
/// Longest a transaction may take before its connection is given up: what the database itself allows
/// a statement, twice what it allows a lock.
pub(super) const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// One transaction's worth of writing.
#[async_trait]
pub(super) trait Work: Send + Sync + 'static {
    /// What the caller hears.
    type Output: Send + 'static;

    /// Whether it moves the watermark or begins an epoch: no renewal runs beside it then.
    const CHANGES_WATERMARK: bool = false;
    /// Whether running it twice has the effect of running it once.
    const REPEATABLE: bool = false;

    /// The session it renews: the renewals of a batch run after its other works, and where the lane
    /// has the database to itself their sessions are read together.
    fn renews(&self) -> Option<Sid> {
        None
    }

    /// Does it. May run more than once, of which the last counts: it keeps nothing but its output.
    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Self::Output, StoreError>;
}

#[async_trait]
impl<W: Work> Work for Arc<W> {
    type Output = W::Output;

    const CHANGES_WATERMARK: bool = W::CHANGES_WATERMARK;
    const REPEATABLE: bool = W::REPEATABLE;

    fn renews(&self) -> Option<Sid> {
        W::renews(self)
    }

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<W::Output, StoreError> {
        W::run(self, tx).await
    }
}

/// Hands works to the writing task.
pub(super) struct Lane {
    queue: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    task: Mutex<Option<JoinHandle<()>>>,
    on_disk: Arc<AtomicU64>,
}

impl Lane {
    /// Starts the task on a connection for the lane.
    pub(super) fn start(
        source: Source,
        connection: AnyConnection,
        news: Arc<News>,
        now: Now,
        journal: Option<Journal>,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let on_disk = Arc::new(AtomicU64::new(0));
        let writing = Writing {
            source,
            connection: Some(connection),
            news,
            now,
            journal,
            settling: JoinSet::new(),
            on_disk: Arc::clone(&on_disk),
        };
        Self {
            queue: Mutex::new(Some(sender)),
            task: Mutex::new(Some(tokio::spawn(writing.run(receiver)))),
            on_disk,
        }
    }

    /// Queues a work and waits until it is committed.
    pub(super) async fn run<W: Work>(&self, work: W) -> Result<W::Output, StoreError> {
        let (reply, answer) = oneshot::channel();
        let queue = self.queue.lock().await.clone().ok_or_else(stopped)?;
        let job = Pending {
            work,
            actor: Actor::current(),
            output: None,
            reply,
        };
        queue.send(Box::new(job)).await.map_err(|_| stopped())?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// How many works wait; none once it takes no more.
    pub(super) fn queued(&self) -> usize {
        let queue = self.queue.try_lock();
        queue.map_or(0, |queue| {
            let sender = queue.as_ref();
            sender.map_or(0, |sender| sender.max_capacity() - sender.capacity())
        })
    }

    /// The newest number of the log that a commit of this lane saw: it is on disk.
    pub(super) fn on_disk(&self) -> u64 {
        self.on_disk.load(Ordering::Relaxed)
    }

    /// Takes nothing more, finishes what is queued.
    pub(super) async fn drain(&self) {
        self.queue.lock().await.take();
        if let Some(task) = self.task.lock().await.take() {
            // The task ends by itself once the queue is closed and empty; it never panics.
            let _ended = task.await;
        }
    }
}

/// A work with its caller, its type forgotten.
#[async_trait]
trait Job: Send {
    async fn run(&mut self, tx: &mut Transaction<'_>) -> Result<(), StoreError>;
    fn changes_watermark(&self) -> bool;
    fn renews(&self) -> Option<Sid>;
    fn is_repeatable(&self) -> bool;
    fn settle(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Pending<W: Work> {
    work: W,
    actor: Actor,
    output: Option<W::Output>,
    reply: oneshot::Sender<Result<W::Output, StoreError>>,
}

#[async_trait]
impl<W: Work> Job for Pending<W> {
    async fn run(&mut self, tx: &mut Transaction<'_>) -> Result<(), StoreError> {
        tx.act_for(self.actor.clone());
        self.output = Some(self.work.run(tx).await?);
        Ok(())
    }

    fn changes_watermark(&self) -> bool {
        W::CHANGES_WATERMARK
    }

    fn renews(&self) -> Option<Sid> {
        self.work.renews()
    }

    fn is_repeatable(&self) -> bool {
        W::REPEATABLE
    }

    fn settle(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { output, reply, .. } = *self;
        let answer = committed.and_then(|()| output.ok_or_else(stopped));
        // A caller that went away needs no answer.
        let _gone = reply.send(answer);
    }
}

/// A batch that was not committed, as far as is known.
struct Failed {
    error: StoreError,
    during: Phase,
}

/// How far a batch came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// There is no connection.
    Connect,
    /// Nothing was committed.
    Works,
    /// It may have been committed.
    Commit,
}

/// The writing task.
struct Writing {
    source: Source,
    /// Kept as long as it works.
    connection: Option<AnyConnection>,
    news: Arc<News>,
    now: Now,
    journal: Option<Journal>,
    /// Batches that are committed and wait for the journal.
    settling: JoinSet<()>,
    on_disk: Arc<AtomicU64>,
}

impl Writing {
    async fn run(mut self, mut queue: mpsc::Receiver<Box<dyn Job>>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while queue.recv_many(&mut batch, BATCH_MAX).await > 0 {
            let works = std::mem::take(&mut batch);
            if let Some(culprits) = self.write(works).await {
                for job in culprits {
                    self.write(vec![job]).await;
                }
            }
        }
        while self.settling.join_next().await.is_some() {}
        if let Some(connection) = self.connection.take() {
            // Nothing depends on a graceful farewell.
            let _closed = connection.close().await;
        }
    }

    /// Commits the batch or settles it with the error; gives it back if each must run alone.
    async fn write(&mut self, mut batch: Vec<Box<dyn Job>>) -> Option<Vec<Box<dyn Job>>> {
        let mut busy = 0;
        let mut broken = false;
        loop {
            let (error, during) = match self.attempt(&mut batch).await {
                Ok(entries) => {
                    self.settle_after_journal(batch, entries);
                    return None;
                }
                Err(Failed { error, during }) => (error, during),
            };
            tracing::warn!(%error, works = batch.len(), "a transaction failed");
            match error {
                StoreError::Busy(_) if busy < BUSY_RETRIES => busy += 1,
                StoreError::Unavailable(_) if !broken && during == Phase::Works => broken = true,
                StoreError::Unavailable(_) if !broken && during == Phase::Commit => {
                    broken = true;
                    let repeatable = |job: &mut Box<dyn Job>| !job.is_repeatable();
                    settle(batch.extract_if(.., repeatable).collect(), &Err(error));
                }
                StoreError::Rejected(_) | StoreError::Damaged(_)
                    if during == Phase::Works && batch.len() > 1 =>
                {
                    return Some(batch);
                }
                error => {
                    settle(batch, &Err(error));
                    return None;
                }
            }
        }
    }

    /// Writes to the journal beside the next batch, then tells those who wait.
    fn settle_after_journal(&mut self, batch: Vec<Box<dyn Job>>, entries: Vec<Entry>) {
        while self.settling.try_join_next().is_some() {}
        let Some(journal) = self.journal.clone().filter(|_| !entries.is_empty()) else {
            settle(batch, &Ok(()));
            return;
        };
        self.settling.spawn(async move {
            journal.append(entries).await;
            settle(batch, &Ok(()));
        });
    }

    /// One transaction; returns what the journal is to have. A connection that does not do its
    /// part is not used again.
    async fn attempt(&mut self, batch: &mut [Box<dyn Job>]) -> Result<Vec<Entry>, Failed> {
        let mut phase = Phase::Connect;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match self.source.connect(Purpose::Lane).await {
                Ok(connection) => connection,
                Err(error) => {
                    let during = phase;
                    return Err(Failed { error, during });
                }
            },
        };
        phase = Phase::Works;
        let mut entries = Vec::new();
        let dialect = self.source.dialect;
        let now = &self.now;
        let transaction = transact(
            &mut connection,
            dialect,
            now,
            batch,
            &mut phase,
            &mut entries,
        );
        let done = tokio::time::timeout(TRANSACTION_TIMEOUT, transaction).await;
        let error = match done {
            Ok(Ok((seq, advanced))) => {
                self.connection = Some(connection);
                self.on_disk.fetch_max(seq, Ordering::Relaxed);
                if advanced {
                    self.news.tell(seq);
                }
                return Ok(entries);
            }
            Ok(Err(error)) => error,
            Err(_) => StoreError::Unavailable("it did not answer in time".to_owned()),
        };
        if let Some(journal) = &self.journal
            && phase == Phase::Commit
        {
            // It may have been committed, and then nothing is found to be ended when it runs again:
            // this is written before anybody is told that it was.
            journal.append(entries).await;
        }
        // What concerns the works alone leaves the connection good.
        if let StoreError::Busy(_) | StoreError::Rejected(_) | StoreError::Damaged(_) = error {
            self.connection = Some(connection);
        }
        Err(Failed {
            error,
            during: phase,
        })
    }
}

/// Commits the works; returns the newest number, and whether they took it.
async fn transact(
    connection: &mut AnyConnection,
    dialect: Dialect,
    now: &Now,
    batch: &mut [Box<dyn Job>],
    phase: &mut Phase,
    entries: &mut Vec<Entry>,
) -> Result<(u64, bool), StoreError> {
    // Rolled back on drop, so an error below leaves nothing half done on the connection.
    let begun = connection.begin_with(dialect.begin()).await;
    let mut raw = begun.map_err(failed)?;
    let mut tx = Transaction::open(Connection::new(&mut raw, dialect), now.read()).await?;
    if batch.iter().any(|job| job.changes_watermark()) {
        tx.lock_watermark().await?;
    }
    let (renewals, others): (Vec<_>, Vec<_>) =
        batch.iter_mut().partition(|job| job.renews().is_some());
    for job in others {
        job.run(&mut tx).await?;
    }
    if renewals.len() > 1 && !dialect.locks_rows() {
        let sids: BTreeSet<Sid> = renewals.iter().filter_map(|job| job.renews()).collect();
        tx.read_ahead(sids).await?;
    }
    for job in renewals {
        job.run(&mut tx).await?;
    }
    tx.write_confirmed().await?;
    tx.write_state().await?;
    tx.notify().await?;
    let (seq, advanced) = (tx.seq(), tx.has_advanced());
    *entries = tx.take_journal();
    *phase = Phase::Commit;
    raw.commit().await.map_err(failed)?;
    Ok((seq, advanced))
}

fn settle(batch: Vec<Box<dyn Job>>, committed: &Result<(), StoreError>) {
    for job in batch {
        job.settle(committed.clone());
    }
}

fn stopped() -> StoreError {
    StoreError::Unavailable("the service is stopping".to_owned())
}
