//! What a browser, an app and an edge ask the session service, and how its answers are told apart.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use hallpass_session::revocation::ListHeader;
use hallpass_session::wire::{Created, Position, Problem, Renewed, Revoked};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

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
        })
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
        outcome(request).await
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
        let path = format!("/v1/edge/revocations?{held}&wait={wait_secs}&edge=load&bound=10");
        let response = self.request(Method::GET, &path, &self.edge).send().await?;
        let status = response.status();
        let header = list_header(&response);
        let body = response.text().await?;
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
            Some(body) => outcome(request.json(body)).await,
            None => outcome(request).await,
        }
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

async fn outcome<T: DeserializeOwned>(request: RequestBuilder) -> Outcome<T> {
    match answered(request).await {
        Ok(outcome) => outcome,
        Err(error) => Outcome::Outage(error.to_string()),
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
