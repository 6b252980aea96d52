//! What a database's error means for who asked.
//!
//! Drivers tell errors by number; here each becomes one of the classes of
//! [`StoreError`]. The words are the database's own, which name neither a password nor a token.
//!
//! Source: <https://www.sqlite.org/rescode.html>,
//! <https://www.postgresql.org/docs/current/errcodes-appendix.html>,
//! <https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html>.

use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;
use sqlx::postgres::PgDatabaseError;

use crate::store::StoreError;

/// The class of a driver's error.
#[expect(clippy::needless_pass_by_value, reason = "used as map_err(failed)")]
pub(super) fn failed(error: sqlx::Error) -> StoreError {
    let text = error.to_string();
    match &error {
        sqlx::Error::Database(error) => of_database(error.as_ref())(text),
        sqlx::Error::RowNotFound => StoreError::Damaged("a table that must have its one row"),
        sqlx::Error::PoolTimedOut => {
            StoreError::Unavailable("no connection became free or could be made in time".to_owned())
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed
        | sqlx::Error::InvalidSavePointStatement
        | sqlx::Error::PoolClosed => StoreError::Unavailable(text),
        _ => StoreError::Rejected(text),
    }
}

fn of_database(error: &dyn DatabaseError) -> fn(String) -> StoreError {
    let code = error.code().unwrap_or_default();
    if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
        of_mysql(error.number())
    } else if error.try_downcast_ref::<PgDatabaseError>().is_some() {
        of_postgres(&code)
    } else {
        of_sqlite(code.parse().unwrap_or_default())
    }
}

/// By the primary result code, the low byte of the extended one.
fn of_sqlite(code: u32) -> fn(String) -> StoreError {
    match code & 0xff {
        5 | 6 | 9 => StoreError::Busy, // BUSY, LOCKED, INTERRUPT
        8 => StoreError::ReadOnly,     // READONLY
        13 => StoreError::Full,        // FULL
        // PERM, NOMEM, IOERR, CORRUPT, CANTOPEN, PROTOCOL, AUTH, NOTADB
        3 | 7 | 10 | 11 | 14 | 15 | 23 | 26 => StoreError::Unavailable,
        _ => StoreError::Rejected,
    }
}

/// By SQLSTATE.
fn of_postgres(code: &str) -> fn(String) -> StoreError {
    match code {
        // serialization failure, deadlock, lock timeout, statement timeout
        "40001" | "40P01" | "55P03" | "57014" => StoreError::Busy,
        "25006" => StoreError::ReadOnly,
        "53100" => StoreError::Full,
        // connection, operator intervention, resources, system, login, no such database
        _ if ["08", "57", "53", "58", "28", "3D"].contains(&code.get(..2).unwrap_or_default()) => {
            StoreError::Unavailable
        }
        _ => StoreError::Rejected,
    }
}

/// By error number.
fn of_mysql(number: u16) -> fn(String) -> StoreError {
    match number {
        // row changed since it was read, lock wait timeout, deadlock, statement timeout (both)
        1020 | 1205 | 1213 | 1969 | 3024 => StoreError::Busy,
        // --read-only, read-only transaction, read-only mode
        1290 | 1792 | 1836 => StoreError::ReadOnly,
        1021 | 1114 => StoreError::Full,
        // too many connections, login, no such database, shutdown, killed, network
        1040 | 1044 | 1045 | 1049 | 1053 | 1077 | 1129 | 1130 | 1158..=1161 | 1317 | 1927 => {
            StoreError::Unavailable
        }
        _ => StoreError::Rejected,
    }
}

#[cfg(test)]
mod tests {
    use super::{of_mysql, of_postgres, of_sqlite};

    fn class(of: fn(String) -> crate::store::StoreError) -> String {
        let debug = format!("{:?}", of(String::new()));
        debug.split('(').next().unwrap_or_default().to_owned()
    }

    #[test]
    fn class_tells_what_passes_from_what_does_not() {
        // SQLITE_BUSY_SNAPSHOT, SQLITE_CONSTRAINT_UNIQUE
        for (code, expected) in [
            (5, "Busy"),
            (517, "Busy"),
            (13, "Full"),
            (8, "ReadOnly"),
            (2067, "Rejected"),
            (26, "Unavailable"),
        ] {
            assert_eq!(class(of_sqlite(code)), expected, "{code}");
        }
        for (code, expected) in [
            ("40P01", "Busy"),
            ("53100", "Full"),
            ("53300", "Unavailable"),
            ("57P01", "Unavailable"),
            ("25006", "ReadOnly"),
            ("23505", "Rejected"),
            ("", "Rejected"),
        ] {
            assert_eq!(class(of_postgres(code)), expected, "{code}");
        }
        for (number, expected) in [
            (1205, "Busy"),
            (1213, "Busy"),
            (1290, "ReadOnly"),
            (1114, "Full"),
            (1053, "Unavailable"),
            (1062, "Rejected"),
        ] {
            assert_eq!(class(of_mysql(number)), expected, "{number}");
        }
    }
}
