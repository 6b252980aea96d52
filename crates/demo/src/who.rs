//! `GET /` and `GET /whoami`: who makes this request, and everything the edge says about it.
//!
//! Identity is taken from the verified assertion. The plain headers are shown because an app in
//! another language may read them: the check has made sure that they agree.

use std::collections::BTreeMap;

use axum::extract::Extension;
use axum::http::HeaderMap;
use axum::{Json, response::IntoResponse};
use maud::Markup;
use serde::Serialize;

use crate::assertion::VerifiedAssertion;
use crate::{clock, page};

/// Every `hallpass-*` header received, by lower-case name.
pub(crate) type ReceivedHeaders = BTreeMap<String, String>;

#[derive(Serialize)]
struct Whoami {
    subject: Option<String>,
    session: Option<String>,
    headers: ReceivedHeaders,
}

/// The page.
pub(crate) async fn show(
    Extension(assertion): Extension<VerifiedAssertion>,
    headers: HeaderMap,
) -> Markup {
    page::home(&assertion, &received(&headers), clock::now_secs())
}

/// The same for programs.
pub(crate) async fn tell(
    Extension(assertion): Extension<VerifiedAssertion>,
    headers: HeaderMap,
) -> impl IntoResponse {
    let caller = assertion.caller();
    Json(Whoami {
        subject: caller.map(|caller| caller.subject.clone()),
        session: caller.map(|caller| caller.session.clone()),
        headers: received(&headers),
    })
}

fn received(headers: &HeaderMap) -> ReceivedHeaders {
    let mut received = ReceivedHeaders::new();
    for (name, value) in headers {
        if name.as_str().starts_with("hallpass-") {
            let text = String::from_utf8_lossy(value.as_bytes());
            received
                .entry(name.as_str().to_owned())
                .and_modify(|joined| {
                    joined.push_str(", ");
                    joined.push_str(&text);
                })
                .or_insert_with(|| text.into_owned());
        }
    }
    received
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue};

    use super::received;

    #[test]
    fn received_takes_our_headers_only_and_joins_repeated_ones() {
        let mut headers = HeaderMap::new();
        headers.append("Hallpass-Request", HeaderValue::from_static("a"));
        headers.append("Hallpass-Request", HeaderValue::from_static("b"));
        headers.append(
            "hallpass-odd",
            HeaderValue::from_bytes(b"\xff").expect("a value"),
        );
        headers.append("cookie", HeaderValue::from_static("c"));
        let received: Vec<_> = received(&headers).into_iter().collect();
        assert_eq!(
            received,
            [
                ("hallpass-odd".to_owned(), "\u{fffd}".to_owned()),
                ("hallpass-request".to_owned(), "a, b".to_owned()),
            ]
        );
    }
}
