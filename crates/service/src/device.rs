//! What a session was created on, in words a user recognises.
//!
//! From the user agent by table ([`woothee`]), corrected by the client hints where browsers froze
//! the user agent. Every text from outside is cut to a bound and rid of control characters; only
//! words of our own tables enter the label.

use hallpass_session::wire::{Client, Device, Place};
use serde_json::{Map, Value};
use woothee::parser::{Parser, WootheeResult};

use crate::config::AddressPrecision;
use crate::record::Origin;

/// Longest user agent kept, in bytes; real ones have about 150.
const USER_AGENT_MAX_BYTES: usize = 512;
/// Longest place name kept, in bytes.
const PLACE_MAX_BYTES: usize = 128;
/// What woothee says when it knows nothing.
const UNKNOWN: &str = "UNKNOWN";

/// The user agent as kept.
#[must_use]
pub fn keep_user_agent(client: &Client) -> Option<String> {
    client
        .user_agent
        .as_deref()
        .and_then(|text| bounded(text, USER_AGENT_MAX_BYTES))
}

/// Describes the device a client runs on.
#[must_use]
pub fn describe(client: &Client) -> Device {
    let user_agent = keep_user_agent(client).unwrap_or_default();
    let parsed = Parser::new().parse(&user_agent);
    let browser = parsed.as_ref().and_then(|parsed| known(parsed.name));
    let os = hinted_os(&client.hints).or_else(|| parsed.as_ref().and_then(os_name));
    let kind = kind(parsed.as_ref(), &client.hints, &user_agent);
    let label = match (browser, os) {
        (Some(browser), Some(os)) => format!("{browser} on {os}"),
        (Some(name), None) | (None, Some(name)) => name.to_owned(),
        (None, None) => "Unknown device".to_owned(),
    };
    Device {
        label,
        kind: kind.to_owned(),
        browser: browser.map(str::to_owned),
        os: os.map(str::to_owned),
    }
}

/// Where a client is, as far as it may be kept.
#[must_use]
pub fn locate(client: &Client, precision: AddressPrecision) -> Origin {
    let place = |text: &Option<String>| {
        text.as_deref()
            .and_then(|text| bounded(text, PLACE_MAX_BYTES))
    };
    Origin {
        ip: client
            .ip
            .as_deref()
            .and_then(|ip| keep_address(ip, precision)),
        place: Place {
            country: place(&client.country),
            region: place(&client.region),
            city: place(&client.city),
        },
        asn: client.asn,
    }
}

/// Nothing but an address is kept as one.
fn keep_address(text: &str, precision: AddressPrecision) -> Option<String> {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    let address: IpAddr = text.trim().parse().ok()?;
    Some(match (precision, address.to_canonical()) {
        (AddressPrecision::Full, address) => address.to_string(),
        (AddressPrecision::Network, IpAddr::V4(address)) => {
            let [a, b, c, _] = address.octets();
            format!("{}/24", Ipv4Addr::new(a, b, c, 0))
        }
        (AddressPrecision::Network, IpAddr::V6(address)) => {
            let [a, b, c, ..] = address.segments();
            format!("{}/48", Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    })
}

fn os_name(parsed: &WootheeResult<'_>) -> Option<&'static str> {
    Some(match parsed.os {
        "Mac OSX" => "macOS",
        "iPhone" | "iPod" => "iOS",
        "iPad" => "iPadOS",
        "Android" => "Android",
        "ChromeOS" => "ChromeOS",
        "Linux" => "Linux",
        os if os.starts_with("Windows") => "Windows",
        os if os.contains("BSD") => "BSD",
        _ => return None,
    })
}

/// `Sec-CH-UA-Platform` is right where a frozen user agent is not.
fn hinted_os(hints: &Map<String, Value>) -> Option<&'static str> {
    Some(match hint(hints, "sec-ch-ua-platform")? {
        "Windows" => "Windows",
        "macOS" => "macOS",
        "Linux" => "Linux",
        "Android" => "Android",
        "iOS" => "iOS",
        "Chrome OS" | "Chromium OS" | "ChromeOS" => "ChromeOS",
        _ => return None,
    })
}

fn kind(
    parsed: Option<&WootheeResult<'_>>,
    hints: &Map<String, Value>,
    user_agent: &str,
) -> &'static str {
    let tablet = user_agent.contains("iPad")
        || user_agent.contains("Tablet")
        || (user_agent.contains("Android") && !user_agent.contains("Mobile"));
    match (
        hint(hints, "sec-ch-ua-mobile"),
        parsed.map(|parsed| parsed.category),
    ) {
        (_, Some("smartphone" | "pc")) if tablet => "tablet",
        (Some("?1"), _) | (_, Some("smartphone" | "mobilephone")) => "phone",
        (_, Some("pc")) | (Some("?0"), _) => "desktop",
        _ => "unknown",
    }
}

/// A hint's text without the quotes that structured headers put around it.
fn hint<'a>(hints: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    hints.get(name)?.as_str().map(|text| text.trim_matches('"'))
}

fn known(name: &str) -> Option<&str> {
    (name != UNKNOWN && !name.is_empty()).then_some(name)
}

/// At most `max_bytes` of `text` without control characters; `None` if nothing is left.
fn bounded(text: &str, max_bytes: usize) -> Option<String> {
    let mut kept = String::with_capacity(text.len().min(max_bytes));
    for character in text
        .trim()
        .chars()
        .filter(|character| !character.is_control())
    {
        if kept.len() + character.len_utf8() > max_bytes {
            break;
        }
        kept.push(character);
    }
    (!kept.is_empty()).then_some(kept)
}

#[cfg(test)]
mod tests {
    use super::{describe, keep_user_agent, locate};
    use crate::config::AddressPrecision;
    use hallpass_session::wire::Client;

    fn client(user_agent: &str) -> Client {
        Client {
            user_agent: Some(user_agent.to_owned()),
            ..Client::default()
        }
    }

    #[test]
    fn describe_names_common_devices() {
        let cases = [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Firefox on Linux",
                "desktop",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
                "Chrome on Windows",
                "desktop",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
                "Safari on iOS",
                "phone",
            ),
            (
                "Mozilla/5.0 (iPad; CPU OS 12_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/12.1 Mobile/15E148 Safari/604.1",
                "Safari on iPadOS",
                "tablet",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
                "Safari on macOS",
                "desktop",
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
                "Chrome on Android",
                "phone",
            ),
        ];
        for (user_agent, label, kind) in cases {
            let device = describe(&client(user_agent));
            assert_eq!((device.label.as_str(), device.kind.as_str()), (label, kind));
        }
    }

    #[test]
    fn describe_believes_hints_over_a_frozen_user_agent() {
        let mut client = client(
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
        );
        client
            .hints
            .insert("sec-ch-ua-platform".into(), "\"Chrome OS\"".into());

        assert_eq!(describe(&client).label, "Chrome on ChromeOS");
    }

    #[test]
    fn describe_says_nothing_of_hostile_text() {
        for text in [
            "",
            "<script>alert(1)</script>",
            "\u{202e}evil\r\nSet-Cookie: a=b",
            "'; DROP TABLE--",
        ] {
            let device = describe(&client(text));
            assert_eq!(
                (device.label.as_str(), device.kind.as_str()),
                ("Unknown device", "unknown")
            );
        }
    }

    #[test]
    fn keep_user_agent_is_bounded_and_without_control_characters() {
        let kept = keep_user_agent(&client(&"ü\n".repeat(1000))).unwrap();

        assert_eq!(kept.len(), 512);
        assert!(!kept.contains('\n'));
    }

    #[test]
    fn locate_keeps_addresses_only_and_as_precisely_as_asked() {
        let at = |ip: &str, precision| {
            let client = Client {
                ip: Some(ip.to_owned()),
                ..Client::default()
            };
            locate(&client, precision).ip
        };
        let network = AddressPrecision::Network;

        assert_eq!(at("<b>", AddressPrecision::Full), None);
        assert_eq!(
            at("203.0.113.7", AddressPrecision::Full).as_deref(),
            Some("203.0.113.7")
        );
        assert_eq!(
            at("203.0.113.7", network).as_deref(),
            Some("203.0.113.0/24")
        );
        assert_eq!(
            at("::ffff:203.0.113.7", network).as_deref(),
            Some("203.0.113.0/24")
        );
        assert_eq!(
            at("2001:db8:1:2::3", network).as_deref(),
            Some("2001:db8:1::/48")
        );
    }
}
