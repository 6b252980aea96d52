//! Schema and first rows.
//!
//! Migrations are embedded in the program, one folder per dialect with the same tables. A database
//! written by a newer program is refused, not guessed at.

use std::time::Duration;

use async_trait::async_trait;
use hallpass_session::time::UnixSeconds;
use sqlx::AnyConnection;
use sqlx::migrate::{MigrateError, Migrator};

use super::dialect::{Dialect, Purpose};
use super::lane::Work;
use super::rows::number;
use super::source::Source;
use super::sqlite;
use super::statement::Statement;
use super::transaction::{Connection, Transaction};
use crate::store::StoreError;

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");
static MYSQL: Migrator = sqlx::migrate!("migrations/mysql");

/// How often, and after which time, a file is looked at again that another process migrates.
const LOOKS_AT_FILE: u32 = 10;
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(200);

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
    let source = Source::of(url)?;
    let dialect = source.dialect;
    let applied = if dialect == Dialect::Sqlite && !sqlite::file(url)?.exists() {
        Vec::new()
    } else {
        let mut raw = source.connect(Purpose::Pool).await?;
        applied_versions(&mut Connection::new(&mut raw, dialect), dialect).await?
    };
    let pending = migrator(dialect)
        .iter()
        .filter(|migration| !applied.contains(&migration.version.unsigned_abs()));
    Ok(pending
        .map(|migration| Migration {
            version: migration.version,
            description: migration.description.to_string(),
            sql: migration.sql.as_str().to_owned(),
        })
        .collect())
}

/// The number of this program's schema, if the database has exactly that.
pub(super) async fn current(
    connection: &mut Connection<'_>,
    dialect: Dialect,
) -> Result<u64, StoreError> {
    let applied = applied_versions(connection, dialect).await?;
    let known = known_versions(dialect);
    if applied.iter().any(|version| !known.contains(version)) {
        let newer = "it was made by a newer hallpass; use that one";
        return Err(StoreError::Schema(newer.to_owned()));
    }
    if known.iter().any(|version| !applied.contains(version)) {
        let older = "it is not this version's: run `hallpass migrate` first";
        return Err(StoreError::Schema(older.to_owned()));
    }
    Ok(known.into_iter().max().unwrap_or_default())
}

/// Numbers of the migrations that a database has.
pub(super) async fn applied_versions(
    connection: &mut Connection<'_>,
    dialect: Dialect,
) -> Result<Vec<u64>, StoreError> {
    static APPLIED: Statement =
        Statement::new("SELECT version FROM _sqlx_migrations WHERE success = TRUE");
    let known = connection.one(dialect.count_migration_tables().plain());
    if number(&known.await?, "known")? == 0 {
        return Ok(Vec::new());
    }
    let rows = connection.all(APPLIED.plain()).await?;
    rows.iter().map(|row| number(row, "version")).collect()
}

/// Numbers of the migrations that this program has.
pub(super) fn known_versions(dialect: Dialect) -> Vec<u64> {
    let migrations = migrator(dialect).iter();
    migrations
        .map(|migration| migration.version.unsigned_abs())
        .collect()
}

fn migrator(dialect: Dialect) -> &'static Migrator {
    match dialect {
        Dialect::Sqlite => &SQLITE,
        Dialect::Postgres => &POSTGRES,
        Dialect::MySql => &MYSQL,
    }
}

/// Brings the database to this program's schema.
///
/// Several processes may try at once. On one file who comes late finds it locked or the tables made,
/// and looks again; PostgreSQL has sqlx's lock, which MariaDB does not honour, hence ours.
pub(super) async fn migrate(raw: &mut AnyConnection, dialect: Dialect) -> Result<(), StoreError> {
    static LOCK: Statement =
        Statement::new("SELECT GET_LOCK(CONCAT('hallpass ', LEFT(DATABASE(), 48)), 60)");
    static UNLOCK: Statement =
        Statement::new("SELECT RELEASE_LOCK(CONCAT('hallpass ', LEFT(DATABASE(), 48)))");
    match dialect {
        Dialect::Postgres => try_migrate(raw, dialect).await,
        Dialect::Sqlite => {
            for _ in 0..LOOKS_AT_FILE {
                let done = try_migrate(raw, dialect).await;
                let Err(StoreError::Busy(_) | StoreError::Rejected(_)) = done else {
                    return done;
                };
                tokio::time::sleep(LOOK_AGAIN_AFTER).await;
            }
            try_migrate(raw, dialect).await
        }
        Dialect::MySql => {
            Connection::new(raw, dialect).one(LOCK.plain()).await?;
            let done = try_migrate(raw, dialect).await;
            Connection::new(raw, dialect).one(UNLOCK.plain()).await?;
            done
        }
    }
}

async fn try_migrate(raw: &mut AnyConnection, dialect: Dialect) -> Result<(), StoreError> {
    let done = migrator(dialect).run(&mut *raw).await;
    done.map_err(|error| match error {
        MigrateError::VersionMissing(version) => StoreError::Schema(format!(
            "migration {version} was made by a newer hallpass; use that one"
        )),
        MigrateError::VersionMismatch(version) => StoreError::Schema(format!(
            "migration {version} was not the one this hallpass has"
        )),
        MigrateError::Dirty(version) => StoreError::Schema(format!(
            "migration {version} was begun and not finished; restore the database as it was before"
        )),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            super::fault::failed(error)
        }
        other => StoreError::Unavailable(other.to_string()),
    })
}

/// Writes the one row of each one-row table, unless it is there.
pub(super) async fn write_first_rows(
    connection: &mut Connection<'_>,
    epoch: &str,
    now: UnixSeconds,
) -> Result<(), StoreError> {
    static HEAD: Statement = Statement::differing(
        "INSERT INTO head (id, seq, epoch, began, keys_seq, adopt_until, restored_at, audit_id, \
         event_id) VALUES (1, 0, $1, $2, 0, 0, 0, 0, 0) ON CONFLICT DO NOTHING",
        "INSERT INTO head (id, seq, epoch, began, keys_seq, adopt_until, restored_at, audit_id, \
         event_id) VALUES (1, 0, $1, $2, 0, 0, 0, 0, 0) ON DUPLICATE KEY UPDATE id = id",
    );
    static WATERMARK: Statement = Statement::differing(
        "INSERT INTO watermark (id, revoked_before) VALUES (1, 0) ON CONFLICT DO NOTHING",
        "INSERT INTO watermark (id, revoked_before) VALUES (1, 0) \
         ON DUPLICATE KEY UPDATE id = id",
    );
    static ISSUANCE: Statement = Statement::differing(
        "INSERT INTO issuance (id, next_idx, longest_token_secs) VALUES (1, 0, 0) \
         ON CONFLICT DO NOTHING",
        "INSERT INTO issuance (id, next_idx, longest_token_secs) VALUES (1, 0, 0) \
         ON DUPLICATE KEY UPDATE id = id",
    );
    static WEBHOOK: Statement = Statement::differing(
        "INSERT INTO webhook (id, delivered_to, holder, held_until) VALUES (1, 0, '', 0) \
         ON CONFLICT DO NOTHING",
        "INSERT INTO webhook (id, delivered_to, holder, held_until) VALUES (1, 0, '', 0) \
         ON DUPLICATE KEY UPDATE id = id",
    );
    connection.execute(HEAD.bind(epoch).bind(now)).await?;
    connection.execute(WATERMARK.plain()).await?;
    connection.execute(ISSUANCE.plain()).await?;
    connection.execute(WEBHOOK.plain()).await?;
    Ok(())
}

/// Takes the write locks and gives them back.
pub(super) struct Probe;

#[async_trait]
impl Work for Probe {
    type Output = ();

    const REPEATABLE: bool = true;

    async fn run(&self, _tx: &mut Transaction<'_>) -> Result<(), StoreError> {
        Ok(())
    }
}
