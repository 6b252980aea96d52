//! Schema and first rows.
//!
//! Migrations are embedded in the program. A database written by a newer program is refused, not
//! guessed at.

use async_trait::async_trait;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, Row, SqliteConnection, SqlitePool};

use super::rows::stored_time;
use super::{Now, Work, connect_options, unavailable};
use crate::store::StoreError;

static MIGRATOR: Migrator = sqlx::migrate!("migrations/sqlite");

/// A migration this program has and the database has not.
#[derive(Clone, Debug)]
pub struct Migration {
    /// Its number.
    pub version: i64,
    /// What it does.
    pub description: String,
    /// The statements.
    pub sql: String,
}

/// The migrations that opening the database at `url` would run. Changes nothing.
///
/// # Errors
///
/// `StoreError::Unavailable`.
pub async fn pending_migrations(url: &str) -> Result<Vec<Migration>, StoreError> {
    let options = connect_options(url)?;
    let applied = if options.get_filename().exists() {
        applied_versions(&options.create_if_missing(false)).await?
    } else {
        Vec::new()
    };
    let pending = MIGRATOR
        .iter()
        .filter(|migration| !applied.contains(&migration.version));
    Ok(pending
        .map(|migration| Migration {
            version: migration.version,
            description: migration.description.to_string(),
            sql: migration.sql.as_str().to_owned(),
        })
        .collect())
}

async fn applied_versions(options: &SqliteConnectOptions) -> Result<Vec<i64>, StoreError> {
    let mut connection = SqliteConnection::connect_with(options)
        .await
        .map_err(unavailable)?;
    let known = "SELECT 1 FROM sqlite_master WHERE name = '_sqlx_migrations'";
    if sqlx::query(known)
        .fetch_optional(&mut connection)
        .await
        .map_err(unavailable)?
        .is_none()
    {
        return Ok(Vec::new());
    }
    let rows = sqlx::query("SELECT version FROM _sqlx_migrations WHERE success")
        .fetch_all(&mut connection)
        .await
        .map_err(unavailable)?;
    rows.iter()
        .map(|row| row.try_get("version").map_err(unavailable))
        .collect()
}

/// Brings the database to this program's schema.
pub(super) async fn migrate(pool: &SqlitePool) -> Result<(), StoreError> {
    MIGRATOR.run(pool).await.map_err(|error| match error {
        MigrateError::VersionMissing(version) => StoreError::Schema(format!(
            "migration {version} was made by a newer hallpass; use that one"
        )),
        MigrateError::VersionMismatch(version) => StoreError::Schema(format!(
            "migration {version} was not the one this hallpass has"
        )),
        other => StoreError::Unavailable(other.to_string()),
    })
}

/// Makes a new database file readable by its owner only: it holds keys.
pub(super) fn create_private_file(options: &SqliteConnectOptions) -> Result<(), StoreError> {
    let path = options.get_filename();
    let mut open = std::fs::OpenOptions::new();
    open.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
    match open.open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(
            StoreError::Unavailable(format!("{}: {error}", path.display())),
        ),
        _ => Ok(()),
    }
}

/// The one-row tables, unless they have theirs.
pub(super) struct FirstRows {
    pub(super) epoch: String,
    pub(super) now: Now,
}

#[async_trait]
impl Work for FirstRows {
    type Output = ();

    async fn run(&self, tx: &mut SqliteConnection) -> Result<(), StoreError> {
        let head = "INSERT OR IGNORE INTO head (id, seq, epoch, began) VALUES (1, 0, ?, ?)";
        sqlx::query(head)
            .bind(&self.epoch)
            .bind(stored_time(self.now.read()))
            .execute(&mut *tx)
            .await
            .map_err(unavailable)?;
        for sql in [
            "INSERT OR IGNORE INTO watermark (id, revoked_before) VALUES (1, 0)",
            "INSERT OR IGNORE INTO issuance (id, next_idx, longest_token_secs) VALUES (1, 0, 0)",
        ] {
            sqlx::query(sql)
                .execute(&mut *tx)
                .await
                .map_err(unavailable)?;
        }
        Ok(())
    }
}

/// Takes the write lock and gives it back.
pub(super) struct Probe;

#[async_trait]
impl Work for Probe {
    type Output = ();

    async fn run(&self, tx: &mut SqliteConnection) -> Result<(), StoreError> {
        sqlx::query("SELECT 1 FROM head")
            .fetch_one(tx)
            .await
            .map(drop)
            .map_err(unavailable)
    }
}
