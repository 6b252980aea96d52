//! Credentials of those who call the service.
//!
//! `hpc_<scope>_<43 characters of base64url>`: the scope is readable so that a credential in the
//! wrong place is noticed by people and by secret scanners; the rest is 32 random bytes. Only its
//! SHA-256 is stored, which needs no salt: nobody guesses 256 bits.

use hallpass_session::base64url;
use hallpass_session::time::UnixSeconds;
use hmac_sha256::Hash;
use subtle::ConstantTimeEq;

use crate::clock::random_bytes;
use crate::store::{CredentialRow, Store, StoreError};

/// What a credential may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scope {
    /// The edge: keys, list, renewal, the user's own sessions.
    Edge,
    /// The app: create, show and end sessions.
    App,
    /// An operator: what the app may, and end everything.
    Admin,
}

impl Scope {
    /// The scope in one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::App => "app",
            Self::Admin => "admin",
        }
    }

    /// Reads what [`Scope::name`] wrote.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Edge, Self::App, Self::Admin]
            .into_iter()
            .find(|scope| scope.name() == name)
    }

    /// Whether a credential of this scope may do what `needed` may.
    #[must_use]
    pub fn covers(self, needed: Self) -> bool {
        self == needed || (self == Self::Admin && needed == Self::App)
    }
}

/// A new credential in clear: shown once, never stored.
pub struct NewCredential {
    /// The credential.
    pub secret: String,
    /// What is stored of it.
    pub row: CredentialRow,
}

/// Makes a credential.
///
/// # Errors
///
/// When the machine has no randomness.
pub fn create(
    scope: Scope,
    name: &str,
    now: UnixSeconds,
) -> Result<NewCredential, getrandom::Error> {
    let secret = base64url::encode(&random_bytes::<32>()?);
    let secret = format!("hpc_{}_{secret}", scope.name());
    let row = CredentialRow {
        id: format!("c-{}", base64url::encode(&random_bytes::<6>()?)),
        scope: scope.name().to_owned(),
        name: name.to_owned(),
        digest: Hash::hash(secret.as_bytes()),
        created_at: now,
        revoked_at: None,
    };
    Ok(NewCredential { secret, row })
}

/// Who a presented credential is; `None` for an unknown or revoked one.
///
/// # Errors
///
/// When the table cannot be read: nothing is then known about the caller.
pub async fn recognise(
    store: &dyn Store,
    presented: &str,
) -> Result<Option<(String, Scope)>, StoreError> {
    let digest = Hash::hash(presented.as_bytes());
    let found = store.find_credential(&digest).await?;
    // The index found it by its digest; comparing again keeps a collating database honest.
    let found = found.filter(|row| bool::from(row.digest.ct_eq(&digest)));
    Ok(found.and_then(|row| Scope::parse(&row.scope).map(|scope| (row.id, scope))))
}

#[cfg(test)]
mod tests {
    use super::{Scope, create};
    use hallpass_session::time::UnixSeconds;

    #[test]
    fn create_writes_the_documented_form() {
        let new = create(Scope::Edge, "main", UnixSeconds::new(1)).unwrap();

        assert_eq!(new.secret.len(), "hpc_edge_".len() + 43);
        assert!(new.secret.starts_with("hpc_edge_"));
        assert!(!format!("{:?}", new.row).contains(&new.secret));
    }

    #[test]
    fn covers_grants_admin_the_app_and_nobody_the_edge() {
        assert!(Scope::Admin.covers(Scope::App));
        assert!(!Scope::Admin.covers(Scope::Edge));
        assert!(!Scope::App.covers(Scope::Admin));
        assert!(!Scope::Edge.covers(Scope::App));
    }
}
