//! The single writer of a `SQLite` database.
//!
//! Every write is a [`Work`]. One task takes them in order and commits as many as are waiting in
//! one transaction, so that full durability is paid once per batch. Each work runs in a savepoint
//! of its own: one that fails leaves the others untouched. A caller hears back only after the
//! commit; a caller that went away does not stop its work.

use async_trait::async_trait;
use sqlx::{SqliteConnection, SqlitePool};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::unavailable;
use crate::store::StoreError;

/// Most works in one transaction: bounds how long the first of them waits.
const BATCH_MAX: usize = 64;
/// Works that may wait before callers do.
const QUEUE_MAX: usize = 1024;

/// One transaction's worth of writing.
#[async_trait]
pub(super) trait Work: Send + 'static {
    /// What the caller hears.
    type Output: Send + 'static;

    /// Does it. An error undoes this work alone.
    async fn run(&self, tx: &mut SqliteConnection) -> Result<Self::Output, StoreError>;
}

/// Hands works to the writing task.
pub(super) struct Writer {
    queue: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the task; `pool` must have exactly one connection.
    pub(super) fn start(pool: SqlitePool) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let task = tokio::spawn(write_batches(pool, receiver));
        Self {
            queue: Mutex::new(Some(sender)),
            task: Mutex::new(Some(task)),
        }
    }

    /// Queues a work and waits until it is committed.
    pub(super) async fn run<W: Work>(&self, work: W) -> Result<W::Output, StoreError> {
        let (reply, answer) = oneshot::channel();
        let queue = self.queue.lock().await.clone().ok_or_else(stopped)?;
        let job = Pending {
            work,
            result: None,
            reply,
        };
        queue.send(Box::new(job)).await.map_err(|_| stopped())?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
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
    async fn run(&mut self, tx: &mut SqliteConnection) -> bool;
    fn settle(self: Box<Self>, committed: Result<(), String>);
}

struct Pending<W: Work> {
    work: W,
    result: Option<Result<W::Output, StoreError>>,
    reply: oneshot::Sender<Result<W::Output, StoreError>>,
}

#[async_trait]
impl<W: Work> Job for Pending<W> {
    async fn run(&mut self, tx: &mut SqliteConnection) -> bool {
        let result = self.work.run(tx).await;
        let good = result.is_ok();
        self.result = Some(result);
        good
    }

    fn settle(self: Box<Self>, committed: Result<(), String>) {
        let answer = match (self.result, committed) {
            (Some(Err(error)), _) => Err(error),
            (_, Err(message)) => Err(StoreError::Unavailable(message)),
            (Some(Ok(output)), Ok(())) => Ok(output),
            (None, Ok(())) => Err(stopped()),
        };
        // A caller that went away needs no answer.
        let _gone = self.reply.send(answer);
    }
}

async fn write_batches(pool: SqlitePool, mut queue: mpsc::Receiver<Box<dyn Job>>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while queue.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let committed = write_batch(&pool, &mut batch)
            .await
            .map_err(|error| error.to_string());
        if let Err(error) = &committed {
            tracing::error!(%error, works = batch.len(), "a transaction failed");
        }
        for job in batch.drain(..) {
            job.settle(committed.clone());
        }
    }
    pool.close().await;
}

async fn write_batch(pool: &SqlitePool, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    // Rolled back on drop, so an error below leaves nothing half done on the connection.
    let mut tx = pool
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(unavailable)?;
    for job in batch {
        execute(&mut tx, "SAVEPOINT work").await?;
        if !job.run(&mut tx).await {
            execute(&mut tx, "ROLLBACK TO work").await?;
        }
        execute(&mut tx, "RELEASE work").await?;
    }
    tx.commit().await.map_err(unavailable)
}

async fn execute(tx: &mut SqliteConnection, sql: &'static str) -> Result<(), StoreError> {
    sqlx::query(sql)
        .execute(tx)
        .await
        .map(drop)
        .map_err(unavailable)
}

fn stopped() -> StoreError {
    StoreError::Unavailable("the service is stopping".to_owned())
}
