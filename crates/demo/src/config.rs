//! The demo app's settings: flags and environment in, checked values out.
//!
//! Everything is checked before the first request, and whatever is wrong is one line that names the
//! setting. The two secrets come by the environment only: a flag can be read in the process list.

use std::net::SocketAddr;

use axum::http::HeaderValue;
use clap::Parser;
use ct_codecs::{Base64UrlSafeNoPadding, Decoder};
use reqwest::Url;

use crate::assertion::{AssertionVerifier, MIN_KEY_BYTES};

/// Environment name of the credential this app shows to the session service.
pub const CREDENTIAL_VARIABLE: &str = "APP_CREDENTIAL";
/// Environment name of the key it shares with the edge.
pub const KEY_VARIABLE: &str = "ASSERTION_KEY";

/// The Hallpass demo app: a sign-in form, and a page that shows what an app receives.
///
/// It answers nobody but the edge: every request needs a Hallpass-Assertion.
#[derive(Debug, Parser)]
#[command(name = "hallpass-demo", version, after_help = SECRETS_HELP)]
pub struct Flags {
    /// Address to listen on; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8789")]
    pub listen: String,
    /// Where the session service is; plain http, on a private network
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8788")]
    pub service_url: String,
    /// Issuer of the assertions: the edge's setting `issuer`
    #[arg(long, value_name = "ISSUER", env = "HALLPASS_ISSUER")]
    pub issuer: Option<String>,
    /// Audience of the assertions, repeatable: the edge's origin, or its setting `assertion_audience`
    #[arg(
        long,
        value_name = "AUDIENCE",
        env = "ASSERTION_AUDIENCE",
        value_delimiter = ',',
        default_values = ["http://127.0.0.1:8787", "http://localhost:8787"]
    )]
    pub audience: Vec<String>,
}

const SECRETS_HELP: &str = "\
Secrets, by the environment only:
  APP_CREDENTIAL  credential of scope `app`: hallpass credentials create --scope app
  ASSERTION_KEY   the key it shares with the edge: base64url of at least 32 bytes

On standard output: one line, `ready http://ADDRESS`, once it listens. On standard error: one line
per request. It ends on SIGTERM or Ctrl-C. Exit codes: 0 ended, 1 cannot listen, 2 usage.

Anybody may sign in: it takes every user name with the password `demo`. Do not put it on the
internet.";

/// The two secrets, as the environment has them. There is no `Debug`: they are never printed.
#[derive(Default)]
pub struct Secrets {
    /// `APP_CREDENTIAL`.
    pub credential: Option<String>,
    /// `ASSERTION_KEY`.
    pub assertion_key: Option<String>,
}

/// Settings that passed every check.
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where the session service is, without a path.
    pub service_url: Url,
    /// `Bearer …`, marked so that it is never printed.
    pub authorization: HeaderValue,
    /// The check of every request.
    pub verifier: AssertionVerifier,
}

/// A setting that is missing or wrong: one line for a person, which names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError(String);

impl std::fmt::Display for SettingError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for SettingError {}

impl Secrets {
    /// Reads both from the environment.
    #[must_use]
    pub fn from_environment() -> Self {
        Self {
            credential: std::env::var(CREDENTIAL_VARIABLE).ok(),
            assertion_key: std::env::var(KEY_VARIABLE).ok(),
        }
    }
}

impl Config {
    /// Checks everything.
    ///
    /// # Errors
    /// A [`SettingError`] for the first setting that is missing or wrong.
    pub fn new(flags: Flags, secrets: Secrets) -> Result<Self, SettingError> {
        let issuer = present(flags.issuer, "HALLPASS_ISSUER (or --issuer)")?;
        let key = parse_key(&present(secrets.assertion_key, KEY_VARIABLE)?)?;
        let audiences: Vec<String> = flags
            .audience
            .into_iter()
            .filter(|audience| !audience.is_empty())
            .collect();
        if audiences.is_empty() {
            return Err(missing("ASSERTION_AUDIENCE (or --audience)"));
        }
        Ok(Self {
            listen: parse_listen(&flags.listen)?,
            service_url: parse_service_url(&flags.service_url)?,
            authorization: parse_credential(&present(secrets.credential, CREDENTIAL_VARIABLE)?)?,
            verifier: AssertionVerifier::new(&key, issuer, audiences).map_err(|_| short_key())?,
        })
    }
}

fn present(value: Option<String>, name: &str) -> Result<String, SettingError> {
    value
        .filter(|value| !value.is_empty())
        .ok_or_else(|| missing(name))
}

fn missing(name: &str) -> SettingError {
    SettingError(format!("{name} is not set"))
}

fn short_key() -> SettingError {
    SettingError(format!(
        "{KEY_VARIABLE} is too short: it must be base64url of at least {MIN_KEY_BYTES} bytes"
    ))
}

fn parse_key(text: &str) -> Result<Vec<u8>, SettingError> {
    Base64UrlSafeNoPadding::decode_to_vec(text, None).map_err(|_| {
        SettingError(format!(
            "{KEY_VARIABLE} is not base64url without padding (A-Z a-z 0-9 - _)"
        ))
    })
}

fn parse_listen(text: &str) -> Result<SocketAddr, SettingError> {
    text.parse().map_err(|_| {
        SettingError(format!(
            "--listen {text:?} is not an address with a port, such as 127.0.0.1:8789"
        ))
    })
}

fn parse_service_url(text: &str) -> Result<Url, SettingError> {
    let wrong = |why: &str| Err(SettingError(format!("--service-url {text:?} {why}")));
    let Ok(url) = Url::parse(text) else {
        return wrong("is not a URL, such as http://127.0.0.1:8788");
    };
    if url.scheme() != "http" {
        return wrong("must begin with http:// (this demo is built without TLS)");
    }
    if url.path() != "/" || url.query().is_some() || !url.username().is_empty() {
        return wrong("must be a scheme, a host and a port, nothing else");
    }
    Ok(url)
}

fn parse_credential(text: &str) -> Result<HeaderValue, SettingError> {
    let wrong = || {
        SettingError(format!(
            "{CREDENTIAL_VARIABLE} has characters no credential has"
        ))
    };
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong());
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {text}")).map_err(|_| wrong())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Config, Flags, Secrets};

    const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE";

    fn error_of(flags: &[&str], credential: Option<&str>, key: Option<&str>) -> String {
        let arguments = std::iter::once("hallpass-demo").chain(flags.iter().copied());
        let secrets = Secrets {
            credential: credential.map(str::to_owned),
            assertion_key: key.map(str::to_owned),
        };
        Config::new(Flags::parse_from(arguments), secrets)
            .err()
            .map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn flags_are_well_formed() {
        Flags::command().debug_assert();
    }

    #[test]
    fn config_accepts_the_development_settings() {
        assert_eq!(
            error_of(&["--issuer", "i"], Some("hpc_app_x"), Some(KEY)),
            ""
        );
    }

    #[test]
    fn config_names_the_setting_that_is_missing() {
        let issuer = ["--issuer", "i"];
        assert_eq!(
            error_of(&["--issuer", ""], Some("c"), Some(KEY)),
            "HALLPASS_ISSUER (or --issuer) is not set"
        );
        assert_eq!(
            error_of(&issuer, None, Some(KEY)),
            "APP_CREDENTIAL is not set"
        );
        assert_eq!(
            error_of(&issuer, Some(""), Some(KEY)),
            "APP_CREDENTIAL is not set"
        );
        assert_eq!(
            error_of(&issuer, Some("c"), None),
            "ASSERTION_KEY is not set"
        );
        assert_eq!(
            error_of(&["--issuer", "i", "--audience", ""], Some("c"), Some(KEY)),
            "ASSERTION_AUDIENCE (or --audience) is not set"
        );
    }

    #[test]
    fn config_names_the_setting_that_is_wrong() {
        let with = |flag: &'static str, value: &'static str| {
            error_of(&["--issuer", "i", flag, value], Some("c"), Some(KEY))
        };
        assert!(with("--listen", "8789").starts_with("--listen \"8789\""));
        assert!(with("--service-url", "localhost").starts_with("--service-url"));
        assert!(with("--service-url", "https://s").contains("without TLS"));
        assert!(with("--service-url", "http://s/path").contains("nothing else"));
        assert!(error_of(&["--issuer", "i"], Some("a b"), Some(KEY)).starts_with("APP_CREDENTIAL"));
    }

    #[test]
    fn config_never_quotes_a_secret() {
        for key in ["c2hvcnQ", "not/base64+url==", KEY.split_at(20).0] {
            let error = error_of(&["--issuer", "i"], Some("c"), Some(key));
            assert!(error.starts_with("ASSERTION_KEY"), "{error}");
            assert!(!error.contains(key), "{error}");
        }
    }
}
