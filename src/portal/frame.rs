//! What every page has around its content: head, header, where its files are.

use hallpass_session::time::UnixSeconds;
use maud::{DOCTYPE, Markup, html};

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
                    link rel="icon" type="image/svg+xml" href=(asset("icon.svg"));
                    link rel="stylesheet" href=(asset("portal.css"));
                    @if self.settings.brand_color.is_some() {
                        link rel="stylesheet" href=(asset(BRAND_CSS));
                    }
                    @if self.script == Script::Loaded {
                        script type="module" src=(asset("portal.js")) {}
                    }
                }
                body { (self.header()) (self.main) }
            }
        }
        .into_string()
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
