//! The development secrets in `.hallpass/`: made on first use, kept from then on.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
use serde::{Deserialize, Serialize};

use crate::{files, service};

/// The session table.
pub(super) const DATABASE: &str = "hallpass.db";
const FILE: &str = "secrets.json";
/// HMAC keys have at least 32 bytes (docs/protocol.md, section 9).
const KEY_BYTES: usize = 32;

/// What the three parts prove to each other.
#[derive(Deserialize, Serialize)]
pub(super) struct Secrets {
    /// The edge's credential at the service.
    pub(super) edge: String,
    /// The app's credential at the service.
    pub(super) app: String,
    /// A person's credential at the service.
    pub(super) admin: String,
    /// What edge and app share: base64url.
    pub(super) assertion_key: String,
    /// Opens the diagnostics of the edge.
    pub(super) diagnostic: String,
}

impl Secrets {
    /// Reads the secrets, or makes new ones: credentials count only with the database they are in.
    ///
    /// # Errors
    /// When they cannot be read, made or written.
    pub(super) fn read_or_create(folder: &Path, service: &service::Order) -> Result<Self> {
        let file = folder.join(FILE);
        if file.exists() && folder.join(DATABASE).exists() {
            let text = fs::read_to_string(&file)?;
            return serde_json::from_str(&text)
                .with_context(|| format!("{} is damaged: run again with --reset", file.display()));
        }
        let secrets = Self::create(service)?;
        // Renamed into place, so that an interruption leaves no half of them.
        let unfinished = folder.join("secrets.json.new");
        files::write_private(&unfinished, &serde_json::to_string_pretty(&secrets)?)?;
        fs::rename(&unfinished, &file)?;
        Ok(secrets)
    }

    fn create(service: &service::Order) -> Result<Self> {
        Ok(Self {
            edge: service::create_credential(service, "edge")?,
            app: service::create_credential(service, "app")?,
            admin: service::create_credential(service, "admin")?,
            assertion_key: random_key()?,
            diagnostic: random_key()?,
        })
    }

    /// The edge's secrets by the names it knows them by.
    pub(super) fn of_the_edge(&self) -> BTreeMap<String, String> {
        [
            ("EDGE_CREDENTIAL", &self.edge),
            ("ASSERTION_KEY", &self.assertion_key),
            ("DIAGNOSTIC_CREDENTIAL", &self.diagnostic),
        ]
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .into()
    }
}

fn random_key() -> Result<String> {
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes).context("no randomness")?;
    Base64UrlSafeNoPadding::encode_to_string(bytes).context("cannot encode a key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_key_is_base64url_of_32_bytes_and_never_the_same() -> Result<()> {
        let (one, other) = (random_key()?, random_key()?);
        assert_eq!(one.len(), 43);
        assert_ne!(one, other);
        Ok(())
    }

    #[test]
    fn of_the_edge_does_not_hand_out_the_credentials_of_others() {
        let secret = |name: &str| name.to_owned();
        let secrets = Secrets {
            edge: secret("edge"),
            app: secret("app"),
            admin: secret("admin"),
            assertion_key: secret("key"),
            diagnostic: secret("diagnostic"),
        };
        let values: Vec<_> = secrets.of_the_edge().into_values().collect();
        assert_eq!(values, ["key", "diagnostic", "edge"]);
    }
}
