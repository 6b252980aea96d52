//! The session table in a database: `SQLite` (the embedded default), PostgreSQL, MySQL and MariaDB.
//!
//! One implementation on `sqlx::Any`; what differs between the databases is in `dialect` alone. The
//! serial lane (`lane`) does every write that takes a number, in order; a pool (`pool`) reads. The
//! transactions are one file per idea: `creation`, `renewal` (`ahead`: many at once), `revocation`,
//! `register` (keys and credentials), `reports`. `copy` takes a whole table out and puts one in.
//! Below them: `transaction`, `statement`, `rows`, `fault`, `source`, `sqlite` (its
//! file), `schema`.
//!
//! **To add a write**: a struct with its arguments that implements `lane::Work`; statements are
//! `static NAME: Statement` with `$1 … $n` in order; `tx.execute`, `tx.optional`, `tx.one`,
//! `tx.all` run them. A number is taken with `tx.advance()` (`tx.advance_for_key()` for a change of
//! a key), never by SQL: the transaction holds the head row. Say `CHANGES_WATERMARK` if it moves the
//! watermark or the epoch, `REPEATABLE` if running it twice does no harm. Then one method in
//! [`Store`] that hands it to `self.lane.run`.
//!
//! **To add a read**: a function that takes the [`pool::Pool`]; `pool.connection()` for one
//! statement, its `snapshot()` for several that must agree. Columns are read with `rows`.
//!
//! SQL stays within what all three speak: no `RETURNING`, no scalar `MAX`, no `INSERT OR IGNORE`;
//! values are `BIGINT`, text and bytes.

mod ahead;
mod chronicle;
mod copy;
mod creation;
mod dialect;
mod fault;
mod key_changes;
mod lane;
#[cfg(test)]
mod plans;
mod pool;
mod recovery;
mod register;
mod renewal;
mod reports;
mod retention;
mod revocation;
mod rows;
mod schema;
mod source;
mod sqlite;
mod statement;
mod subjects;
mod transaction;
mod vitals;
mod watch;

use std::sync::Arc;

use async_trait::async_trait;
use hallpass_session::time::{Seconds, UnixSeconds};
use sqlx::AnyConnection;
use tokio::task::JoinHandle;

use self::dialect::{Dialect, Purpose};
use self::lane::Lane;
use self::pool::Pool;
use self::renewal::{Renew, Renewals};
use self::rows::{number, read_session, select_sessions, time};
use self::source::Source;
use self::statement::{Bound, Statement};
use self::transaction::Connection;
use super::{
    AuditEntry, AuditFilter, Cause, Creation, CredentialRow, Due, Erasure, Event, Forgotten,
    KeyRow, LogRead, NewSession, News, PastRevocation, Recovery, RecoveryState, Renewal,
    RenewalAttempt, Report, Retention, Revocation, Selection, Store, StoreError, StoreLoad,
    SubjectHeld,
};
use crate::clock::Clock;
use crate::journal::Journal;
use crate::record::{SessionRecord, Sid};

pub use self::copy::{Arrival, Exported, export, import};
pub use self::schema::{Migration, pending_migrations};
pub use self::source::{check_url, without_password};
pub use self::vitals::{Vitals, vitals};

/// A session table in a database.
pub struct SqlStore {
    lane: Lane,
    pool: Pool,
    /// Where rows can be locked.
    renewals: Option<Renewals>,
    news: Arc<News>,
    journal: Option<Journal>,
    watch: JoinHandle<()>,
    now: Now,
    dialect: Dialect,
}

impl SqlStore {
    /// Opens the database at `url` (`sqlite://FILE`, `postgres://…`, `mysql://…`), migrating it as
    /// needed; an `SQLite` file is made if there is none.
    ///
    /// # Errors
    ///
    /// `StoreError::Schema` when a newer program wrote it, else why it cannot be used.
    pub async fn open(
        url: &str,
        connections_max: u32,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        Self::open_with_journal(url, connections_max, clock, None).await
    }

    /// The same with a journal of what is ended, outside the table.
    ///
    /// # Errors
    ///
    /// As [`SqlStore::open`].
    pub async fn open_with_journal(
        url: &str,
        connections_max: u32,
        clock: Arc<dyn Clock>,
        journal: Option<Journal>,
    ) -> Result<Self, StoreError> {
        let source = Source::of(url)?;
        let now = Now(clock);
        let mut raw = ready(url, &source, now.read()).await?;
        warn_of_weak_settings(
            &mut Connection::new(&mut raw, source.dialect),
            source.dialect,
        )
        .await?;
        let pool = Pool::new(&source, connections_max);
        let news = Arc::new(News::default());
        let locks_rows = source.dialect.locks_rows();
        Ok(Self {
            dialect: source.dialect,
            renewals: locks_rows.then(|| Renewals::new(pool.clone(), connections_max)),
            watch: watch::start(
                url.to_owned(),
                source.dialect,
                pool.clone(),
                Arc::clone(&news),
            ),
            lane: Lane::start(source, raw, Arc::clone(&news), now.clone(), journal.clone()),
            journal,
            pool,
            news,
            now,
        })
    }

    /// Whether an answer rests on what another has just confirmed, and the database may yet forget.
    fn may_be_forgotten(&self, renewal: &Renewal) -> bool {
        self.dialect.shows_before_disk()
            && matches!(
                renewal,
                Renewal::Answer {
                    confirmed: false,
                    ..
                }
            )
    }

    async fn sessions(&self, bound: Bound) -> Result<Vec<SessionRecord>, StoreError> {
        let rows = self.pool.connection().await?.get().all(bound).await?;
        rows.iter().map(read_session).collect()
    }
}

#[async_trait]
impl Store for SqlStore {
    async fn create(&self, new: NewSession) -> Result<Creation, StoreError> {
        let now = self.now.clone();
        self.lane.run(creation::Create { new, now }).await
    }

    async fn renew(&self, attempt: RenewalAttempt) -> Result<Renewal, StoreError> {
        let now = self.now.clone();
        let work = Arc::new(Renew { attempt, now });
        if let Some(renewals) = &self.renewals
            && let Some(renewal) = renewals.renew(Arc::clone(&work)).await?
            && !self.may_be_forgotten(&renewal)
        {
            return Ok(renewal);
        }
        self.lane.run(work).await
    }

    async fn revoke(&self, selection: Selection, cause: Cause) -> Result<Revocation, StoreError> {
        let now = self.now.clone();
        self.lane
            .run(revocation::Revoke {
                selection,
                cause,
                now,
            })
            .await
    }

    async fn revoke_everything(&self) -> Result<Revocation, StoreError> {
        let now = self.now.clone();
        // Nobody stays signed in because counting took too long.
        let counted = revocation::count_live(&self.pool, now.read()).await;
        let live = counted.unwrap_or_else(|error| {
            tracing::warn!(%error, "the sessions to end could not be counted");
            0
        });
        self.lane
            .run(revocation::RevokeEverything { live, now })
            .await
    }

    async fn find(&self, sid: Sid) -> Result<Option<SessionRecord>, StoreError> {
        let mut connection = self.pool.connection().await?;
        find_session(&mut connection.get(), sid).await
    }

    async fn sessions_of(
        &self,
        subject: &str,
        limit: u32,
    ) -> Result<Vec<SessionRecord>, StoreError> {
        static OF_SUBJECT: Statement = Statement::new(select_sessions!(
            "WHERE s.subject = $1 ORDER BY s.created_at DESC, s.sid DESC LIMIT $2"
        ));
        self.sessions(OF_SUBJECT.bind(subject).bind(limit)).await
    }

    async fn newest_sessions(&self, limit: u32) -> Result<Vec<SessionRecord>, StoreError> {
        static NEWEST: Statement = Statement::new(select_sessions!(
            "ORDER BY s.created_at DESC, s.sid DESC LIMIT $1"
        ));
        self.sessions(NEWEST.bind(limit)).await
    }

    async fn read_log(&self, after: u64, listed_since: UnixSeconds) -> Result<LogRead, StoreError> {
        let read = revocation::read_log(&self.pool, after, listed_since).await?;
        if self.dialect.shows_before_disk() && read.seq > self.lane.on_disk() {
            // The commit of a lane brings to disk all before it, and says what that was.
            self.lane.run(schema::Probe).await?;
            if read.seq > self.lane.on_disk() {
                return Err(StoreError::Unavailable(
                    "it has forgotten what it showed".to_owned(),
                ));
            }
        }
        Ok(read)
    }

    fn news(&self) -> &News {
        &self.news
    }

    async fn revoked_at(&self, seq: u64) -> Result<Option<UnixSeconds>, StoreError> {
        static REVOKED_AT: Statement =
            Statement::new("SELECT revoked_at FROM revocations WHERE seq = $1 LIMIT 1");
        let mut connection = self.pool.connection().await?;
        let row = connection.get().optional(REVOKED_AT.bind(seq)).await?;
        row.as_ref().map(|row| time(row, "revoked_at")).transpose()
    }

    async fn write_report(
        &self,
        process: &str,
        report: &Report,
        lasting: Seconds,
    ) -> Result<(), StoreError> {
        let write = reports::WriteReport {
            process: process.to_owned(),
            report: report.clone(),
            lasting,
        };
        if self.renewals.is_none() {
            return self.lane.run(write).await;
        }
        // Nobody need wait for this, nor this for anybody.
        let mut connection = self.pool.connection().await?;
        write.write(&mut connection.get()).await
    }

    async fn reports(&self, process: &str) -> Result<Vec<Report>, StoreError> {
        reports::read(&self.pool, process).await
    }

    async fn begin_epoch(&self, replaced: &str, fresh: &str) -> Result<(), StoreError> {
        let (replaced, fresh) = (replaced.to_owned(), fresh.to_owned());
        let now = self.now.clone();
        self.lane
            .run(revocation::BeginEpoch {
                replaced,
                fresh,
                now,
            })
            .await
    }

    async fn note_token_lifetime(&self, lifetime: Seconds) -> Result<(), StoreError> {
        self.lane.run(register::NoteTokenLifetime(lifetime)).await
    }

    async fn keys(&self) -> Result<Vec<KeyRow>, StoreError> {
        register::keys(&self.pool).await
    }

    async fn add_first_keys(&self, keys: Vec<KeyRow>) -> Result<(), StoreError> {
        self.lane.run(register::AddFirstKeys(keys)).await
    }

    async fn keys_seq(&self) -> Result<u64, StoreError> {
        key_changes::keys_seq(&self.pool).await
    }

    async fn change_keys(&self, seen: u64, keys: Vec<KeyRow>) -> Result<Option<u64>, StoreError> {
        self.lane.run(key_changes::ChangeKeys { seen, keys }).await
    }

    async fn count_renewed_between(
        &self,
        from: UnixSeconds,
        until: UnixSeconds,
    ) -> Result<u64, StoreError> {
        key_changes::count_renewed_between(&self.pool, from, until, self.now.read()).await
    }

    async fn credentials(&self) -> Result<Vec<CredentialRow>, StoreError> {
        register::credentials(&self.pool).await
    }

    async fn find_credential(
        &self,
        digest: &[u8; 32],
    ) -> Result<Option<CredentialRow>, StoreError> {
        register::find_credential(&self.pool, digest).await
    }

    async fn add_credential(&self, credential: CredentialRow) -> Result<(), StoreError> {
        self.lane.run(register::AddCredential(credential)).await
    }

    async fn revoke_credential(&self, id: &str) -> Result<bool, StoreError> {
        let (id, now) = (id.to_owned(), self.now.clone());
        self.lane.run(register::RevokeCredential { id, now }).await
    }

    async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>, StoreError> {
        chronicle::audit(&self.pool, filter).await
    }

    async fn events(&self, after: u64, limit: u32) -> Result<Vec<Event>, StoreError> {
        chronicle::events(&self.pool, after, limit).await
    }

    async fn webhook_position(&self) -> Result<u64, StoreError> {
        chronicle::webhook_position(&self.pool).await
    }

    async fn advance_webhook(
        &self,
        holder: &str,
        from: u64,
        to: u64,
        until: UnixSeconds,
    ) -> Result<bool, StoreError> {
        let holder = holder.to_owned();
        self.lane
            .run(chronicle::AdvanceWebhook {
                holder,
                from,
                to,
                until,
            })
            .await
    }

    async fn held_on(&self, subject: &str) -> Result<SubjectHeld, StoreError> {
        subjects::held(&self.pool, subject).await
    }

    async fn erase(&self, subject: &str) -> Result<Erasure, StoreError> {
        let (subject, now) = (subject.to_owned(), self.now.clone());
        self.lane.run(subjects::Erase { subject, now }).await
    }

    async fn due(&self, retention: &Retention) -> Result<Due, StoreError> {
        retention::due(&self.pool, retention).await
    }

    async fn forget(&self, due: Due, retention: Retention) -> Result<Forgotten, StoreError> {
        let now = self.now.clone();
        self.lane
            .run(retention::Forget {
                due,
                retention,
                now,
            })
            .await
    }

    async fn forget_logs(&self, retention: Retention) -> Result<u64, StoreError> {
        let now = self.now.clone();
        self.lane
            .run(retention::ForgetLogs { retention, now })
            .await
    }

    fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref()
    }

    async fn recovery_state(&self) -> Result<RecoveryState, StoreError> {
        recovery::state(&self.pool).await
    }

    async fn reapply(&self, revoked: Vec<PastRevocation>) -> Result<u64, StoreError> {
        let now = self.now.clone();
        self.lane.run(recovery::Reapply { revoked, now }).await
    }

    async fn recover(&self, recovery: Recovery) -> Result<RecoveryState, StoreError> {
        let now = self.now.clone();
        self.lane.run(recovery::Recover { recovery, now }).await
    }

    async fn check_writable(&self) -> Result<(), StoreError> {
        self.lane.run(schema::Probe).await
    }

    fn load(&self) -> StoreLoad {
        StoreLoad {
            queued: self.lane.queued(),
            ..self.pool.load()
        }
    }

    async fn close(&self) {
        self.watch.abort();
        self.lane.drain().await;
        self.pool.close().await;
    }
}

/// The clock as transactions read it.
#[derive(Clone)]
struct Now(Arc<dyn Clock>);

impl Now {
    fn read(&self) -> UnixSeconds {
        self.0.now()
    }
}

async fn find_session(
    connection: &mut Connection<'_>,
    sid: Sid,
) -> Result<Option<SessionRecord>, StoreError> {
    static FIND: Statement = Statement::new(select_sessions!("WHERE s.sid = $1"));
    let row = connection.optional(FIND.bind(&sid)).await?;
    row.as_ref().map(read_session).transpose()
}

/// A connection for writing to a database that has this program's schema and first rows.
async fn ready(url: &str, source: &Source, now: UnixSeconds) -> Result<AnyConnection, StoreError> {
    if source.dialect == Dialect::Sqlite {
        sqlite::create_private(&sqlite::file(url)?)?;
    }
    let mut raw = source.connect(Purpose::Lane).await?;
    schema::migrate(&mut raw, source.dialect).await?;
    let mut connection = Connection::new(&mut raw, source.dialect);
    schema::write_first_rows(&mut connection, &random_epoch()?, now).await?;
    Ok(raw)
}

/// Says so when the server may lose what it has acknowledged.
async fn warn_of_weak_settings(
    connection: &mut Connection<'_>,
    dialect: Dialect,
) -> Result<(), StoreError> {
    if let Some(count) = dialect.count_weak_settings()
        && number(&connection.one(count.plain()).await?, "weak")? > 0
    {
        tracing::warn!(
            "the database server may lose acknowledged writes in a crash: set fsync and \
             full_page_writes to on (PostgreSQL), innodb_flush_log_at_trx_commit to 1 (MySQL)"
        );
    }
    Ok(())
}

fn random_epoch() -> Result<String, StoreError> {
    let bytes: [u8; 16] =
        crate::clock::random_bytes().map_err(|error| StoreError::Unavailable(error.to_string()))?;
    Ok(hallpass_session::base64url::encode(&bytes))
}

/// The URL of an `SQLite` file, for settings.
///
/// # Errors
///
/// When its name is not UTF-8.
pub fn database_url(file: &std::path::Path) -> Result<String, StoreError> {
    let url = sqlite::file_url(file)?;
    Ok(url.split('?').next().unwrap_or_default().to_owned())
}

/// The file of an `SQLite` database; `None` for another database.
#[must_use]
pub fn database_file(url: &str) -> Option<std::path::PathBuf> {
    (Dialect::of(url) == Some(Dialect::Sqlite))
        .then(|| sqlite::file(url).ok())
        .flatten()
}
