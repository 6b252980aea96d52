//! `/public/…`: what anybody may see, with a session or without.
//!
//! The edge treats these paths as `public`: no identity reaches the app, even from who is signed
//! in. The style sheet and the script live here, so that the sign-in page has them too.

use axum::extract::Extension;
use axum::http::{HeaderName, HeaderValue, header};
use maud::Markup;

use crate::assertion::VerifiedAssertion;
use crate::page;

type Asset = ([(HeaderName, HeaderValue); 2], &'static str);

/// Some page: every path has one, to try routes with.
pub(crate) async fn show(Extension(assertion): Extension<VerifiedAssertion>) -> Markup {
    page::public(&assertion)
}

/// Where signing out leads.
pub(crate) async fn show_signed_out() -> Markup {
    page::signed_out()
}

/// The style sheet of every page.
pub(crate) async fn style() -> Asset {
    asset(
        "text/css; charset=utf-8",
        include_str!("../assets/demo.css"),
    )
}

/// The script of the page's live parts.
pub(crate) async fn script() -> Asset {
    asset(
        "text/javascript; charset=utf-8",
        include_str!("../assets/live.js"),
    )
}

/// The icon.
pub(crate) async fn icon() -> Asset {
    asset("image/svg+xml", include_str!("../assets/icon.svg"))
}

fn asset(content_type: &'static str, text: &'static str) -> Asset {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=60"),
        ),
    ];
    (headers, text)
}
