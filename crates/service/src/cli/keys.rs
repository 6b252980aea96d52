//! `hallpass keys list|rotate|retire|remove|reseal`.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};
use hallpass_session::time::UnixSeconds;
use hallpass_signature::SigningAlgorithm;
use serde::Serialize;

use super::report::{maybe_time, table, time};
use super::sessions::confirmed;
use super::{CommandError, Everywhere, report};
use crate::clock::{Clock, SystemClock};
use crate::config::{DEVELOPMENT_ISSUER, GivenSettings};
use crate::key_changes::{
    KeyMaker, KeyRefusal, KeyStanding, SigningStart, change_keys, remove, retire, standing,
    stopped_signing,
};
use crate::keys::Keys;
use crate::master_key::MasterKey;
use crate::store::{KeyKind, KeyRow, Store};

#[derive(Subcommand)]
pub(super) enum KeysCommand {
    /// List keys, without their secrets
    List {
        /// Only those of this kind
        #[arg(long)]
        kind: Option<KeyKind>,
    },
    /// Make a further key; it is published at once and signs ten minutes later
    ///
    /// By then every edge has fetched it. The key before it stays trusted: tokens it signed live on.
    Rotate {
        /// What it is for
        #[arg(long)]
        kind: KeyKind,
        /// Algorithm, for session and list keys [default: that of the key that signs]
        #[arg(long, value_parser = algorithm())]
        alg: Option<SigningAlgorithm>,
        /// Let it sign at once, in an emergency: edges fetch it when they first meet it
        #[arg(long)]
        now: bool,
        #[command(flatten)]
        place: KeyPlace,
    },
    /// Let a key sign no longer; what it signed stays trusted
    Retire {
        #[command(flatten)]
        key: KeyName,
    },
    /// Trust a key no longer, and forget its secret
    ///
    /// What a session key signed is refused by every edge within its bound, and renewed by the next
    /// request. Removing a renewal key signs out every session that holds a token of it.
    Remove {
        #[command(flatten)]
        key: KeyName,
        /// Make a key that signs at once in its place, in the same step
        #[arg(long)]
        replace: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        place: KeyPlace,
    },
    /// Seal every key anew under another master key
    ///
    /// Running services go on; start them with the new file from then on.
    Reseal {
        /// File with the new master key: 32 bytes in base64url
        #[arg(long, value_name = "FILE")]
        new_master_key_file: PathBuf,
        #[command(flatten)]
        place: KeyPlace,
    },
}

/// One key.
#[derive(Args)]
pub(super) struct KeyName {
    /// What it is for
    #[arg(long)]
    kind: KeyKind,
    /// Its id, as `list` shows it
    #[arg(allow_hyphen_values = true)]
    kid: String,
}

/// What a key is bound to.
#[derive(Args)]
pub(super) struct KeyPlace {
    /// Issuer of the service; goes before the settings file
    #[arg(long, env = "HALLPASS_ISSUER", value_name = "URL")]
    issuer: Option<String>,
    /// File with the master key that seals the keys; goes before the settings file
    #[arg(long, env = "HALLPASS_MASTER_KEY_FILE", value_name = "FILE")]
    master_key_file: Option<PathBuf>,
}

impl ValueEnum for KeyKind {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

#[derive(Serialize)]
struct Listed {
    kind: KeyKind,
    kid: String,
    alg: String,
    state: KeyStanding,
    sealed: bool,
    created_at: u64,
    signs_from: u64,
    retired_at: Option<u64>,
    removed_at: Option<u64>,
}

/// A change that was made.
#[derive(Serialize)]
struct Changed {
    /// Number of the change in the log.
    number: u64,
    keys: Vec<Listed>,
}

pub(super) async fn run(everywhere: &Everywhere, command: KeysCommand) -> Result<(), CommandError> {
    let store = everywhere.open().await?;
    let done = dispatch(everywhere, &store, command).await;
    store.close().await;
    done
}

async fn dispatch(
    everywhere: &Everywhere,
    store: &dyn Store,
    command: KeysCommand,
) -> Result<(), CommandError> {
    match command {
        KeysCommand::List { kind } => list(everywhere, store, kind).await,
        KeysCommand::Rotate {
            kind,
            alg,
            now,
            place,
        } => {
            if kind == KeyKind::Renewal && alg.is_some() {
                let text = "--alg: renewal keys have none to choose";
                return Err(CommandError::Usage(text.to_owned()));
            }
            let start = if now {
                SigningStart::AtOnce
            } else {
                SigningStart::AfterPublication
            };
            let bound = place.read(everywhere)?;
            let plan = |keys: &[KeyRow]| {
                bound.prove(keys)?;
                Ok(vec![bound.maker().rotate(keys, kind, alg, start)?])
            };
            report_change(everywhere, &change(store, plan).await?);
            Ok(())
        }
        KeysCommand::Retire { key } => {
            let plan = |keys: &[KeyRow]| Ok(vec![retire(keys, key.kind, &key.kid, now_second())?]);
            report_change(everywhere, &change(store, plan).await?);
            Ok(())
        }
        KeysCommand::Remove {
            key,
            replace,
            yes,
            place,
        } => {
            let replacement = replace.then(|| place.read(everywhere)).transpose()?;
            remove_key(everywhere, store, &key, replacement.as_ref(), yes).await
        }
        KeysCommand::Reseal {
            new_master_key_file,
            place,
        } => {
            let bound = place.read(everywhere)?;
            let new = MasterKey::read(&new_master_key_file).map_err(CommandError::Usage)?;
            let plan = |keys: &[KeyRow]| {
                let maker = KeyMaker {
                    master: Some(&new),
                    ..bound.maker()
                };
                Ok(maker.reseal(keys, bound.master.as_ref())?)
            };
            report_change(everywhere, &change(store, plan).await?);
            Ok(())
        }
    }
}

async fn list(
    everywhere: &Everywhere,
    store: &dyn Store,
    kind: Option<KeyKind>,
) -> Result<(), CommandError> {
    let keys = store.keys().await?;
    let shown: Vec<Listed> = keys
        .iter()
        .filter(|row| kind.is_none_or(|kind| kind == row.kind))
        .map(|row| listed(&keys, row))
        .collect();
    report::write(everywhere.format(), &shown, |shown| {
        describe(shown, "no keys yet: `hallpass serve` makes them")
    });
    Ok(())
}

async fn remove_key(
    everywhere: &Everywhere,
    store: &dyn Store,
    key: &KeyName,
    replacement: Option<&Bound>,
    yes: bool,
) -> Result<(), CommandError> {
    let plan = |keys: &[KeyRow]| match replacement {
        Some(bound) => {
            bound.prove(keys)?;
            bound.maker().replace(keys, key.kind, &key.kid)
        }
        None => Ok(vec![remove(keys, key.kind, &key.kid, now_second())?]),
    };
    let keys = store.keys().await?;
    plan(&keys)?;
    if key.kind == KeyKind::Renewal && !yes {
        let hit = sessions_of_key(store, &keys, key).await?;
        let question = format!(
            "About {hit} live sessions hold a token of renewal key {} and will be signed out. \
             Remove it?",
            key.kid
        );
        if hit > 0 && !confirmed(&question) {
            return Err(CommandError::No(format!(
                "nothing was removed: about {hit} live sessions would be signed out; say --yes to \
                 remove it"
            )));
        }
    }
    report_change(everywhere, &change(store, plan).await?);
    Ok(())
}

/// Live sessions whose last renewal token was made with a key.
async fn sessions_of_key(
    store: &dyn Store,
    keys: &[KeyRow],
    key: &KeyName,
) -> Result<u64, CommandError> {
    let now = now_second();
    let Some(row) = keys.iter().find(|row| key.is(row)) else {
        return Ok(0);
    };
    let until = stopped_signing(keys, row, now).unwrap_or(UnixSeconds::new(u64::MAX));
    Ok(store.count_renewed_between(row.signs_from, until).await?)
}

/// Makes the change and reads how the keys then stand.
async fn change(
    store: &dyn Store,
    plan: impl Fn(&[KeyRow]) -> Result<Vec<KeyRow>, KeyRefusal>,
) -> Result<Changed, CommandError> {
    let (number, changed) = change_keys::<CommandError>(store, plan).await?;
    let keys = store.keys().await?;
    let keys = changed.iter().map(|row| listed(&keys, row)).collect();
    Ok(Changed { number, keys })
}

/// Issuer and master key, read.
pub(super) struct Bound {
    pub(super) issuer: String,
    pub(super) master: Option<MasterKey>,
}

impl KeyPlace {
    pub(super) fn read(&self, everywhere: &Everywhere) -> Result<Bound, CommandError> {
        let given = everywhere.given(GivenSettings {
            issuer: self.issuer.clone(),
            master_key_file: self.master_key_file.clone(),
            ..GivenSettings::default()
        })?;
        let master = given.master_key_file.as_deref().map(MasterKey::read);
        Ok(Bound {
            issuer: given
                .issuer
                .unwrap_or_else(|| DEVELOPMENT_ISSUER.to_owned()),
            master: master.transpose().map_err(CommandError::Usage)?,
        })
    }
}

impl Bound {
    fn maker(&self) -> KeyMaker<'_> {
        KeyMaker {
            master: self.master.as_ref(),
            issuer: &self.issuer,
            now: now_second(),
        }
    }

    /// A key that the service could not open would keep it from starting.
    fn prove(&self, keys: &[KeyRow]) -> Result<(), KeyRefusal> {
        Keys::open(keys, self.master.as_ref(), &self.issuer)?;
        Ok(())
    }
}

impl KeyName {
    fn is(&self, row: &KeyRow) -> bool {
        row.kind == self.kind && row.kid == self.kid
    }
}

fn algorithm() -> impl TypedValueParser<Value = SigningAlgorithm> {
    PossibleValuesParser::new(SigningAlgorithm::ALL.map(SigningAlgorithm::name))
        .try_map(|name| SigningAlgorithm::parse(&name).ok_or("no such algorithm"))
}

fn now_second() -> UnixSeconds {
    SystemClock::default().now()
}

fn report_change(everywhere: &Everywhere, changed: &Changed) {
    report::write(everywhere.format(), changed, |changed| {
        describe(&changed.keys, "nothing to change")
    });
}

fn listed(keys: &[KeyRow], row: &KeyRow) -> Listed {
    Listed {
        kind: row.kind,
        kid: row.kid.clone(),
        alg: row.alg.clone(),
        state: standing(keys, row, now_second()),
        sealed: row.sealed,
        created_at: row.created_at.get(),
        signs_from: row.signs_from.get(),
        retired_at: row.retired_at.map(UnixSeconds::get),
        removed_at: row.removed_at.map(UnixSeconds::get),
    }
}

fn describe(keys: &[Listed], empty: &str) -> String {
    let heading = [
        "kind",
        "kid",
        "alg",
        "state",
        "at rest",
        "created",
        "signs from",
        "retired",
        "removed",
    ];
    table(&heading, keys.iter().map(line).collect(), empty)
}

fn line(key: &Listed) -> Vec<String> {
    let at_rest = match (key.state, key.sealed) {
        (KeyStanding::Removed, _) => "gone",
        (_, true) => "sealed",
        (_, false) => "in clear",
    };
    vec![
        key.kind.name().to_owned(),
        key.kid.clone(),
        key.alg.clone(),
        key.state.name().to_owned(),
        at_rest.to_owned(),
        time(UnixSeconds::new(key.created_at)),
        time(UnixSeconds::new(key.signs_from)),
        maybe_time(key.retired_at.map(UnixSeconds::new)),
        maybe_time(key.removed_at.map(UnixSeconds::new)),
    ]
}

impl From<KeyRefusal> for CommandError {
    fn from(refusal: KeyRefusal) -> Self {
        Self::No(refusal.to_string())
    }
}
