//! `--url`: the same commands over HTTP, for operators who do not reach the database.
//!
//! The credential comes from the environment or a file, never as an argument, and goes to no other
//! machine in clear unless that is asked for. What the service refuses becomes one line.
//!
//! Source: docs/protocol.md §5.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use hallpass_session::base64url;
use hallpass_session::wire::{InForce, Position, Problem, Revoked, Session, Sessions};
use serde::de::DeserializeOwned;

use super::CommandError;
use super::presented::{escaped, read_bounded};
use super::reach::{Ended, Listed, Target, unknown};
use crate::client::{Answer, Client};
use crate::record::Sid;

/// Where the credential is, unless a file is named.
const CREDENTIAL: &str = "HALLPASS_CREDENTIAL";
/// Longest credential file, in bytes: many times a credential.
const CREDENTIAL_MAX_BYTES: u64 = 1024;
/// Longest answer, in bytes: a thousand sessions take less.
const ANSWER_MAX_BYTES: usize = 4 << 20;
/// Longest time for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How a session service is reached.
#[derive(clap::Args)]
#[command(next_help_heading = "Over HTTP")]
pub(super) struct RemoteArguments {
    /// Ask the session service there in place of the database, such as <https://sessions.example>
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// File with a credential of scope app or admin [default: what `HALLPASS_CREDENTIAL` holds]
    #[arg(long, global = true, value_name = "FILE")]
    credential_file: Option<PathBuf>,
    /// Take http:// to another machine, where credential and sessions can be read on the way
    #[arg(long, global = true)]
    allow_http: bool,
}

/// A session service.
pub(super) struct Remote {
    client: Client,
    credential: HeaderValue,
}

impl RemoteArguments {
    /// The service, if one is named.
    pub(super) fn connect(&self) -> Result<Option<Remote>, CommandError> {
        let Some(url) = &self.url else {
            let is_alone = self.credential_file.is_none() && !self.allow_http;
            return is_alone.then_some(None).ok_or_else(|| {
                usage("--credential-file and --allow-http go with --url, which is not there")
            });
        };
        let uri = parse_url(url, self.allow_http).map_err(usage)?;
        let credential = read_credential(self.credential_file.as_deref())?;
        Ok(Some(Remote {
            client: Client::of(uri).map_err(CommandError::No)?,
            credential,
        }))
    }
}

impl Remote {
    pub(super) async fn sessions(
        &self,
        subject: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Listed>, CommandError> {
        let subject = subject.ok_or_else(|| {
            usage("over HTTP sessions are listed of one subject: say which with --subject")
        })?;
        let path = of_subject(subject);
        let found: Sessions = self.ask(Method::GET, &path, Body::empty()).await?;
        let mut sessions = [found.sessions, found.ended].concat();
        sessions.sort_by_key(|session| u64::MAX - session.created_at);
        sessions.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let listed = |session| Listed {
            subject: Some(subject.to_owned()),
            session,
        };
        Ok(sessions.into_iter().map(listed).collect())
    }

    pub(super) async fn session(&self, sid: Sid) -> Result<Listed, CommandError> {
        let path = of_session(sid);
        let session: Session = self.ask(Method::GET, &path, Body::empty()).await?;
        Ok(Listed {
            subject: None,
            session,
        })
    }

    pub(super) async fn end(&self, target: Target) -> Result<Ended, CommandError> {
        let (method, path, body) = match target {
            Target::Session(sid) => (Method::DELETE, of_session(sid), Body::empty()),
            Target::Subject(subject) => (Method::DELETE, of_subject(&subject), Body::empty()),
            Target::Everything => {
                let path = "/v1/revoked-before".to_owned();
                (Method::POST, path, Body::from("{}"))
            }
        };
        let revoked: Revoked = self.ask(method, &path, body).await?;
        Ok(Ended {
            revoked: revoked.revoked,
            position: revoked.list,
            committed_at_ms: revoked.committed_at_ms,
            in_force: None,
        })
    }

    pub(super) async fn in_force(&self, position: &Position) -> Result<InForce, CommandError> {
        let Position { epoch, to } = position;
        // An epoch is base64url; another service's is not put into a path.
        if !epoch.bytes().all(base64url::is_character) {
            return Err(self.strange("an epoch that is none"));
        }
        let path = format!("/v1/in-force?epoch={epoch}&to={to}");
        self.ask(Method::GET, &path, Body::empty()).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<T, CommandError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.client.authority())
            .header(header::AUTHORIZATION, self.credential.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, "hallpass")
            .body(body)
            .map_err(|error| CommandError::No(error.to_string()))?;
        let sent = tokio::time::timeout(TIMEOUT, self.client.send(request, ANSWER_MAX_BYTES));
        let sent = sent
            .await
            .unwrap_or_else(|_| Err("no answer in time".to_owned()));
        let answer = sent.map_err(|error| {
            CommandError::Unreachable(format!("{}: {error}", self.client.uri()))
        })?;
        if answer.status.is_success() {
            return serde_json::from_slice(&answer.body)
                .map_err(|_| self.strange("an answer that is no session service's"));
        }
        Err(self.refused(&answer))
    }

    /// What the service refuses, in one line.
    fn refused(&self, answer: &Answer) -> CommandError {
        let problem: Result<Problem, _> = serde_json::from_slice(&answer.body);
        let Ok(problem) = problem else {
            let said = format!("status {}, and no problem document", answer.status.as_u16());
            return self.strange(&said);
        };
        if problem.code == "session_unknown" {
            return unknown();
        }
        let (title, code) = (escaped(&problem.title), escaped(&problem.code));
        let detail = problem
            .detail
            .map(|detail| format!(": {}", escaped(&detail)));
        let detail = detail.unwrap_or_default();
        let text = format!("{}: {title}{detail} ({code})", self.client.uri());
        if answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS {
            return CommandError::Unreachable(text);
        }
        CommandError::No(text)
    }

    /// What answers is no session service.
    fn strange(&self, said: &str) -> CommandError {
        CommandError::Unreachable(format!("{} gave {said}", self.client.uri()))
    }
}

fn of_session(sid: Sid) -> String {
    format!("/v1/sessions/{}", base64url::encode(&sid))
}

fn of_subject(subject: &str) -> String {
    let subject = base64url::encode(subject.as_bytes());
    format!("/v1/subjects/{subject}/sessions")
}

/// The address of a service: where it listens, and nothing more.
fn parse_url(url: &str, allow_http: bool) -> Result<Uri, &'static str> {
    let form = "--url must be https:// and a host, perhaps with a port";
    let uri: Uri = url.parse().map_err(|_| form)?;
    let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return Err(form);
    };
    let is_bare = uri.path() == "/" && uri.query().is_none();
    let has_user = uri
        .authority()
        .is_some_and(|all| all.as_str().contains('@'));
    match scheme {
        _ if !is_bare || has_user || host.is_empty() => Err(form),
        "https" => Ok(uri),
        "http" if allow_http || is_loopback(host) => Ok(uri),
        "http" => Err(
            "http:// to another machine shows the credential to whoever reads along: \
                       use https://, or say --allow-http",
        ),
        _ => Err(form),
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address: Option<IpAddr> = host.parse().ok();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

fn read_credential(file: Option<&Path>) -> Result<HeaderValue, CommandError> {
    let text = match file {
        Some(file) => {
            let bytes = read_bounded(file, CREDENTIAL_MAX_BYTES)?;
            String::from_utf8(bytes).map_err(|_| usage("the credential file holds no text"))?
        }
        None => std::env::var(CREDENTIAL).map_err(|_| {
            usage(
                "--url needs a credential of scope app or admin: set HALLPASS_CREDENTIAL, or name \
                 a file with --credential-file",
            )
        })?,
    };
    let credential = text.trim();
    let is_one = !credential.is_empty() && credential.bytes().all(|byte| byte.is_ascii_graphic());
    let header = HeaderValue::from_str(&format!("Bearer {credential}"));
    let mut header = header
        .ok()
        .filter(|_| is_one)
        .ok_or_else(|| usage("this is no credential: `hallpass credentials create` makes one"))?;
    header.set_sensitive(true);
    Ok(header)
}

fn usage(text: &str) -> CommandError {
    CommandError::Usage(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::parse_url;

    #[test]
    fn url_is_an_origin_and_clear_only_to_this_machine() {
        for good in [
            "https://sessions.example",
            "https://sessions.example:8443/",
            "http://127.0.0.1:8788",
            "http://[::1]:8788",
            "http://localhost:8788",
        ] {
            assert!(parse_url(good, false).is_ok(), "{good}");
        }
        for wrong in [
            "",
            "sessions.example",
            "https://",
            "https://user:secret@sessions.example",
            "https://sessions.example/v1",
            "https://sessions.example/?a",
            "ftp://sessions.example",
            "http://sessions.example",
            "http://localhost.example",
            "http://127.0.0.1.example",
        ] {
            assert!(parse_url(wrong, false).is_err(), "{wrong}");
        }
        assert!(parse_url("http://sessions.example", true).is_ok());
    }
}
