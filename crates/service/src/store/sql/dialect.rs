//! What differs between the databases.
//!
//! Everything else is written once. A dialect says which URLs are its own, how a connection is set
//! up, how a transaction begins and which locks it takes. One order of locks for all, so that
//! nobody deadlocks: head, watermark, then rows of sessions.

use sqlx::{AnyConnection, Executor};

use super::statement::Statement;

/// How long anybody waits for somebody else's lock, and for a statement.
const SQLITE_SET_UP: &str = "PRAGMA busy_timeout = 5000; PRAGMA synchronous = FULL";
const POSTGRES_SET_UP: &str = "SET lock_timeout = '5s'; SET statement_timeout = '10s'; \
     SET idle_in_transaction_session_timeout = '30s'; \
     SET default_transaction_isolation = 'read committed'; \
     SELECT set_config('synchronous_commit', 'on', false) \
     WHERE current_setting('synchronous_commit') = 'off'";
const MYSQL_SET_UP: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
     SET SESSION innodb_lock_wait_timeout = 5; \
     SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')";

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `SQLite`: one file, one writer at a time.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB, on InnoDB.
    MySql,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The serial lane.
    Lane,
    /// Reads; where rows can be locked, renewals too.
    Pool,
}

impl Dialect {
    /// The dialect that the scheme of `url` names.
    pub(super) fn of(url: &str) -> Option<Self> {
        match url.split(':').next() {
            Some("sqlite") => Some(Self::Sqlite),
            Some("postgres" | "postgresql") => Some(Self::Postgres),
            Some("mysql" | "mariadb") => Some(Self::MySql),
            _ => None,
        }
    }

    /// Readies a new connection: an acknowledged write survives a power cut, and nobody waits for
    /// ever.
    pub(super) async fn set_up(
        self,
        connection: &mut AnyConnection,
        purpose: Purpose,
    ) -> Result<(), sqlx::Error> {
        connection.execute(self.set_up_statements()).await?;
        if self == Self::Sqlite {
            let own = match purpose {
                Purpose::Lane => "PRAGMA journal_mode = WAL",
                Purpose::Pool => "PRAGMA query_only = on",
            };
            connection.execute(own).await?;
        }
        Ok(())
    }

    const fn set_up_statements(self) -> &'static str {
        match self {
            Self::Sqlite => SQLITE_SET_UP,
            Self::Postgres => POSTGRES_SET_UP,
            Self::MySql => MYSQL_SET_UP,
        }
    }

    /// Lets a transaction wait for a file or a pipe that is slow, as copies do.
    pub(super) const fn be_patient(self) -> &'static str {
        match self {
            Self::Sqlite => "PRAGMA busy_timeout = 5000",
            Self::Postgres => {
                "SET statement_timeout = '10min'; SET idle_in_transaction_session_timeout = '1h'"
            }
            Self::MySql => "SET SESSION wait_timeout = 3600",
        }
    }

    /// Whether renewals lock their own rows and so run beside each other.
    pub(super) const fn locks_rows(self) -> bool {
        !matches!(self, Self::Sqlite)
    }

    /// Begins a writing transaction.
    pub(super) const fn begin(self) -> &'static str {
        match self {
            // Takes the one write lock there is.
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres | Self::MySql => "BEGIN",
        }
    }

    /// Locks the head until the transaction ends.
    ///
    /// On MySQL by a write: the commit then waits for the disk even if nothing else is written.
    pub(super) const fn lock_head(self) -> Option<&'static Statement> {
        static FOR_UPDATE: Statement = Statement::new("SELECT 1 FROM head WHERE id = 1 FOR UPDATE");
        static WRITE: Statement =
            Statement::new("UPDATE head SET locked = locked + 1 WHERE id = 1");
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some(&FOR_UPDATE),
            Self::MySql => Some(&WRITE),
        }
    }

    /// Whether others see what a transaction wrote before it is on disk. InnoDB shows it, lets go of
    /// its locks, and only then writes its log out: killed in between, it forgets what was seen.
    pub(super) const fn shows_before_disk(self) -> bool {
        matches!(self, Self::MySql)
    }

    /// Keeps renewals out until the transaction ends.
    pub(super) const fn lock_watermark(self) -> Option<&'static Statement> {
        static ADVISORY: Statement = Statement::new("SELECT pg_advisory_xact_lock(4846594)");
        static FOR_UPDATE: Statement =
            Statement::new("SELECT 1 FROM watermark WHERE id = 1 FOR UPDATE");
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some(&ADVISORY),
            Self::MySql => Some(&FOR_UPDATE),
        }
    }

    /// Keeps changes of the watermark out until the transaction ends; others may do so beside it.
    ///
    /// PostgreSQL: an advisory lock, which is memory only. `FOR SHARE` would write the one row's
    /// header, and a new list of its holders, with every renewal.
    pub(super) const fn share_watermark(self) -> Option<&'static Statement> {
        static ADVISORY: Statement = Statement::new("SELECT pg_advisory_xact_lock_shared(4846594)");
        static SHARE_MODE: Statement =
            Statement::new("SELECT 1 FROM watermark WHERE id = 1 LOCK IN SHARE MODE");
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some(&ADVISORY),
            Self::MySql => Some(&SHARE_MODE),
        }
    }

    /// Locks the renewals of one session until the transaction ends.
    pub(super) const fn lock_session(self) -> Option<&'static Statement> {
        static FOR_UPDATE: Statement =
            Statement::new("SELECT 1 FROM renewals WHERE sid = $1 FOR UPDATE");
        match self {
            Self::Sqlite => None,
            Self::Postgres | Self::MySql => Some(&FOR_UPDATE),
        }
    }

    /// The current second of the database's own clock, as `second`.
    pub(super) const fn second(self) -> &'static Statement {
        static SQLITE: Statement = Statement::new("SELECT unixepoch() AS second");
        static POSTGRES: Statement = Statement::new(
            "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS BIGINT) AS second",
        );
        static MYSQL: Statement =
            Statement::new("SELECT CAST(UNIX_TIMESTAMP() AS SIGNED) AS second");
        match self {
            Self::Sqlite => &SQLITE,
            Self::Postgres => &POSTGRES,
            Self::MySql => &MYSQL,
        }
    }

    /// Begins a reading transaction that sees one state of the database throughout, from its first
    /// read on.
    pub(super) const fn begin_snapshot(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            Self::MySql => {
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; \
                 START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
            }
        }
    }

    /// Counts the tables that tell which migrations ran, as `known`.
    pub(super) const fn count_migration_tables(self) -> &'static Statement {
        static SQLITE: Statement = Statement::new(
            "SELECT COUNT(*) AS known FROM sqlite_master WHERE name = '_sqlx_migrations'",
        );
        static POSTGRES: Statement = Statement::new(
            "SELECT COUNT(*) AS known FROM information_schema.tables \
             WHERE table_name = '_sqlx_migrations' AND table_schema = current_schema()",
        );
        static MYSQL: Statement = Statement::new(
            "SELECT COUNT(*) AS known FROM information_schema.tables \
             WHERE table_name = '_sqlx_migrations' AND table_schema = DATABASE()",
        );
        match self {
            Self::Sqlite => &SQLITE,
            Self::Postgres => &POSTGRES,
            Self::MySql => &MYSQL,
        }
    }

    /// Counts the settings of the server by which an acknowledged write could be lost, as `weak`.
    pub(super) const fn count_weak_settings(self) -> Option<&'static Statement> {
        static POSTGRES: Statement = Statement::new(
            "SELECT COUNT(*) AS weak FROM pg_settings \
             WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off'",
        );
        static MYSQL: Statement = Statement::new(
            "SELECT CASE WHEN @@innodb_flush_log_at_trx_commit = 1 THEN 0 ELSE 1 END AS weak",
        );
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some(&POSTGRES),
            Self::MySql => Some(&MYSQL),
        }
    }

    /// Tells every process that the log grew to `$1`, once the transaction has committed.
    pub(super) const fn notify(self) -> Option<&'static Statement> {
        static NOTIFY: Statement = Statement::new("SELECT pg_notify('hallpass_log', $1)");
        match self {
            Self::Postgres => Some(&NOTIFY),
            Self::Sqlite | Self::MySql => None,
        }
    }

    /// Asks the server's clock, in milliseconds since 1970, as `now_ms`.
    pub(super) const fn clock(self) -> Option<&'static Statement> {
        static POSTGRES: Statement = Statement::new(
            "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) AS now_ms",
        );
        static MYSQL: Statement =
            Statement::new("SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED) AS now_ms");
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some(&POSTGRES),
            Self::MySql => Some(&MYSQL),
        }
    }
}
