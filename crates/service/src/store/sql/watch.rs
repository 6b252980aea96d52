//! News of the log from other processes on the same database.
//!
//! PostgreSQL tells of each commit that took a number; the others are asked for the newest number
//! while anybody waits, once for all who wait. A reconnection counts as news: what was told meanwhile
//! is lost.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::dialect::Dialect;
use super::fault::failed;
use super::pool::Pool;
use super::rows::number;
use super::statement::Statement;
use crate::store::{News, StoreError};

/// How often a database that does not tell is asked.
const ASKED_EVERY: Duration = Duration::from_millis(200);
/// How long to wait before connecting again.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);
/// What [`Dialect::notify`] tells on.
const CHANNEL: &str = "hallpass_log";

/// Starts watching.
pub(super) fn start(url: String, dialect: Dialect, pool: Pool, news: Arc<News>) -> JoinHandle<()> {
    match dialect {
        Dialect::Postgres => tokio::spawn(listen(url, pool, news)),
        Dialect::Sqlite | Dialect::MySql => tokio::spawn(ask(pool, news)),
    }
}

async fn ask(pool: Pool, news: Arc<News>) {
    let mut ticks = interval(ASKED_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if news.listeners() > 0 {
            look(&pool, &news).await;
        }
    }
}

/// Tells the newest number; who waits reads for itself soon if that fails.
async fn look(pool: &Pool, news: &News) {
    match newest(pool).await {
        Ok(seq) => news.tell(seq),
        Err(error) => tracing::debug!(%error, "could not look for news of the log"),
    }
}

async fn newest(pool: &Pool) -> Result<u64, StoreError> {
    static NEWEST: Statement = Statement::new("SELECT seq FROM head WHERE id = 1");
    let row = pool.connection().await?.get().one(NEWEST.plain()).await?;
    number(&row, "seq")
}

async fn listen(url: String, pool: Pool, news: Arc<News>) {
    loop {
        match listener(&url).await {
            Ok(listener) => {
                look(&pool, &news).await;
                hear(listener, &pool, &news).await;
            }
            Err(error) => tracing::debug!(%error, "cannot listen for news of the log"),
        }
        sleep(RECONNECT_AFTER).await;
    }
}

async fn listener(url: &str) -> Result<PgListener, StoreError> {
    let pool = PgPoolOptions::new().max_connections(1);
    let pool = pool.connect_lazy(url).map_err(failed)?;
    let mut listener = PgListener::connect_with(&pool).await.map_err(failed)?;
    listener.listen(CHANNEL).await.map_err(failed)?;
    Ok(listener)
}

/// Until the connection is beyond repair.
async fn hear(mut listener: PgListener, pool: &Pool, news: &News) {
    loop {
        match listener.try_recv().await {
            Ok(Some(told)) => match told.payload().parse() {
                Ok(seq) => news.tell(seq),
                Err(_) => look(pool, news).await,
            },
            // Connected anew.
            Ok(None) => look(pool, news).await,
            Err(error) => {
                tracing::debug!(%error, "no longer hears news of the log");
                return;
            }
        }
    }
}
