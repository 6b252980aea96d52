//! Connections for reading, and for renewals where rows can be locked.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyPool, Connection as _};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::dialect::{Dialect, Purpose};
use super::fault::failed;
use super::source::Source;
use super::transaction::Connection;
use crate::store::{StoreError, StoreLoad};

/// How long to wait for a connection before looking whether there is a database at all.
const PATIENCE: Duration = Duration::from_millis(500);

/// A bounded pool.
#[derive(Clone)]
pub(super) struct Pool {
    connections: AnyPool,
    source: Source,
    looked: Arc<Mutex<Option<Look>>>,
    waiting: Arc<AtomicUsize>,
}

/// When somebody last looked for the database, and what was found.
struct Look {
    at: Instant,
    found: Result<(), StoreError>,
}

/// Waits for a connection, until it is dropped.
pub(super) struct Waiting(Arc<AtomicUsize>);

/// A connection on loan.
pub(super) struct Loan {
    connection: PoolConnection<Any>,
    dialect: Dialect,
}

/// A transaction outside the serial lane; rolled back unless it is committed.
pub(super) struct Beside<'c> {
    transaction: sqlx::Transaction<'c, Any>,
    dialect: Dialect,
}

impl Pool {
    /// Opens no connection yet.
    pub(super) fn new(source: &Source, connections_max: u32) -> Self {
        Self {
            connections: source.pool(connections_max),
            source: source.clone(),
            looked: Arc::default(),
            waiting: Arc::default(),
        }
    }

    /// Notes that somebody waits for a connection.
    pub(super) fn wait(&self) -> Waiting {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(Arc::clone(&self.waiting))
    }

    /// How busy it is; of the lane it knows nothing.
    pub(super) fn load(&self) -> StoreLoad {
        StoreLoad {
            connections: usize::try_from(self.connections.size()).unwrap_or(usize::MAX),
            idle: self.connections.num_idle(),
            waiting: self.waiting.load(Ordering::Relaxed),
            queued: 0,
        }
    }

    /// A connection.
    ///
    /// In a burst this waits its turn. Of a server that is down the pool would say nothing until it
    /// has asked in vain for as long.
    pub(super) async fn connection(&self) -> Result<Loan, StoreError> {
        let _waiting = self.wait();
        let mut acquiring = pin!(self.connections.acquire());
        let connection = if let Ok(acquired) = timeout(PATIENCE, &mut acquiring).await {
            acquired
        } else {
            self.look().await?;
            acquiring.await
        };
        Ok(Loan {
            connection: connection.map_err(failed)?,
            dialect: self.source.dialect,
        })
    }

    /// Whether the database can be reached: one looks for all who wait.
    async fn look(&self) -> Result<(), StoreError> {
        let mut looked = self.looked.lock().await;
        if let Some(look) = &*looked
            && look.at.elapsed() < PATIENCE
        {
            return look.found.clone();
        }
        let found = self.source.connect(Purpose::Pool).await.map(drop);
        let at = Instant::now();
        looked.insert(Look { at, found }).found.clone()
    }

    pub(super) async fn close(&self) {
        self.connections.close().await;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Loan {
    pub(super) fn get(&mut self) -> Connection<'_> {
        Connection::new(&mut self.connection, self.dialect)
    }

    /// Begins a transaction for reads that must agree with each other.
    pub(super) async fn snapshot(&mut self) -> Result<Beside<'_>, StoreError> {
        self.begin_with(self.dialect.begin_snapshot()).await
    }

    /// Begins a writing transaction.
    pub(super) async fn begin(&mut self) -> Result<Beside<'_>, StoreError> {
        self.begin_with(self.dialect.begin()).await
    }

    async fn begin_with(&mut self, statement: &'static str) -> Result<Beside<'_>, StoreError> {
        let begun = self.connection.begin_with(statement).await;
        Ok(Beside {
            transaction: begun.map_err(failed)?,
            dialect: self.dialect,
        })
    }

    /// Lets nobody use this connection again.
    pub(super) fn give_up(mut self) {
        self.connection.close_on_drop();
    }
}

impl Beside<'_> {
    pub(super) fn connection(&mut self) -> Connection<'_> {
        Connection::new(&mut self.transaction, self.dialect)
    }

    pub(super) async fn commit(self) -> Result<(), StoreError> {
        self.transaction.commit().await.map_err(failed)
    }
}
