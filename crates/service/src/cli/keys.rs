//! `hallpass keys list`.

use clap::Subcommand;
use hallpass_session::time::UnixSeconds;
use serde::Serialize;

use super::report::{maybe_time, table, time};
use super::{CommandError, Everywhere, report};
use crate::store::{KeyKind, KeyRow, Store};

#[derive(Subcommand)]
pub(super) enum KeysCommand {
    /// List keys, without their secrets
    List,
}

#[derive(Serialize)]
struct Listed {
    kind: KeyKind,
    kid: String,
    alg: String,
    sealed: bool,
    created_at: u64,
    signs_from: u64,
    retired_at: Option<u64>,
    removed_at: Option<u64>,
}

pub(super) async fn run(everywhere: &Everywhere, command: KeysCommand) -> Result<(), CommandError> {
    let KeysCommand::List = command;
    let store = everywhere.open().await?;
    let rows = store.keys().await;
    store.close().await;
    let rows = rows?;
    let listed: Vec<Listed> = rows.iter().map(listed).collect();
    report::write(everywhere.format(), &listed, |_| {
        let heading = [
            "kind",
            "kid",
            "alg",
            "at rest",
            "created",
            "signs from",
            "retired",
            "removed",
        ];
        table(
            &heading,
            rows.iter().map(line).collect(),
            "no keys yet: `hallpass serve` makes them",
        )
    });
    Ok(())
}

fn listed(row: &KeyRow) -> Listed {
    Listed {
        kind: row.kind,
        kid: row.kid.clone(),
        alg: row.alg.clone(),
        sealed: row.sealed,
        created_at: row.created_at.get(),
        signs_from: row.signs_from.get(),
        retired_at: row.retired_at.map(UnixSeconds::get),
        removed_at: row.removed_at.map(UnixSeconds::get),
    }
}

fn line(row: &KeyRow) -> Vec<String> {
    vec![
        row.kind.name().to_owned(),
        row.kid.clone(),
        row.alg.clone(),
        if row.sealed { "sealed" } else { "in clear" }.to_owned(),
        time(row.created_at),
        time(row.signs_from),
        maybe_time(row.retired_at),
        maybe_time(row.removed_at),
    ]
}
