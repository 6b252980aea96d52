//! `hallpass audit list`.

use clap::Subcommand;
use hallpass_session::time::UnixSeconds;

use super::report::{table, time};
use super::{CommandError, Everywhere, report};
use crate::store::{AuditEntry, AuditFilter, Store};

#[derive(Subcommand)]
pub(super) enum AuditCommand {
    /// List what was done, newest first
    List {
        /// Done at this time or later, such as 2026-11-21T12:00:00Z
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        since: Option<UnixSeconds>,
        /// Only this, such as `revoke_session`
        #[arg(long)]
        action: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
}

pub(super) async fn run(
    everywhere: &Everywhere,
    command: AuditCommand,
) -> Result<(), CommandError> {
    let AuditCommand::List {
        since,
        action,
        limit,
    } = command;
    let filter = AuditFilter {
        since: since.unwrap_or(UnixSeconds::new(0)),
        action,
        limit,
    };
    let store = everywhere.open().await?;
    let entries = store.audit(&filter).await;
    store.close().await;
    report::write(everywhere.format(), &entries?, |entries| {
        let heading = ["at", "actor", "from", "action", "target", "detail"];
        table(&heading, entries.iter().map(line).collect(), "nothing done")
    });
    Ok(())
}

fn line(entry: &AuditEntry) -> Vec<String> {
    let unknown = || "-".to_owned();
    vec![
        time(UnixSeconds::new(entry.at)),
        entry.actor.clone(),
        entry.ip.clone().unwrap_or_else(unknown),
        entry.action.clone(),
        entry.target.clone().unwrap_or_else(unknown),
        // A name that somebody chose may be in it, and must not steer a terminal.
        report::ascii(&entry.detail.to_string()),
    ]
}

fn parse_time(text: &str) -> Result<UnixSeconds, String> {
    let time: jiff::Timestamp = text
        .parse()
        .map_err(|error: jiff::Error| error.to_string())?;
    u64::try_from(time.as_second())
        .map(UnixSeconds::new)
        .map_err(|_| "before 1970".to_owned())
}
