//! `hallpass credentials create|list|revoke`.

use clap::Subcommand;
use serde::Serialize;

use super::report::{maybe_time, table, time};
use super::{CommandError, Everywhere, report};
use crate::clock::{Clock, SystemClock};
use crate::credential::{self, Scope};
use crate::store::{CredentialRow, Store};

#[derive(Subcommand)]
pub(super) enum CredentialsCommand {
    /// Make a credential; it is shown once and stored only as a digest
    Create {
        /// What it may do
        #[arg(long)]
        scope: Scope,
        /// What to call it
        #[arg(long, default_value = "")]
        name: String,
    },
    /// List credentials, without their secrets
    List {
        /// Only those of this scope
        #[arg(long)]
        scope: Option<Scope>,
    },
    /// Refuse a credential from now on
    Revoke {
        /// Its id, as `list` shows it
        id: String,
    },
}

#[derive(Serialize)]
struct Created {
    id: String,
    scope: String,
    name: String,
    credential: String,
}

#[derive(Serialize)]
struct Listed {
    id: String,
    scope: String,
    name: String,
    created_at: u64,
    revoked_at: Option<u64>,
}

pub(super) async fn run(
    everywhere: &Everywhere,
    command: CredentialsCommand,
) -> Result<(), CommandError> {
    let store = everywhere.open().await?;
    let done = match command {
        CredentialsCommand::Create { scope, name } => {
            create(everywhere, &store, scope, &name).await
        }
        CredentialsCommand::List { scope } => list(everywhere, &store, scope).await,
        CredentialsCommand::Revoke { id } => revoke(everywhere, &store, &id).await,
    };
    store.close().await;
    done
}

async fn create(
    everywhere: &Everywhere,
    store: &dyn Store,
    scope: Scope,
    name: &str,
) -> Result<(), CommandError> {
    if name.len() > 100 || name.chars().any(char::is_control) {
        return Err(CommandError::Usage(
            "--name: at most 100 bytes, printable".to_owned(),
        ));
    }
    let new = credential::create(scope, name, SystemClock::default().now())
        .map_err(|error| CommandError::No(error.to_string()))?;
    store.add_credential(new.row.clone()).await?;
    let CredentialRow {
        id, scope, name, ..
    } = new.row;
    let created = Created {
        id,
        scope,
        name,
        credential: new.secret,
    };
    report::write(everywhere.format(), &created, |created| {
        created.credential.clone()
    });
    Ok(())
}

async fn list(
    everywhere: &Everywhere,
    store: &dyn Store,
    scope: Option<Scope>,
) -> Result<(), CommandError> {
    let mut rows = store.credentials().await?;
    rows.retain(|row| scope.is_none_or(|scope| scope.name() == row.scope));
    let listed: Vec<Listed> = rows.iter().map(listed).collect();
    report::write(everywhere.format(), &listed, |_| {
        let heading = ["id", "scope", "name", "created", "revoked"];
        table(&heading, rows.iter().map(line).collect(), "no credentials")
    });
    Ok(())
}

async fn revoke(everywhere: &Everywhere, store: &dyn Store, id: &str) -> Result<(), CommandError> {
    if !store.revoke_credential(id).await? {
        let text = format!("no such credential in force: {id}; see `hallpass credentials list`");
        return Err(CommandError::No(text));
    }
    let done = serde_json::json!({"revoked": id});
    report::write(everywhere.format(), &done, |_| format!("revoked {id}"));
    Ok(())
}

fn listed(row: &CredentialRow) -> Listed {
    Listed {
        id: row.id.clone(),
        scope: row.scope.clone(),
        name: row.name.clone(),
        created_at: row.created_at.get(),
        revoked_at: row.revoked_at.map(hallpass_session::time::UnixSeconds::get),
    }
}

fn line(row: &CredentialRow) -> Vec<String> {
    vec![
        row.id.clone(),
        row.scope.clone(),
        row.name.clone(),
        time(row.created_at),
        maybe_time(row.revoked_at),
    ]
}
