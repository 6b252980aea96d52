//! Connections for reading, and for renewals where rows can be locked.

use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyPool};

use super::dialect::Dialect;
use super::fault::failed;
use super::source::Source;
use super::transaction::Connection;
use crate::store::StoreError;

/// A bounded pool.
pub(super) struct Pool {
    connections: AnyPool,
    dialect: Dialect,
}

/// A connection on loan.
pub(super) struct Loan {
    connection: PoolConnection<Any>,
    dialect: Dialect,
}

/// A transaction that sees one state of the database throughout.
pub(super) struct Snapshot {
    transaction: sqlx::Transaction<'static, Any>,
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
    pub(super) async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let begin = self.dialect.begin_snapshot();
        Ok(Snapshot {
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
}

impl Snapshot {
    pub(super) fn connection(&mut self) -> Connection<'_> {
        Connection::new(&mut self.transaction, self.dialect)
    }
}
