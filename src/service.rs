//! The session service, as the edge calls it.
//!
//! Every call has a deadline, a bound on the answer's size and two kinds of outcome: an answer of
//! the service, or an outage. A refusal is believed only as a problem document with a known code;
//! whatever else arrives (a timeout, 5xx, HTML of some proxy, an unknown code) says nothing about
//! the user and is an outage.
//!
//! Source: docs/protocol.md §3.

use crate::config::Settings;
use crate::platform::{self, Thrown};
use crate::secrets::Secrets;
use hallpass_session::json;
use hallpass_session::refusal::{Outage, Refusal};
use hallpass_session::revocation::{ListHeader, MAX_LIST_BYTES};
use hallpass_session::wire::{
    EdgeKeys, InForce, LIST_HEADER, Liveness, Problem, RenewRequest, Renewed, RevokeMine, Revoked,
    SESSION_TOKEN_HEADER, Sessions,
};
use js_sys::Uint8Array;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Headers, ReadableStreamDefaultReader, RequestInit, RequestRedirect, Response};

/// Longest answer but the list, in bytes: a subject's sessions at about 500 bytes each.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Why the service did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Declined {
    /// A terminal answer about this session.
    Refused(Refusal),
    /// The user's token is not believed; nothing is said about the session.
    Token(Refusal),
    /// No such session, or not this user's.
    NotFound,
    /// The request was not one the service takes.
    Malformed,
}

/// Why a renewal gave no new token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unrenewed {
    /// The session is over: one of the five terminal answers.
    Ended(Refusal),
    /// The service works and cannot say anything about this token: its key was never issued, or the
    /// table is older than it. An outage to this request, and to no other.
    Undecided,
    /// The service gave no usable answer.
    Outage,
}

/// An answer to a list poll.
pub(crate) struct ListAnswer {
    /// What the answer proves, and when it was read.
    pub(crate) header: ListHeader,
    /// The signed list; `None` when there is nothing new.
    pub(crate) list: Option<String>,
}

/// Whose sessions a call is about.
pub(crate) enum Actor<'a> {
    /// The user, by a session token of theirs.
    Token(&'a str),
    /// The user, by a renewal token inside the body.
    Body,
}

/// How to reach the service.
pub(crate) struct ServiceClient {
    base: String,
    authorization: String,
    timeout_ms: u64,
}

impl ServiceClient {
    pub(crate) fn new(settings: &Settings, secrets: &Secrets) -> Self {
        Self {
            base: settings.service_url.clone(),
            authorization: format!("Bearer {}", secrets.edge_credential),
            timeout_ms: settings.service_timeout_ms,
        }
    }

    /// `GET /v1/edge/keys`.
    pub(crate) async fn keys(&self) -> Result<EdgeKeys, Outage> {
        let response = self.get("/v1/edge/keys", 0).await?;
        let body = read_success(&response, MAX_ANSWER_BYTES).await?;
        json::parse_as(&body).ok_or(Outage::Service)
    }

    /// `GET /v1/edge/revocations`, waiting at the service for up to `wait_ms`.
    pub(crate) async fn revocations(
        &self,
        query: &str,
        wait_ms: u64,
    ) -> Result<ListAnswer, Outage> {
        let response = self
            .get(&format!("/v1/edge/revocations?{query}"), wait_ms)
            .await?;
        let header = platform::header(&response.headers(), LIST_HEADER)
            .and_then(|text| ListHeader::parse(&text))
            .ok_or(Outage::Service)?;
        if response.status() == 204 {
            return Ok(ListAnswer { header, list: None });
        }
        let body = read_success(&response, MAX_LIST_BYTES).await?;
        let list = String::from_utf8(body).map_err(|_| Outage::Service)?;
        Ok(ListAnswer {
            header,
            list: Some(list),
        })
    }

    /// `POST /v1/edge/renew`.
    pub(crate) async fn renew(&self, request: &RenewRequest) -> Result<Renewed, Unrenewed> {
        let response = self.post("/v1/edge/renew", &Actor::Body, request).await;
        let answer = match response {
            Ok(response) => read_answer(&response).await,
            Err(outage) => Err(outage),
        };
        match answer {
            Ok(Ok(renewed)) => Ok(renewed),
            Ok(Err(problem)) => Err(problem.unrenewed()),
            Err(_) => Err(Unrenewed::Outage),
        }
    }

    /// `GET /v1/edge/sessions/{sid}`; `None` for a session that the service does not know.
    pub(crate) async fn liveness(&self, sid: &str) -> Result<Option<Liveness>, Outage> {
        let response = self.get(&format!("/v1/edge/sessions/{sid}"), 0).await?;
        match read_decision(&response).await? {
            Ok(liveness) => Ok(Some(liveness)),
            Err(Declined::NotFound) => Ok(None),
            Err(_) => Err(Outage::Service),
        }
    }

    /// `GET /v1/edge/me/sessions`.
    pub(crate) async fn my_sessions(
        &self,
        token: &str,
    ) -> Result<Result<Sessions, Declined>, Outage> {
        let init = self.init("GET", &Actor::Token(token), 0)?;
        read_decision(&self.send("/v1/edge/me/sessions", &init).await?).await
    }

    /// `POST /v1/edge/me/revoke`.
    pub(crate) async fn revoke_mine(
        &self,
        actor: &Actor<'_>,
        what: &RevokeMine,
    ) -> Result<Result<Revoked, Declined>, Outage> {
        read_decision(&self.post("/v1/edge/me/revoke", actor, what).await?).await
    }

    /// `GET /v1/edge/me/in-force`; `query` has epoch and position.
    pub(crate) async fn in_force(
        &self,
        token: &str,
        query: &str,
    ) -> Result<Result<InForce, Declined>, Outage> {
        let init = self.init("GET", &Actor::Token(token), 0)?;
        read_decision(
            &self
                .send(&format!("/v1/edge/me/in-force?{query}"), &init)
                .await?,
        )
        .await
    }

    async fn get(&self, path: &str, wait_ms: u64) -> Result<Response, Outage> {
        let init = self.init("GET", &Actor::Body, wait_ms)?;
        self.send(path, &init).await
    }

    async fn post<B: Serialize>(
        &self,
        path: &str,
        actor: &Actor<'_>,
        body: &B,
    ) -> Result<Response, Outage> {
        let init = self.init("POST", actor, 0)?;
        let body = serde_json::to_string(body).map_err(|_| Outage::Service)?;
        init.set_body(&JsValue::from_str(&body));
        self.send(path, &init).await
    }

    fn init(&self, method: &str, actor: &Actor<'_>, wait_ms: u64) -> Result<RequestInit, Outage> {
        let headers = self.headers(method, actor).map_err(|_| Outage::Service)?;
        let init = RequestInit::new();
        init.set_method(method);
        init.set_headers(&headers);
        // A redirect would carry the credential to wherever it points.
        init.set_redirect(RequestRedirect::Manual);
        let deadline = platform::deadline(self.timeout_ms.saturating_add(wait_ms));
        init.set_signal(Some(&deadline));
        Ok(init)
    }

    fn headers(&self, method: &str, actor: &Actor<'_>) -> Result<Headers, Thrown> {
        let headers = Headers::new()?;
        headers.set("authorization", &self.authorization)?;
        headers.set(
            "accept",
            "application/json, application/jose, application/problem+json",
        )?;
        if method == "POST" {
            headers.set("content-type", "application/json")?;
        }
        if let Actor::Token(token) = actor {
            headers.set(SESSION_TOKEN_HEADER, token)?;
        }
        Ok(headers)
    }

    async fn send(&self, path: &str, init: &RequestInit) -> Result<Response, Outage> {
        let request = platform::request(&format!("{}{path}", self.base), init);
        let request = request.map_err(|_| Outage::Service)?;
        platform::fetch(&request).await.map_err(|_| Outage::Service)
    }
}

/// Reads an answer that is either a `T` or a problem document.
async fn read_answer<T: DeserializeOwned>(
    response: &Response,
) -> Result<Result<T, Declination>, Outage> {
    if response.ok() {
        let body = read_success(response, MAX_ANSWER_BYTES).await?;
        return json::parse_as(&body).map(Ok).ok_or(Outage::Service);
    }
    let kind = platform::header(&response.headers(), "content-type").unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some("application/problem+json") {
        return Err(Outage::Service);
    }
    let body = read(response, MAX_ANSWER_BYTES).await?;
    let problem: Problem = json::parse_as(&body).ok_or(Outage::Service)?;
    Ok(Err(Declination {
        status: response.status(),
        code: problem.code,
    }))
}

/// A problem document of the service.
struct Declination {
    status: u16,
    code: String,
}

impl Declination {
    /// What it says to one who asks for a user; codes we do not know are an outage.
    fn declined(self) -> Result<Declined, Outage> {
        let token = || Refusal::from_token_code(&self.code).map(Declined::Token);
        match self.status {
            401 => self
                .terminal()
                .map(Declined::Refused)
                .or_else(token)
                .ok_or(Outage::Service),
            404 => Ok(Declined::NotFound),
            400 | 422 => Ok(Declined::Malformed),
            _ => Err(Outage::Service),
        }
    }

    fn unrenewed(self) -> Unrenewed {
        match (self.status, self.code.as_str()) {
            (401, _) => self.terminal().map_or(Unrenewed::Outage, Unrenewed::Ended),
            (503, "renewal_key_unknown" | "table_rolled_back") | (400 | 413 | 422, _) => {
                Unrenewed::Undecided
            }
            _ => Unrenewed::Outage,
        }
    }

    fn terminal(&self) -> Option<Refusal> {
        Refusal::from_terminal_code(&self.code)
    }
}

/// Reads an answer to one who asks for a user.
async fn read_decision<T: DeserializeOwned>(
    response: &Response,
) -> Result<Result<T, Declined>, Outage> {
    match read_answer(response).await? {
        Ok(answer) => Ok(Ok(answer)),
        Err(declination) => declination.declined().map(Err),
    }
}

async fn read_success(response: &Response, most: usize) -> Result<Vec<u8>, Outage> {
    if response.status() != 200 {
        return Err(Outage::Service);
    }
    read(response, most).await
}

/// Reads a body of at most `most` bytes, without believing its stated length.
async fn read(response: &Response, most: usize) -> Result<Vec<u8>, Outage> {
    let Some(stream) = response.body() else {
        return Ok(Vec::new());
    };
    let reader: ReadableStreamDefaultReader = stream.get_reader().unchecked_into();
    let mut body = Vec::new();
    loop {
        let chunk = JsFuture::from(reader.read())
            .await
            .map_err(|_| Outage::Service)?;
        let member = |name: &str| js_sys::Reflect::get(&chunk, &name.into()).ok();
        if member("done").is_none_or(|done| done.is_truthy()) {
            return Ok(body);
        }
        let bytes: Uint8Array = member("value")
            .and_then(|value| value.dyn_into().ok())
            .ok_or(Outage::Service)?;
        let length = usize::try_from(bytes.length()).map_err(|_| Outage::Service)?;
        if body.len().saturating_add(length) > most {
            // The rest is of no use; whether the other side hears of it is not ours to wait for.
            let _ = reader.cancel();
            return Err(Outage::Service);
        }
        body.extend(bytes.to_vec());
    }
}
