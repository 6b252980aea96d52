//! `hallpass table prune`; what else there is of `hallpass table` is in `copy`.

use clap::Subcommand;

use super::copy::{self, ExportArguments, ImportArguments};
use super::{CommandError, Everywhere, report};
use crate::clock::{Clock, SystemClock};
use crate::config::{GivenSettings, Settings};
use crate::store::Store;
use crate::upkeep::{prune, retention};

#[derive(Subcommand)]
pub(super) enum TableCommand {
    /// Write the whole table as a portable copy, beside the running service
    ///
    /// JSON Lines, the same for every database. To move a table: stop the service, export, import
    /// into the other database, start the service on that.
    Export(ExportArguments),
    /// Put an exported table into an empty database, as it was
    ///
    /// For a table from which nothing was issued and in which nothing was ended since. A backup is
    /// put back by `hallpass restore`.
    Import(ImportArguments),
    /// Forget now what `serve` forgets once an hour: what is past its retention
    Prune {
        #[command(flatten)]
        given: RetentionGiven,
    },
}

/// How long what is kept.
#[derive(clap::Args)]
pub(super) struct RetentionGiven {
    /// Days for which ended sessions are kept, 0 to 3650; goes before the settings file [default: 30]
    #[arg(long, env = "HALLPASS_ENDED_RETAIN_DAYS", value_name = "DAYS")]
    ended_retain_days: Option<u64>,
    /// Days for which addresses are kept, 0 to 3650; goes before the settings file [default: 90]
    #[arg(long, env = "HALLPASS_ADDRESS_RETAIN_DAYS", value_name = "DAYS")]
    address_retain_days: Option<u64>,
    /// Seconds for which the list keeps entries past their end; goes before the settings file [default: 3600]
    #[arg(long, env = "HALLPASS_LIST_RETAIN_SECS", value_name = "SECS")]
    list_retain_secs: Option<u64>,
}

pub(super) async fn run(
    everywhere: &Everywhere,
    command: TableCommand,
) -> Result<(), CommandError> {
    match command {
        TableCommand::Export(arguments) => copy::export_table(everywhere, arguments).await,
        TableCommand::Import(arguments) => copy::import_table(everywhere, arguments).await,
        TableCommand::Prune { given } => prune_now(everywhere, given).await,
    }
}

async fn prune_now(everywhere: &Everywhere, given: RetentionGiven) -> Result<(), CommandError> {
    let retain = everywhere.given(GivenSettings {
        ended_retain_days: given.ended_retain_days,
        address_retain_days: given.address_retain_days,
        list_retain_secs: given.list_retain_secs,
        ..GivenSettings::default()
    })?;
    // What else the settings say is for `serve` to check.
    let settings = Settings::resolve(GivenSettings {
        ended_retain_days: retain.ended_retain_days,
        address_retain_days: retain.address_retain_days,
        list_retain_secs: retain.list_retain_secs,
        ..GivenSettings::default()
    })?;
    let store = everywhere.open().await?;
    let now = SystemClock::default().now();
    let forgotten = prune(&store, retention(&settings, now)).await;
    store.close().await;
    report::write(everywhere.format(), &forgotten?, |forgotten| {
        format!(
            "forgot {} sessions, {} addresses, {} lines of audit and events",
            forgotten.sessions, forgotten.addresses, forgotten.lines
        )
    });
    Ok(())
}
