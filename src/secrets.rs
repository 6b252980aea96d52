//! The secrets: read beside the settings, and never printed.
//!
//! Which ones must be there follows from the settings. A missing or weak one is a
//! [`SettingsFault`] that names it and never its value.
//!
//! Source: docs/protocol.md §9.

use crate::config::{AssertionForm, Settings, SettingsFault};
use hallpass_session::base64url;
use hallpass_session::keyring::{Algorithm, MIN_HMAC_KEY_BYTES, VerificationKey};
use std::fmt;

/// Bytes of an Ed25519 seed.
const SEED_BYTES: usize = 32;

/// Values that must never be printed.
pub struct Secrets {
    /// Credential of scope `edge` at the session service.
    pub edge_credential: String,
    /// Key of the assertion; empty when there is none.
    pub assertion_key: Vec<u8>,
    /// The key of HS256 tokens, if any are accepted.
    pub hs256: Option<VerificationKey>,
    /// What unlocks diagnostics, if set.
    pub diagnostic_credential: Option<String>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets([redacted])")
    }
}

impl Secrets {
    /// Reads the secrets that the settings call for; `read` looks one up by its name.
    ///
    /// # Errors
    ///
    /// The first secret that is missing or too weak, by its name and never by its value.
    pub fn read(
        settings: &Settings,
        read: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsFault> {
        let missing = |name: &str| SettingsFault::new(name, "secret is not set");
        let edge_credential = read("EDGE_CREDENTIAL").filter(|text| !text.is_empty());
        let assertion_key = match settings.assertion {
            AssertionForm::Off => Vec::new(),
            form => assertion_key(
                form,
                &read("ASSERTION_KEY").ok_or(missing("ASSERTION_KEY"))?,
            )?,
        };
        Ok(Self {
            edge_credential: edge_credential.ok_or(missing("EDGE_CREDENTIAL"))?,
            assertion_key,
            hs256: hs256_key(settings, read("SESSION_HS256_KEY"))?,
            diagnostic_credential: read("DIAGNOSTIC_CREDENTIAL").filter(|text| !text.is_empty()),
        })
    }
}

fn assertion_key(form: AssertionForm, text: &str) -> Result<Vec<u8>, SettingsFault> {
    let key = base64url::decode(text).unwrap_or_default();
    let (fits, wanted) = match form {
        AssertionForm::EdDsa => (
            key.len() == SEED_BYTES,
            "base64url of an Ed25519 seed of 32 bytes",
        ),
        _ => (
            key.len() >= MIN_HMAC_KEY_BYTES,
            "base64url of at least 32 random bytes",
        ),
    };
    fits.then_some(key)
        .ok_or_else(|| SettingsFault::new("ASSERTION_KEY", wanted))
}

fn hs256_key(
    settings: &Settings,
    secret: Option<String>,
) -> Result<Option<VerificationKey>, SettingsFault> {
    let Some(text) = secret.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let fault = |wanted| Err(SettingsFault::new("SESSION_HS256_KEY", wanted));
    if !settings.token_algs.contains(&Algorithm::Hs256) {
        return fault("is set, but `token_algs` does not list HS256");
    }
    let key = base64url::decode(&text).and_then(|key| VerificationKey::from_hmac_secret(&key));
    key.map_or_else(
        || fault("base64url of at least 32 random bytes"),
        |key| Ok(Some(key)),
    )
}
