//! The keys in use, opened and proven.
//!
//! Secrets rest in the table, sealed under the master key when there is one. Each row has a check value: a MAC under the
//! secret over its kind, id and the issuer. A service whose master key or issuer is not the one the
//! keys were made for refuses to start, since it would sign everybody out.
//!
//! Source: docs/protocol.md §3 (keys), §4 (renewal keys).

use hallpass_session::base64url;
use hallpass_session::time::UnixSeconds;
use hallpass_signature::SigningKey;
use hmac_sha256::HMAC;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use crate::clock::random_bytes;
use crate::failure::Fault;
use crate::master_key::MasterKey;
use crate::store::{KeyKind, KeyRow};

/// Every key of a table, opened.
#[derive(Debug)]
pub struct Keys {
    session: Vec<Signer>,
    list: Vec<Signer>,
    renewal: Vec<RenewalKey>,
}

#[derive(Debug)]
struct Signer {
    key: SigningKey,
    times: Times,
}

struct RenewalKey {
    id: u8,
    secret: Vec<u8>,
    times: Times,
}

impl std::fmt::Debug for RenewalKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RenewalKey({})", self.id)
    }
}

#[derive(Clone, Copy, Debug)]
struct Times {
    created_at: UnixSeconds,
    signs_from: UnixSeconds,
    retired_at: Option<UnixSeconds>,
    removed_at: Option<UnixSeconds>,
}

impl Times {
    fn may_sign(&self, now: UnixSeconds) -> bool {
        self.signs_from <= now
            && self.removed_at.is_none()
            && self.retired_at.is_none_or(|retired| now < retired)
    }
}

/// What a renewal key id stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewalKeyState<'a> {
    /// A key in use; its secret.
    Trusted(&'a [u8]),
    /// The operator removed it.
    Removed,
    /// This table never had it.
    Unknown,
}

impl Keys {
    /// Opens and proves every key.
    ///
    /// # Errors
    ///
    /// `Fault::Keys` in words: a key is sealed and cannot be opened, or is not the one its check
    /// value was made with.
    pub fn open(rows: &[KeyRow], master: Option<&MasterKey>, issuer: &str) -> Result<Self, Fault> {
        let mut keys = Self {
            session: Vec::new(),
            list: Vec::new(),
            renewal: Vec::new(),
        };
        for row in rows {
            let secret = open_secret(row, master)?;
            prove(row, &secret, issuer)?;
            keys.add(row, secret)?;
        }
        Ok(keys)
    }

    /// Public session keys as a JWK set.
    #[must_use]
    pub fn session_jwks(&self) -> Value {
        jwks(&self.session)
    }

    /// Public list keys as a JWK set.
    #[must_use]
    pub fn list_jwks(&self) -> Value {
        jwks(&self.list)
    }

    /// The newest key that may sign session tokens at `now`.
    ///
    /// # Errors
    ///
    /// `Fault::Keys` if there is none.
    pub fn session_signer(&self, now: UnixSeconds) -> Result<&SigningKey, Fault> {
        signer(&self.session, now)
    }

    /// The newest key that may sign lists at `now`.
    ///
    /// # Errors
    ///
    /// `Fault::Keys` if there is none.
    pub fn list_signer(&self, now: UnixSeconds) -> Result<&SigningKey, Fault> {
        signer(&self.list, now)
    }

    /// Id and secret of the newest key that may make renewal tokens at `now`.
    ///
    /// # Errors
    ///
    /// `Fault::Keys` if there is none.
    pub fn renewal_signer(&self, now: UnixSeconds) -> Result<(u8, &[u8]), Fault> {
        let usable = self.renewal.iter().filter(|key| key.times.may_sign(now));
        usable
            .max_by_key(|key| (key.times.signs_from, key.times.created_at))
            .map(|key| (key.id, key.secret.as_slice()))
            .ok_or_else(no_signer)
    }

    /// The renewal key with this id.
    #[must_use]
    pub fn renewal(&self, id: u8) -> RenewalKeyState<'_> {
        match self.renewal.iter().find(|key| key.id == id) {
            None => RenewalKeyState::Unknown,
            Some(key) if key.times.removed_at.is_some() => RenewalKeyState::Removed,
            Some(key) => RenewalKeyState::Trusted(&key.secret),
        }
    }

    fn add(&mut self, row: &KeyRow, secret: Vec<u8>) -> Result<(), Fault> {
        let times = Times {
            created_at: row.created_at,
            signs_from: row.signs_from,
            retired_at: row.retired_at,
            removed_at: row.removed_at,
        };
        if row.kind == KeyKind::Renewal {
            let id = row.kid.parse().map_err(|_| unusable(row))?;
            self.renewal.push(RenewalKey { id, secret, times });
            return Ok(());
        }
        let key = SigningKey::from_secret(&row.kid, &secret).map_err(|_| unusable(row))?;
        let signers = if row.kind == KeyKind::List {
            &mut self.list
        } else {
            &mut self.session
        };
        signers.push(Signer { key, times });
        Ok(())
    }
}

/// Makes a first key of every kind.
///
/// # Errors
///
/// `Fault` when there is no randomness.
pub fn first_keys(
    master: Option<&MasterKey>,
    issuer: &str,
    now: UnixSeconds,
) -> Result<Vec<KeyRow>, Fault> {
    KeyKind::ALL
        .into_iter()
        .map(|kind| first_key(kind, master, issuer, now))
        .collect()
}

fn first_key(
    kind: KeyKind,
    master: Option<&MasterKey>,
    issuer: &str,
    now: UnixSeconds,
) -> Result<KeyRow, Fault> {
    let (id, alg, public_jwk, secret) = if kind == KeyKind::Renewal {
        let secret: [u8; 32] = random_bytes().map_err(Fault::Randomness)?;
        ("1".to_owned(), "HS256", None, secret.to_vec())
    } else {
        let tail: [u8; 6] = random_bytes().map_err(Fault::Randomness)?;
        let initial = kind.name().get(..1).unwrap_or_default();
        let id = format!("{initial}-{}", base64url::encode(&tail));
        let key = SigningKey::generate(&id);
        (
            id,
            "EdDSA",
            Some(key.public_jwk().to_string()),
            key.secret(),
        )
    };
    let mut row = KeyRow {
        kind,
        kid: id,
        alg: alg.to_owned(),
        public_jwk,
        check_value: [0; 32],
        secret: Vec::new(),
        sealed: master.is_some(),
        created_at: now,
        signs_from: now,
        retired_at: None,
        removed_at: None,
    };
    row.check_value = check_value(&row, &secret, issuer);
    row.secret = match master {
        Some(master) => master.seal(&secret, &label(&row))?,
        None => secret,
    };
    Ok(row)
}

fn open_secret(row: &KeyRow, master: Option<&MasterKey>) -> Result<Vec<u8>, Fault> {
    match (row.sealed, master) {
        (false, _) => Ok(row.secret.clone()),
        (true, None) => Err(Fault::Keys(format!(
            "{} is sealed: set master_key_file to the file it was sealed with",
            name(row)
        ))),
        (true, Some(master)) => master.open(&row.secret, &label(row)).ok_or_else(|| {
            Fault::Keys(format!("{} was sealed with another master key", name(row)))
        }),
    }
}

fn prove(row: &KeyRow, secret: &[u8], issuer: &str) -> Result<(), Fault> {
    if bool::from(check_value(row, secret, issuer).ct_eq(&row.check_value)) {
        return Ok(());
    }
    Err(Fault::Keys(format!(
        "{} does not match its check value: the table was made for another issuer than {issuer:?}, \
         or the key was damaged",
        name(row)
    )))
}

fn check_value(row: &KeyRow, secret: &[u8], issuer: &str) -> [u8; 32] {
    let parts = [
        b"hallpass-key-check".as_slice(),
        &label(row),
        issuer.as_bytes(),
    ];
    HMAC::mac(parts.join(&0), secret)
}

/// Binds a sealed secret to its row.
fn label(row: &KeyRow) -> Vec<u8> {
    format!("{}:{}:{}", row.kind.name(), row.kid, row.alg).into_bytes()
}

fn name(row: &KeyRow) -> String {
    format!("{} key {}", row.kind.name(), row.kid)
}

fn unusable(row: &KeyRow) -> Fault {
    Fault::Keys(format!(
        "{} is not a key of its algorithm {}",
        name(row),
        row.alg
    ))
}

fn no_signer() -> Fault {
    Fault::Keys("there is no key that may sign now".to_owned())
}

fn signer(signers: &[Signer], now: UnixSeconds) -> Result<&SigningKey, Fault> {
    let usable = signers.iter().filter(|signer| signer.times.may_sign(now));
    let newest = usable.max_by_key(|signer| (signer.times.signs_from, signer.times.created_at));
    newest.map(|signer| &signer.key).ok_or_else(no_signer)
}

fn jwks(signers: &[Signer]) -> Value {
    let trusted = signers
        .iter()
        .filter(|signer| signer.times.removed_at.is_none());
    json!({"keys": trusted.map(|signer| signer.key.public_jwk()).collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::{Keys, MasterKey, RenewalKeyState, first_keys};
    use hallpass_session::time::UnixSeconds;

    const NOW: UnixSeconds = UnixSeconds::new(1000);

    #[test]
    fn open_accepts_the_keys_that_were_made() {
        let rows = first_keys(None, "issuer", NOW).unwrap();

        let keys = Keys::open(&rows, None, "issuer").unwrap();

        assert!(keys.session_signer(NOW).is_ok());
        assert!(keys.list_signer(UnixSeconds::new(999)).is_err());
        assert!(matches!(keys.renewal(1), RenewalKeyState::Trusted(_)));
        assert_eq!(keys.renewal(2), RenewalKeyState::Unknown);
    }

    #[test]
    fn open_refuses_another_issuer() {
        let rows = first_keys(None, "issuer", NOW).unwrap();

        assert!(Keys::open(&rows, None, "another").is_err());
    }

    #[test]
    fn open_refuses_sealed_keys_without_their_master_key() {
        let rows = first_keys(Some(&MasterKey::new([1; 32])), "issuer", NOW).unwrap();

        assert!(Keys::open(&rows, Some(&MasterKey::new([1; 32])), "issuer").is_ok());
        assert!(Keys::open(&rows, Some(&MasterKey::new([2; 32])), "issuer").is_err());
        assert!(Keys::open(&rows, None, "issuer").is_err());
    }

    #[test]
    fn open_refuses_secrets_that_changed_places() {
        let master = MasterKey::new([1; 32]);
        let mut rows = first_keys(Some(&master), "issuer", NOW).unwrap();
        rows[0].secret = rows[1].secret.clone();

        assert!(Keys::open(&rows, Some(&master), "issuer").is_err());
    }

    #[test]
    fn removed_key_neither_signs_nor_is_published() {
        let mut rows = first_keys(None, "issuer", NOW).unwrap();
        for row in &mut rows {
            row.removed_at = Some(NOW);
        }

        let keys = Keys::open(&rows, None, "issuer").unwrap();

        assert!(keys.session_signer(NOW).is_err());
        assert_eq!(keys.session_jwks()["keys"], serde_json::json!([]));
        assert_eq!(keys.renewal(1), RenewalKeyState::Removed);
    }

    #[test]
    fn debug_prints_no_secret() {
        let rows = first_keys(None, "issuer", NOW).unwrap();
        let keys = Keys::open(&rows, None, "issuer").unwrap();

        let printed = format!("{rows:?} {keys:?} {:?}", MasterKey::new([7; 32]));

        assert!(!printed.contains("secret: ["), "{printed}");
        assert!(!printed.contains("7, 7"), "{printed}");
    }
}
