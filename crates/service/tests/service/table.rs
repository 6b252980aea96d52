//! What the database itself guarantees.

use crate::database::{Database, Table, on_each_database};
use crate::running::Running;
use hallpass_service::clock::SystemClock;
use hallpass_service::store::StoreError;
use hallpass_service::store::sql::{SqlStore, pending_migrations};
use sqlx::Row;
use std::sync::Arc;

async fn session_row_is_never_updated(database: Database) {
    let service = Running::start(database).await;
    service.create("ada").await;

    let update = "UPDATE sessions SET subject = 'eve'";
    let refused = service.try_execute(update).await.unwrap_err();

    assert!(
        refused.contains("a session row is never updated"),
        "{refused}"
    );
}

async fn revocation_is_never_updated_nor_written_twice(database: Database) {
    let service = Running::start(database).await;
    service.create("ada").await;
    service
        .delete("/v1/subjects/YWRh/sessions", &service.app)
        .await;

    let update = "UPDATE revocations SET seq = 0";
    let refused = service.try_execute(update).await.unwrap_err();
    assert!(
        refused.contains("a revocation is never updated"),
        "{refused}"
    );
    let again = "INSERT INTO revocations SELECT * FROM revocations";
    let refused = service.try_execute(again).await.unwrap_err().to_lowercase();
    assert!(
        refused.contains("unique") || refused.contains("duplicate"),
        "{refused}"
    );
}

async fn columns_hold_their_type_or_fail(database: Database) {
    let service = Running::start(database).await;

    let text = service.try_execute("UPDATE head SET seq = 'x'").await;
    assert!(text.is_err(), "a number is no text");
    let renewal = |sid_bytes: usize| {
        let [sid, branch, agent] = [sid_bytes, 8, 32].map(|n| database.bytes(&"00".repeat(n)));
        format!(
            "INSERT INTO renewals (sid, generation, branch, confirmed_at, agent) \
             VALUES ({sid}, 0, {branch}, 0, {agent})"
        )
    };
    service.execute(&renewal(16)).await;
    for wrong in [15, 17] {
        let short = service.try_execute(&renewal(wrong)).await;
        assert!(short.is_err(), "an id has 16 bytes, not {wrong}");
    }
}

#[tokio::test]
async fn file_is_durable_and_private() {
    let service = Running::start(Database::Sqlite).await;
    let mut sql = service.sql().await;
    let mode: String = sqlx::query("PRAGMA journal_mode")
        .fetch_one(&mut sql)
        .await
        .unwrap()
        .get(0);
    assert_eq!(mode, "wal");

    #[cfg(unix)]
    for suffix in ["", "-wal"] {
        use std::os::unix::fs::PermissionsExt;
        let path = format!("{}{suffix}", service.table.file().display());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path}");
    }
}

async fn indexes_come_round_without_meeting_a_live_one(database: Database) {
    let service = Running::start(database).await;
    service.create("first").await;
    service
        .execute("UPDATE issuance SET next_idx = 4294967295")
        .await;
    service.create("zero").await;
    service.create("past").await;

    let mut sql = service.sql().await;
    let rows = sqlx::query("SELECT subject, idx FROM sessions ORDER BY idx")
        .fetch_all(&mut sql)
        .await
        .unwrap();
    let found: Vec<(String, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(
        found,
        [
            ("zero".to_owned(), 0),
            ("first".to_owned(), 1),
            ("past".to_owned(), 2)
        ]
    );
}

async fn database_of_a_newer_program_is_refused(database: Database) {
    let service = Running::start(database).await;
    let newer = format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'later', TRUE, {}, 0)",
        database.bytes("00")
    );
    service.execute(&newer).await;
    let url = service.table.url();
    let stopped = service.stop().await;

    let refused = SqlStore::open(&url, 1, Arc::new(SystemClock::default())).await;

    assert!(matches!(refused.err(), Some(StoreError::Schema(text)) if text.contains("newer")));
    drop(stopped);
}

async fn pending_migrations_are_told_and_not_run(database: Database) {
    let table = Table::new(database);

    let pending = pending_migrations(&table.url()).await.unwrap();

    assert!(pending[0].sql.contains("CREATE TABLE sessions"));
    match database {
        Database::Sqlite => assert!(!table.file().exists()),
        Database::Postgresql | Database::Mariadb => assert_eq!(table.names(), [""; 0]),
    }
}

on_each_database![
    session_row_is_never_updated,
    revocation_is_never_updated_nor_written_twice,
    columns_hold_their_type_or_fail,
    indexes_come_round_without_meeting_a_live_one,
    database_of_a_newer_program_is_refused,
    pending_migrations_are_told_and_not_run,
];
