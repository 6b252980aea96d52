//! The service's settings: flag > environment > file > default.
//!
//! One struct, [`GivenSettings`], is at once the flags of `hallpass serve`, the environment
//! `HALLPASS_…` and the TOML file; what nobody gives has the default written in
//! [`Settings::resolve`]. A key that does not exist is an error that names it; a value out of range
//! says the range.
//!
//! Source: docs/protocol.md §10.

mod given;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use hallpass_session::time::Seconds;
use serde::{Deserialize, Serialize};

use crate::journal::beside;
use crate::store::sql::{check_url, database_file, without_password};

pub use self::given::GivenSettings;

const DAY_SECS: u64 = 86_400;
/// The session table, unless somebody says.
pub const DEFAULT_DATABASE_URL: &str = "sqlite://hallpass.db";
/// Issuer of a service that nobody gave one.
pub const DEVELOPMENT_ISSUER: &str = "http://127.0.0.1:8788";
/// Audience of the tokens of a service that nobody gave one.
pub const DEVELOPMENT_AUDIENCE: &str = "hallpass-demo";

/// How much of an address is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressPrecision {
    /// All of it.
    Full,
    /// Its network: 24 bits of IPv4, 48 of IPv6.
    Network,
}

/// Who reads the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// People.
    Human,
    /// Programs: one JSON object a line.
    Json,
}

/// How serious it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Trying out: defaults for everything.
    Development,
    /// Real users: nothing throw-away is accepted.
    Production,
}

/// Where certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate with its chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// Where events are posted to, and what signs them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSettings {
    /// The address.
    pub url: String,
    /// The secret, base64.
    pub secret_file: PathBuf,
}

/// Settings that were checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The database.
    pub database_url: String,
    /// Where what was ended is written outside the table; `None` if nowhere.
    pub journal_file: Option<PathBuf>,
    /// `iss` of every token.
    pub issuer: String,
    /// `aud` of session tokens.
    pub audience: String,
    /// Life of a session token.
    pub token_lifetime: Seconds,
    /// Share of it that may be cut off, in percent.
    pub token_jitter_percent: u8,
    /// Longest life of a session.
    pub session_absolute: Seconds,
    /// Longest pause of a session.
    pub session_idle: Seconds,
    /// Tolerance for late renewal tokens.
    pub renewal_grace: Seconds,
    /// Most live sessions of one subject.
    pub sessions_per_subject_max: Option<u32>,
    /// For how long ended sessions are shown.
    pub ended_retain: Seconds,
    /// For how long addresses are kept.
    pub address_retain: Seconds,
    /// How much of an address is kept.
    pub address_precision: AddressPrecision,
    /// How long the list keeps entries past their end.
    pub list_retain: Seconds,
    /// Where the master key is.
    pub master_key_file: Option<PathBuf>,
    /// Connections for reading.
    pub pool_connections_max: u32,
    /// Longest request body, in bytes.
    pub request_body_max_bytes: usize,
    /// Longest time for a request.
    pub request_timeout: Duration,
    /// Certificate and key, if TLS is spoken.
    pub tls: Option<TlsFiles>,
    /// Where events are posted to.
    pub webhook: Option<WebhookSettings>,
    /// Where metrics are told to everybody.
    pub metrics_listen: Option<SocketAddr>,
    /// How long a stopping service still accepts.
    pub stop_delay: Duration,
    /// Who reads the log.
    pub log_format: LogFormat,
    /// How serious it is.
    pub environment: Environment,
}

/// A setting that cannot be; the message names it and says what would do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

impl Settings {
    /// Fills in defaults and checks every range.
    ///
    /// # Errors
    ///
    /// The first setting that is missing or out of its range.
    pub fn resolve(given: GivenSettings) -> Result<Self, SettingsError> {
        let environment = given.environment.unwrap_or(Environment::Development);
        let settings = Self {
            listen: given
                .listen
                .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8788))),
            journal_file: journal_file(
                given.journal_file.as_deref(),
                given
                    .database_url
                    .as_deref()
                    .unwrap_or(DEFAULT_DATABASE_URL),
            ),
            database_url: given
                .database_url
                .unwrap_or_else(|| DEFAULT_DATABASE_URL.to_owned()),
            issuer: named("issuer", given.issuer, DEVELOPMENT_ISSUER, environment)?,
            audience: named(
                "audience",
                given.audience,
                DEVELOPMENT_AUDIENCE,
                environment,
            )?,
            token_lifetime: secs(
                "token_lifetime_secs",
                given.token_lifetime_secs,
                300,
                2,
                3600,
            )?,
            token_jitter_percent: given.token_jitter_percent.unwrap_or(5),
            session_absolute: secs(
                "session_absolute_secs",
                given.session_absolute_secs,
                30 * DAY_SECS,
                2,
                400 * DAY_SECS,
            )?,
            session_idle: secs(
                "session_idle_secs",
                given.session_idle_secs,
                7 * DAY_SECS,
                2,
                400 * DAY_SECS,
            )?,
            renewal_grace: secs("renewal_grace_secs", given.renewal_grace_secs, 10, 0, 300)?,
            sessions_per_subject_max: given.sessions_per_subject_max,
            ended_retain: Seconds::new(
                within("ended_retain_days", given.ended_retain_days, 30, 0, 3650)? * DAY_SECS,
            ),
            address_retain: Seconds::new(
                within(
                    "address_retain_days",
                    given.address_retain_days,
                    90,
                    0,
                    3650,
                )? * DAY_SECS,
            ),
            address_precision: given.address_precision.unwrap_or(AddressPrecision::Full),
            list_retain: secs(
                "list_retain_secs",
                given.list_retain_secs,
                3600,
                0,
                DAY_SECS,
            )?,
            master_key_file: given.master_key_file,
            pool_connections_max: given.pool_connections_max.unwrap_or(16),
            request_body_max_bytes: given.request_body_max_bytes.unwrap_or(64 << 10),
            request_timeout: Duration::from_millis(within(
                "request_timeout_ms",
                given.request_timeout_ms,
                10_000,
                100,
                120_000,
            )?),
            tls: tls(given.tls_certificate, given.tls_key)?,
            webhook: webhook(given.webhook_url, given.webhook_secret_file)?,
            metrics_listen: given.metrics_listen,
            stop_delay: Duration::from_secs(within(
                "stop_delay_secs",
                given.stop_delay_secs,
                0,
                0,
                300,
            )?),
            log_format: given.log_format.unwrap_or(LogFormat::Human),
            environment,
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), SettingsError> {
        check_url(&self.database_url)
            .map_err(|problem| SettingsError(format!("database_url: {problem}")))?;
        range(
            "token_jitter_percent",
            self.token_jitter_percent.into(),
            0,
            5,
        )?;
        range(
            "pool_connections_max",
            self.pool_connections_max.into(),
            1,
            256,
        )?;
        let body = u64::try_from(self.request_body_max_bytes).unwrap_or(u64::MAX);
        range("request_body_max_bytes", body, 8 << 10, 1 << 20)?;
        if self.sessions_per_subject_max == Some(0) {
            return Err(SettingsError(
                "sessions_per_subject_max: must be at least 1".to_owned(),
            ));
        }
        if self.session_idle < self.token_lifetime {
            let text = "session_idle_secs: must be at least token_lifetime_secs, or sessions end \
                        before their first renewal";
            return Err(SettingsError(text.to_owned()));
        }
        if self.environment == Environment::Production && self.master_key_file.is_none() {
            let text = "master_key_file: environment = production keeps no key in clear; make one \
                        with `head -c 32 /dev/urandom | basenc --base64url | tr -d = > master.key` \
                        and name the file";
            return Err(SettingsError(text.to_owned()));
        }
        Ok(())
    }

    /// These settings as somebody would give every one of them.
    #[must_use]
    pub fn spelled_out(&self) -> GivenSettings {
        GivenSettings {
            listen: Some(self.listen),
            // A password is not shown.
            journal_file: Some(self.journal_file.clone().unwrap_or_else(|| "off".into())),
            database_url: Some(without_password(&self.database_url)),
            issuer: Some(self.issuer.clone()),
            audience: Some(self.audience.clone()),
            token_lifetime_secs: Some(self.token_lifetime.get()),
            token_jitter_percent: Some(self.token_jitter_percent),
            session_absolute_secs: Some(self.session_absolute.get()),
            session_idle_secs: Some(self.session_idle.get()),
            renewal_grace_secs: Some(self.renewal_grace.get()),
            sessions_per_subject_max: self.sessions_per_subject_max,
            ended_retain_days: Some(self.ended_retain.get() / DAY_SECS),
            address_retain_days: Some(self.address_retain.get() / DAY_SECS),
            address_precision: Some(self.address_precision),
            list_retain_secs: Some(self.list_retain.get()),
            master_key_file: self.master_key_file.clone(),
            pool_connections_max: Some(self.pool_connections_max),
            request_body_max_bytes: Some(self.request_body_max_bytes),
            request_timeout_ms: u64::try_from(self.request_timeout.as_millis()).ok(),
            tls_certificate: self.tls.as_ref().map(|tls| tls.certificate.clone()),
            tls_key: self.tls.as_ref().map(|tls| tls.key.clone()),
            webhook_url: self.webhook.as_ref().map(|webhook| webhook.url.clone()),
            webhook_secret_file: self
                .webhook
                .as_ref()
                .map(|webhook| webhook.secret_file.clone()),
            metrics_listen: self.metrics_listen,
            stop_delay_secs: Some(self.stop_delay.as_secs()),
            log_format: Some(self.log_format),
            environment: Some(self.environment),
        }
    }

    /// The defaults, for tests of the parts that take settings.
    #[must_use]
    pub fn for_tests() -> Self {
        Self::resolve(GivenSettings::default()).unwrap_or_else(|_| unreachable!("defaults resolve"))
    }
}

/// Where the journal is: where `given` says, `off` being nowhere; else beside an `SQLite` file.
#[must_use]
pub fn journal_file(given: Option<&Path>, database_url: &str) -> Option<PathBuf> {
    match given {
        Some(path) if path == Path::new("off") => None,
        Some(path) => Some(path.to_owned()),
        None => database_file(database_url).map(|file| beside(&file)),
    }
}

fn named(
    key: &str,
    given: Option<String>,
    development: &str,
    environment: Environment,
) -> Result<String, SettingsError> {
    match given {
        Some(text)
            if (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) =>
        {
            Ok(text)
        }
        Some(_) => Err(SettingsError(format!(
            "{key}: must be 1 to 255 printable ASCII bytes, no space"
        ))),
        None if environment == Environment::Development => Ok(development.to_owned()),
        None => Err(SettingsError(format!(
            "{key}: environment = production has no default for it"
        ))),
    }
}

fn tls(
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<Option<TlsFiles>, SettingsError> {
    match (certificate, key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key })),
        (Some(_), None) => Err(SettingsError(
            "tls_key: tls_certificate needs it".to_owned(),
        )),
        (None, Some(_)) => Err(SettingsError(
            "tls_certificate: tls_key needs it".to_owned(),
        )),
    }
}

fn webhook(
    url: Option<String>,
    secret_file: Option<PathBuf>,
) -> Result<Option<WebhookSettings>, SettingsError> {
    let wrong = |text: &str| Err(SettingsError(text.to_owned()));
    let (url, secret_file) = match (url, secret_file) {
        (None, None) => return Ok(None),
        (Some(url), Some(secret_file)) => (url, secret_file),
        (Some(_), None) => return wrong("webhook_secret_file: webhook_url needs it"),
        (None, Some(_)) => return wrong("webhook_url: webhook_secret_file needs it"),
    };
    let uri: axum::http::Uri = match url.parse() {
        Ok(uri) => uri,
        Err(_) => return wrong("webhook_url: is no URL"),
    };
    let host = uri.host().unwrap_or_default();
    let is_local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    match uri.scheme_str() {
        _ if host.is_empty() => return wrong("webhook_url: must name a host"),
        _ if url.contains('@') => return wrong("webhook_url: must have no user or password"),
        Some("https") => {}
        Some("http") if is_local => {}
        _ => return wrong("webhook_url: must be https://, or http:// to this machine"),
    }
    Ok(Some(WebhookSettings { url, secret_file }))
}

fn secs(
    key: &str,
    given: Option<u64>,
    default: u64,
    least: u64,
    most: u64,
) -> Result<Seconds, SettingsError> {
    within(key, given, default, least, most).map(Seconds::new)
}

fn within(
    key: &str,
    given: Option<u64>,
    default: u64,
    least: u64,
    most: u64,
) -> Result<u64, SettingsError> {
    let value = given.unwrap_or(default);
    range(key, value, least, most)?;
    Ok(value)
}

fn range(key: &str, value: u64, least: u64, most: u64) -> Result<(), SettingsError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(SettingsError(format!(
        "{key}: must be {least} to {most}, is {value}"
    )))
}

#[cfg(test)]
mod tests {
    use super::{Environment, GivenSettings, Settings};

    fn file(text: &str) -> GivenSettings {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn resolve_has_the_documented_defaults() {
        let settings = Settings::for_tests();

        assert_eq!(settings.listen.to_string(), "127.0.0.1:8788");
        assert_eq!(settings.token_lifetime.get(), 300);
        assert_eq!(settings.session_absolute.get(), 2_592_000);
        assert_eq!(settings.session_idle.get(), 604_800);
        assert_eq!(settings.request_body_max_bytes, 65_536);
    }

    #[test]
    fn or_prefers_the_layer_above() {
        let below = file("token_lifetime_secs = 90\nrenewal_grace_secs = 3");

        let settings = file("token_lifetime_secs = 60").or(&below).unwrap();

        assert_eq!(settings.token_lifetime_secs, Some(60));
        assert_eq!(settings.renewal_grace_secs, Some(3));
    }

    #[test]
    fn file_with_unknown_key_is_refused_by_name() {
        let error = toml::from_str::<GivenSettings>("token_lifetime = 60").unwrap_err();

        assert!(error.to_string().contains("token_lifetime"), "{error}");
    }

    #[test]
    fn resolve_names_the_setting_out_of_range() {
        for text in [
            "database_url = \"http://localhost\"",
            "token_lifetime_secs = 1",
            "token_lifetime_secs = 3601",
            "token_jitter_percent = 6",
            "renewal_grace_secs = 301",
            "pool_connections_max = 0",
            "request_body_max_bytes = 10",
            "sessions_per_subject_max = 0",
            "session_idle_secs = 299",
            "stop_delay_secs = 301",
            "issuer = \"\"",
            "audience = \"a b\"",
        ] {
            let key = text.split(' ').next().unwrap();
            let error = Settings::resolve(file(text)).unwrap_err().to_string();
            assert!(error.starts_with(key), "{text}: {error}");
        }
    }

    #[test]
    fn tls_needs_certificate_and_key() {
        let resolve = |text| Settings::resolve(file(text)).map_err(|error| error.to_string());

        assert!(
            resolve("tls_certificate = \"c\"")
                .unwrap_err()
                .starts_with("tls_key")
        );
        assert!(
            resolve("tls_key = \"k\"")
                .unwrap_err()
                .starts_with("tls_certificate")
        );
        let both = resolve("tls_certificate = \"c\"\ntls_key = \"k\"").unwrap();
        assert!(both.tls.is_some());
    }

    #[test]
    fn webhook_needs_https_and_a_secret() {
        let resolve = |url: &str| {
            let text = format!("webhook_url = \"{url}\"\nwebhook_secret_file = \"s\"");
            Settings::resolve(file(&text)).map(drop)
        };

        assert!(resolve("https://app.example/hook").is_ok());
        assert!(resolve("http://127.0.0.1:8789/hook").is_ok());
        for url in [
            "http://app.example/",
            "ftp://a/",
            "/hook",
            "",
            "https://u:p@a/",
        ] {
            let error = resolve(url).unwrap_err().to_string();
            assert!(error.starts_with("webhook_url"), "{url}: {error}");
        }
        let alone = Settings::resolve(file("webhook_url = \"https://a/\""));
        assert!(alone.unwrap_err().to_string().starts_with("webhook_secret"));
    }

    #[test]
    fn production_demands_what_development_defaults() {
        let production = |text: &str| {
            let given = GivenSettings {
                environment: Some(Environment::Production),
                ..file(text)
            };
            Settings::resolve(given).map_err(|error| error.to_string())
        };
        let named = "issuer = \"https://a\"\naudience = \"b\"\n";

        assert!(production("").unwrap_err().starts_with("issuer"));
        assert!(
            production(named)
                .unwrap_err()
                .starts_with("master_key_file")
        );
        assert!(production(&format!("{named}master_key_file = \"k\"")).is_ok());
    }
}
