//! What is forgotten, and when.

use sqlx::Row;

use crate::database::{Database, on_each_database};
use crate::running::Running;

const DAY: u64 = 86_400;

async fn count(service: &Running, table: &str) -> i64 {
    let sql = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) AS n FROM {table}"));
    let row = sqlx::query(sql).fetch_one(&mut service.sql().await).await;
    row.unwrap().get("n")
}

async fn ended_session_goes_once_it_is_no_longer_shown(database: Database) {
    let service = Running::start_with(database, "ended_retain_days = 2").await;
    let ended = service.create("ada").await;
    let live = service.create("ada").await;
    let path = format!("/v1/sessions/{}", ended.session.sid);
    service.delete(&path, &service.app).await;
    let tables = ["sessions", "renewals", "revocations"];

    service.advance(2 * DAY - 1);
    assert_eq!(service.service.prune().await.unwrap().sessions, 0);
    service.advance(1);
    assert_eq!(service.service.prune().await.unwrap().sessions, 1);

    let mut left = Vec::new();
    for table in tables {
        left.push(count(&service, table).await);
    }
    assert_eq!(left, [1, 1, 0]);
    service.renewed(&live.renewal_token).await;
    let gone = service.renew(&ended.renewal_token).await;
    gone.refused(401, "renewal_unknown");
}

async fn revocation_stays_as_long_as_the_list_needs_it(database: Database) {
    let settings = "ended_retain_days = 0\nlist_retain_secs = 3600";
    let service = Running::start_with(database, settings).await;
    let ended = service.create("ada").await;
    let path = format!("/v1/sessions/{}", ended.session.sid);
    service.delete(&path, &service.app).await;

    service.advance(3600);
    assert_eq!(service.service.prune().await.unwrap().sessions, 0);
    assert_eq!(count(&service, "revocations").await, 1);
    let refused = service.renew(&ended.renewal_token).await;
    refused.refused(401, "session_revoked");
    service.advance(600);
    assert_eq!(service.service.prune().await.unwrap().sessions, 1);
    assert_eq!(count(&service, "revocations").await, 0);
}

async fn idle_and_signed_out_sessions_go_too(database: Database) {
    let settings = "ended_retain_days = 1\nsession_idle_secs = 1000";
    let service = Running::start_with(database, settings).await;
    service.create("idle").await;
    service.advance(999);
    service.create("everywhere").await;
    let body = serde_json::json!({});
    service
        .post("/v1/revoked-before", &service.admin, &body)
        .await;

    service.advance(DAY);
    assert_eq!(service.service.prune().await.unwrap().sessions, 0);
    service.advance(1);
    assert_eq!(service.service.prune().await.unwrap().sessions, 2);
    assert_eq!(count(&service, "sessions").await, 0);
}

async fn address_is_forgotten_while_its_session_lives(database: Database) {
    let settings = "address_retain_days = 1\nsession_idle_secs = 864000";
    let service = Running::start_with(database, settings).await;
    let first = service.create("ada").await;
    let seen = "renewals WHERE ip IS NOT NULL OR city IS NOT NULL";
    let signed_in = "sessions WHERE ip IS NOT NULL OR city IS NOT NULL";

    service.advance(DAY - 1);
    assert_eq!(service.service.prune().await.unwrap().addresses, 0);
    let renewed = service.renewed(&first.renewal_token).await;
    service.advance(1);
    assert_eq!(service.service.prune().await.unwrap().addresses, 1);
    let left = (
        count(&service, signed_in).await,
        count(&service, seen).await,
    );
    assert_eq!(left, (0, 1), "last seen less than a day ago");
    service.advance(DAY);
    assert_eq!(service.service.prune().await.unwrap().addresses, 1);

    assert_eq!(count(&service, seen).await, 0);
    service.renewed(&renewed.renewal_token).await;
    let path = format!("/v1/sessions/{}", first.session.sid);
    let shown = service.get(&path, &service.app).await;
    let shown: serde_json::Value = shown.json(reqwest::StatusCode::OK);
    assert_eq!(shown["device"]["label"], "Firefox on Linux");
    assert_eq!(shown["created_at"], first.session.created_at);
}

async fn old_events_go_and_numbers_go_on(database: Database) {
    let service = Running::start_with(database, "ended_retain_days = 3650").await;
    for _ in 0..3 {
        let created = service.create("ada").await;
        let path = format!("/v1/sessions/{}", created.session.sid);
        service.delete(&path, &service.app).await;
    }
    let told = count(&service, "events").await;
    assert!(told >= 3, "{told}");

    service.advance(30 * DAY);
    let forgotten = service.service.prune().await.unwrap();

    assert_eq!(forgotten.lines, u64::try_from(told).unwrap());
    assert_eq!(count(&service, "events").await, 0);
    let path = "/v1/subjects/YWRh/sessions";
    service.create("ada").await;
    service.delete(path, &service.app).await;
    let reused = format!("events WHERE id <= {told}");
    assert_eq!(count(&service, &reused).await, 0);
    assert!(count(&service, "events").await > 0);
}

on_each_database!(
    ended_session_goes_once_it_is_no_longer_shown,
    revocation_stays_as_long_as_the_list_needs_it,
    idle_and_signed_out_sessions_go_too,
    address_is_forgotten_while_its_session_lives,
    old_events_go_and_numbers_go_on,
);
