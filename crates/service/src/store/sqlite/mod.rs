//! The session table in `SQLite`: the embedded default.
//!
//! One writing task (`writer`) and a pool of readers on one file in WAL mode with
//! `synchronous = FULL`: an acknowledged write survives a power cut. Several processes may share
//! the file. The transactions themselves are one file per idea: `creation`, `renewal`,
//! `revocation`, `register` (keys and credentials).

mod creation;
mod register;
mod renewal;
mod revocation;
mod rows;
mod schema;
mod writer;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hallpass_session::time::{Seconds, UnixSeconds};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{SqliteConnection, SqlitePool};

use self::rows::{read_session, time};
use self::writer::{Work, Writer};
use super::{
    Cause, Creation, CredentialRow, KeyRow, LogRead, NewSession, Renewal, RenewalAttempt,
    Revocation, Selection, Store, StoreError,
};
use crate::clock::Clock;
use crate::record::{SessionRecord, Sid};

pub use self::schema::{Migration, pending_migrations};

/// How long one process waits for another's write before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A session table in one `SQLite` file.
pub struct SqliteStore {
    readers: SqlitePool,
    writer: Writer,
    now: Now,
}

impl SqliteStore {
    /// Opens the database at `url` (`sqlite://FILE`), creating and migrating it as needed.
    ///
    /// # Errors
    ///
    /// `StoreError::Schema` when a newer program wrote it, else `StoreError::Unavailable`.
    pub async fn open(
        url: &str,
        readers_max: u32,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let options = connect_options(url)?;
        schema::create_private_file(&options)?;
        let writing = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options.clone())
            .await
            .map_err(unavailable)?;
        schema::migrate(&writing).await?;
        let reading = options.pragma("query_only", "on");
        let readers = SqlitePoolOptions::new()
            .max_connections(readers_max)
            .acquire_timeout(BUSY_TIMEOUT)
            .connect_with(reading)
            .await
            .map_err(unavailable)?;
        let store = Self {
            readers,
            writer: Writer::start(writing),
            now: Now(clock),
        };
        store
            .writer
            .run(schema::FirstRows {
                epoch: random_epoch()?,
                now: store.now.clone(),
            })
            .await?;
        Ok(store)
    }

    async fn sessions_where(
        &self,
        condition: &'static str,
        subject: Option<&str>,
        limit: u32,
    ) -> Result<Vec<SessionRecord>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!("{}{condition}", rows::SELECT_SESSIONS));
        let query = sqlx::query(sql);
        let query = if let Some(subject) = subject {
            query.bind(subject.to_owned())
        } else {
            query
        };
        let found = query.bind(i64::from(limit)).fetch_all(&self.readers).await;
        found
            .map_err(unavailable)?
            .iter()
            .map(read_session)
            .collect()
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn create(&self, new: NewSession) -> Result<Creation, StoreError> {
        self.writer
            .run(creation::Create {
                new,
                now: self.now.clone(),
            })
            .await
    }

    async fn renew(&self, attempt: RenewalAttempt) -> Result<Renewal, StoreError> {
        self.writer
            .run(renewal::Renew {
                attempt,
                now: self.now.clone(),
            })
            .await
    }

    async fn revoke(&self, selection: Selection, cause: Cause) -> Result<Revocation, StoreError> {
        let now = self.now.clone();
        self.writer
            .run(revocation::Revoke {
                selection,
                cause,
                now,
            })
            .await
    }

    async fn revoke_everything(&self) -> Result<Revocation, StoreError> {
        self.writer
            .run(revocation::RevokeEverything {
                now: self.now.clone(),
            })
            .await
    }

    async fn find(&self, sid: Sid) -> Result<Option<SessionRecord>, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(unavailable)?;
        find_session(&mut connection, sid).await
    }

    async fn sessions_of(
        &self,
        subject: &str,
        limit: u32,
    ) -> Result<Vec<SessionRecord>, StoreError> {
        let condition = "WHERE s.subject = ? ORDER BY s.created_at DESC, s.sid LIMIT ?";
        self.sessions_where(condition, Some(subject), limit).await
    }

    async fn newest_sessions(&self, limit: u32) -> Result<Vec<SessionRecord>, StoreError> {
        self.sessions_where("ORDER BY s.created_at DESC, s.sid LIMIT ?", None, limit)
            .await
    }

    async fn read_log(&self, after: u64, listed_since: UnixSeconds) -> Result<LogRead, StoreError> {
        revocation::read_log(&self.readers, after, listed_since).await
    }

    async fn revoked_at(&self, seq: u64) -> Result<Option<UnixSeconds>, StoreError> {
        let row = sqlx::query("SELECT revoked_at FROM revocations WHERE seq = ? LIMIT 1")
            .bind(rows::stored(seq))
            .fetch_optional(&self.readers)
            .await
            .map_err(unavailable)?;
        row.as_ref().map(|row| time(row, "revoked_at")).transpose()
    }

    async fn begin_epoch(&self, replaced: &str, fresh: &str) -> Result<(), StoreError> {
        let (replaced, fresh) = (replaced.to_owned(), fresh.to_owned());
        self.writer
            .run(revocation::BeginEpoch {
                replaced,
                fresh,
                now: self.now.clone(),
            })
            .await
    }

    async fn note_token_lifetime(&self, lifetime: Seconds) -> Result<(), StoreError> {
        self.writer.run(register::NoteTokenLifetime(lifetime)).await
    }

    async fn keys(&self) -> Result<Vec<KeyRow>, StoreError> {
        register::keys(&self.readers).await
    }

    async fn add_first_keys(&self, keys: Vec<KeyRow>) -> Result<(), StoreError> {
        self.writer.run(register::AddFirstKeys(keys)).await
    }

    async fn credentials(&self) -> Result<Vec<CredentialRow>, StoreError> {
        register::credentials(&self.readers).await
    }

    async fn find_credential(
        &self,
        digest: &[u8; 32],
    ) -> Result<Option<CredentialRow>, StoreError> {
        register::find_credential(&self.readers, digest).await
    }

    async fn add_credential(&self, credential: CredentialRow) -> Result<(), StoreError> {
        self.writer.run(register::AddCredential(credential)).await
    }

    async fn revoke_credential(&self, id: &str) -> Result<bool, StoreError> {
        let now = self.now.clone();
        self.writer
            .run(register::RevokeCredential {
                id: id.to_owned(),
                now,
            })
            .await
    }

    async fn check_writable(&self) -> Result<(), StoreError> {
        self.writer.run(schema::Probe).await
    }

    async fn close(&self) {
        self.writer.drain().await;
        self.readers.close().await;
    }
}

/// The clock as transactions read it.
#[derive(Clone)]
pub(crate) struct Now(Arc<dyn Clock>);

impl Now {
    fn read(&self) -> UnixSeconds {
        self.0.now()
    }

    /// The second to issue at: now, but never before the watermark or the epoch. Both may lie in
    /// the second after now, which every verifier tolerates.
    async fn issuing_second(&self, tx: &mut SqliteConnection) -> Result<UnixSeconds, StoreError> {
        let sql = "SELECT w.revoked_before, h.began FROM watermark w CROSS JOIN head h";
        let row = sqlx::query(sql).fetch_one(tx).await.map_err(unavailable)?;
        let floor = time(&row, "revoked_before")?.max(time(&row, "began")?);
        Ok(self.read().max(floor))
    }
}

async fn find_session(
    tx: &mut SqliteConnection,
    sid: Sid,
) -> Result<Option<SessionRecord>, StoreError> {
    let sql = sqlx::AssertSqlSafe(format!("{}WHERE s.sid = ?", rows::SELECT_SESSIONS));
    let row = sqlx::query(sql)
        .bind(&sid[..])
        .fetch_optional(tx)
        .await
        .map_err(unavailable)?;
    row.as_ref().map(read_session).transpose()
}

fn connect_options(url: &str) -> Result<SqliteConnectOptions, StoreError> {
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|error| StoreError::Unavailable(format!("{url}: {error}")))?;
    Ok(options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT))
}

fn random_epoch() -> Result<String, StoreError> {
    let bytes: [u8; 16] =
        crate::clock::random_bytes().map_err(|error| StoreError::Unavailable(error.to_string()))?;
    Ok(hallpass_session::base64url::encode(&bytes))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as map_err(unavailable)"
)]
fn unavailable(error: sqlx::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}
