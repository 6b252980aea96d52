//! Stands in for the session service: gives one answer, and keeps what it was asked.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A running stub.
pub(crate) struct Service {
    /// Where it is.
    pub(crate) url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

/// One call of `POST /v1/sessions`.
#[derive(Clone)]
pub(crate) struct Received {
    pub(crate) authorization: String,
    pub(crate) idempotency_key: String,
    pub(crate) body: Value,
}

/// What it answers.
#[derive(Clone)]
pub(crate) struct Answer {
    status: StatusCode,
    headers: Vec<(&'static str, &'static str)>,
    body: String,
}

impl Answer {
    /// A session was created.
    pub(crate) fn created(set_session: &str) -> Self {
        let body = json!({
            "session": {}, "session_token": "t", "renewal_token": "r", "session_ends_at": 1,
            "headers": { "Hallpass-Set-Session": set_session },
        });
        Self::status(201).body(&body.to_string())
    }

    /// A status and nothing else.
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: Vec::new(),
            body: String::new(),
        }
    }

    /// With a header.
    pub(crate) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// With a body.
    pub(crate) fn body(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self
    }
}

impl Service {
    /// Starts a service that always gives `answer`.
    pub(crate) async fn start(answer: Answer) -> Self {
        let received = Arc::new(Mutex::new(Vec::new()));
        let router = Router::new()
            .route("/v1/sessions", post(respond))
            .with_state((answer, Arc::clone(&received)));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, received }
    }

    /// What it was asked so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().expect("not poisoned").clone()
    }
}

/// An address where nobody listens.
pub(crate) async fn url_of_nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

type Stub = (Answer, Arc<Mutex<Vec<Received>>>);

async fn respond(
    State((answer, received)): State<Stub>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let text = |name: &str| {
        let value = headers.get(name).map(|value| value.to_str().expect("text"));
        value.unwrap_or_default().to_owned()
    };
    received.lock().expect("not poisoned").push(Received {
        authorization: text("authorization"),
        idempotency_key: text("idempotency-key"),
        body: serde_json::from_str(&body).expect("JSON"),
    });
    let mut response = (answer.status, answer.body).into_response();
    for (name, value) in answer.headers {
        response
            .headers_mut()
            .insert(name, value.parse().expect("a value"));
    }
    response
}
