//! Where an unsafe request comes from.
//!
//! Browsers send our cookies along with requests that other sites cause. What may change something
//! must come from our own pages: by `Sec-Fetch-Site` where the browser sends it, by `Origin` where
//! not, and by neither is by nobody. Upgrades are checked as well, since a WebSocket is not bound by
//! the same-origin policy.
//!
//! Source: docs/protocol.md §7.

use hallpass_session::refusal::Refusal;

/// Whose paths are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The edge's own: even a typed address (`none`) does not pass.
    Own,
    /// The app's.
    App,
    /// A WebSocket: `Origin` must match besides.
    Upgrade,
}

/// The headers that say where a request comes from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Provenance<'a> {
    /// `Sec-Fetch-Site`.
    pub(crate) site: Option<&'a str>,
    /// `Origin`.
    pub(crate) origin: Option<&'a str>,
}

/// Checks that the request comes from `own_origin` or one of the listed exceptions.
pub(crate) fn check(
    from: Provenance<'_>,
    own_origin: &str,
    exceptions: &[String],
    target: Target,
) -> Result<(), Refusal> {
    let listed = from
        .origin
        .is_some_and(|origin| exceptions.iter().any(|known| known == origin));
    let matches = listed || from.origin == Some(own_origin);
    let same_site = match from.site {
        Some("same-origin") => true,
        Some("none") => target != Target::Own,
        Some(_) => listed,
        None => matches,
    };
    if same_site && (target != Target::Upgrade || matches) {
        Ok(())
    } else {
        Err(Refusal::OriginForbidden)
    }
}

#[cfg(test)]
mod tests {
    use super::{Provenance, Target, check};

    const OWN: &str = "https://app.example";

    fn passes(site: Option<&str>, origin: Option<&str>, target: Target) -> bool {
        let exceptions = ["https://partner.example".to_owned()];
        check(Provenance { site, origin }, OWN, &exceptions, target).is_ok()
    }

    #[test]
    fn check_takes_our_own_pages() {
        for target in [Target::Own, Target::App] {
            assert!(passes(Some("same-origin"), None, target));
            assert!(passes(Some("same-origin"), Some(OWN), target));
            assert!(passes(None, Some(OWN), target));
        }
    }

    #[test]
    fn check_refuses_everybody_else() {
        for target in [Target::Own, Target::App, Target::Upgrade] {
            for (site, origin) in [
                (None, None),
                (None, Some("null")),
                (None, Some("https://evil.example")),
                (None, Some("https://app.example.evil")),
                (None, Some("http://app.example")),
                (None, Some("https://app.example:8443")),
                (Some("same-site"), Some("https://other.app.example")),
                (Some("cross-site"), Some("https://evil.example")),
                (Some("cross-site"), Some(OWN)),
                (Some("cross-site"), None),
                (Some("SAME-ORIGIN"), None),
                (Some(""), None),
            ] {
                assert!(!passes(site, origin, target), "{site:?} {origin:?}");
            }
        }
    }

    #[test]
    fn check_takes_typed_address_for_the_app_only() {
        assert!(passes(Some("none"), None, Target::App));
        assert!(!passes(Some("none"), None, Target::Own));
    }

    #[test]
    fn check_takes_listed_exceptions_exactly() {
        assert!(passes(
            Some("cross-site"),
            Some("https://partner.example"),
            Target::App
        ));
        assert!(!passes(
            Some("cross-site"),
            Some("https://partner.example."),
            Target::App
        ));
    }

    #[test]
    fn check_wants_matching_origin_for_upgrades() {
        assert!(passes(Some("same-origin"), Some(OWN), Target::Upgrade));
        assert!(passes(None, Some(OWN), Target::Upgrade));
        assert!(!passes(Some("same-origin"), None, Target::Upgrade));
        assert!(!passes(Some("none"), None, Target::Upgrade));
    }
}
