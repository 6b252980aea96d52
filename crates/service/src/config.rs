//! The service's settings: flag > environment > file > default.
//!
//! One struct, [`GivenSettings`], is at once the flags of `hallpass serve`, the environment
//! `HALLPASS_…` and the TOML file; what nobody gives has the default written in
//! [`Settings::resolve`]. A key that does not exist is an error that names it; a value out of range
//! says the range.
//!
//! Source: docs/protocol.md §10.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use hallpass_session::time::Seconds;
use serde::{Deserialize, Serialize};

const DAY_SECS: u64 = 86_400;

/// Settings somebody gave, each perhaps absent.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[command(next_help_heading = "Settings")]
pub struct GivenSettings {
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:8788]
    #[arg(long, env = "HALLPASS_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    #[arg(skip)]
    #[doc(hidden)]
    pub database_url: Option<String>,
    /// Issuer of every token; the same as the edge's [default in development: http://127.0.0.1:8788]
    #[arg(long, env = "HALLPASS_ISSUER", value_name = "URL")]
    pub issuer: Option<String>,
    /// Audience of session tokens; the same as the edge's [default in development: hallpass-demo]
    #[arg(long, env = "HALLPASS_AUDIENCE", value_name = "NAME")]
    pub audience: Option<String>,
    /// Life of a session token in seconds, 2 to 3600 [default: 300]
    #[arg(long, env = "HALLPASS_TOKEN_LIFETIME_SECS", value_name = "SECS")]
    pub token_lifetime_secs: Option<u64>,
    /// Share of that life that may be cut off at random, 0 to 5 percent [default: 5]
    #[arg(long, env = "HALLPASS_TOKEN_JITTER_PERCENT", value_name = "PERCENT")]
    pub token_jitter_percent: Option<u8>,
    /// Longest life of a session in seconds, at most 400 days [default: 2592000, 30 days]
    #[arg(long, env = "HALLPASS_SESSION_ABSOLUTE_SECS", value_name = "SECS")]
    pub session_absolute_secs: Option<u64>,
    /// Seconds after which an unused session ends [default: 604800, 7 days]
    #[arg(long, env = "HALLPASS_SESSION_IDLE_SECS", value_name = "SECS")]
    pub session_idle_secs: Option<u64>,
    /// Seconds in which a late renewal token is tolerated, 0 to 300 [default: 10]
    #[arg(long, env = "HALLPASS_RENEWAL_GRACE_SECS", value_name = "SECS")]
    pub renewal_grace_secs: Option<u64>,
    /// Most live sessions of one subject; the oldest end for new ones [default: unlimited]
    #[arg(long, env = "HALLPASS_SESSIONS_PER_SUBJECT_MAX", value_name = "COUNT")]
    pub sessions_per_subject_max: Option<u32>,
    /// Days for which ended sessions are shown to their user [default: 30]
    #[arg(long, env = "HALLPASS_ENDED_RETAIN_DAYS", value_name = "DAYS")]
    pub ended_retain_days: Option<u64>,
    /// Whether addresses are kept whole or as their network, /24 or /48 [default: full]
    #[arg(long, env = "HALLPASS_ADDRESS_PRECISION", value_name = "PRECISION")]
    pub address_precision: Option<AddressPrecision>,
    /// Seconds for which the list keeps entries past their end [default: 3600]
    #[arg(long, env = "HALLPASS_LIST_RETAIN_SECS", value_name = "SECS")]
    pub list_retain_secs: Option<u64>,
    /// File with 32 bytes in base64url that seal the keys in the table; production demands it
    #[arg(long, env = "HALLPASS_MASTER_KEY_FILE", value_name = "FILE")]
    pub master_key_file: Option<PathBuf>,
    /// Database connections for reading, 1 to 256 [default: 4]
    #[arg(long, env = "HALLPASS_POOL_CONNECTIONS_MAX", value_name = "COUNT")]
    pub pool_connections_max: Option<u32>,
    /// Longest request body in bytes [default: 65536]
    #[arg(long, env = "HALLPASS_REQUEST_BODY_MAX_BYTES", value_name = "BYTES")]
    pub request_body_max_bytes: Option<usize>,
    /// Milliseconds after which a request is given up, long-polls apart [default: 10000]
    #[arg(long, env = "HALLPASS_REQUEST_TIMEOUT_MS", value_name = "MS")]
    pub request_timeout_ms: Option<u64>,
    /// Whether the log is for people or for programs [default: human]
    #[arg(long, env = "HALLPASS_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Production refuses what is only good for trying out [default: development]
    #[arg(long, env = "HALLPASS_ENVIRONMENT", value_name = "ENVIRONMENT")]
    pub environment: Option<Environment>,
}

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

/// Settings that were checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The database.
    pub database_url: String,
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
    /// Who reads the log.
    pub log_format: LogFormat,
    /// How serious it is.
    pub environment: Environment,
}

/// A setting that cannot be; the message names it and says what would do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

impl GivenSettings {
    /// Reads a settings file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or names a setting that does not exist.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| SettingsError(format!("{}: {error}", path.display())))?;
        toml::from_str(&text).map_err(|error| SettingsError(format!("{}: {error}", path.display())))
    }

    /// These settings, and those of `below` where these are silent.
    #[must_use]
    pub fn or(self, below: Self) -> Self {
        Self {
            listen: self.listen.or(below.listen),
            database_url: self.database_url.or(below.database_url),
            issuer: self.issuer.or(below.issuer),
            audience: self.audience.or(below.audience),
            token_lifetime_secs: self.token_lifetime_secs.or(below.token_lifetime_secs),
            token_jitter_percent: self.token_jitter_percent.or(below.token_jitter_percent),
            session_absolute_secs: self.session_absolute_secs.or(below.session_absolute_secs),
            session_idle_secs: self.session_idle_secs.or(below.session_idle_secs),
            renewal_grace_secs: self.renewal_grace_secs.or(below.renewal_grace_secs),
            sessions_per_subject_max: self
                .sessions_per_subject_max
                .or(below.sessions_per_subject_max),
            ended_retain_days: self.ended_retain_days.or(below.ended_retain_days),
            address_precision: self.address_precision.or(below.address_precision),
            list_retain_secs: self.list_retain_secs.or(below.list_retain_secs),
            master_key_file: self.master_key_file.or(below.master_key_file),
            pool_connections_max: self.pool_connections_max.or(below.pool_connections_max),
            request_body_max_bytes: self.request_body_max_bytes.or(below.request_body_max_bytes),
            request_timeout_ms: self.request_timeout_ms.or(below.request_timeout_ms),
            log_format: self.log_format.or(below.log_format),
            environment: self.environment.or(below.environment),
        }
    }
}

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
            database_url: given
                .database_url
                .unwrap_or_else(|| "sqlite://hallpass.db".to_owned()),
            issuer: named("issuer", given.issuer, "http://127.0.0.1:8788", environment)?,
            audience: named("audience", given.audience, "hallpass-demo", environment)?,
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
            address_precision: given.address_precision.unwrap_or(AddressPrecision::Full),
            list_retain: secs(
                "list_retain_secs",
                given.list_retain_secs,
                3600,
                0,
                DAY_SECS,
            )?,
            master_key_file: given.master_key_file,
            pool_connections_max: given.pool_connections_max.unwrap_or(4),
            request_body_max_bytes: given.request_body_max_bytes.unwrap_or(64 << 10),
            request_timeout: Duration::from_millis(within(
                "request_timeout_ms",
                given.request_timeout_ms,
                10_000,
                100,
                120_000,
            )?),
            log_format: given.log_format.unwrap_or(LogFormat::Human),
            environment,
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), SettingsError> {
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

    /// The defaults, for tests of the parts that take settings.
    #[must_use]
    pub fn for_tests() -> Self {
        Self::resolve(GivenSettings::default()).unwrap_or_else(|_| unreachable!("defaults resolve"))
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
        let settings = file("token_lifetime_secs = 60")
            .or(file("token_lifetime_secs = 90\nrenewal_grace_secs = 3"));

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
            "token_lifetime_secs = 1",
            "token_lifetime_secs = 3601",
            "token_jitter_percent = 6",
            "renewal_grace_secs = 301",
            "pool_connections_max = 0",
            "request_body_max_bytes = 10",
            "sessions_per_subject_max = 0",
            "session_idle_secs = 299",
            "issuer = \"\"",
            "audience = \"a b\"",
        ] {
            let key = text.split(' ').next().unwrap();
            let error = Settings::resolve(file(text)).unwrap_err().to_string();
            assert!(error.starts_with(key), "{text}: {error}");
        }
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
