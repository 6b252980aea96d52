//! Making keys, and what may become of them: rotated, retired, removed, sealed anew.
//!
//! What may become of a key is judged on every key of the table and gives the rows that change, or
//! why not; [`change_keys`] has them written if the keys are still those that were looked at.
//!
//! A rotated key is published at once and signs only once every edge has had time to fetch it. The
//! one before it stays trusted and steps in again should the new one be retired or removed, so a
//! change is refused only if nothing could sign after it.
//!
//! Source: docs/protocol.md §3 (keys), §4 (renewal keys).

#![expect(
    clippy::similar_names,
    reason = "`kid` and `kind` are what the table calls them"
)]

use hallpass_session::base64url;
use hallpass_session::keyring::MAX_KEYS;
use hallpass_session::time::{Seconds, UnixSeconds};
use hallpass_signature::{SigningAlgorithm, SigningKey};

use crate::clock::random_bytes;
use crate::failure::Fault;
use crate::keys::{check_value, label, name, proven_secret};
use crate::master_key::MasterKey;
use crate::store::{KeyKind, KeyRow, Store, StoreError};

/// How often a change is judged anew because keys changed meanwhile.
const ATTEMPTS: u32 = 5;
/// How long a key is published before it signs: twice the `keys_refresh_secs` (300) of edges.
pub const PUBLISHED_BEFORE_SIGNING: Seconds = Seconds::new(600);
/// The highest id of a renewal key: it has one byte.
const RENEWAL_ID_MAX: u8 = u8::MAX;

/// Why keys stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum KeyRefusal {
    /// There is no such key.
    #[error("there is no {0} key {1}; see `hallpass keys list`")]
    Unknown(&'static str, String),
    /// It is in that state already.
    #[error("{0} is {1} already")]
    Already(String, &'static str),
    /// Nothing could sign without it.
    #[error(
        "{0} is the only one of its kind that may sign now: `hallpass keys rotate --kind {1}` and \
         wait until the new key signs, or make another that signs at once (`rotate --now`, \
         `remove --replace`)"
    )]
    OnlySigner(String, &'static str),
    /// Renewal keys have an id of one byte.
    #[error(
        "renewal keys 1 to 255 have all been used, and an id is never used again: no further \
         renewal key can be made in this table"
    )]
    IdsUsedUp,
    /// Edges refuse a larger set whole.
    #[error(
        "{MAX_KEYS} {0} keys are trusted, and edges take no more: remove old ones first (`hallpass \
         keys remove`)"
    )]
    TooMany(&'static str),
    /// Others changed keys again and again.
    #[error("keys kept changing meanwhile, nothing was changed here: try again")]
    Contended,
    /// A key cannot be made, opened or sealed.
    #[error("{0}")]
    Fault(String),
}

impl From<Fault> for KeyRefusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(match fault {
            Fault::Keys(text) => text,
            other => format!("{other:?}"),
        })
    }
}

/// Has the keys written that `plan` makes of all there are; returns the number of the change and
/// those keys. Nothing is written when `plan` changes none.
///
/// # Errors
///
/// What `plan` refuses, or why the table cannot be used.
pub async fn change_keys<E>(
    store: &dyn Store,
    plan: impl Fn(&[KeyRow]) -> Result<Vec<KeyRow>, KeyRefusal>,
) -> Result<(u64, Vec<KeyRow>), E>
where
    E: From<KeyRefusal> + From<StoreError>,
{
    for _ in 0..ATTEMPTS {
        // Read first: a key that changes after it makes the change fail, never pass.
        let seen = store.keys_seq().await?;
        let changed = plan(&store.keys().await?)?;
        if changed.is_empty() {
            return Ok((seen, changed));
        }
        if let Some(number) = store.change_keys(seen, changed.clone()).await? {
            return Ok((number, changed));
        }
    }
    Err(KeyRefusal::Contended.into())
}

/// From when on a new key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningStart {
    /// Once every edge has had time to fetch it.
    AfterPublication,
    /// Now: edges fetch it when they meet it.
    AtOnce,
}

/// What keys are made with.
#[derive(Clone, Copy, Debug)]
pub struct KeyMaker<'a> {
    /// Seals them, if there is one.
    pub master: Option<&'a MasterKey>,
    /// Bound into their check values.
    pub issuer: &'a str,
    /// When they are made.
    pub now: UnixSeconds,
}

/// How a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyStanding {
    /// The one that signs.
    Signing,
    /// Trusted; signs later.
    Published,
    /// Trusted; a newer one signs.
    Superseded,
    /// Trusted; never signs again.
    Retired,
    /// Trusted no longer.
    Removed,
}

impl KeyStanding {
    /// The standing in one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Signing => "signing",
            Self::Published => "published",
            Self::Superseded => "superseded",
            Self::Retired => "retired",
            Self::Removed => "removed",
        }
    }
}

/// How `row`, one of `keys`, stands at `now`.
#[must_use]
pub fn standing(keys: &[KeyRow], row: &KeyRow, now: UnixSeconds) -> KeyStanding {
    if row.removed_at.is_some() {
        KeyStanding::Removed
    } else if row.retired_at.is_some_and(|retired| retired <= now) {
        KeyStanding::Retired
    } else if row.signs_from > now {
        KeyStanding::Published
    } else if signer(keys, row.kind, now).is_some_and(|signer| signer.kid == row.kid) {
        KeyStanding::Signing
    } else {
        KeyStanding::Superseded
    }
}

/// Since when `row` signs no longer; `None` while it does or may yet.
#[must_use]
pub fn stopped_signing(keys: &[KeyRow], row: &KeyRow, now: UnixSeconds) -> Option<UnixSeconds> {
    let newer = keys.iter().filter(|other| {
        other.kind == row.kind && other.kid != row.kid && order(other) > order(row)
    });
    let superseded = newer.map(|other| other.signs_from).min();
    let stopped = [superseded, row.retired_at, row.removed_at];
    stopped.into_iter().flatten().min().filter(|at| *at <= now)
}

/// A first key of every kind.
///
/// # Errors
///
/// `Fault` when there is no randomness.
pub fn first_keys(
    master: Option<&MasterKey>,
    issuer: &str,
    now: UnixSeconds,
) -> Result<Vec<KeyRow>, Fault> {
    let maker = KeyMaker {
        master,
        issuer,
        now,
    };
    let first = |kind| match kind {
        KeyKind::Renewal => maker.make_renewal(1, now),
        _ => maker.make_signing(kind, SigningAlgorithm::EdDsa, now),
    };
    KeyKind::ALL.into_iter().map(first).collect()
}

impl KeyMaker<'_> {
    /// A further key of a kind; of the algorithm of the one that signs, unless another is asked for.
    ///
    /// # Errors
    ///
    /// `KeyRefusal::IdsUsedUp`, `KeyRefusal::TooMany`, or why a key cannot be made.
    pub fn rotate(
        &self,
        keys: &[KeyRow],
        kind: KeyKind,
        algorithm: Option<SigningAlgorithm>,
        start: SigningStart,
    ) -> Result<KeyRow, KeyRefusal> {
        let signs_from = match start {
            SigningStart::AtOnce => self.now,
            SigningStart::AfterPublication => self.now.plus(PUBLISHED_BEFORE_SIGNING),
        };
        let mut made = if kind == KeyKind::Renewal {
            self.make_renewal(next_renewal_id(keys)?, signs_from)?
        } else {
            let trusted = of_kind(keys, kind).filter(|row| row.removed_at.is_none());
            if trusted.count() >= MAX_KEYS {
                return Err(KeyRefusal::TooMany(kind.name()));
            }
            let current = signer(keys, kind, self.now);
            let current = current.and_then(|row| SigningAlgorithm::parse(&row.alg));
            let algorithm = algorithm.or(current).unwrap_or(SigningAlgorithm::EdDsa);
            self.make_signing(kind, algorithm, signs_from)?
        };
        // Later than every other, so that of two that sign from one second on the newer one does.
        let latest = of_kind(keys, kind).map(|row| row.created_at).max();
        let after = latest.map_or(self.now, |latest| latest.plus(Seconds::new(1)));
        made.created_at = made.created_at.max(after);
        Ok(made)
    }

    /// A key that signs at once, and the one it replaces, removed.
    ///
    /// # Errors
    ///
    /// When there is no such key, or none can be made.
    pub fn replace(
        &self,
        keys: &[KeyRow],
        kind: KeyKind,
        kid: &str,
    ) -> Result<Vec<KeyRow>, KeyRefusal> {
        let removed = removed(find(keys, kind, kid)?, self.now);
        // Without the one that goes: it takes no room in the set any more.
        let after: Vec<KeyRow> = keys
            .iter()
            .map(|row| if is(row, kind, kid) { &removed } else { row })
            .cloned()
            .collect();
        let algorithm = SigningAlgorithm::parse(&removed.alg);
        let made = self.rotate(&after, kind, algorithm, SigningStart::AtOnce)?;
        Ok(vec![made, removed])
    }

    /// Seals every secret that rests in clear.
    ///
    /// # Errors
    ///
    /// When one cannot be opened or sealed.
    pub fn seal_those_in_clear(&self, keys: &[KeyRow]) -> Result<Vec<KeyRow>, Fault> {
        if self.master.is_none() {
            return Ok(Vec::new());
        }
        let in_clear = keys.iter().filter(|row| !row.sealed);
        self.reseal(in_clear, None)
    }

    /// Seals every secret anew, from under `replaced`.
    ///
    /// # Errors
    ///
    /// When one cannot be opened or sealed.
    pub fn reseal<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a KeyRow>,
        replaced: Option<&MasterKey>,
    ) -> Result<Vec<KeyRow>, Fault> {
        let trusted = keys.into_iter().filter(|row| row.removed_at.is_none());
        let reseal = |row: &KeyRow| {
            let secret = proven_secret(row, replaced, self.issuer)?;
            self.with_secret(row.clone(), secret)
        };
        trusted.map(reseal).collect()
    }

    fn make_renewal(&self, id: u8, signs_from: UnixSeconds) -> Result<KeyRow, Fault> {
        let secret: [u8; 32] = random_bytes().map_err(Fault::Randomness)?;
        let row = self.row(KeyKind::Renewal, id.to_string(), "HS256", signs_from);
        self.with_secret(row, secret.to_vec())
    }

    fn make_signing(
        &self,
        kind: KeyKind,
        algorithm: SigningAlgorithm,
        signs_from: UnixSeconds,
    ) -> Result<KeyRow, Fault> {
        let tail: [u8; 6] = random_bytes().map_err(Fault::Randomness)?;
        let initial = kind.name().get(..1).unwrap_or_default();
        let kid = format!("{initial}-{}", base64url::encode(&tail));
        let key = SigningKey::generate_for(algorithm, &kid);
        let mut row = self.row(kind, kid, algorithm.name(), signs_from);
        row.public_jwk = Some(key.public_jwk().to_string());
        self.with_secret(row, key.secret())
    }

    fn row(&self, kind: KeyKind, kid: String, alg: &str, signs_from: UnixSeconds) -> KeyRow {
        KeyRow {
            kind,
            kid,
            alg: alg.to_owned(),
            public_jwk: None,
            check_value: [0; 32],
            secret: Vec::new(),
            sealed: false,
            created_at: self.now,
            signs_from,
            retired_at: None,
            removed_at: None,
        }
    }

    fn with_secret(&self, mut row: KeyRow, secret: Vec<u8>) -> Result<KeyRow, Fault> {
        row.check_value = check_value(&row, &secret, self.issuer);
        row.sealed = self.master.is_some();
        row.secret = match self.master {
            Some(master) => master.seal(&secret, &label(&row))?,
            None => secret,
        };
        Ok(row)
    }
}

/// The key, signing no longer, trusted still.
///
/// # Errors
///
/// When there is no such key, it does not sign anyway, or nothing else could.
pub fn retire(
    keys: &[KeyRow],
    kind: KeyKind,
    kid: &str,
    now: UnixSeconds,
) -> Result<KeyRow, KeyRefusal> {
    let row = find(keys, kind, kid)?;
    if row.retired_at.is_some() {
        return Err(KeyRefusal::Already(name(row), "retired"));
    }
    demand_another(keys, row, now)?;
    Ok(KeyRow {
        retired_at: Some(now),
        ..row.clone()
    })
}

/// The key, trusted no longer, its secret gone.
///
/// # Errors
///
/// When there is no such key, or nothing else could sign.
pub fn remove(
    keys: &[KeyRow],
    kind: KeyKind,
    kid: &str,
    now: UnixSeconds,
) -> Result<KeyRow, KeyRefusal> {
    let row = find(keys, kind, kid)?;
    demand_another(keys, row, now)?;
    Ok(removed(row, now))
}

fn removed(row: &KeyRow, now: UnixSeconds) -> KeyRow {
    KeyRow {
        removed_at: Some(now),
        secret: Vec::new(),
        sealed: false,
        ..row.clone()
    }
}

fn is(row: &KeyRow, kind: KeyKind, kid: &str) -> bool {
    row.kind == kind && row.kid == kid
}

fn find<'a>(keys: &'a [KeyRow], kind: KeyKind, kid: &str) -> Result<&'a KeyRow, KeyRefusal> {
    let found = keys.iter().find(|row| is(row, kind, kid));
    let row = found.ok_or_else(|| KeyRefusal::Unknown(kind.name(), kid.to_owned()))?;
    if row.removed_at.is_some() {
        return Err(KeyRefusal::Already(name(row), "removed"));
    }
    Ok(row)
}

/// Refuses to lose `row` when no other key may sign.
fn demand_another(keys: &[KeyRow], row: &KeyRow, now: UnixSeconds) -> Result<(), KeyRefusal> {
    let others: Vec<KeyRow> = of_kind(keys, row.kind)
        .filter(|other| other.kid != row.kid)
        .cloned()
        .collect();
    if signer(&others, row.kind, now).is_some() || signer(keys, row.kind, now).is_none() {
        return Ok(());
    }
    Err(KeyRefusal::OnlySigner(name(row), row.kind.name()))
}

fn next_renewal_id(keys: &[KeyRow]) -> Result<u8, KeyRefusal> {
    let used = of_kind(keys, KeyKind::Renewal).filter_map(|row| row.kid.parse::<u8>().ok());
    match used.max() {
        Some(RENEWAL_ID_MAX) => Err(KeyRefusal::IdsUsedUp),
        Some(highest) => Ok(highest.saturating_add(1)),
        None => Ok(1),
    }
}

fn of_kind(keys: &[KeyRow], kind: KeyKind) -> impl Iterator<Item = &KeyRow> {
    keys.iter().filter(move |row| row.kind == kind)
}

/// The key of a kind that signs at `now`: the newest that may.
fn signer(keys: &[KeyRow], kind: KeyKind, now: UnixSeconds) -> Option<&KeyRow> {
    let may_sign = |row: &&KeyRow| {
        row.removed_at.is_none()
            && row.signs_from <= now
            && row.retired_at.is_none_or(|retired| now < retired)
    };
    of_kind(keys, kind)
        .filter(may_sign)
        .max_by_key(|row| order(row))
}

/// Of keys that may sign, the greatest does.
fn order(row: &KeyRow) -> (UnixSeconds, UnixSeconds) {
    (row.signs_from, row.created_at)
}

#[cfg(test)]
mod tests {
    use super::{
        KeyMaker, KeyRefusal, KeyStanding, PUBLISHED_BEFORE_SIGNING, SigningStart, first_keys,
        remove, retire, standing, stopped_signing,
    };
    use crate::keys::{Keys, RenewalKeyState};
    use crate::master_key::MasterKey;
    use crate::store::{KeyKind, KeyRow};
    use hallpass_session::time::UnixSeconds;
    use hallpass_signature::SigningAlgorithm;

    const START: UnixSeconds = UnixSeconds::new(1000);
    const LATER: UnixSeconds = START.plus(PUBLISHED_BEFORE_SIGNING);

    fn maker(now: UnixSeconds) -> KeyMaker<'static> {
        KeyMaker {
            master: None,
            issuer: "issuer",
            now,
        }
    }

    fn first() -> Vec<KeyRow> {
        first_keys(None, "issuer", START).unwrap()
    }

    /// The first keys and a further one of `kind`, made at the start.
    fn rotated(kind: KeyKind) -> (Vec<KeyRow>, String) {
        let mut keys = first();
        let start = SigningStart::AfterPublication;
        let new = maker(START).rotate(&keys, kind, None, start).unwrap();
        let kid = new.kid.clone();
        keys.push(new);
        (keys, kid)
    }

    fn write(keys: &mut [KeyRow], changed: KeyRow) {
        let row = keys.iter_mut().find(|row| row.kid == changed.kid).unwrap();
        *row = changed;
    }

    fn kid_of(keys: &[KeyRow], kind: KeyKind) -> String {
        keys.iter()
            .find(|row| row.kind == kind)
            .unwrap()
            .kid
            .clone()
    }

    #[test]
    fn rotated_key_is_trusted_at_once_and_signs_once_it_was_published() {
        let (rows, kid) = rotated(KeyKind::Session);
        let keys = Keys::open(&rows, None, "issuer").unwrap();
        let before = LATER.minus(hallpass_session::time::Seconds::new(1));

        assert!(keys.session_jwks().to_string().contains(&kid));
        assert_ne!(keys.session_signer(before).unwrap().kid(), kid);
        assert_eq!(keys.session_signer(LATER).unwrap().kid(), kid);
        assert_eq!(standing(&rows, &rows[3], before), KeyStanding::Published);
        assert_eq!(standing(&rows, &rows[0], before), KeyStanding::Signing);
        assert_eq!(standing(&rows, &rows[3], LATER), KeyStanding::Signing);
        assert_eq!(standing(&rows, &rows[0], LATER), KeyStanding::Superseded);
        assert_eq!(stopped_signing(&rows, &rows[0], LATER), Some(LATER));
        assert_eq!(stopped_signing(&rows, &rows[0], before), None);
    }

    #[test]
    fn rotate_keeps_the_algorithm_unless_told() {
        let mut keys = first();
        let es256 = Some(SigningAlgorithm::Es256);
        let start = SigningStart::AtOnce;
        let new = maker(LATER).rotate(&keys, KeyKind::Session, es256, start);
        keys.push(new.unwrap());

        let again = maker(LATER).rotate(&keys, KeyKind::Session, None, start);

        assert_eq!(again.unwrap().alg, "ES256");
        let keys = Keys::open(&keys, None, "issuer").unwrap();
        assert!(keys.session_signer(LATER).unwrap().public_jwk()["alg"] == "ES256");
    }

    #[test]
    fn only_signer_is_neither_retired_nor_removed() {
        for kind in KeyKind::ALL {
            let (keys, _) = rotated(kind);
            let kid = kid_of(&keys, kind);

            for refused in [
                retire(&keys, kind, &kid, START),
                remove(&keys, kind, &kid, START),
            ] {
                assert!(matches!(refused, Err(KeyRefusal::OnlySigner(..))));
            }
            assert!(retire(&keys, kind, &kid, LATER).is_ok());
            assert!(remove(&keys, kind, &kid, LATER).is_ok());
        }
    }

    #[test]
    fn replaced_key_is_gone_and_its_successor_signs_at_once() {
        for kind in KeyKind::ALL {
            let mut keys = first();
            let kid = kid_of(&keys, kind);

            let [made, removed] = maker(START)
                .replace(&keys, kind, &kid)
                .unwrap()
                .try_into()
                .unwrap();
            assert!(removed.secret.is_empty());
            write(&mut keys, removed);
            keys.push(made.clone());

            assert_eq!(standing(&keys, &made, START), KeyStanding::Signing);
            assert!(Keys::open(&keys, None, "issuer").is_ok());
        }
    }

    #[test]
    fn retired_key_is_trusted_and_steps_in_no_more() {
        let (mut keys, kid) = rotated(KeyKind::Renewal);
        let retired = retire(&keys, KeyKind::Renewal, "1", LATER).unwrap();
        write(&mut keys, retired);

        let opened = Keys::open(&keys, None, "issuer").unwrap();

        assert!(matches!(opened.renewal(1), RenewalKeyState::Trusted(_)));
        let refused = remove(&keys, KeyKind::Renewal, &kid, LATER);
        assert!(matches!(refused, Err(KeyRefusal::OnlySigner(..))));
        let again = retire(&keys, KeyKind::Renewal, "1", LATER);
        assert!(matches!(again, Err(KeyRefusal::Already(_, "retired"))));
    }

    #[test]
    fn removed_renewal_key_keeps_its_id() {
        let (mut keys, _) = rotated(KeyKind::Renewal);
        let removed = remove(&keys, KeyKind::Renewal, "1", LATER).unwrap();
        write(&mut keys, removed);

        let opened = Keys::open(&keys, None, "issuer").unwrap();
        let start = SigningStart::AtOnce;
        let next = maker(LATER).rotate(&keys, KeyKind::Renewal, None, start);

        assert_eq!(opened.renewal(1), RenewalKeyState::Removed);
        assert_eq!(next.unwrap().kid, "3");
        let again = remove(&keys, KeyKind::Renewal, "1", LATER);
        assert!(matches!(again, Err(KeyRefusal::Already(_, "removed"))));
    }

    #[test]
    fn renewal_ids_run_out_at_255() {
        let mut keys = first();
        keys[2].kid = "254".to_owned();
        let start = SigningStart::AtOnce;

        let last = maker(START).rotate(&keys, KeyKind::Renewal, None, start);
        keys.push(last.unwrap());
        let refused = maker(START).rotate(&keys, KeyKind::Renewal, None, start);

        assert_eq!(keys[3].kid, "255");
        assert!(matches!(refused, Err(KeyRefusal::IdsUsedUp)));
    }

    #[test]
    fn rotate_stops_at_as_many_keys_as_edges_take() {
        let mut keys = first();
        let start = SigningStart::AfterPublication;
        let rotate = |keys: &[KeyRow]| maker(START).rotate(keys, KeyKind::List, None, start);
        for _ in 1..16 {
            let new = rotate(&keys).unwrap();
            keys.push(new);
        }

        assert!(matches!(rotate(&keys), Err(KeyRefusal::TooMany("list"))));
        let kid = kid_of(&keys, KeyKind::List);
        assert!(maker(START).replace(&keys, KeyKind::List, &kid).is_ok());
    }

    #[test]
    fn keys_in_clear_are_sealed_and_stay_the_same_keys() {
        let master = MasterKey::new([1; 32]);
        let clear = first();
        let sealing = KeyMaker {
            master: Some(&master),
            ..maker(START)
        };

        let sealed = sealing.seal_those_in_clear(&clear).unwrap();

        assert_eq!(sealed.len(), 3);
        assert!(sealed.iter().all(|row| row.sealed));
        assert_eq!(sealed[0].check_value, clear[0].check_value);
        assert!(Keys::open(&sealed, Some(&master), "issuer").is_ok());
        assert!(Keys::open(&sealed, None, "issuer").is_err());
        assert!(sealing.seal_those_in_clear(&sealed).unwrap().is_empty());
    }

    #[test]
    fn reseal_needs_the_master_key_that_goes() {
        let (old, new) = (MasterKey::new([1; 32]), MasterKey::new([2; 32]));
        let keys = first_keys(Some(&old), "issuer", START).unwrap();
        let maker = KeyMaker {
            master: Some(&new),
            ..maker(START)
        };

        assert!(maker.reseal(&keys, Some(&new)).is_err());
        assert!(maker.reseal(&keys, None).is_err());
        let resealed = maker.reseal(&keys, Some(&old)).unwrap();

        assert!(Keys::open(&resealed, Some(&old), "issuer").is_err());
        assert!(Keys::open(&resealed, Some(&new), "issuer").is_ok());
    }
}
