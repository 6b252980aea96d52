//! The database behind the service: a file, or a server of this run's own.

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;
use clap::ValueEnum;
use hallpass_databases::{Durability, Server};
use serde::Serialize;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Row};
use tempfile::TempDir;

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// A file in the service's process
    Sqlite,
    /// A `PostgreSQL` server
    Postgresql,
    /// A `MariaDB` server
    Mariadb,
}

/// A database that can be killed and started again on what it wrote.
pub(crate) struct Database {
    kind: Kind,
    place: Place,
}

enum Place {
    File(TempDir),
    /// Stays until the process ends.
    Server(hallpass_databases::Database<'static>),
}

impl Database {
    /// Starts one with nothing in it, as durable as it can be.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(kind: Kind) -> Result<Self> {
        let place = match kind {
            Kind::Sqlite => Place::File(tempfile::tempdir()?),
            Kind::Postgresql => serve(hallpass_databases::Kind::Postgresql)?,
            Kind::Mariadb => serve(hallpass_databases::Kind::Mariadb)?,
        };
        Ok(Self { kind, place })
    }

    /// Which it is.
    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// Where the service finds it.
    pub(crate) fn url(&self) -> String {
        match &self.place {
            Place::File(folder) => format!("sqlite://{}", file(folder).display()),
            Place::Server(database) => database.url(),
        }
    }

    /// Has it do something in SQL; the first column of its rows comes back.
    ///
    /// # Errors
    /// When it refuses.
    pub(crate) async fn ask(&self, sql: &str) -> Result<Vec<String>> {
        let folder = match &self.place {
            Place::File(folder) => folder,
            Place::Server(database) => {
                let lines = tokio::task::block_in_place(|| database.ask(sql))?;
                return Ok(lines.lines().map(str::to_owned).collect());
            }
        };
        let options = SqliteConnectOptions::new().filename(file(folder));
        let mut connection = SqliteConnection::connect_with(&options).await?;
        let rows = sqlx::query(AssertSqlSafe(sql.to_owned()))
            .fetch_all(&mut connection)
            .await?;
        connection.close().await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Its version, as it says itself.
    ///
    /// # Errors
    /// When it does not say.
    pub(crate) async fn version(&self) -> Result<String> {
        let sql = match self.kind {
            Kind::Sqlite => "SELECT sqlite_version()",
            Kind::Postgresql | Kind::Mariadb => "SELECT version()",
        };
        Ok(self.ask(sql).await?.concat())
    }

    /// `kill -9` of all its processes, then a start on the same data.
    ///
    /// # Errors
    /// When it does not come up again.
    pub(crate) fn kill_and_restart(&self) -> Result<()> {
        match &self.place {
            Place::File(_) => Ok(()),
            Place::Server(database) => tokio::task::block_in_place(|| {
                database.server().kill()?;
                database.server().start()
            }),
        }
    }
}

fn serve(kind: hallpass_databases::Kind) -> Result<Place> {
    let server: &'static Server = Box::leak(Box::new(Server::create(kind, Durability::Full)?));
    Ok(Place::Server(server.new_database()?))
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("table.db")
}

impl Kind {
    /// As reports name it.
    pub(crate) const fn id(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgresql => "postgresql",
            Self::Mariadb => "mariadb",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Postgresql => "PostgreSQL",
            Self::Mariadb => "MariaDB",
        })
    }
}
