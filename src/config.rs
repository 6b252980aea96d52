//! The settings: one table, read once per isolate, refused whole when anything is wrong.
//!
//! `[vars.HALLPASS]` of wrangler.toml arrives as one JSON object. Unknown keys are errors, since a
//! misspelled guard is a missing guard. A [`SettingsFault`] names the key and what would be right;
//! the gate then answers 503 to everything.
//!
//! Secrets are read in `secrets.rs`.
//!
//! Source: docs/protocol.md §9.

use crate::portal::PortalSettings;
use crate::route::{RouteSettings, Rules};
use crate::upstream;
use hallpass_session::admission::Access;
use hallpass_session::claims::TokenPolicy;
use hallpass_session::json;
use hallpass_session::keyring::Algorithm;
use hallpass_session::path::CanonicalPath;
use hallpass_session::time::Seconds;
use serde::Deserialize;
use serde_json::Value;
use std::fmt;

/// Longest wait of one list poll, in seconds; the service allows no more.
const MAX_POLL_SECS: u64 = 5;
/// Longest `outage_grace_secs`: an hour.
pub(crate) const MAX_OUTAGE_GRACE_SECS: u64 = 3600;

/// What is wrong with the settings, in words for the operator's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsFault(String);

impl SettingsFault {
    pub(crate) fn new(key: &str, wanted: impl fmt::Display) -> Self {
        Self(format!("setting `{key}`: {wanted}"))
    }
}

impl fmt::Display for SettingsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the edge runs; some demo values are refused in production.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// A developer's machine.
    Development,
    /// In front of users.
    Production,
}

/// How the edge proves to the app who a request is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AssertionForm {
    /// HS256 under `ASSERTION_KEY`.
    #[default]
    Hmac,
    /// Ed25519 under `ASSERTION_KEY`, so that apps need no secret.
    EdDsa,
    /// No assertion: the app must be reachable through the edge only.
    Off,
}

/// The settings as they are written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    environment: Environment,
    issuer: String,
    audience: String,
    service_url: String,
    #[serde(default)]
    upstream_url: String,
    hosts: Vec<String>,
    sign_in_path: String,
    #[serde(default = "default_algs")]
    token_algs: Vec<String>,
    #[serde(default = "default_clock_skew")]
    clock_skew_secs: u64,
    #[serde(default = "default_hour")]
    max_token_lifetime_secs: u64,
    #[serde(default = "default_renew_before")]
    renew_before_secs: u64,
    #[serde(default = "default_list_max_age")]
    list_max_age_secs: u64,
    #[serde(default = "default_list_poll")]
    list_poll_secs: u64,
    #[serde(default = "default_keys_refresh")]
    keys_refresh_secs: u64,
    #[serde(default = "default_hour")]
    keys_max_age_secs: u64,
    #[serde(default = "default_service_timeout")]
    service_timeout_ms: u64,
    #[serde(default)]
    strip_headers: Vec<String>,
    #[serde(default)]
    csrf_origins: Vec<String>,
    #[serde(default)]
    assertion: AssertionForm,
    #[serde(default)]
    assertion_audience: Option<String>,
    #[serde(default)]
    portal: PortalSettings,
    #[serde(default)]
    routes: Vec<RouteSettings>,
}

/// The settings of one edge, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it runs.
    pub environment: Environment,
    /// Issuer, audience, skew and lifetime that tokens must meet.
    pub policy: TokenPolicy,
    /// Algorithms that session tokens may use.
    pub token_algs: Vec<Algorithm>,
    /// Base of the session service, without a trailing slash.
    pub service_url: String,
    /// Base of the app, without a trailing slash; `None` is the zone's own origin.
    pub upstream_url: Option<String>,
    /// Hosts served, lower case, without port.
    pub hosts: Vec<String>,
    /// Where page loads without a session go.
    pub sign_in_path: String,
    /// How long before its end a live token is renewed.
    pub renew_before: Seconds,
    /// Oldest list that decides, where a route says nothing else.
    pub list_max_age: Seconds,
    /// How long a poll waits at the service.
    pub list_poll: Seconds,
    /// Age at which keys are fetched anew behind an answer.
    pub keys_refresh: Seconds,
    /// Age at which keys are an outage.
    pub keys_max_age: Seconds,
    /// Longest wait for one answer of the service.
    pub service_timeout_ms: u64,
    /// Further request headers that never reach the app, in the form of `upstream::normal`.
    pub strip_headers: Vec<String>,
    /// Origins that may send unsafe requests besides our own.
    pub csrf_origins: Vec<String>,
    /// How the app learns who it is.
    pub assertion: AssertionForm,
    /// The assertion's audience; `None` is the request's own origin.
    pub assertion_audience: Option<String>,
    /// Look of the portal.
    pub(crate) portal: PortalSettings,
    /// The routes.
    pub rules: Rules,
}

impl Settings {
    /// Reads the settings from JSON.
    ///
    /// # Errors
    ///
    /// The first key that is missing, unknown or out of its range.
    pub fn parse(text: &str) -> Result<Self, SettingsFault> {
        let value = json::parse(text.as_bytes())
            .ok_or_else(|| SettingsFault::new("HALLPASS", "must be one table"))?;
        Self::from_value(value)
    }

    fn from_value(value: Value) -> Result<Self, SettingsFault> {
        let written: Written = serde_path_to_error::deserialize(value).map_err(|why| {
            let key = match why.path().to_string() {
                whole if whole == "." => "HALLPASS".to_owned(),
                key => key,
            };
            SettingsFault::new(&key, why.inner())
        })?;
        written.check_bounds()?;
        written.check_names()?;
        let rules = written.rules()?;
        let policy = TokenPolicy {
            issuer: non_empty("issuer", &written.issuer)?,
            audience: non_empty("audience", &written.audience)?,
            clock_skew: Seconds::new(written.clock_skew_secs),
            max_token_lifetime: Seconds::new(written.max_token_lifetime_secs),
        };
        let settings = Self {
            environment: written.environment,
            token_algs: written.algorithms()?,
            service_url: base_url("service_url", &written.service_url, written.environment)?,
            upstream_url: written.upstream()?,
            hosts: written.hosts()?,
            sign_in_path: written.sign_in_path()?,
            renew_before: Seconds::new(written.renew_before_secs),
            list_max_age: Seconds::new(written.list_max_age_secs),
            list_poll: Seconds::new(written.list_poll_secs),
            keys_refresh: Seconds::new(written.keys_refresh_secs),
            keys_max_age: Seconds::new(written.keys_max_age_secs),
            service_timeout_ms: written.service_timeout_ms,
            strip_headers: written
                .strip_headers
                .iter()
                .map(|name| upstream::normal(name))
                .collect(),
            csrf_origins: written.csrf_origins,
            assertion: written.assertion,
            assertion_audience: written.assertion_audience,
            portal: written.portal,
            policy,
            rules,
        };
        settings.check_sign_in()?;
        Ok(settings)
    }

    /// The largest bound on the list's age that any route allows.
    #[must_use]
    pub fn largest_list_age(&self) -> Seconds {
        self.rules
            .iter()
            .map(|rule| rule.list_max_age)
            .max()
            .unwrap_or(self.list_max_age)
    }

    /// The smallest bound on the list's age that any route demands.
    #[must_use]
    pub fn smallest_list_age(&self) -> Seconds {
        self.rules
            .iter()
            .map(|rule| rule.list_max_age)
            .min()
            .unwrap_or(self.list_max_age)
    }

    /// The longest grace of any route.
    #[must_use]
    pub fn longest_grace(&self) -> Seconds {
        self.rules
            .iter()
            .map(|rule| rule.outage_grace)
            .max()
            .unwrap_or_default()
    }

    /// Nobody without a session could ever get one if the sign-in page asked for one.
    fn check_sign_in(&self) -> Result<(), SettingsFault> {
        let path = CanonicalPath::parse(&self.sign_in_path)
            .map_err(|_| SettingsFault::new("sign_in_path", "must be a plain path"))?;
        let needs_session = ["GET", "POST"]
            .into_iter()
            .any(|method| self.rules.find(&path, method).demands.access == Access::Session);
        if needs_session {
            return Err(SettingsFault::new(
                "sign_in_path",
                "must have a route with access `public` or `optional`",
            ));
        }
        Ok(())
    }
}

impl Written {
    fn check_bounds(&self) -> Result<(), SettingsFault> {
        within("clock_skew_secs", self.clock_skew_secs, 0, 60)?;
        within(
            "max_token_lifetime_secs",
            self.max_token_lifetime_secs,
            10,
            86_400,
        )?;
        within("renew_before_secs", self.renew_before_secs, 0, 3600)?;
        within("list_max_age_secs", self.list_max_age_secs, 1, 3600)?;
        within("list_poll_secs", self.list_poll_secs, 0, MAX_POLL_SECS)?;
        within("keys_refresh_secs", self.keys_refresh_secs, 10, 86_400)?;
        within(
            "keys_max_age_secs",
            self.keys_max_age_secs,
            self.keys_refresh_secs,
            604_800,
        )?;
        within("service_timeout_ms", self.service_timeout_ms, 100, 30_000)
    }

    /// A name that no request can have would be a guard that guards nothing.
    fn check_names(&self) -> Result<(), SettingsFault> {
        if !self.csrf_origins.iter().all(|origin| is_origin(origin)) {
            let wanted = "origins such as https://partner.example";
            return Err(SettingsFault::new("csrf_origins", wanted));
        }
        if self.assertion_audience.as_deref() == Some("") {
            return Err(SettingsFault::new(
                "assertion_audience",
                "must not be empty",
            ));
        }
        if !self.strip_headers.iter().all(|name| is_header_name(name)) {
            return Err(SettingsFault::new("strip_headers", "names of headers"));
        }
        Ok(())
    }

    fn rules(&self) -> Result<Rules, SettingsFault> {
        let list_max_age = Seconds::new(self.list_max_age_secs);
        Rules::new(
            &self.routes,
            list_max_age,
            Seconds::new(self.renew_before_secs),
        )
    }

    fn algorithms(&self) -> Result<Vec<Algorithm>, SettingsFault> {
        let algorithms: Option<Vec<Algorithm>> = self
            .token_algs
            .iter()
            .map(|name| Algorithm::parse(name))
            .collect();
        algorithms.filter(|list| !list.is_empty()).ok_or_else(|| {
            SettingsFault::new("token_algs", "one or more of EdDSA, Ed25519, ES256, HS256")
        })
    }

    fn upstream(&self) -> Result<Option<String>, SettingsFault> {
        if self.upstream_url.is_empty() {
            return Ok(None);
        }
        // The app may well be reached by plain http inside one's own network.
        let url = base_url("upstream_url", &self.upstream_url, Environment::Development)?;
        let authority = url.split_once("://").map_or("", |(_, authority)| authority);
        if authority.contains('/') {
            // The assertion names the path as the user asked for it.
            return Err(SettingsFault::new("upstream_url", "must have no path"));
        }
        Ok(Some(url))
    }

    fn hosts(&self) -> Result<Vec<String>, SettingsFault> {
        let plain = |host: &str| {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_graphic() && !b"/:@".contains(&b))
        };
        if self.hosts.is_empty() || !self.hosts.iter().all(|host| plain(host)) {
            let wanted = "a list of host names without scheme, port or path";
            return Err(SettingsFault::new("hosts", wanted));
        }
        Ok(self
            .hosts
            .iter()
            .map(|host| host.to_ascii_lowercase())
            .collect())
    }

    fn sign_in_path(&self) -> Result<String, SettingsFault> {
        match CanonicalPath::parse(&self.sign_in_path) {
            Ok(path) if path.as_str() == self.sign_in_path => Ok(self.sign_in_path.clone()),
            _ => Err(SettingsFault::new(
                "sign_in_path",
                "must be a plain path such as /sign-in",
            )),
        }
    }
}

fn within(key: &str, value: u64, least: u64, most: u64) -> Result<(), SettingsFault> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(SettingsFault::new(
            key,
            format_args!("{value} is not between {least} and {most}"),
        ))
    }
}

/// As browsers write it in `Origin`: scheme, host, perhaps a port, all lower case.
fn is_origin(text: &str) -> bool {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-:[]".contains(&b);
    host.is_some_and(|host| !host.is_empty() && host.bytes().all(plain))
}

/// RFC 9110 §5.6.2.
fn is_header_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(plain)
}

fn non_empty(key: &str, value: &str) -> Result<String, SettingsFault> {
    if value.is_empty() {
        return Err(SettingsFault::new(key, "must not be empty"));
    }
    Ok(value.to_owned())
}

/// An `https` base, or `http` in development and on the machine itself.
fn base_url(key: &str, url: &str, environment: Environment) -> Result<String, SettingsFault> {
    let plain = url.strip_prefix("http://");
    let rest = plain
        .or_else(|| url.strip_prefix("https://"))
        .unwrap_or_default();
    let rest = rest.trim_end_matches('/');
    if rest.is_empty()
        || rest
            .bytes()
            .any(|b| !b.is_ascii_graphic() || b"?#@\\".contains(&b))
    {
        return Err(SettingsFault::new(
            key,
            "must be a URL with https:// and a host",
        ));
    }
    let host = rest.split('/').next().unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|b| b.is_ascii_digit()) {
            name
        } else {
            host
        }
    });
    let loopback = ["127.0.0.1", "localhost", "[::1]"].contains(&name);
    if plain.is_some() && environment == Environment::Production && !loopback {
        return Err(SettingsFault::new(
            key,
            "must begin with https:// in production",
        ));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

fn default_algs() -> Vec<String> {
    vec!["EdDSA".to_owned(), "Ed25519".to_owned(), "ES256".to_owned()]
}

const fn default_clock_skew() -> u64 {
    5
}

const fn default_hour() -> u64 {
    3600
}

const fn default_renew_before() -> u64 {
    30
}

const fn default_list_max_age() -> u64 {
    10
}

const fn default_list_poll() -> u64 {
    5
}

const fn default_keys_refresh() -> u64 {
    300
}

const fn default_service_timeout() -> u64 {
    3000
}
