//! What a token is judged against: a key set and a revocation list, from files or from the table.
//!
//! A list from a file must be signed, as an edge demands; it is taken in at the second of its making,
//! so that a list kept for a post-mortem still speaks. A list from the table is the table's word
//! now. Only a signature makes a list (`hallpass_session::jws::Verified` has one maker), so this
//! command signs what it read itself, with a key that it forgets.

use std::path::{Path, PathBuf};

use hallpass_session::json;
use hallpass_session::jws::KeyMismatch;
use hallpass_session::keyring::{JwkSet, KeySetFault, Keyring};
use hallpass_session::revocation::{self, ListFault, MAX_LIST_BYTES, RevocationList};
use hallpass_session::time::UnixSeconds;
use hallpass_session::wire::EdgeKeys;
use hallpass_signature::SigningKey;
use serde_json::{Value, json};

use crate::cli::presented::read_bounded;
use crate::cli::{CommandError, Everywhere};
use crate::config::Settings;
use crate::list::whole_list;
use crate::store::sql::{pending_migrations, without_password};
use crate::store::{KeyKind, KeyRow, LogRead, Store};

/// Longest key set that is read, in bytes: sixteen keys have 3 KB.
const KEYS_MAX_BYTES: u64 = 64 << 10;

/// Where keys and list come from.
pub(super) struct Sources<'a> {
    pub(super) keys: Option<&'a PathBuf>,
    pub(super) list: Option<&'a PathBuf>,
    /// The second in which the table is read.
    pub(super) clock: UnixSeconds,
    /// The second of judgement.
    pub(super) now: UnixSeconds,
}

/// Keys and list that a token is judged against.
pub(super) struct Evidence {
    pub(super) keyring: Keyring,
    pub(super) list: RevocationList,
    /// When the list was made.
    pub(super) listed_at: UnixSeconds,
}

/// Both kinds of public keys.
struct PublicKeys {
    session: Keyring,
    /// None if only session keys were given.
    list: Option<Keyring>,
}

impl Evidence {
    /// Reads both; the table is opened only for what no file gives.
    pub(super) async fn read(
        everywhere: &Everywhere,
        settings: &Settings,
        sources: &Sources<'_>,
    ) -> Result<Self, CommandError> {
        let given = sources.keys.map(|file| read_keys(file)).transpose()?;
        let needs_list_keys = given.as_ref().is_none_or(|keys| keys.list.is_none());
        let table = match sources.list {
            Some(_) if !needs_list_keys => None,
            _ => Some(Table::read(everywhere, settings, sources).await?),
        };
        let of_table = table.as_ref().map(Table::keys).transpose()?;
        let list_keys = given.as_ref().and_then(|keys| keys.list.as_ref());
        let list_keys = list_keys.or(of_table.as_ref().and_then(|keys| keys.list.as_ref()));
        let (list, listed_at) = match (sources.list, table) {
            (Some(file), _) => read_list(file, list_keys, settings)?,
            (None, Some(table)) => (table.list(settings, sources.clock)?, sources.clock),
            (None, None) => return Err(unusable("there is no list")),
        };
        let keys = given
            .or(of_table)
            .ok_or_else(|| unusable("there are no keys"))?;
        Ok(Self {
            keyring: keys.session,
            list,
            listed_at,
        })
    }
}

/// What the table says.
struct Table {
    keys: Vec<KeyRow>,
    log: LogRead,
}

impl Table {
    async fn read(
        everywhere: &Everywhere,
        settings: &Settings,
        sources: &Sources<'_>,
    ) -> Result<Self, CommandError> {
        // Explaining creates no table.
        let url = &settings.database_url;
        if !pending_migrations(url).await?.is_empty() {
            return Err(CommandError::Unreachable(format!(
                "{} is no session table of this version: name it with --config or \
                 --database-url, or give the answer of GET /v1/edge/keys with --keys and a list \
                 with --list",
                without_password(url)
            )));
        }
        let store = everywhere.open().await?;
        let keys = store.keys().await;
        // What was listed at the second of judgement counts, however long ago that is.
        let listed_since = sources.clock.min(sources.now).minus(settings.list_retain);
        let log = store.read_log(0, listed_since).await;
        store.close().await;
        Ok(Self {
            keys: keys?,
            log: log?,
        })
    }

    fn keys(&self) -> Result<PublicKeys, CommandError> {
        Ok(PublicKeys {
            session: self.keyring(KeyKind::Session)?,
            list: Some(self.keyring(KeyKind::List)?),
        })
    }

    fn keyring(&self, kind: KeyKind) -> Result<Keyring, CommandError> {
        let trusted = self
            .keys
            .iter()
            .filter(|row| row.kind == kind && row.removed_at.is_none());
        let public = trusted.filter_map(|row| json::parse(row.public_jwk.as_ref()?.as_bytes()));
        let keys: Vec<Value> = public.collect();
        if keys.is_empty() {
            return Ok(Keyring::default());
        }
        keyring(&json!({ "keys": keys }))
            .map_err(|why| unusable(format!("the table's keys: {why}")))
    }

    fn list(self, settings: &Settings, clock: UnixSeconds) -> Result<RevocationList, CommandError> {
        let claims = whole_list(self.log, &settings.issuer, clock);
        let signer = SigningKey::generate("forgotten");
        let text = signer
            .sign_list(&claims)
            .map_err(|error| CommandError::No(error.to_string()))?;
        let keys = keyring(&json!({"keys": [signer.public_jwk()]})).map_err(unusable)?;
        let (list, _) = take_in(&text, &keys, &settings.issuer).map_err(unusable)?;
        Ok(list)
    }
}

fn read_keys(file: &Path) -> Result<PublicKeys, CommandError> {
    let read = || {
        let bytes = read_bounded(file, KEYS_MAX_BYTES)?;
        let set = json::parse(&bytes).ok_or_else(|| unusable("not JSON, or a member twice"))?;
        let both: Result<EdgeKeys, _> = serde_json::from_value(set.clone());
        Ok(match both {
            Ok(both) => PublicKeys {
                session: keyring(&both.session).map_err(unusable)?,
                list: Some(keyring(&both.list).map_err(unusable)?),
            },
            Err(_) => PublicKeys {
                session: keyring(&set).map_err(unusable)?,
                list: None,
            },
        })
    };
    read().map_err(|error| named("--keys", error))
}

fn read_list(
    file: &Path,
    keys: Option<&Keyring>,
    settings: &Settings,
) -> Result<(RevocationList, UnixSeconds), CommandError> {
    let read = || {
        let max_bytes = u64::try_from(MAX_LIST_BYTES).unwrap_or(u64::MAX);
        let bytes = read_bounded(file, max_bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let keys = keys.ok_or_else(|| unusable("there are no list keys"))?;
        take_in(text.trim_ascii(), keys, &settings.issuer).map_err(unusable)
    };
    read().map_err(|error| named("--list", error))
}

/// Takes a signed list in, as an edge did at the second of its making.
fn take_in(
    text: &str,
    keys: &Keyring,
    issuer: &str,
) -> Result<(RevocationList, UnixSeconds), &'static str> {
    let question = revocation::parse(text).map_err(list_words)?.question(keys);
    let question = question.map_err(|mismatch| match mismatch {
        KeyMismatch::UnknownKid => "its key is none of the list keys",
        KeyMismatch::OtherAlgorithm => "its key is for another algorithm",
    })?;
    let verdict = hallpass_signature::verify(&question);
    let list = question
        .answered(verdict)
        .map_err(|_| "its signature is bad")?;
    let made_at = UnixSeconds::new(list.content().iat);
    let list = RevocationList::new(list, issuer, made_at).map_err(list_words)?;
    Ok((list, made_at))
}

fn keyring(set: &Value) -> Result<Keyring, &'static str> {
    let words = |fault| match fault {
        KeySetFault::Form => "not a JWK set of 1 to 16 keys",
        KeySetFault::Key => "a key is private, symmetric, of an unknown kind or for another use",
        KeySetFault::DuplicateKid => "two keys have one kid",
        KeySetFault::Weak => "a key is weak or not on its curve",
    };
    let set = JwkSet::parse(set).map_err(words)?;
    set.checked(hallpass_signature::is_sound).map_err(words)
}

const fn list_words(fault: ListFault) -> &'static str {
    match fault {
        ListFault::Malformed => "not a revocation list",
        ListFault::OtherIssuer => "it is of another issuer; say whose with --issuer",
        ListFault::Expired => "it expired before it was made",
        ListFault::RolledBack | ListFault::Gap => "it has changes only; ask for the whole list",
    }
}

fn unusable(why: impl AsRef<str>) -> CommandError {
    CommandError::Usage(why.as_ref().to_owned())
}

fn named(flag: &str, error: CommandError) -> CommandError {
    match error {
        CommandError::Usage(text) => CommandError::Usage(format!("{flag}: {text}")),
        other => other,
    }
}
