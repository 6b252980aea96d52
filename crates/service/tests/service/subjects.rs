//! What is held on a person: handed out whole, and forgotten whole.

use hallpass_service::store::Store;
use hallpass_service::store::sql::SqlStore;
use reqwest::StatusCode;
use sqlx::{AssertSqlSafe, Row};

use crate::database::{Database, on_each_database};
use crate::running::Running;

impl Running {
    /// The store as a command opens it, beside the service.
    async fn store(&self) -> SqlStore {
        SqlStore::open(&self.table.url(), 1, self.clock.clone())
            .await
            .unwrap()
    }

    /// Whether any text in a table is this subject's name.
    async fn mentions(&self, table: &str, subject: &str) -> bool {
        let rows = sqlx::query(AssertSqlSafe(format!("SELECT * FROM {table}")))
            .fetch_all(&mut self.sql().await)
            .await
            .unwrap();
        rows.iter().any(|row| {
            let texts = (0..row.len()).filter_map(|column| row.try_get::<String, _>(column).ok());
            texts.into_iter().any(|text| text == subject)
        })
    }
}

async fn export_has_every_session_event_and_entry_of_the_subject_alone(database: Database) {
    let service = Running::start(database).await;
    let first = service.create("ada").await;
    service.create("ada").await;
    service.create("eve").await;
    let end = format!("/v1/sessions/{}", first.session.sid);
    service.delete(&end, &service.app).await;

    let store = service.store().await;
    let held = store.held_on("ada").await.unwrap();
    store.close().await;

    assert_eq!(held.sessions.len(), 2);
    let [one, _] = held.sessions.as_slice() else {
        panic!("{held:?}");
    };
    assert_eq!(one.user_agent.as_deref(), Some(crate::running::FIREFOX));
    assert_eq!(one.signed_in_from["ip"], "203.0.113.7");
    assert_eq!(one.signed_in_from["city"], "Berlin");
    let of_ada = |subject: &Option<String>| subject.as_deref() == Some("ada");
    assert!(held.events.iter().all(|event| of_ada(&event.subject)));
    assert!(held.events.iter().any(|event| event.kind.name() == "ended"));
    assert!(
        held.audit
            .iter()
            .any(|entry| entry.action == "revoke_session")
    );
}

async fn erasure_ends_and_forgets_the_subject_and_keeps_the_list(database: Database) {
    let service = Running::start(database).await;
    let (erased, kept) = (service.create("ada").await, service.create("eve").await);
    let before = service.poll("after=0").await.list_header().position;

    let store = service.store().await;
    let erasure = store.erase("ada").await.unwrap();
    let held = store.held_on("ada").await.unwrap();
    store.close().await;

    assert_eq!((erasure.sessions, erasure.revocation.revoked), (1, 1));
    assert!(held.sessions.is_empty() && held.events.is_empty() && held.audit.is_empty());
    for table in ["sessions", "events", "audit", "idempotency"] {
        assert!(!service.mentions(table, "ada").await, "{table}");
    }
    let after = service.poll("after=0").await;
    assert_eq!(after.status, StatusCode::OK, "the list has it");
    assert_eq!(after.list_header().position.to, before.to + 1);
    service
        .renew(&erased.renewal_token)
        .await
        .refused(401, "renewal_unknown");
    service.renewed(&kept.renewal_token).await;
}

on_each_database! {
    export_has_every_session_event_and_entry_of_the_subject_alone,
    erasure_ends_and_forgets_the_subject_and_keeps_the_list,
}
