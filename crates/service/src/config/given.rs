//! Settings as somebody gives them: flags, environment and file in one struct.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{AddressPrecision, Environment, LogFormat, SettingsError};

/// Settings somebody gave, each perhaps absent.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[command(next_help_heading = "Settings")]
pub struct GivenSettings {
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:8788]
    #[arg(long, env = "HALLPASS_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// The session table; a flag of every command.
    #[arg(skip)]
    pub database_url: Option<String>,
    /// The revocation journal; a flag of every command.
    #[arg(skip)]
    pub journal_file: Option<PathBuf>,
    /// Issuer of every token.
    #[arg(
        long,
        env = "HALLPASS_ISSUER",
        value_name = "URL",
        help = "Issuer of every token; the same as the edge's \
                [default in development: http://127.0.0.1:8788]"
    )]
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
    /// Longest life of a session in seconds, 2 to 34560000 (400 days) [default: 2592000, 30 days]
    #[arg(long, env = "HALLPASS_SESSION_ABSOLUTE_SECS", value_name = "SECS")]
    pub session_absolute_secs: Option<u64>,
    /// Seconds after which an unused session ends, `token_lifetime_secs` to 34560000 [default: 604800, 7 days]
    #[arg(long, env = "HALLPASS_SESSION_IDLE_SECS", value_name = "SECS")]
    pub session_idle_secs: Option<u64>,
    /// Seconds in which a late renewal token is tolerated, 0 to 300 [default: 10]
    #[arg(long, env = "HALLPASS_RENEWAL_GRACE_SECS", value_name = "SECS")]
    pub renewal_grace_secs: Option<u64>,
    /// Most live sessions of one subject, at least 1; the oldest end for new ones [default: unlimited]
    #[arg(long, env = "HALLPASS_SESSIONS_PER_SUBJECT_MAX", value_name = "COUNT")]
    pub sessions_per_subject_max: Option<u32>,
    /// Days for which ended sessions are shown to their user, 0 to 3650 [default: 30]
    #[arg(long, env = "HALLPASS_ENDED_RETAIN_DAYS", value_name = "DAYS")]
    pub ended_retain_days: Option<u64>,
    /// Days for which addresses are kept, 0 to 3650 [default: 90]
    #[arg(long, env = "HALLPASS_ADDRESS_RETAIN_DAYS", value_name = "DAYS")]
    pub address_retain_days: Option<u64>,
    /// Whether addresses are kept whole or as their network, /24 or /48 [default: full]
    #[arg(long, env = "HALLPASS_ADDRESS_PRECISION", value_name = "PRECISION")]
    pub address_precision: Option<AddressPrecision>,
    /// Seconds for which the list keeps entries past their end, 0 to 86400 [default: 3600]
    #[arg(long, env = "HALLPASS_LIST_RETAIN_SECS", value_name = "SECS")]
    pub list_retain_secs: Option<u64>,
    /// File with 32 bytes in base64url that seal the keys in the table; production demands it
    #[arg(long, env = "HALLPASS_MASTER_KEY_FILE", value_name = "FILE")]
    pub master_key_file: Option<PathBuf>,
    /// Database connections, 1 to 256, beside the one that writes in order [default: 16]
    #[arg(long, env = "HALLPASS_POOL_CONNECTIONS_MAX", value_name = "COUNT")]
    pub pool_connections_max: Option<u32>,
    /// Longest request body in bytes, 8192 to 1048576 [default: 65536]
    #[arg(long, env = "HALLPASS_REQUEST_BODY_MAX_BYTES", value_name = "BYTES")]
    pub request_body_max_bytes: Option<usize>,
    /// Milliseconds after which a request is given up, long-polls apart, 100 to 120000 [default: 10000]
    #[arg(long, env = "HALLPASS_REQUEST_TIMEOUT_MS", value_name = "MS")]
    pub request_timeout_ms: Option<u64>,
    /// TLS certificate with its chain (PEM); `tls_key` goes with it. Read anew on SIGHUP
    #[arg(long, env = "HALLPASS_TLS_CERTIFICATE", value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,
    /// Private key of that certificate (PEM). Read anew on SIGHUP
    #[arg(long, env = "HALLPASS_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Where events are posted to; `webhook_secret_file` goes with it [default: none]
    #[arg(long, env = "HALLPASS_WEBHOOK_URL", value_name = "URL")]
    pub webhook_url: Option<String>,
    /// File with the secret that signs them: base64 of at least 24 bytes. Read anew on SIGHUP
    #[arg(long, env = "HALLPASS_WEBHOOK_SECRET_FILE", value_name = "FILE")]
    pub webhook_secret_file: Option<PathBuf>,
    /// Address where `/metrics` answers without a credential [default: none]
    #[arg(long, env = "HALLPASS_METRICS_LISTEN", value_name = "ADDRESS")]
    pub metrics_listen: Option<SocketAddr>,
    /// Seconds in which a stopping service still accepts but is not ready, 0 to 300 [default: 0]
    #[arg(long, env = "HALLPASS_STOP_DELAY_SECS", value_name = "SECS")]
    pub stop_delay_secs: Option<u64>,
    /// Whether the log is for people or for programs [default: human]
    #[arg(long, env = "HALLPASS_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Production refuses what is only good for trying out [default: development]
    #[arg(long, env = "HALLPASS_ENVIRONMENT", value_name = "ENVIRONMENT")]
    pub environment: Option<Environment>,
}

impl GivenSettings {
    /// Reads a settings file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or names a setting that does not exist.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| SettingsError(format!("{shown}: {error}")))?;
        toml::from_str(&text).map_err(|error| SettingsError(format!("{shown}: {error}")))
    }

    /// These settings, and those of `below` where these are silent.
    ///
    /// # Errors
    ///
    /// When a value cannot be written, such as a path that is not Unicode.
    pub fn or(&self, below: &Self) -> Result<Self, SettingsError> {
        let merge = || {
            let mut merged = toml::Table::try_from(below)?;
            merged.extend(toml::Table::try_from(self)?);
            Ok::<_, toml::ser::Error>(merged)
        };
        let merged = merge().map_err(|error| SettingsError(error.to_string()))?;
        merged
            .try_into()
            .map_err(|error: toml::de::Error| SettingsError(error.to_string()))
    }
}
