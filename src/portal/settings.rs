//! `[vars.HALLPASS.portal]`: how the portal looks and where it points.
//!
//! Parsed, not validated: a [`PortalSettings`] that exists holds only addresses that are `https:` or
//! on this site, and a colour that is six hex digits, so pages and policy use them as they are.
//!
//! Source: docs/protocol.md §9.

use hallpass_session::time::{Seconds, UnixSeconds};
use serde::Deserialize;

/// Longest address taken, in bytes: what every browser and proxy still passes on.
const MAX_HREF_BYTES: usize = 2048;
/// Most links in the header: more would not fit on one line of a wide screen.
const MAX_LINKS: usize = 8;
/// Longest site name or link label, in characters: half a line of a phone's screen, twice over.
const MAX_LABEL_CHARS: usize = 60;

/// How the portal looks and where it points.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct PortalSettings {
    /// Name of the site; empty: the pages do without.
    pub(crate) name: String,
    /// Shown left of the name.
    pub(crate) logo_url: Option<Href>,
    /// Background of the buttons that matter.
    pub(crate) brand_color: Option<Color>,
    /// Links in the header.
    pub(crate) links: Vec<Link>,
    /// What to do after somebody else used one's cookies.
    pub(crate) replay_help_url: Option<Href>,
    /// Ending all others needs a sign-in at most this old.
    pub(crate) end_others_max_auth_age: Option<Seconds>,
}

/// A link in the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// What it says.
    pub(crate) label: String,
    /// Where it goes.
    pub(crate) url: Href,
}

/// An address that is safe in `href`, `src` and the policy: `https://…`, or a path of this site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Href(String);

/// An opaque sRGB colour, as red, green, blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Color([u8; 3]);

/// The table as it is written, before it is understood.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    name: String,
    logo_url: String,
    brand_color: String,
    links: Vec<WrittenLink>,
    replay_help_url: String,
    end_others_max_auth_age_secs: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLink {
    label: String,
    url: String,
}

impl PortalSettings {
    /// Whether ending all other sessions first needs a new sign-in, for a user who last proved who
    /// they are at `auth_time`.
    pub(crate) fn needs_sign_in_to_end_others(
        &self,
        auth_time: UnixSeconds,
        now: UnixSeconds,
    ) -> bool {
        self.end_others_max_auth_age
            .is_some_and(|most| now.since(auth_time) > most)
    }

    /// The policy that every page of the portal is sent with.
    pub(crate) fn content_security_policy(&self) -> String {
        let logo = self
            .logo_url
            .as_ref()
            .and_then(Href::origin)
            .unwrap_or_default();
        let gap = if logo.is_empty() { "" } else { " " };
        format!(
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'{gap}{logo}; \
             connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
             require-trusted-types-for 'script'; trusted-types 'none'"
        )
    }

    /// The style sheet that carries `brand_color`; empty without one.
    pub(crate) fn brand_css(&self) -> String {
        self.brand_color.map_or_else(String::new, |color| {
            format!(
                ":root {{ --brand: {}; --on-brand: {}; }}\n",
                color.css(),
                color.text_on_it()
            )
        })
    }
}

impl TryFrom<Written> for PortalSettings {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let name = written.name.trim().to_owned();
        if name.chars().count() > MAX_LABEL_CHARS {
            return Err(format!("portal.name: at most {MAX_LABEL_CHARS} characters"));
        }
        if written.links.len() > MAX_LINKS {
            return Err(format!("portal.links: at most {MAX_LINKS}"));
        }
        Ok(Self {
            name,
            logo_url: Href::parse_setting("portal.logo_url", &written.logo_url)?,
            brand_color: Color::parse_setting("portal.brand_color", &written.brand_color)?,
            links: written
                .links
                .into_iter()
                .map(Link::try_from)
                .collect::<Result<_, _>>()?,
            replay_help_url: Href::parse_setting(
                "portal.replay_help_url",
                &written.replay_help_url,
            )?,
            end_others_max_auth_age: written.end_others_max_auth_age_secs.map(Seconds::new),
        })
    }
}

impl TryFrom<WrittenLink> for Link {
    type Error = String;

    fn try_from(written: WrittenLink) -> Result<Self, String> {
        let label = written.label.trim().to_owned();
        if label.is_empty() || label.chars().count() > MAX_LABEL_CHARS {
            return Err(format!(
                "portal.links.label: 1 to {MAX_LABEL_CHARS} characters"
            ));
        }
        let url = Href::parse_setting("portal.links.url", &written.url)?
            .ok_or_else(|| "portal.links.url: must not be empty".to_owned())?;
        Ok(Self { label, url })
    }
}

impl Href {
    /// The address, as written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// `https://host` or `https://host:port`; `None` for a path of this site.
    fn origin(&self) -> Option<&str> {
        let rest = self.0.strip_prefix("https://")?;
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        self.0.get(.."https://".len().saturating_add(host.len()))
    }

    /// Reads the setting `key`; empty is none.
    fn parse_setting(key: &str, written: &str) -> Result<Option<Self>, String> {
        let written = written.trim();
        if written.is_empty() {
            return Ok(None);
        }
        let is_plain = written.len() <= MAX_HREF_BYTES && written.bytes().all(is_href_byte);
        let href = Self(written.to_owned());
        let is_here = written.starts_with('/') && !written.starts_with("//");
        let is_https = href.origin().is_some_and(is_host_origin);
        if is_plain && (is_here || is_https) {
            return Ok(Some(href));
        }
        Err(format!(
            "{key}: must be an https:// address or a path that begins with one /"
        ))
    }
}

/// Bytes an address may have: printable ASCII, less what ends an attribute, a policy's directive or
/// a policy in a list of them, and the backslash, which browsers read as a slash.
fn is_href_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"'<>\\^`{|};,".contains(&byte)
}

/// Whether `origin` is `https://` and a host by name, with or without a port: no user, no wildcard.
fn is_host_origin(origin: &str) -> bool {
    let host_and_port = origin.trim_start_matches("https://");
    let (host, port) = host_and_port
        .split_once(':')
        .unwrap_or((host_and_port, "443"));
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
    !host.is_empty() && host.bytes().all(is_name) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

impl Color {
    fn parse_setting(key: &str, written: &str) -> Result<Option<Self>, String> {
        let written = written.trim();
        if written.is_empty() {
            return Ok(None);
        }
        let color = written.strip_prefix('#').and_then(Self::parse_hex);
        color
            .map(Some)
            .ok_or_else(|| format!("{key}: must be # and six hex digits, like #1f6feb"))
    }

    fn parse_hex(digits: &str) -> Option<Self> {
        if digits.len() != 6 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let [_, red, green, blue] = u32::from_str_radix(digits, 16).ok()?.to_be_bytes();
        Some(Self([red, green, blue]))
    }

    fn css(self) -> String {
        let [red, green, blue] = self.0;
        format!("#{red:02x}{green:02x}{blue:02x}")
    }

    /// Black or white, whichever stands out more: at least 4.5 to 1 (WCAG 2.2, 1.4.3) on any colour.
    fn text_on_it(self) -> &'static str {
        // Contrast with black and white is equal where (L + 0.05)² = 0.05 × 1.05.
        if self.luminance() > 0.179 {
            "#000000"
        } else {
            "#ffffff"
        }
    }

    /// Relative luminance, 0 to 1. The cubic stays within 0.002 of sRGB's own curve and spares the
    /// Worker a `powf`.
    fn luminance(self) -> f32 {
        let [red, green, blue] = self.0.map(|channel| {
            let c = f32::from(channel) / 255.0;
            c * (c * (c * 0.305_306 + 0.682_171) + 0.012_523)
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
}

#[cfg(test)]
mod tests {
    use super::{Color, PortalSettings};
    use hallpass_session::time::UnixSeconds;
    use serde_json::json;

    fn parse(value: serde_json::Value) -> Result<PortalSettings, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn parse_takes_a_full_table() {
        let settings = parse(json!({
            "name": " Ferry Lines ", "logo_url": "https://cdn.example:8443/logo.svg",
            "brand_color": "#0A7E5f", "links": [{"label": "Help", "url": "/help"}],
            "replay_help_url": "https://help.example/stolen?x=1#top",
            "end_others_max_auth_age_secs": 600
        }))
        .expect("a full table");
        assert_eq!(settings.name, "Ferry Lines");
        assert_eq!(
            settings.brand_css(),
            ":root { --brand: #0a7e5f; --on-brand: #ffffff; }\n"
        );
        let policy = settings.content_security_policy();
        assert!(
            policy.contains("img-src 'self' https://cdn.example:8443;"),
            "{policy}"
        );
    }

    #[test]
    fn parse_of_an_empty_table_is_the_default() {
        assert_eq!(parse(json!({})), Ok(PortalSettings::default()));
        assert_eq!(PortalSettings::default().brand_css(), "");
        assert!(
            PortalSettings::default()
                .content_security_policy()
                .contains("img-src 'self';")
        );
    }

    #[test]
    fn parse_names_the_key_it_refuses() {
        for (key, value) in [
            ("portal.brand_color", json!({"brand_color": "red"})),
            ("portal.brand_color", json!({"brand_color": "#12345"})),
            ("portal.brand_color", json!({"brand_color": "#+12345"})),
            ("portal.brand_color", json!({"brand_color": "#123456;}"})),
            ("portal.name", json!({"name": "x".repeat(61)})),
            (
                "portal.links.label",
                json!({"links": [{"label": " ", "url": "/"}]}),
            ),
            (
                "portal.links.url",
                json!({"links": [{"label": "x", "url": ""}]}),
            ),
            ("colour", json!({"colour": "#123456"})),
        ] {
            let error = parse(value).expect_err(key);
            assert!(error.contains(key), "{key}: {error}");
        }
    }

    #[test]
    fn parse_refuses_addresses_that_run_or_leave() {
        for url in [
            "javascript:alert(1)",
            "data:text/html,x",
            "http://plain.example/",
            "//else.example/",
            "/\\else.example",
            "https://",
            "https://user@host/",
            "https://*/",
            "https://a b/",
            "https://a;script-src *",
            "https://a,b/",
            "https://a:0/",
            "https://a:99999/",
            "help",
            "https://\u{e9}.example/",
            "/a\"onload=",
            "/a\nb",
            "HTTPS://A/",
        ] {
            let error = parse(json!({ "logo_url": url })).expect_err(url);
            assert!(error.contains("portal.logo_url"), "{url}: {error}");
        }
    }

    #[test]
    fn text_on_any_colour_has_contrast_of_four_and_a_half() {
        let exact = |channel: u8| {
            let c = f64::from(channel) / 255.0;
            if c <= 0.04045 {
                c / 12.92
            } else {
                ((c + 0.055) / 1.055).powf(2.4)
            }
        };
        let steps = (0..=u8::MAX).step_by(5);
        for red in steps.clone() {
            for green in steps.clone() {
                for blue in steps.clone() {
                    let l = 0.2126 * exact(red) + 0.7152 * exact(green) + 0.0722 * exact(blue);
                    let contrast = match Color([red, green, blue]).text_on_it() {
                        "#ffffff" => 1.05 / (l + 0.05),
                        _ => (l + 0.05) / 0.05,
                    };
                    assert!(contrast >= 4.5, "{red} {green} {blue}: {contrast}");
                }
            }
        }
    }

    #[test]
    fn end_others_needs_a_new_sign_in_past_its_age() {
        let settings = parse(json!({"end_others_max_auth_age_secs": 600})).expect("a table");
        let signed_in = UnixSeconds::new(1_000);
        for (now, needed) in [(1_599, false), (1_600, false), (1_601, true)] {
            let asked = settings.needs_sign_in_to_end_others(signed_in, UnixSeconds::new(now));
            assert_eq!(asked, needed, "{now}");
        }
        let open = PortalSettings::default();
        assert!(!open.needs_sign_in_to_end_others(signed_in, UnixSeconds::new(u64::MAX)));
    }
}
