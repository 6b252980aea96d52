//! The keys in use, opened and proven.
//!
//! Secrets rest in the table, sealed under the master key when there is one. Each row has a check
//! value: a MAC under the secret over its kind, id and the issuer. A service whose master key or
//! issuer is not the one the keys were made for refuses to start, since it would sign everybody out.
//! A removed key has no secret any more; its id stays, so that it is never given out again. How keys
//! are made and what may become of them is in [`crate::key_changes`].
//!
//! Source: docs/protocol.md §3 (keys), §4 (renewal keys).

use hallpass_session::time::UnixSeconds;
use hallpass_signature::{SigningAlgorithm, SigningKey};
use hmac_sha256::HMAC;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use crate::failure::Fault;
use crate::master_key::MasterKey;
use crate::store::{KeyKind, KeyRow};

/// Every key of a table, opened.
#[derive(Debug, Default)]
pub struct Keys {
    session: Vec<Signer>,
    list: Vec<Signer>,
    renewal: Vec<RenewalKey>,
    removed_renewal: Vec<u8>,
}

#[derive(Debug)]
struct Signer {
    key: SigningKey,
    check_value: [u8; 32],
    times: Times,
}

struct RenewalKey {
    id: u8,
    secret: Vec<u8>,
    check_value: [u8; 32],
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
}

impl Times {
    fn may_sign(&self, now: UnixSeconds) -> bool {
        self.signs_from <= now && self.retired_at.is_none_or(|retired| now < retired)
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
    /// Opens and proves every key that was not removed.
    ///
    /// # Errors
    ///
    /// `Fault::Keys` in words: a key is sealed and cannot be opened, or is not the one its check
    /// value was made with.
    pub fn open(rows: &[KeyRow], master: Option<&MasterKey>, issuer: &str) -> Result<Self, Fault> {
        Self::default().reopen(rows, master, issuer)
    }

    /// The same of rows read later. A secret that is open already is not opened again: keys may be
    /// sealed anew while the service runs.
    ///
    /// # Errors
    ///
    /// As [`Keys::open`].
    pub fn reopen(
        &self,
        rows: &[KeyRow],
        master: Option<&MasterKey>,
        issuer: &str,
    ) -> Result<Self, Fault> {
        let mut keys = Self::default();
        for row in rows {
            if row.removed_at.is_some() {
                keys.note_removed(row)?;
                continue;
            }
            let secret = match self.secret_of(row) {
                Some(secret) => secret,
                None => proven_secret(row, master, issuer)?,
            };
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
            Some(key) => RenewalKeyState::Trusted(&key.secret),
            None if self.removed_renewal.contains(&id) => RenewalKeyState::Removed,
            None => RenewalKeyState::Unknown,
        }
    }

    /// The secret of a row, if it is open here: equal check values prove equal secrets.
    fn secret_of(&self, row: &KeyRow) -> Option<Vec<u8>> {
        let is_it = |check_value: &[u8; 32]| bool::from(check_value.ct_eq(&row.check_value));
        let mut signers = match row.kind {
            KeyKind::Renewal => {
                let known = self.renewal.iter().find(|key| is_it(&key.check_value));
                return known.map(|key| key.secret.clone());
            }
            KeyKind::List => self.list.iter(),
            KeyKind::Session => self.session.iter(),
        };
        let known = signers.find(|signer| is_it(&signer.check_value));
        known.map(|signer| signer.key.secret())
    }

    fn note_removed(&mut self, row: &KeyRow) -> Result<(), Fault> {
        if row.kind == KeyKind::Renewal {
            self.removed_renewal.push(renewal_id(row)?);
        }
        Ok(())
    }

    fn add(&mut self, row: &KeyRow, secret: Vec<u8>) -> Result<(), Fault> {
        let check_value = row.check_value;
        let times = Times {
            created_at: row.created_at,
            signs_from: row.signs_from,
            retired_at: row.retired_at,
        };
        if row.kind == KeyKind::Renewal {
            self.renewal.push(RenewalKey {
                id: renewal_id(row)?,
                secret,
                check_value,
                times,
            });
            return Ok(());
        }
        let key = SigningAlgorithm::parse(&row.alg)
            .and_then(|algorithm| SigningKey::from_secret(algorithm, &row.kid, &secret).ok())
            .ok_or_else(|| unusable(row))?;
        let signers = if row.kind == KeyKind::List {
            &mut self.list
        } else {
            &mut self.session
        };
        signers.push(Signer {
            key,
            check_value,
            times,
        });
        Ok(())
    }
}

/// The secret of a row, opened and proven to be the one its check value was made with.
pub(crate) fn proven_secret(
    row: &KeyRow,
    master: Option<&MasterKey>,
    issuer: &str,
) -> Result<Vec<u8>, Fault> {
    let secret = open_secret(row, master)?;
    prove(row, &secret, issuer)?;
    Ok(secret)
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

/// What proves that `secret` belongs to the row and the issuer.
pub(crate) fn check_value(row: &KeyRow, secret: &[u8], issuer: &str) -> [u8; 32] {
    let parts = [
        b"hallpass-key-check".as_slice(),
        &label(row),
        issuer.as_bytes(),
    ];
    HMAC::mac(parts.join(&0), secret)
}

/// Binds a sealed secret to its row.
pub(crate) fn label(row: &KeyRow) -> Vec<u8> {
    format!("{}:{}:{}", row.kind.name(), row.kid, row.alg).into_bytes()
}

/// A key in words.
pub(crate) fn name(row: &KeyRow) -> String {
    format!("{} key {}", row.kind.name(), row.kid)
}

fn renewal_id(row: &KeyRow) -> Result<u8, Fault> {
    row.kid.parse().map_err(|_| unusable(row))
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
    let keys: Vec<Value> = signers
        .iter()
        .map(|signer| signer.key.public_jwk())
        .collect();
    json!({"keys": keys})
}

#[cfg(test)]
mod tests {
    use super::{Keys, MasterKey, RenewalKeyState};
    use crate::key_changes::first_keys;
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
    fn reopen_needs_no_master_key_for_secrets_that_are_open() {
        let master = MasterKey::new([1; 32]);
        let mut rows = first_keys(Some(&master), "issuer", NOW).unwrap();
        let keys = Keys::open(&rows, Some(&master), "issuer").unwrap();

        assert!(keys.reopen(&rows, None, "issuer").is_ok());
        rows[0].check_value[0] ^= 1;
        assert!(keys.reopen(&rows, None, "issuer").is_err());
    }

    #[test]
    fn removed_key_neither_signs_nor_is_published() {
        let mut rows = first_keys(None, "issuer", NOW).unwrap();
        for row in &mut rows {
            row.removed_at = Some(NOW);
            row.secret = Vec::new();
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
        // Random check values are printed, and may have a 7 beside another.
        assert!(!printed.contains("7, 7, 7, 7, 7, 7"), "{printed}");
    }
}
