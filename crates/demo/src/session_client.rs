//! Asks the session service for a session: the one call an app makes, and only at sign-in.
//!
//! The answer holds a header for the edge, `Hallpass-Set-Session`. The app copies it onto its own
//! answer and forgets it: the tokens inside are the edge's business.
//!
//! Source: docs/protocol.md §5.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use reqwest::{Client, Response, Url, redirect};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The header without which the answer is of no use.
const SET_SESSION_HEADER: &str = "hallpass-set-session";
/// How long to wait for a connection; the service is on the same network.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long to wait for the whole answer: a user is looking at a form.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// Longest answer, in bytes: the header is 8 KiB at most, the session below 2 KiB.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// `Retry-After` where the service names none, and the longest that is passed on, in seconds.
const RETRY_AFTER_SECS: u64 = 5;
const MAX_RETRY_AFTER_SECS: u64 = 600;

/// Calls the session service as this app.
pub struct SessionClient {
    http: Client,
    sessions_url: Url,
    authorization: HeaderValue,
}

/// A session to create.
#[derive(Clone, Debug, Serialize)]
pub struct NewSession {
    /// Who has signed in.
    pub subject: String,
    /// How, as RFC 8176 names.
    pub amr: Vec<&'static str>,
    /// The app's own claims: they come back on every request, in the assertion.
    pub ext: Map<String, Value>,
    /// The `Hallpass-Request` of the sign-in request: the edge takes the answer for no other.
    pub request: String,
    /// Who sent that request.
    pub client: ClientDetails,
}

/// What the sessions page will say about the device.
#[derive(Clone, Debug, Serialize)]
pub struct ClientDetails {
    /// Address of the browser, not of the edge.
    pub ip: String,
    /// `User-Agent`, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// Client hints by lower-case header name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hints: BTreeMap<&'static str, String>,
}

/// Headers to copy onto the sign-in answer. There is no `Debug`: they hold tokens.
pub struct HandOff(HeaderMap);

/// Why there is no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionError {
    /// Not reached, too slow, or out of order: try again.
    Unavailable {
        /// Seconds to wait before.
        retry_after_secs: u64,
    },
    /// It does not know this app's credential: for the operator.
    CredentialRefused,
    /// It refused this session for good: its status code.
    Refused(StatusCode),
    /// It answered something else than protocol.md says.
    Unreadable,
}

/// As much of the answer as an app needs.
#[derive(Deserialize)]
struct Created {
    headers: HashMap<String, String>,
}

impl SessionClient {
    /// A client for the service at `service_url`, which has no path.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(service_url: &Url, authorization: HeaderValue) -> Result<Self, reqwest::Error> {
        let http = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            // A redirect would carry the credential elsewhere, and so would a proxy.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()?;
        let mut sessions_url = service_url.clone();
        sessions_url.set_path("/v1/sessions");
        Ok(Self {
            http,
            sessions_url,
            authorization,
        })
    }

    /// Creates a session.
    ///
    /// The `Hallpass-Request` doubles as `Idempotency-Key`: one sign-in request makes one session,
    /// so a connection that broke before the answer can safely be tried once more.
    ///
    /// # Errors
    /// A [`SessionError`]; nobody is signed in then.
    pub async fn create(&self, session: &NewSession) -> Result<HandOff, SessionError> {
        let response = match self.post(session).await {
            Err(error) if !error.is_timeout() && !error.is_connect() => self.post(session).await,
            outcome => outcome,
        };
        let response = response.map_err(|_| unavailable(RETRY_AFTER_SECS))?;
        match response.status() {
            StatusCode::CREATED | StatusCode::OK => read_hand_off(response).await,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(SessionError::CredentialRefused)
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(unavailable(retry_after_secs(response.headers())))
            }
            status if status.is_client_error() => Err(SessionError::Refused(status)),
            _ => Err(SessionError::Unreadable),
        }
    }

    async fn post(&self, session: &NewSession) -> Result<Response, reqwest::Error> {
        self.http
            .post(self.sessions_url.clone())
            .header(header::AUTHORIZATION, self.authorization.clone())
            .header("idempotency-key", &session.request)
            .json(session)
            .send()
            .await
    }
}

impl HandOff {
    /// Puts the headers onto the app's answer.
    pub fn copy_onto(self, headers: &mut HeaderMap) {
        headers.extend(self.0);
    }
}

fn unavailable(retry_after_secs: u64) -> SessionError {
    SessionError::Unavailable { retry_after_secs }
}

fn retry_after_secs(headers: &HeaderMap) -> u64 {
    headers
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok())
        .map_or(RETRY_AFTER_SECS, |secs: u64| secs.min(MAX_RETRY_AFTER_SECS))
}

async fn read_hand_off(mut response: Response) -> Result<HandOff, SessionError> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_ANSWER_BYTES => {
                body.extend_from_slice(&chunk);
            }
            Ok(Some(_)) => return Err(SessionError::Unreadable),
            Ok(None) => return parse_hand_off(&body),
            Err(_) => return Err(unavailable(RETRY_AFTER_SECS)),
        }
    }
}

/// Takes `hallpass-*` headers only: the service has no say in the app's others.
fn parse_hand_off(body: &[u8]) -> Result<HandOff, SessionError> {
    let created: Created = serde_json::from_slice(body).map_err(|_| SessionError::Unreadable)?;
    let mut headers = HeaderMap::new();
    for (name, value) in created.headers {
        let name = HeaderName::try_from(name).map_err(|_| SessionError::Unreadable)?;
        if name.as_str().starts_with("hallpass-") {
            let mut value = HeaderValue::try_from(value).map_err(|_| SessionError::Unreadable)?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }
    if headers.contains_key(SET_SESSION_HEADER) {
        Ok(HandOff(headers))
    } else {
        Err(SessionError::Unreadable)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::{SessionError, parse_hand_off, retry_after_secs};

    #[test]
    fn parse_hand_off_takes_only_headers_for_the_edge() {
        let body =
            br#"{"session_token":"x","headers":{"Hallpass-Set-Session":"abc","Set-Cookie":"a=b"}}"#;
        let mut headers = HeaderMap::new();
        parse_hand_off(body)
            .expect("parses")
            .copy_onto(&mut headers);
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["hallpass-set-session"], "abc");
    }

    #[test]
    fn parse_hand_off_refuses_what_the_edge_could_not_use() {
        for body in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"headers":{}}"#,
            r#"{"headers":{"Hallpass-Set-Session":1}}"#,
            r#"{"headers":{"Hallpass-Set-Session":"a\r\nSet-Cookie: b"}}"#,
            r#"{"headers":{"a b":"c","Hallpass-Set-Session":"d"}}"#,
        ] {
            let outcome = parse_hand_off(body.as_bytes()).err();
            assert_eq!(outcome, Some(SessionError::Unreadable), "{body}");
        }
    }

    #[test]
    fn retry_after_is_bounded_and_has_a_default() {
        for (sent, expected) in [("7", 7), ("86400", 600), ("-1", 5), ("soon", 5)] {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", sent.parse().expect("a value"));
            assert_eq!(retry_after_secs(&headers), expected, "{sent}");
        }
        assert_eq!(retry_after_secs(&HeaderMap::new()), 5);
    }
}
