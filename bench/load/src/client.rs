//! What a browser, an app and an edge ask the session service, and how its answers are told apart.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hallpass_session::revocation::ListHeader;
use hallpass_session::wire::{Created, InForce, Position, Problem, Renewed, Revoked};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

/// Longer than the service takes for anything: what takes longer counts as an outage.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The codes that end a session for its user; every other failure is an outage.
const TERMINAL: [&str; 5] = [
    "session_revoked",
    "session_expired",
    "renewal_reused",
    "renewal_unknown",
    "renewal_malformed",
];

/// A client with a credential of each scope it needs.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    edge: String,
    app: String,
    admin: String,
    /// The name it polls by.
    name: String,
    losses: Arc<Mutex<Vec<Loss>>>,
}

/// A request of which nothing is known but that it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Loss {
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    /// Whether there was an answer, though one that means nothing.
    pub(crate) is_answer: bool,
    pub(crate) words: String,
}

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Outcome<T> {
    /// It was done.
    Done(T),
    /// A terminal answer: the session is over for its user.
    Ended(String),
    /// Anything else: nothing is known.
    Outage(String),
}

impl Client {
    /// A client of the service at `url`.
    ///
    /// # Errors
    /// When no client can be made.
    pub(crate) fn new(url: String, [edge, app, admin]: [String; 3]) -> Result<Self> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).build()?;
        Ok(Self {
            http,
            url,
            edge,
            app,
            admin,
            name: "load".to_owned(),
            losses: Arc::default(),
        })
    }

    /// The same at another address, with a connection for each request.
    ///
    /// # Errors
    /// When no client can be made.
    pub(crate) fn behind(self, url: String) -> Result<Self> {
        let http = reqwest::Client::builder().timeout(TIMEOUT);
        let http = http.pool_max_idle_per_host(0).build()?;
        Ok(Self { http, url, ..self })
    }

    /// The same as an edge of this name.
    #[must_use]
    pub(crate) fn as_edge(&self, name: String) -> Self {
        Self {
            name,
            ..self.clone()
        }
    }

    /// Every request so far that was lost.
    pub(crate) fn losses(&self) -> Vec<Loss> {
        let losses = self.losses.lock();
        losses.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Signs `subject` in.
    pub(crate) async fn create(&self, subject: &str) -> Outcome<Created> {
        let body = json!({
            "subject": subject,
            "request": "AAAAAAAAAAAAAAAAAAAAAA",
            "client": browser(),
        });
        self.app(Method::POST, "/v1/sessions", Some(&body)).await
    }

    /// Presents a renewal token.
    pub(crate) async fn renew(&self, token: &str) -> Outcome<Renewed> {
        let body = json!({"renewal_token": token, "client": browser(), "request_id": "load"});
        let request = self
            .request(Method::POST, "/v1/edge/renew", &self.edge)
            .json(&body);
        self.outcome(request).await
    }

    /// Whether an entry is in force everywhere, asked with a user's token.
    pub(crate) async fn in_force(&self, token: &str, entry: &Position) -> Outcome<InForce> {
        let Position { epoch, to } = entry;
        let path = format!("/v1/edge/me/in-force?epoch={epoch}&to={to}");
        let request = self.request(Method::GET, &path, &self.edge);
        let request = request.header("Hallpass-Session-Token", token);
        self.outcome(request).await
    }

    /// Ends one session.
    pub(crate) async fn end(&self, sid: &str) -> Outcome<Revoked> {
        self.app(Method::DELETE, &format!("/v1/sessions/{sid}"), None)
            .await
    }

    /// Ends every session of a subject; `subject` in base64url.
    pub(crate) async fn end_subject(&self, subject: &str) -> Outcome<Revoked> {
        let path = format!("/v1/subjects/{subject}/sessions");
        self.app(Method::DELETE, &path, None).await
    }

    /// Polls the list as an edge that holds `held`; the compact list, if there is news.
    ///
    /// # Errors
    /// When it is not answered as the protocol says.
    pub(crate) async fn poll(
        &self,
        held: Option<&Position>,
        wait_secs: u64,
    ) -> Result<(ListHeader, Option<String>)> {
        let held = held.map_or_else(
            || "after=0".to_owned(),
            |held| format!("epoch={}&after={}", held.epoch, held.to),
        );
        let path = format!(
            "/v1/edge/revocations?{held}&wait={wait_secs}&edge={}&bound=10",
            self.name
        );
        let began = Instant::now();
        let request = self.request(Method::GET, &path, &self.edge);
        let answer = async {
            let response = request.send().await?;
            let (status, header) = (response.status(), list_header(&response));
            reqwest::Result::Ok((status, header, response.text().await?))
        };
        let (status, header, body) = answer
            .await
            .inspect_err(|error| self.note_loss(began, false, error.to_string()))?;
        if !status.is_success() {
            self.note_loss(began, true, format!("list: {status}: {body}"));
        }
        match status {
            StatusCode::OK => Ok((header?, Some(body))),
            StatusCode::NO_CONTENT => Ok((header?, None)),
            _ => bail!("list: {status}: {body}"),
        }
    }

    /// How many polls are being answered, waiting ones included.
    ///
    /// # Errors
    /// When the service does not say.
    pub(crate) async fn open_polls(&self) -> Result<usize> {
        let request = self.request(Method::GET, "/metrics", &self.admin);
        let metrics = request.send().await?.error_for_status()?.text().await?;
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix("hallpass_open_polls "));
        let polls = line.and_then(|count| count.trim().parse().ok());
        polls.context("no hallpass_open_polls among the metrics")
    }

    async fn app<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Outcome<T> {
        let request = self.request(method, path, &self.app);
        match body {
            Some(body) => self.outcome(request.json(body)).await,
            None => self.outcome(request).await,
        }
    }

    async fn outcome<T: DeserializeOwned>(&self, request: RequestBuilder) -> Outcome<T> {
        let began = Instant::now();
        let (outcome, is_answer) = match answered(request).await {
            Ok(outcome) => (outcome, true),
            Err(error) => (Outcome::Outage(error.to_string()), false),
        };
        if let Outcome::Outage(words) = &outcome {
            self.note_loss(began, is_answer, words.clone());
        }
        outcome
    }

    fn note_loss(&self, began: Instant, is_answer: bool, words: String) {
        let loss = Loss {
            began,
            ended: Instant::now(),
            is_answer,
            words,
        };
        let losses = self.losses.lock();
        losses.unwrap_or_else(PoisonError::into_inner).push(loss);
    }

    fn request(&self, method: Method, path: &str, credential: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(credential)
    }
}

impl<T> Outcome<T> {
    /// What was done, if it was.
    pub(crate) fn done(self) -> Option<T> {
        match self {
            Self::Done(value) => Some(value),
            Self::Ended(_) | Self::Outage(_) => None,
        }
    }
}

async fn answered<T: DeserializeOwned>(request: RequestBuilder) -> reqwest::Result<Outcome<T>> {
    let response = request.send().await?;
    let status = response.status();
    if status.is_success() {
        return response.json().await.map(Outcome::Done);
    }
    let text = response.text().await?;
    let code = serde_json::from_str::<Problem>(&text).map(|problem| problem.code);
    Ok(match code {
        Ok(code) if status == StatusCode::UNAUTHORIZED && TERMINAL.contains(&code.as_str()) => {
            Outcome::Ended(code)
        }
        _ => Outcome::Outage(format!("{status}: {text}")),
    })
}

fn list_header(response: &Response) -> Result<ListHeader> {
    let header = response.headers().get("hallpass-list");
    header
        .and_then(|header| ListHeader::parse(header.to_str().ok()?))
        .context("no Hallpass-List")
}

fn browser() -> Value {
    json!({"ip": "203.0.113.7", "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"})
}
