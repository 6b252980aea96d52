//! What runs at a URL: an edge, which answers `/.session/health`, or a session service, which answers
//! `/healthz`.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, Uri, header};
use hallpass_session::wire::Problem;
use serde::Deserialize;

use super::table::TableSeen;
use super::{ClockReading, Findings};
use crate::cli::CommandError;
use crate::client::{Answer, Client};
use crate::clock::{Clock, SystemClock};

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer that is read, in bytes: sixteen keys have 3 KB.
const ANSWER_MAX_BYTES: usize = 64 << 10;
/// What unlocks the edge's diagnostics; never a flag.
const DIAGNOSTIC_CREDENTIAL: &str = "DIAGNOSTIC_CREDENTIAL";
/// Age up to which an edge's list is compared with the table, in milliseconds: an isolate that nobody
/// asks does not poll, and may be behind.
const LIST_AGE_COMPARED_MS: u64 = 60_000;

/// `GET /.session/health`, with diagnostics if they are unlocked.
#[derive(Deserialize)]
struct EdgeHealth {
    status: String,
    list: Option<EdgeList>,
    counters: Option<EdgeCounters>,
}

#[derive(Deserialize)]
struct EdgeList {
    epoch: String,
    age_ms: u64,
}

#[derive(Deserialize)]
struct EdgeCounters {
    outages: u64,
    lists_refused: u64,
}

/// `GET /.well-known/jwks.json`.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    kid: String,
}

/// A deployment that is asked.
struct Deployment<'a> {
    client: Client,
    /// As the operator wrote it, without a slash at its end.
    url: &'a str,
    seen: Option<&'a TableSeen>,
    /// What unlocks the edge's diagnostics, if it may be sent.
    diagnostic: Option<String>,
}

/// Asks what runs at `url`.
///
/// # Errors
///
/// When it is no URL.
pub(super) async fn look(
    url: &str,
    seen: Option<&TableSeen>,
    findings: &mut Findings,
) -> Result<(), CommandError> {
    let uri = parse(url)?;
    findings.looked_at(url);
    let in_clear = uri.scheme_str() == Some("http") && !is_local(&uri);
    if in_clear {
        findings.warning(
            "url_in_clear",
            format!("{url} is asked without TLS, and so without any credential"),
            "name it by https://",
        );
    }
    let diagnostic = std::env::var(DIAGNOSTIC_CREDENTIAL).ok();
    let diagnostic = diagnostic.filter(|credential| !credential.is_empty() && !in_clear);
    let client = Client::of(uri).map_err(CommandError::No)?;
    let url = url.trim_end_matches('/');
    let deployment = Deployment {
        client,
        url,
        seen,
        diagnostic,
    };
    if let Err(problem) = deployment.look(findings).await {
        findings.unreachable(
            "deployment_unreachable",
            format!("{url}: {problem}"),
            "see that it runs, and that its name, port and certificate are right",
        );
    }
    Ok(())
}

impl Deployment<'_> {
    async fn look(&self, findings: &mut Findings) -> Result<(), String> {
        let clock = SystemClock::default();
        let diagnostic = self.diagnostic.as_deref();
        let before_ms = clock.unix_ms();
        let answer = self.get("/.session/health", diagnostic).await?;
        let after_ms = clock.unix_ms();
        if let Some(theirs_ms) = date_ms(&answer.headers) {
            let reading = ClockReading {
                ours_ms: (before_ms, after_ms),
                theirs_ms,
            };
            findings.compare_clocks("deployment_clock", self.url, &reading);
        }
        if let Ok(health) = serde_json::from_slice::<EdgeHealth>(&answer.body)
            && health.status == "ok"
        {
            self.edge(&health, diagnostic.is_some(), findings);
            return Ok(());
        }
        if code(&answer) == "misconfigured" {
            findings.error(
                "edge_misconfigured",
                format!("the edge at {} answers `misconfigured` to everything", self.url),
                "`npx wrangler tail` names the setting or the secret; docs/settings.md has them all",
            );
            return Ok(());
        }
        self.service(findings).await
    }

    fn edge(&self, health: &EdgeHealth, asked_more: bool, findings: &mut Findings) {
        let Some(counters) = &health.counters else {
            if asked_more {
                findings.warning(
                    "diagnostics_refused",
                    format!("the edge does not take {DIAGNOSTIC_CREDENTIAL}"),
                    format!("npx wrangler secret put {DIAGNOSTIC_CREDENTIAL}"),
                );
            }
            return;
        };
        if counters.lists_refused > 0 {
            findings.error(
                "edge_refuses_lists",
                format!(
                    "the edge has refused {} revocation lists",
                    counters.lists_refused
                ),
                "`npx wrangler tail` says why (list_refused); issuer and service_url must be the \
                 service's",
            );
        }
        if counters.outages > 0 {
            findings.warning(
                "edge_met_outages",
                format!(
                    "the service could not be reached by this edge {} times",
                    counters.outages
                ),
                "see that service_url leads to the service, and that EDGE_CREDENTIAL is in force",
            );
        }
        let (Some(list), Some(seen)) = (&health.list, self.seen) else {
            return;
        };
        if list.age_ms <= LIST_AGE_COMPARED_MS && list.epoch != seen.epoch {
            findings.error(
                "edge_follows_another_table",
                format!(
                    "the edge at {} follows another table than the one here",
                    self.url
                ),
                "compare service_url at the edge with where this table is served",
            );
        }
    }

    async fn service(&self, findings: &mut Findings) -> Result<(), String> {
        let health = self.get("/healthz", None).await?;
        if health.status != StatusCode::OK || health.body.trim_ascii() != b"ok" {
            findings.error(
                "deployment_unknown",
                format!(
                    "{} answers, but neither as an edge nor as a session service",
                    self.url
                ),
                "name the edge's or the service's address, without a path",
            );
            return Ok(());
        }
        let ready = self.get("/readyz", None).await?;
        if ready.status != StatusCode::OK {
            findings.error(
                "service_not_ready",
                format!(
                    "the service at {} is not ready ({})",
                    self.url,
                    ready.status.as_u16()
                ),
                "it is stopping, or cannot write its table: its log says why",
            );
        }
        let keys = self.get("/.well-known/jwks.json", None).await?;
        let Ok(KeySet { keys }) = serde_json::from_slice(&keys.body) else {
            findings.error(
                "service_without_keys",
                format!("{}/.well-known/jwks.json is no key set", self.url),
                "see what answers there: a proxy must leave paths as they are",
            );
            return Ok(());
        };
        if let Some(seen) = self.seen {
            self.compare_keys(keys, seen, findings);
        }
        Ok(())
    }

    fn compare_keys(&self, theirs: Vec<Key>, seen: &TableSeen, findings: &mut Findings) {
        let mut theirs: Vec<String> = theirs.into_iter().map(|key| key.kid).collect();
        let mut ours = seen.session_kids.clone();
        theirs.sort_unstable();
        ours.sort_unstable();
        if theirs != ours {
            findings.error(
                "service_has_other_keys",
                format!(
                    "the service at {} has other session keys than the table here",
                    self.url
                ),
                "compare its database_url with the one here",
            );
        }
    }

    async fn get(&self, path: &str, diagnostic: Option<&str>) -> Result<Answer, String> {
        let below = self.client.uri().path().trim_end_matches('/');
        let mut request = Request::get(format!("{below}{path}"))
            .header(header::HOST, self.client.authority())
            .header(header::USER_AGENT, "hallpass");
        if let Some(credential) = diagnostic {
            request = request.header("hallpass-diagnostics", credential);
        }
        // What cannot be a header is not repeated.
        let request = request
            .body(Body::empty())
            .map_err(|_| format!("{DIAGNOSTIC_CREDENTIAL} cannot be sent in a header"))?;
        let answer = self.client.send(request, ANSWER_MAX_BYTES);
        tokio::time::timeout(TIMEOUT, answer)
            .await
            .map_err(|_| format!("no answer within {} s", TIMEOUT.as_secs()))?
    }
}

fn parse(url: &str) -> Result<Uri, CommandError> {
    let uri: Option<Uri> = url.parse().ok();
    let is_good = |uri: &Uri| {
        matches!(uri.scheme_str(), Some("https" | "http"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.query().is_none()
            && !url.contains('@')
    };
    uri.filter(is_good).ok_or_else(|| {
        let text = "URL: must be https:// or http:// and a host, such as https://app.example";
        CommandError::Usage(text.to_owned())
    })
}

fn is_local(uri: &Uri) -> bool {
    matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

fn code(answer: &Answer) -> String {
    let problem = serde_json::from_slice::<Problem>(&answer.body);
    problem.map(|problem| problem.code).unwrap_or_default()
}

/// The second that `Date` names, as the milliseconds it spans.
fn date_ms(headers: &HeaderMap) -> Option<(u64, u64)> {
    let date = headers.get(header::DATE)?.to_str().ok()?;
    let second = jiff::fmt::rfc2822::parse(date)
        .ok()?
        .timestamp()
        .as_second();
    let first_ms = u64::try_from(second).ok()?.checked_mul(1000)?;
    Some((first_ms, first_ms + 999))
}
