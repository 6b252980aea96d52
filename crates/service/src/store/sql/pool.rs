//! Connections for reading, and for renewals where rows can be locked.

use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyPool, Connection as _};

use super::dialect::Dialect;
use super::fault::failed;
use super::source::Source;
use super::transaction::Connection;
use crate::store::StoreError;

/// A bounded pool.
#[derive(Clone)]
pub(super) struct Pool {
    connections: AnyPool,
    dialect: Dialect,
}

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
            dialect: source.dialect,
        }
    }

    /// A connection for single reads.
    pub(super) async fn connection(&self) -> Result<Loan, StoreError> {
        Ok(Loan {
            connection: self.connections.acquire().await.map_err(failed)?,
            dialect: self.dialect,
        })
    }

    /// A transaction for reads that must agree with each other.
    pub(super) async fn snapshot(&self) -> Result<Beside<'static>, StoreError> {
        let begin = self.dialect.begin_snapshot();
        Ok(Beside {
            transaction: self.connections.begin_with(begin).await.map_err(failed)?,
            dialect: self.dialect,
        })
    }

    pub(super) async fn close(&self) {
        self.connections.close().await;
    }
}

impl Loan {
    pub(super) fn get(&mut self) -> Connection<'_> {
        Connection::new(&mut self.connection, self.dialect)
    }

    /// Begins a writing transaction.
    pub(super) async fn begin(&mut self) -> Result<Beside<'_>, StoreError> {
        let begun = self.connection.begin_with(self.dialect.begin()).await;
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
