//! The app: what it is told, and what becomes of its answer.
//!
//! On the way in, whatever a client could use to speak in our name or about itself is dropped in
//! every spelling, and who this is is added last. The body is handed on as a stream. On the way out
//! the answer streams back; it is given new headers only where a cookie is set, an identity was
//! carried, or a header of ours must go.
//!
//! Source: docs/protocol.md §6.

use crate::arrival::{self, Arrival};
use crate::assertion;
use crate::config::Environment;
use crate::credentials::{self, CookieChange};
use crate::freshness::Footing;
use crate::gate::Stop;
use crate::isolate::Edge;
use crate::platform::{self, Thrown};
use hallpass_session::admission::LiveSession;
use hallpass_session::base64url;
use hallpass_session::cookie;
use hallpass_session::path::{self, CanonicalPath};
use hallpass_session::refusal::Outage;
use web_sys::{Headers, Request, RequestCache, RequestInit, RequestRedirect, Response};

/// Every header that begins with this is ours, in the form of [`normal`].
const OUR_PREFIX: &str = "hallpass-";
/// Names, in the same form, with which proxies speak about clients.
const PROXY_HEADERS: [&str; 16] = [
    "forwarded",
    "forwarded-for",
    "x-forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "fastly-client-ip",
    "x-host",
    "x-original-host",
    "x-original-url",
    "x-rewrite-url",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "connection",
];
const PROXY_PREFIX: &str = "x-forwarded-";

/// With these an app speaks to shared caches past `Cache-Control` (RFC 9213, and each vendor's own).
const TARGETED_CACHE_HEADERS: [&str; 5] = [
    "cdn-cache-control",
    "cloudflare-cdn-cache-control",
    "edge-control",
    "surrogate-control",
    "x-accel-expires",
];

/// As whom a request is forwarded.
#[derive(Clone, Copy)]
pub(crate) enum Identity<'a> {
    /// On a public route: nobody looked.
    Unread,
    /// Nobody.
    Anonymous,
    /// This session.
    Session(&'a LiveSession, Footing),
}

impl<'a> Identity<'a> {
    pub(crate) const fn session(self) -> Option<&'a LiveSession> {
        match self {
            Self::Session(session, _) => Some(session),
            Self::Unread | Self::Anonymous => None,
        }
    }
}

/// Forwards the request under its canonical path and returns the app's answer as it came.
pub(crate) async fn forward(
    edge: &Edge,
    arrival: &Arrival,
    path: &CanonicalPath,
    identity: Identity<'_>,
) -> Result<Response, Stop> {
    let request = rebuild(edge, arrival, path, identity).map_err(|_| Outage::Upstream)?;
    Ok(platform::fetch(&request)
        .await
        .map_err(|_| Outage::Upstream)?)
}

/// Gives the app's answer the headers it must have on its way to the client.
pub(crate) fn finish(
    response: Response,
    identity: Identity<'_>,
    cookies: &CookieChange,
) -> Result<Response, Stop> {
    let original = response.headers();
    let entries = platform::header_entries(&original);
    let foreign = |name: &str, value: &str| {
        is_ours(name) || (name.eq_ignore_ascii_case("set-cookie") && cookie::sets_ours(value))
    };
    let carries_identity = !matches!(identity, Identity::Unread);
    let clean = !entries.iter().any(|(name, value)| foreign(name, value));
    if clean && cookies.is_empty() && !carries_identity {
        return Ok(response);
    }
    let headers = answer_headers(&original, cookies, carries_identity);
    let headers = headers.map_err(|_| Outage::Upstream)?;
    Ok(platform::with_headers(&response, &headers).map_err(|_| Outage::Upstream)?)
}

/// Whether a header's name is in our namespace.
pub(crate) fn is_ours(name: &str) -> bool {
    normal(name).starts_with(OUR_PREFIX)
}

fn rebuild(
    edge: &Edge,
    arrival: &Arrival,
    forwarded: &CanonicalPath,
    identity: Identity<'_>,
) -> Result<Request, Thrown> {
    let query = arrival.query.as_deref().map(path::canonical_query);
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let target = format!("{}{query}", forwarded.as_str());
    let init = RequestInit::new();
    init.set_method(&arrival.method);
    let headers = request_headers(edge, arrival, &target, identity)?;
    init.set_headers(&headers);
    init.set_redirect(RequestRedirect::Manual);
    if !matches!(identity, Identity::Unread) {
        init.set_cache(RequestCache::NoStore);
    }
    if !matches!(arrival.method.as_str(), "GET" | "HEAD") {
        init.set_body_opt_readable_stream(arrival.request.body().as_ref());
    }
    let own = arrival.zone_origin();
    let base = edge.settings.upstream_url.as_ref().unwrap_or(&own);
    platform::request(&format!("{base}{target}"), &init)
}

fn request_headers(
    edge: &Edge,
    arrival: &Arrival,
    target: &str,
    identity: Identity<'_>,
) -> Result<Headers, Thrown> {
    let headers = Headers::new_with_headers(&arrival.headers)?;
    drop_spoofable(edge, &headers)?;
    if !arrival.is_upgrade() {
        headers.delete("upgrade")?;
    }
    drop_credentials(arrival, &headers)?;
    add_proxy_headers(edge, arrival, &headers)?;
    headers.set("hallpass-request", &arrival.id)?;
    if let Some(session) = identity.session() {
        add_session(&headers, session)?;
    }
    if matches!(identity, Identity::Session(_, Footing::Degraded)) {
        headers.set("hallpass-degraded", "1")?;
    }
    if let Some(assertion) = sign(edge, arrival, target, identity)? {
        headers.set("hallpass-assertion", &assertion)?;
    }
    Ok(headers)
}

fn drop_spoofable(edge: &Edge, headers: &Headers) -> Result<(), Thrown> {
    for (name, _) in platform::header_entries(headers) {
        let normal = normal(&name);
        let listed = edge.settings.strip_headers.contains(&normal);
        if listed
            || normal.starts_with(OUR_PREFIX)
            || normal.starts_with(PROXY_PREFIX)
            || PROXY_HEADERS.contains(&normal.as_str())
        {
            headers.delete(&name)?;
        }
    }
    Ok(())
}

fn drop_credentials(arrival: &Arrival, headers: &Headers) -> Result<(), Thrown> {
    if let Some(cookies) = &arrival.cookie {
        match cookie::without_ours(cookies) {
            Some(others) => headers.set("cookie", &others)?,
            None => headers.delete("cookie")?,
        }
    }
    if credentials::is_bearer(arrival) {
        headers.delete("authorization")?;
    }
    Ok(())
}

fn add_proxy_headers(edge: &Edge, arrival: &Arrival, headers: &Headers) -> Result<(), Thrown> {
    let (scheme, authority) = arrival.origin.split_once("://").unwrap_or_default();
    headers.set("x-forwarded-proto", scheme)?;
    headers.set("x-forwarded-host", authority)?;
    if let Some(address) = client_address(edge, arrival) {
        headers.set("x-forwarded-for", &address)?;
    }
    Ok(())
}

/// The client's address as the platform gives it; elsewhere the header is the client's own word.
pub(crate) fn client_address(edge: &Edge, arrival: &Arrival) -> Option<String> {
    let trusted = edge.settings.environment == Environment::Production;
    trusted
        .then(|| arrival.header("cf-connecting-ip"))
        .flatten()
}

fn add_session(headers: &Headers, session: &LiveSession) -> Result<(), Thrown> {
    let claims = session.claims();
    headers.set("hallpass-subject", &claims.sub)?;
    headers.set("hallpass-session", &claims.sid)?;
    headers.set("hallpass-auth-time", &claims.auth_time.get().to_string())?;
    if let Some(json) = claims
        .ext
        .as_ref()
        .and_then(|ext| serde_json::to_vec(ext).ok())
    {
        headers.set("hallpass-ext", &base64url::encode(&json))?;
    }
    Ok(())
}

fn sign(
    edge: &Edge,
    arrival: &Arrival,
    target: &str,
    identity: Identity<'_>,
) -> Result<Option<String>, Thrown> {
    let subject = assertion::Subject {
        issuer: &edge.settings.policy.issuer,
        audience: edge
            .settings
            .assertion_audience
            .as_deref()
            .unwrap_or(&arrival.origin),
        request_id: &arrival.id,
        method: &arrival.method,
        target,
        session: identity.session(),
    };
    assertion::sign(
        edge.settings.assertion,
        &edge.secrets.assertion_key,
        &subject,
        arrival::now(),
    )
}

/// Removes every header of our namespace.
fn drop_ours(headers: &Headers) -> Result<(), Thrown> {
    for (name, _) in platform::header_entries(headers) {
        if is_ours(&name) {
            headers.delete(&name)?;
        }
    }
    Ok(())
}

fn answer_headers(
    original: &Headers,
    cookies: &CookieChange,
    carries_identity: bool,
) -> Result<Headers, Thrown> {
    let headers = Headers::new_with_headers(original)?;
    drop_ours(&headers)?;
    let app_cookies = platform::set_cookies(original);
    headers.delete("set-cookie")?;
    let allowed = app_cookies.iter().filter(|line| !cookie::sets_ours(line));
    for line in allowed.chain(cookies.lines()) {
        headers.append("set-cookie", line)?;
    }
    if !cookies.is_empty() {
        forbid_storing(&headers)?;
    } else if carries_identity {
        drop_targeted(&headers)?;
        let own = platform::header(original, "cache-control").unwrap_or_default();
        headers.set("cache-control", &private_cache_control(&own))?;
        headers.append("vary", "Cookie, Authorization")?;
    }
    Ok(headers)
}

/// Makes an answer nobody's to store, whatever the app says.
pub(crate) fn forbid_storing(headers: &Headers) -> Result<(), Thrown> {
    drop_targeted(headers)?;
    Ok(headers.set("cache-control", "private, no-store")?)
}

fn drop_targeted(headers: &Headers) -> Result<(), Thrown> {
    for name in TARGETED_CACHE_HEADERS {
        headers.delete(name)?;
    }
    Ok(())
}

/// The app's directives without those that let others store the answer.
fn private_cache_control(own: &str) -> String {
    // A quoted list of names may hide commas; such an answer is simply not stored.
    if own.contains('"') {
        return "private, no-store".to_owned();
    }
    let shared = |directive: &str| {
        let name = directive.split('=').next().unwrap_or_default().trim();
        ["public", "s-maxage", "private"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    };
    let kept = own
        .split(',')
        .map(str::trim)
        .filter(|d| !d.is_empty() && !shared(d));
    kept.chain(["private"]).collect::<Vec<_>>().join(", ")
}

/// A header's name in the form in which apps may read it: in lower case, and all but letters and
/// digits alike, since gateways make variables of names (RFC 3875 §4.1.18).
pub(crate) fn normal(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    name.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::{is_ours, private_cache_control};

    #[test]
    fn is_ours_takes_every_spelling() {
        for name in [
            "Hallpass-Subject",
            "hallpass_subject",
            "HALLPASS-X",
            "Hallpass.Subject",
            "hallpass~subject",
            "hallpass-",
        ] {
            assert!(is_ours(name), "{name}");
        }
        assert!(!is_ours("x-hallpass-subject"));
        assert!(!is_ours("hallpass"));
    }

    #[test]
    fn private_cache_control_keeps_what_concerns_the_browser() {
        for (own, kept) in [
            ("", "private"),
            ("public, max-age=60", "max-age=60, private"),
            ("max-age=60,s-maxage=600", "max-age=60, private"),
            ("no-store", "no-store, private"),
            ("private", "private"),
            ("private=\"a, b\", public", "private, no-store"),
            ("PUBLIC , S-MaxAge = 5", "private"),
        ] {
            assert_eq!(private_cache_control(own), kept);
        }
    }
}
