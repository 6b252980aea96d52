//! What the database itself guarantees.

use crate::running::Running;
use hallpass_service::clock::SystemClock;
use hallpass_service::store::StoreError;
use hallpass_service::store::sql::{SqlStore, pending_migrations};
use sqlx::Row;
use std::sync::Arc;

async fn attempt(service: &Running, sql: &'static str) -> Result<u64, String> {
    let mut connection = service.sql().await;
    let done = sqlx::query(sql).execute(&mut connection).await;
    done.map(|done| done.rows_affected())
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn session_row_is_never_updated() {
    let service = Running::start().await;
    service.create("ada").await;

    let refused = attempt(&service, "UPDATE sessions SET subject = 'eve'")
        .await
        .unwrap_err();

    assert!(
        refused.contains("a session row is never updated"),
        "{refused}"
    );
}

#[tokio::test]
async fn revocation_is_never_updated_nor_written_twice() {
    let service = Running::start().await;
    service.create("ada").await;
    service
        .delete("/v1/subjects/YWRh/sessions", &service.app)
        .await;

    let update = attempt(&service, "UPDATE revocations SET seq = 0")
        .await
        .unwrap_err();
    assert!(update.contains("a revocation is never updated"), "{update}");
    let again = "INSERT INTO revocations SELECT * FROM revocations";
    assert!(
        attempt(&service, again)
            .await
            .unwrap_err()
            .contains("UNIQUE")
    );
}

#[tokio::test]
async fn columns_hold_their_type_or_fail() {
    let service = Running::start().await;

    assert!(
        attempt(&service, "UPDATE head SET seq = 'x'")
            .await
            .is_err()
    );
    assert!(
        attempt(
            &service,
            "INSERT INTO renewals VALUES (x'00', 0, x'00', 0, x'00', 0, 0, 0, 0, 0)"
        )
        .await
        .is_err()
    );
}

#[tokio::test]
async fn database_is_durable_and_private() {
    let service = Running::start().await;
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
        let path = format!("{}{suffix}", service.database().display());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path}");
    }
}

#[tokio::test]
async fn indexes_come_round_without_meeting_a_live_one() {
    let service = Running::start().await;
    service.create("first").await;
    attempt(&service, "UPDATE issuance SET next_idx = 4294967295")
        .await
        .unwrap();
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

#[tokio::test]
async fn database_of_a_newer_program_is_refused() {
    let service = Running::start().await;
    let newer = "INSERT INTO _sqlx_migrations VALUES (9999, 'later', 0, 1, x'00', 0)";
    attempt(&service, newer).await.unwrap();
    let url = format!("sqlite://{}", service.database().display());
    let stopped = service.stop().await;

    let refused = SqlStore::open(&url, 1, Arc::new(SystemClock::default())).await;

    assert!(matches!(refused.err(), Some(StoreError::Schema(text)) if text.contains("newer")));
    drop(stopped);
}

#[tokio::test]
async fn pending_migrations_are_told_and_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("new.db");
    let url = format!("sqlite://{}", file.display());

    let pending = pending_migrations(&url).await.unwrap();

    assert!(pending[0].sql.contains("CREATE TABLE sessions"));
    assert!(!file.exists());
}
