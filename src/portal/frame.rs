//! What every page has around its content: head, header, where its files are.

use hallpass_session::base64url;
use hallpass_session::time::UnixSeconds;
use hmac_sha256::Hash;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::settings::PortalSettings;
use super::words;

/// Where the portal is.
pub(crate) const PORTAL_PATH: &str = "/.session/";
/// Where the portal's files are, by name.
pub(crate) const ASSETS_PATH: &str = "/.session/assets/";
/// The names that are files of `www/`; every other name but [`BRAND_CSS`] does not exist.
pub(crate) const ASSETS: [&str; 3] = ["portal.css", "portal.js", "icon.svg"];
/// The name answered with [`PortalSettings::brand_css`], as `text/css; charset=utf-8`.
pub(crate) const BRAND_CSS: &str = "brand.css";

/// One page: its content and what the browser shows around it.
pub(super) struct Frame<'a> {
    /// How the portal looks.
    pub(super) settings: &'a PortalSettings,
    /// What the tab says, before the site's name.
    pub(super) title: &'a str,
    /// Whether the page has something for `portal.js` to better.
    pub(super) script: Script,
    /// Where its looks come from.
    pub(super) style: Style,
    /// The page's one `main` element.
    pub(super) main: Markup,
}

/// Whether a page loads `portal.js`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    /// It does.
    Loaded,
    /// It has no use for it.
    Absent,
}

/// Where a page's looks come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// The portal's files.
    Linked,
    /// The page itself: it is shown where none of the edge's paths is served.
    Within,
}

/// The looks of a page that has to do without files, in `portal.css`'s colours.
const STYLE_WITHIN: &str = "body{margin:0;background:#f6f7f9;color:#16191d;\
    font:1rem/1.5 system-ui,-apple-system,\"Segoe UI\",Roboto,\"Noto Sans\",sans-serif}\
    main{max-inline-size:36rem;margin-inline:auto;padding:clamp(2rem,12vh,7rem) 1rem 3rem}\
    h1{margin:0;font-size:1.75rem;line-height:1.2}.lead,.fine{color:#545c68}.lead{margin:.5rem 0 0}\
    .fine{margin:2rem 0 0;font-size:.875rem}code{white-space:nowrap}\
    @media(prefers-color-scheme:dark){body{background:#101317;color:#e8ebef}.lead,.fine{color:#a4adba}}";

/// The policy of a page whose looks are within it: nothing else is loaded.
pub(super) fn policy_within() -> String {
    let hash = base64url::encode(&Hash::hash(STYLE_WITHIN.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}='; form-action 'none'; base-uri 'none'; \
         frame-ancestors 'none'"
    )
}

impl Frame<'_> {
    /// The whole document.
    pub(super) fn render(&self) -> String {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="robots" content="noindex";
                    meta name="referrer" content="same-origin";
                    title { (self.title) @if !self.site().is_empty() { " – " (self.site()) } }
                    @match self.style {
                        Style::Linked => { (self.links()) }
                        Style::Within => { style { (PreEscaped(STYLE_WITHIN)) } }
                    }
                }
                body {
                    @if self.style == Style::Linked { (self.header()) }
                    (self.main)
                }
            }
        }
        .into_string()
    }

    fn links(&self) -> Markup {
        html! {
            link rel="icon" type="image/svg+xml" href=(asset("icon.svg"));
            link rel="stylesheet" href=(asset("portal.css"));
            @if self.settings.brand_color.is_some() {
                link rel="stylesheet" href=(asset(BRAND_CSS));
            }
            @if self.script == Script::Loaded {
                script type="module" src=(asset("portal.js")) {}
            }
        }
    }

    fn site(&self) -> &str {
        &self.settings.name
    }

    fn header(&self) -> Markup {
        html! {
            header.site {
                a.home href="/" {
                    @if let Some(logo) = &self.settings.logo_url {
                        img src=(logo.as_str()) alt="" height="28";
                    }
                    @if self.site().is_empty() { "Back to the site" }
                    @else { bdi dir="auto" { (self.site()) } }
                }
                @if !self.settings.links.is_empty() {
                    nav aria-label="Site" {
                        ul {
                            @for link in &self.settings.links {
                                li { a href=(link.url.as_str()) dir="auto" { (link.label) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn asset(name: &str) -> String {
    format!("{ASSETS_PATH}{name}")
}

/// A moment as its distance from now, the exact one beside it; `portal.js` keeps it fresh.
pub(super) fn time_ago(at: UnixSeconds, now: UnixSeconds) -> Markup {
    html! {
        time.ago datetime=(words::machine(at)) title=(words::exact(at)) { (words::ago(at, now)) }
    }
}

/// A moment, exactly; `portal.js` puts it into the reader's own time zone.
pub(super) fn time_exact(at: UnixSeconds) -> Markup {
    html! { time.exact datetime=(words::machine(at)) { (words::exact(at)) } }
}

/// Text written by a stranger, kept from turning the direction of what stands around it.
pub(super) fn stranger(text: &str) -> Markup {
    html! { bdi dir="auto" { (text) } }
}
