//! Where connections come from.

use std::sync::Once;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, ConnectOptions};

use super::dialect::{Dialect, Purpose};
use super::{fault::failed, sqlite};
use crate::store::StoreError;

/// How long to wait for a connection, a new one included: a burst of requests waits here.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection idle for longer is asked whether it still works before it is used: less than any
/// server takes to come back, so that none from before is taken for good.
const TRUSTED_IDLE: Duration = Duration::from_millis(100);

/// What a database URL must do.
const URL_FORMS: &str = "must begin with sqlite://, postgres:// or mysql://";

/// A database, its connections ready for use.
#[derive(Clone)]
pub(super) struct Source {
    options: AnyConnectOptions,
    pub(super) dialect: Dialect,
}

impl Source {
    /// Reads a database URL.
    pub(super) fn of(url: &str) -> Result<Self, StoreError> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        let dialect = Dialect::of(url)
            .ok_or_else(|| StoreError::Unavailable(format!("its URL {URL_FORMS}")))?;
        let url = match dialect {
            Dialect::Sqlite => sqlite::file_url(&sqlite::file(url)?)?,
            Dialect::Postgres | Dialect::MySql => url.to_owned(),
        };
        let options = url.parse().map_err(failed)?;
        Ok(Self { options, dialect })
    }

    /// A connection of its own.
    pub(super) async fn connect(&self, purpose: Purpose) -> Result<AnyConnection, StoreError> {
        let connect = async {
            let mut connection = self.options.connect().await?;
            self.dialect.set_up(&mut connection, purpose).await?;
            Ok(connection)
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
            Ok(connected) => connected.map_err(failed),
            Err(_) => Err(StoreError::Unavailable(
                "it did not answer in time".to_owned(),
            )),
        }
    }

    /// A pool of at most `connections_max`; opens none yet.
    pub(super) fn pool(&self, connections_max: u32) -> AnyPool {
        let dialect = self.dialect;
        AnyPoolOptions::new()
            .max_connections(connections_max)
            .acquire_timeout(CONNECT_TIMEOUT)
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                Box::pin(async move { dialect.set_up(connection, Purpose::Pool).await })
            })
            .before_acquire(|connection, idle| {
                Box::pin(async move {
                    if idle.idle_for > TRUSTED_IDLE {
                        sqlx::Connection::ping(connection).await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(self.options.clone())
    }
}

/// Whether a database URL names one of the databases there are, and if not what it must be.
///
/// # Errors
///
/// In words that follow the name of the setting.
pub fn check_url(url: &str) -> Result<(), &'static str> {
    Dialect::of(url).map(drop).ok_or(URL_FORMS)
}

/// A database URL as it may be shown.
#[must_use]
pub fn without_password(url: &str) -> String {
    let Ok(AnyConnectOptions {
        database_url: mut shown,
        ..
    }) = url.parse::<AnyConnectOptions>()
    else {
        return "the database".to_owned();
    };
    if shown.scheme() == "sqlite" {
        return url.to_owned();
    }
    // PostgreSQL takes a password among the parameters too.
    shown.set_query(None);
    // Fails only for URLs that cannot have one.
    let _hidden = shown.set_password(None);
    shown.into()
}
