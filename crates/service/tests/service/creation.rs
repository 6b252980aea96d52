//! Creating sessions: bounds, repetition, limits.

use crate::database::{Database, on_each_database};
use crate::running::{Answer, Running, answer, creation};
use hallpass_session::wire::{Created, Sessions};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

impl Running {
    async fn create_as(&self, key: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, "/v1/sessions", &self.app);
        answer(request.header("Idempotency-Key", key).json(body)).await
    }

    async fn sessions_of_ada(&self) -> Sessions {
        self.get("/v1/subjects/YWRh/sessions", &self.app)
            .await
            .json(StatusCode::OK)
    }
}

async fn repeated_key_makes_one_session(database: Database) {
    let service = Running::start(database).await;

    let one: Created = service
        .create_as("k", &creation("ada"))
        .await
        .json(StatusCode::CREATED);
    service.advance(86_399);
    let two: Created = service
        .create_as("k", &creation("ada"))
        .await
        .json(StatusCode::CREATED);

    assert_eq!(one.session.sid, two.session.sid);
    assert_eq!(service.sessions_of_ada().await.sessions.len(), 1);
    service.renewed(&two.renewal_token).await;
    service.renewed(&one.renewal_token).await;
}

async fn repeated_key_is_forgotten_after_a_day(database: Database) {
    let service = Running::start(database).await;
    let one: Created = service
        .create_as("k", &creation("ada"))
        .await
        .json(StatusCode::CREATED);
    service.advance(86_400);
    let two: Created = service
        .create_as("k", &creation("ada"))
        .await
        .json(StatusCode::CREATED);

    assert_ne!(one.session.sid, two.session.sid);
}

async fn repeated_key_for_something_else_is_refused(database: Database) {
    let service = Running::start(database).await;
    service.create_as("k", &creation("ada")).await;

    service
        .create_as("k", &creation("grace"))
        .await
        .refused(409, "idempotency_key_reused");
    service
        .create_as("", &creation("ada"))
        .await
        .refused(400, "request_malformed");
    service
        .create_as(&"k".repeat(256), &creation("ada"))
        .await
        .refused(400, "request_malformed");
}

async fn repeated_key_does_not_revive_an_ended_session(database: Database) {
    let service = Running::start(database).await;
    service.create_as("k", &creation("ada")).await;
    service
        .delete("/v1/subjects/YWRh/sessions", &service.app)
        .await;

    service
        .create_as("k", &creation("ada"))
        .await
        .refused(409, "idempotent_session_ended");
}

async fn limit_ends_the_oldest_session(database: Database) {
    let service = Running::start_with(database, "sessions_per_subject_max = 2").await;
    let first = service.create("ada").await;
    for _ in 0..2 {
        service.advance(1);
        service.create("ada").await;
    }

    let sessions = service.sessions_of_ada().await;

    assert_eq!(sessions.sessions.len(), 2);
    assert_eq!(sessions.ended[0].sid, first.session.sid);
    assert_eq!(
        sessions.ended[0].ended.as_ref().unwrap().reason,
        "limit_reached"
    );
    service
        .renew(&first.renewal_token)
        .await
        .refused(401, "session_revoked");
}

async fn session_that_shall_not_persist_says_so_at_every_renewal(database: Database) {
    let service = Running::start(database).await;
    let mut body = creation("ada");
    body["persistent"] = json!(false);
    let created: Created = service
        .post("/v1/sessions", &service.app, &body)
        .await
        .json(StatusCode::CREATED);

    assert!(!service.renewed(&created.renewal_token).await.persistent);
}

async fn create_refuses_values_out_of_bounds_by_name(database: Database) {
    let service = Running::start(database).await;
    let cases = [
        ("subject", json!("")),
        ("subject", json!("a b")),
        ("subject", json!("ü")),
        ("subject", json!("a".repeat(256))),
        ("auth_time", json!(service.now() + 6)),
        ("amr", json!(["a", "b", "c", "d", "e", "f", "g", "h", "i"])),
        ("amr", json!([""])),
        ("ext", json!({"a": "x".repeat(1024)})),
        ("request", json!("")),
        ("request", json!("x".repeat(65))),
    ];
    for (member, value) in cases {
        let mut body = creation("ada");
        body[member] = value;
        let answer = service.post("/v1/sessions", &service.app, &body).await;
        answer.refused(400, "request_malformed");
        assert!(answer.body.contains(member), "{}", answer.body);
    }
    assert_eq!(
        service.sessions_of_ada().await.sessions.len(),
        0,
        "nothing was written"
    );
}

async fn largest_session_fits_its_header_and_cookie(database: Database) {
    let service = Running::start(database).await;
    let mut body = creation(&"s".repeat(255));
    body["amr"] = json!(vec!["m".repeat(64); 8]);
    body["ext"] = json!({"a": "x".repeat(1024 - r#"{"a":""}"#.len())});
    body["request"] = json!("r".repeat(64));

    let created: Created = service
        .post("/v1/sessions", &service.app, &body)
        .await
        .json(StatusCode::CREATED);

    assert!(
        created.session_token.len() <= 4096,
        "{}",
        created.session_token.len()
    );
    assert!(created.headers.set_session.len() <= 8192);
}

on_each_database![
    repeated_key_makes_one_session,
    repeated_key_is_forgotten_after_a_day,
    repeated_key_for_something_else_is_refused,
    repeated_key_does_not_revive_an_ended_session,
    limit_ends_the_oldest_session,
    session_that_shall_not_persist_says_so_at_every_renewal,
    create_refuses_values_out_of_bounds_by_name,
    largest_session_fits_its_header_and_cookie,
];
