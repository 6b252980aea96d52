//! The only place with refusals: what went wrong, as a page for people or a problem document for
//! programs (RFC 9457).
//!
//! Each has a stable code, which also goes to the log. The text says what to do next.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::assertion::AssertionRefusal;
use crate::page;

/// A request that is not answered as asked.
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: &'static str,
    retry_after_secs: Option<u64>,
}

/// The code of a refusal, left on the answer for the log.
#[derive(Clone, Copy)]
pub(crate) struct RefusalCode(pub(crate) &'static str);

/// In which form the client reads a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Representation {
    /// HTML.
    Page,
    /// `application/problem+json`.
    Problem,
}

impl Representation {
    /// HTML for whoever accepts it by name; `*/*` alone is a program's.
    pub(crate) fn wanted_by(headers: &HeaderMap) -> Self {
        let accepts_html = headers
            .get_all(header::ACCEPT)
            .iter()
            .any(|value| value.to_str().is_ok_and(|text| text.contains("text/html")));
        if accepts_html {
            Self::Page
        } else {
            Self::Problem
        }
    }
}

impl Refusal {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: &'static str,
    ) -> Self {
        Self {
            status,
            code,
            title,
            detail,
            retry_after_secs: None,
        }
    }

    pub(crate) fn retry_after(mut self, secs: u64) -> Self {
        self.retry_after_secs = Some(secs);
        self
    }

    pub(crate) fn into_response(self, representation: Representation) -> Response {
        let mut response = match representation {
            Representation::Page => {
                page::refused(self.title, self.detail, self.code).into_response()
            }
            Representation::Problem => self.to_problem(),
        };
        *response.status_mut() = self.status;
        response.extensions_mut().insert(RefusalCode(self.code));
        if let Some(secs) = self.retry_after_secs {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        response
    }

    fn to_problem(&self) -> Response {
        let document = Json(json!({
            "type": "about:blank",
            "title": self.title,
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        }));
        let problem = HeaderValue::from_static("application/problem+json");
        ([(header::CONTENT_TYPE, problem)], document).into_response()
    }
}

impl From<AssertionRefusal> for Refusal {
    fn from(refusal: AssertionRefusal) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            refusal.code(),
            "Not through the edge",
            match refusal {
                AssertionRefusal::Missing => {
                    "This request has no Hallpass-Assertion, so it went around the edge. Open the \
                     edge's address instead of this app's: http://127.0.0.1:8787 in development."
                }
                AssertionRefusal::Repeated => {
                    "A Hallpass header came twice. The edge sends each once."
                }
                AssertionRefusal::Malformed => {
                    "The Hallpass-Assertion is not of the form the edge gives it."
                }
                AssertionRefusal::Untrusted => {
                    "The Hallpass-Assertion was not signed with this app's key. ASSERTION_KEY must \
                     be the same at the edge and here."
                }
                AssertionRefusal::WrongIssuer => {
                    "The Hallpass-Assertion is by another issuer. HALLPASS_ISSUER must be the \
                     edge's setting issuer."
                }
                AssertionRefusal::WrongAudience => {
                    "The Hallpass-Assertion is for another audience. ASSERTION_AUDIENCE must name \
                     the origin in the browser's address bar, or the edge's assertion_audience."
                }
                AssertionRefusal::Expired => {
                    "The Hallpass-Assertion is too old. If every request says so, this machine's \
                     clock is ahead of the edge's."
                }
                AssertionRefusal::NotYetValid => {
                    "The Hallpass-Assertion is from the future: this machine's clock is behind the \
                     edge's."
                }
                AssertionRefusal::WrongRequest => {
                    "The Hallpass-Assertion was made for another method or path. Something between \
                     the edge and this app has changed the request."
                }
                AssertionRefusal::HeadersDisagree => {
                    "The Hallpass headers say something else than the assertion. Something between \
                     the edge and this app has changed them."
                }
            },
        )
    }
}

/// The answer on paths that are no route.
pub(crate) async fn not_found(headers: HeaderMap) -> Response {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "No such page",
        "There is nothing at this address.",
    )
    .into_response(Representation::wanted_by(&headers))
}

/// The answer on routes that do not know the method.
pub(crate) async fn method_not_allowed(headers: HeaderMap) -> Response {
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "Not that way",
        "This address exists, but not for this method.",
    )
    .into_response(Representation::wanted_by(&headers))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::Representation;

    #[test]
    fn representation_is_a_page_only_for_who_names_html() {
        for (accept, expected) in [
            (
                "text/html,application/xhtml+xml,*/*;q=0.8",
                Representation::Page,
            ),
            ("*/*", Representation::Problem),
            ("application/json", Representation::Problem),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("accept", accept.parse().expect("a value"));
            assert_eq!(Representation::wanted_by(&headers), expected, "{accept}");
        }
        assert_eq!(
            Representation::wanted_by(&HeaderMap::new()),
            Representation::Problem
        );
    }
}
