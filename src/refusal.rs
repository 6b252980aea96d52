//! What a request that does not pass is answered: the only place with status codes of refusals.
//!
//! Programs get a problem document (RFC 9457) with a stable code, people a page. A page load whose
//! cause is who asks goes to the sign-in page and comes back from there. Outages are never 401,
//! never a redirect, and never touch a cookie. Nothing of an inner error reaches the client.
//!
//! Source: docs/protocol.md §8.

use crate::arrival::Arrival;
use crate::config::{Environment, Settings};
use crate::credentials::CookieChange;
use crate::gate::Stop;
use crate::platform::{self, Thrown};
use crate::portal::{Message, MessagePage, PORTAL_PATH, PortalSettings};
use crate::route;
use hallpass_session::path::CanonicalPath;
use hallpass_session::refusal::{Outage, Refusal};
use hallpass_session::wire::Problem;
use web_sys::{Headers, Response};

/// What `Retry-After` says in an outage, in seconds: the edge itself tries again after one.
const RETRY_AFTER_SECS: &str = "2";
/// A year with subdomains, as browsers' preload lists ask.
const HSTS: &str = "max-age=31536000; includeSubDomains";

/// Answers a request that was stopped.
pub(crate) fn answer(
    settings: &Settings,
    arrival: &Arrival,
    stop: Stop,
) -> Result<Response, Thrown> {
    let cookies = if matches!(stop, Stop::Ended(_)) {
        CookieChange::clear()
    } else {
        CookieChange::default()
    };
    if !arrival.is_page_load() {
        return problem(arrival, stop, &cookies);
    }
    match stop {
        Stop::Refused(refusal) | Stop::Ended(refusal) if refusal.is_about_identity() => {
            redirect(&sign_in_location(settings, arrival), &cookies)
        }
        _ => page(settings, arrival, stop.message(), stop.status(), &cookies),
    }
}

/// The settings are wrong: nothing passes, and only the log says why.
pub(crate) fn misconfigured(arrival: &Arrival) -> Result<Response, Thrown> {
    let none = CookieChange::default();
    if arrival.is_page_load() {
        let page = MessagePage {
            settings: &PortalSettings::default(),
            message: Message::Misconfigured,
            retry_path: "/",
            sign_in_path: "/",
            request_id: &arrival.id,
        };
        let headers = page_headers(503, &page.content_security_policy(), &none)?;
        return platform::text_response(503, &headers, Some(&page.render()));
    }
    let headers = own_headers("application/problem+json", &none)?;
    headers.set("retry-after", RETRY_AFTER_SECS)?;
    let title = "The edge's settings are wrong";
    let body = problem_body(503, "misconfigured", title, &arrival.id);
    platform::text_response(503, &headers, Some(&body))
}

/// A page of the edge's own.
pub(crate) fn page(
    settings: &Settings,
    arrival: &Arrival,
    message: Message,
    status: u16,
    cookies: &CookieChange,
) -> Result<Response, Thrown> {
    let page = MessagePage {
        settings: &settings.portal,
        message,
        retry_path: &retry_path(arrival),
        sign_in_path: &sign_in_location(settings, arrival),
        request_id: &arrival.id,
    };
    let headers = page_headers(status, &page.content_security_policy(), cookies)?;
    add_transport_security(settings, &headers)?;
    platform::text_response(status, &headers, Some(&page.render()))
}

/// An HTML document under the portal's policy.
pub(crate) fn html_response(
    settings: &Settings,
    status: u16,
    html: &str,
    cookies: &CookieChange,
) -> Result<Response, Thrown> {
    let policy = settings.portal.content_security_policy();
    let headers = page_headers(status, &policy, cookies)?;
    add_transport_security(settings, &headers)?;
    platform::text_response(status, &headers, Some(html))
}

fn page_headers(status: u16, policy: &str, cookies: &CookieChange) -> Result<Headers, Thrown> {
    let headers = own_headers("text/html; charset=utf-8", cookies)?;
    headers.set("content-security-policy", policy)?;
    headers.set("cross-origin-opener-policy", "same-origin")?;
    headers.set("referrer-policy", "same-origin")?;
    headers.set("x-frame-options", "DENY")?;
    if status == 503 {
        headers.set("retry-after", RETRY_AFTER_SECS)?;
    }
    Ok(headers)
}

fn add_transport_security(settings: &Settings, headers: &Headers) -> Result<(), Thrown> {
    if settings.environment == Environment::Production {
        headers.set("strict-transport-security", HSTS)?;
    }
    Ok(())
}

/// 303 to a path of this origin.
pub(crate) fn redirect(location: &str, cookies: &CookieChange) -> Result<Response, Thrown> {
    let headers = own_headers("text/plain", cookies)?;
    headers.set("location", location)?;
    platform::text_response(303, &headers, None)
}

/// JSON of the edge's own.
pub(crate) fn json(body: &str, cookies: &CookieChange) -> Result<Response, Thrown> {
    platform::text_response(200, &own_headers("application/json", cookies)?, Some(body))
}

/// Nothing to say, and cookies perhaps.
pub(crate) fn no_content(cookies: &CookieChange) -> Result<Response, Thrown> {
    platform::text_response(204, &own_headers("text/plain", cookies)?, None)
}

/// A problem document.
pub(crate) fn problem(
    arrival: &Arrival,
    stop: Stop,
    cookies: &CookieChange,
) -> Result<Response, Thrown> {
    let status = stop.status();
    let headers = own_headers("application/problem+json", cookies)?;
    if status == 401 {
        headers.set("www-authenticate", "Bearer")?;
    }
    if status == 503 {
        headers.set("retry-after", RETRY_AFTER_SECS)?;
    }
    let body = problem_body(status, stop.code(), stop.title(), &arrival.id);
    platform::text_response(status, &headers, Some(&body))
}

/// Sign-in, and where to go from there: back here, or to the portal if here is a form's target.
pub(crate) fn sign_in_location(settings: &Settings, arrival: &Arrival) -> String {
    let return_to = match CanonicalPath::parse(&arrival.raw_path) {
        Ok(path) if route::is_own(&path) => PORTAL_PATH.to_owned(),
        Ok(path) => path.return_to(arrival.query.as_deref()),
        Err(_) => "/".to_owned(),
    };
    format!("{}?return_to={return_to}", settings.sign_in_path)
}

fn retry_path(arrival: &Arrival) -> String {
    arrival.query.as_ref().map_or_else(
        || arrival.raw_path.clone(),
        |query| format!("{}?{query}", arrival.raw_path),
    )
}

fn own_headers(content_type: &str, cookies: &CookieChange) -> Result<Headers, Thrown> {
    let headers = Headers::new()?;
    let cache = if cookies.is_empty() {
        "no-store"
    } else {
        "private, no-store"
    };
    headers.set("cache-control", cache)?;
    headers.set("content-type", content_type)?;
    headers.set("x-content-type-options", "nosniff")?;
    for line in cookies.lines() {
        headers.append("set-cookie", line)?;
    }
    Ok(headers)
}

fn problem_body(status: u16, code: &str, title: &str, request_id: &str) -> String {
    let problem = Problem {
        kind: "about:blank".to_owned(),
        title: title.to_owned(),
        status,
        code: code.to_owned(),
        request_id: request_id.to_owned(),
        detail: None,
    };
    serde_json::to_string(&problem).unwrap_or_default()
}

impl Stop {
    /// The stable public code.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Refused(refusal) | Self::Ended(refusal) => refusal.code(),
            Self::Outage(Outage::Service) => "service_unavailable",
            Self::Outage(Outage::Upstream) => "upstream_unavailable",
            Self::HandoffRefused => "handoff_refused",
            Self::NotFound => "not_found",
        }
    }

    /// The HTTP status.
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::Refused(refusal) | Self::Ended(refusal) => refusal_status(refusal),
            Self::Outage(Outage::Service) => 503,
            Self::Outage(Outage::Upstream) | Self::HandoffRefused => 502,
            Self::NotFound => 404,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Refused(refusal) | Self::Ended(refusal) => refusal_title(refusal),
            Self::Outage(Outage::Service) => "The session service cannot be reached",
            Self::Outage(Outage::Upstream) => "The app cannot be reached",
            Self::HandoffRefused => "The app's hand-off of a session was refused",
            Self::NotFound => "There is nothing here",
        }
    }

    const fn message(self) -> Message {
        match self {
            Self::Refused(refusal) | Self::Ended(refusal) => Message::Refused(refusal),
            Self::Outage(Outage::Service) => Message::ServiceUnavailable,
            Self::Outage(Outage::Upstream) => Message::UpstreamUnavailable,
            Self::HandoffRefused => Message::HandoffRefused,
            Self::NotFound => Message::NotFound,
        }
    }
}

const fn refusal_status(refusal: Refusal) -> u16 {
    match refusal {
        Refusal::CredentialsConflict
        | Refusal::ReauthenticationRequired
        | Refusal::RenewalMalformed
        | Refusal::RenewalReused
        | Refusal::RenewalUnknown
        | Refusal::SessionExpired
        | Refusal::SessionMissing
        | Refusal::SessionRevoked
        | Refusal::TokenExpired
        | Refusal::TokenInvalid
        | Refusal::TokenMalformed
        | Refusal::TokenUntrusted => 401,
        Refusal::OriginForbidden | Refusal::RequirementUnmet => 403,
        Refusal::PathAmbiguous | Refusal::RequestMalformed => 400,
        Refusal::MethodRefused => 405,
        Refusal::HostUnknown => 421,
    }
}

const fn refusal_title(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::CredentialsConflict => "Two different credentials were sent",
        Refusal::HostUnknown => "This host is not served here",
        Refusal::MethodRefused => "This method is not served here",
        Refusal::OriginForbidden => "The request comes from another site",
        Refusal::PathAmbiguous => "The path can be read in two ways",
        Refusal::ReauthenticationRequired => "Sign in again to go on",
        Refusal::RenewalMalformed => "The renewal token is malformed",
        Refusal::RenewalReused => "The session's cookies were used in two places",
        Refusal::RenewalUnknown => "The session is not known",
        Refusal::RequestMalformed => "The request is malformed",
        Refusal::RequirementUnmet => "The session lacks what this route requires",
        Refusal::SessionExpired => "The session is past its end",
        Refusal::SessionMissing => "A session is needed",
        Refusal::SessionRevoked => "The session was ended",
        Refusal::TokenExpired => "The session token is past its end",
        Refusal::TokenInvalid => "The session token is not for this app now",
        Refusal::TokenMalformed => "The session token is malformed",
        Refusal::TokenUntrusted => "The session token is not trusted",
    }
}
