//! Limits of size, time and attempts, and how the service stops.

use crate::database::Database;
use crate::running::{Running, answer, creation};
use reqwest::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

impl Running {
    /// Sends these bytes and reads all that comes back.
    async fn raw(&self, bytes: &str) -> String {
        let address = self.url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

#[tokio::test]
async fn head_that_is_too_long_or_has_too_many_lines_is_refused() {
    let service = Running::start(Database::Sqlite).await;
    let keys = || service.request(Method::GET, "/v1/edge/keys", &service.edge);

    let long = answer(keys().header("x-filler", "x".repeat(16 << 10))).await;
    long.refused(431, "request_head_too_large");
    let path = format!("/v1/edge/keys?{}", "x".repeat(16 << 10));
    let long = service.get(&path, &service.edge).await;
    long.refused(431, "request_head_too_large");
    let lines = |count: usize| {
        (0..count).fold(keys(), |request, line| {
            request.header(format!("x-filler-{line}"), "x")
        })
    };
    let many = answer(lines(65)).await;
    many.refused(431, "request_head_too_large");

    let filler = keys().header("x-filler", "x".repeat(12 << 10));
    assert_eq!(answer(filler).await.status, StatusCode::OK);
    assert_eq!(answer(lines(50)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn body_that_does_not_arrive_is_refused_in_time() {
    let service = Running::start_with(Database::Sqlite, "request_timeout_ms = 200").await;
    let head = format!(
        "POST /v1/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{",
        service.app
    );

    let answer = service.raw(&head).await;

    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("request_body_timed_out"), "{answer}");
}

#[tokio::test]
async fn attempts_are_limited_and_good_credentials_are_not() {
    let service = Running::start(Database::Sqlite).await;
    for _ in 0..100 {
        let refused = service.get("/v1/edge/keys", "guess").await;
        refused.refused(401, "credential_invalid");
    }

    let limited = service.get("/v1/edge/keys", "guess").await;
    limited.refused(429, "credential_attempts_limited");
    assert_eq!(limited.header("retry-after"), "1");
    let limited = service.get("/metrics", "another guess elsewhere").await;
    limited.refused(429, "credential_attempts_limited");

    let good = service.get("/v1/edge/keys", &service.edge).await;
    assert_eq!(good.status, StatusCode::OK);
    let other_scope = service.get("/v1/edge/keys", &service.app).await;
    other_scope.refused(403, "scope_insufficient");
    service.create("ada").await;

    service.advance(1);
    let refused = service.get("/v1/edge/keys", "guess").await;
    refused.refused(401, "credential_invalid");
}

#[tokio::test]
async fn every_answer_has_an_id_of_its_own() {
    let service = Running::start(Database::Sqlite).await;
    let request = || {
        let request = service.request(Method::GET, "/healthz", "");
        request.header("x-request-id", "chosen-by-the-caller")
    };

    let one = answer(request()).await;
    let two = answer(request()).await;

    assert_eq!(one.header("x-request-id").len(), 22);
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
}

#[tokio::test]
async fn leaving_service_is_not_ready_and_serves_on() {
    let service = Running::start(Database::Sqlite).await;
    assert_eq!(service.get("/readyz", "").await.body, "ready\n");

    service.service.leave();

    let ready = service.get("/readyz", "").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(service.get("/healthz", "").await.status, StatusCode::OK);
    service.create("ada").await;
}

#[tokio::test]
async fn stopping_service_answers_what_is_in_flight() {
    let service = Running::start(Database::Sqlite).await;
    let header = service
        .get("/v1/edge/revocations?edge=a", &service.edge)
        .await
        .list_header();
    let path = format!(
        "/v1/edge/revocations?edge=a&wait=5&epoch={}&after={}",
        header.position.epoch, header.position.to
    );
    let poll = tokio::spawn(answer(service.request(Method::GET, &path, &service.edge)));
    let body = creation("ada").to_string();
    let (first, rest) = body.split_at(10);
    let address = service.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{first}",
        service.app,
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    while service.service.open_polls() == 0 {
        tokio::task::yield_now().await;
    }
    // Answered, so everything sent before it has been accepted.
    service.get("/healthz", "").await;

    let stopping = tokio::spawn(service.stop());
    assert_eq!(poll.await.unwrap().status, StatusCode::NO_CONTENT);
    stream.write_all(rest.as_bytes()).await.unwrap();
    let mut created = String::new();
    stream.read_to_string(&mut created).await.unwrap();
    assert!(created.starts_with("HTTP/1.1 201 "), "{created}");
    let restarted = stopping.await.unwrap().start().await;

    let sessions = restarted
        .get("/v1/subjects/YWRh/sessions", &restarted.app)
        .await;
    assert!(sessions.body.contains("\"sid\""), "{}", sessions.body);
}
