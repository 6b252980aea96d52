//! `hallpass migrate`.

use serde::Serialize;

use super::{CommandError, Everywhere, report};
use crate::store::Store;
use crate::store::sql::pending_migrations;

#[derive(clap::Args)]
pub(super) struct MigrateArguments {
    /// Print the statements and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Report {
    applied: bool,
    migrations: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    version: i64,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sql: Option<String>,
}

pub(super) async fn run(
    everywhere: &Everywhere,
    arguments: &MigrateArguments,
) -> Result<(), CommandError> {
    let pending = pending_migrations(&everywhere.database_url()?).await?;
    if !arguments.dry_run {
        everywhere.open().await?.close().await;
    }
    let entry = |migration: &crate::store::sql::Migration| Entry {
        version: migration.version,
        description: migration.description.clone(),
        sql: arguments.dry_run.then(|| migration.sql.clone()),
    };
    let migrations = pending.iter().map(entry).collect();
    let report = Report {
        applied: !arguments.dry_run,
        migrations,
    };
    report::write(everywhere.format(), &report, describe);
    Ok(())
}

fn describe(report: &Report) -> String {
    if report.migrations.is_empty() {
        return "the schema is up to date".to_owned();
    }
    let line = |entry: &Entry| match &entry.sql {
        Some(sql) => format!(
            "-- {} {}\n{}",
            entry.version,
            entry.description,
            sql.trim_end()
        ),
        None => format!("applied {} {}", entry.version, entry.description),
    };
    report
        .migrations
        .iter()
        .map(line)
        .collect::<Vec<_>>()
        .join("\n")
}
