//! One request as it arrived: what is read of it, read once.
//!
//! Each header costs a call into JavaScript, so what several steps need is kept here. Nothing is
//! judged yet; header values are the client's word.

use crate::platform::{self, Thrown};
use hallpass_session::base64url;
use hallpass_session::presented::Presented;
use hallpass_session::refusal::Refusal;
use hallpass_session::time::UnixSeconds;
use std::cell::OnceCell;
use std::rc::Rc;
use web_sys::{Headers, Request};

/// A request and what is known of it before anything is decided.
pub(crate) struct Arrival {
    pub(crate) request: Request,
    pub(crate) headers: Headers,
    pub(crate) method: String,
    /// Scheme, host and port: `https://app.example`.
    pub(crate) origin: String,
    /// Host without port, lower case.
    pub(crate) host: String,
    /// Path as the runtime gives it.
    pub(crate) raw_path: String,
    pub(crate) query: Option<String>,
    pub(crate) cookie: Option<String>,
    pub(crate) authorization: Option<String>,
    /// What these two present, once somebody has asked.
    pub(crate) presented: OnceCell<Result<Rc<Presented>, Refusal>>,
    /// 128 random bits: `Hallpass-Request`.
    pub(crate) id: String,
    pub(crate) began_ms: i64,
}

impl Arrival {
    pub(crate) fn read(request: Request) -> Result<Self, Thrown> {
        let headers = request.headers();
        let url = request.url();
        let (origin, target) = split_url(&url);
        let (raw_path, query) = split_target(target);
        Ok(Self {
            method: request.method(),
            host: host_of(origin),
            origin: origin.to_owned(),
            raw_path: raw_path.to_owned(),
            query: query.map(str::to_owned),
            cookie: platform::header(&headers, "cookie"),
            authorization: platform::header(&headers, "authorization"),
            presented: OnceCell::new(),
            id: base64url::encode(&platform::random::<16>()?),
            began_ms: platform::now_ms(),
            headers,
            request,
        })
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        platform::header(&self.headers, name)
    }

    /// The zone's own origin on the scheme's own port: which port the client names is not ours to
    /// follow.
    pub(crate) fn zone_origin(&self) -> String {
        let scheme = self
            .origin
            .split_once("://")
            .map_or("https", |(scheme, _)| scheme);
        format!("{scheme}://{}", self.host)
    }

    /// Whether the method may change something.
    pub(crate) fn is_unsafe(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS")
    }

    /// Whether it asks to become a WebSocket.
    pub(crate) fn is_upgrade(&self) -> bool {
        self.header("upgrade")
            .is_some_and(|to| to.trim().eq_ignore_ascii_case("websocket"))
    }

    /// Whether it is a CORS preflight.
    pub(crate) fn is_preflight(&self) -> bool {
        self.method == "OPTIONS" && self.header("access-control-request-method").is_some()
    }

    /// Whether a person waits for a page: then refusals are pages and redirects.
    pub(crate) fn is_page_load(&self) -> bool {
        let destination = self.header("sec-fetch-dest");
        let accepts_html = || {
            self.header("accept")
                .is_some_and(|a| a.contains("text/html"))
        };
        destination.as_deref() == Some("document") || (self.method == "GET" && accepts_html())
    }
}

/// The current second, on the clock that only moves with I/O.
pub(crate) fn now() -> UnixSeconds {
    UnixSeconds::from_ms(u64::try_from(platform::now_ms()).unwrap_or(0))
}

fn split_url(url: &str) -> (&str, &str) {
    let after_scheme = url.find("://").map_or(0, |at| at.saturating_add(3));
    let authority = url.get(after_scheme..).unwrap_or_default();
    let length = authority.find(['/', '?', '#']).unwrap_or(authority.len());
    url.split_at_checked(after_scheme.saturating_add(length))
        .unwrap_or((url, ""))
}

fn split_target(target: &str) -> (&str, Option<&str>) {
    let target = target.split('#').next().unwrap_or_default();
    target
        .split_once('?')
        .map_or((target, None), |(path, query)| (path, Some(query)))
}

fn host_of(origin: &str) -> String {
    let authority = origin
        .split_once("://")
        .map_or(origin, |(_, authority)| authority);
    let port = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let host = match authority.rsplit_once(':') {
        Some((host, digits)) if port(digits) => host,
        _ => authority,
    };
    host.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::{host_of, split_target, split_url};

    #[test]
    fn split_url_separates_origin_and_target() {
        for (url, origin, target) in [
            ("https://app.example/a?b#c", "https://app.example", "/a?b#c"),
            ("http://127.0.0.1:8787/", "http://127.0.0.1:8787", "/"),
            ("https://app.example?x", "https://app.example", "?x"),
            ("https://app.example", "https://app.example", ""),
        ] {
            assert_eq!(split_url(url), (origin, target));
        }
        assert_eq!(split_target("/a?b?c#d"), ("/a", Some("b?c")));
        assert_eq!(split_target("/a"), ("/a", None));
    }

    #[test]
    fn host_of_drops_port_and_case_and_nothing_else() {
        for (origin, host) in [
            ("https://App.Example:443", "app.example"),
            ("http://[::1]:8787", "[::1]"),
            ("http://[::1]", "[::1]"),
            ("https://app.example.", "app.example."),
            ("https://app@evil", "app@evil"),
        ] {
            assert_eq!(host_of(origin), host);
        }
    }
}
