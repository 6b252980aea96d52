//! The pages a person sees: their devices, and what went wrong in words.
//!
//! Pure rendering: data in, HTML out; no I/O, no clock, no `worker`. Every page works without
//! script and under a policy that allows no inline script or style, so colours come as a style sheet
//! of their own ([`PortalSettings::brand_css`]). Escaping is by construction: text reaches a page
//! only through maud, addresses only as `settings::Href` or through [`words::local_path`].
//!
//! Which page answers which request, with which status and cookies, is the gate's decision; the
//! static files are in `www/`.
//!
//! Source: docs/protocol.md §7, §8.

mod devices;
mod frame;
mod message;
mod notice;
mod settings;
mod words;

pub(crate) use devices::PortalPage;
pub(crate) use frame::{ASSETS, ASSETS_PATH, BRAND_CSS, PORTAL_PATH};
pub(crate) use message::{Message, MessagePage};
pub(crate) use notice::Notice;
pub(crate) use settings::PortalSettings;
