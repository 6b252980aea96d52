//! `hallpass config print|check`.

use clap::Subcommand;
use serde::Serialize;
use toml::Value;

use super::report;
use super::{CommandError, Everywhere};
use crate::config::GivenSettings;

#[derive(Subcommand)]
pub(super) enum ConfigCommand {
    /// Print every setting, and where it comes from
    Print(Box<GivenSettings>),
    /// Say whether `serve` would accept the settings
    Check(Box<GivenSettings>),
}

/// A setting as it is in force.
#[derive(Serialize)]
struct InForce {
    key: String,
    value: Value,
    source: &'static str,
}

pub(super) fn run(everywhere: &Everywhere, command: ConfigCommand) -> Result<(), CommandError> {
    match command {
        ConfigCommand::Print(given) => print(everywhere, *given),
        ConfigCommand::Check(given) => {
            everywhere.settings(*given)?;
            let ok = serde_json::json!({"ok": true});
            report::write(everywhere.format(), &ok, |_| "ok".into());
            Ok(())
        }
    }
}

/// Prints TOML that is good as a settings file, each source as a comment.
fn print(everywhere: &Everywhere, given: GivenSettings) -> Result<(), CommandError> {
    let table = |given: &GivenSettings| {
        toml::Table::try_from(given).map_err(|error| CommandError::No(error.to_string()))
    };
    let above = table(&everywhere.above(given.clone()))?;
    let file = table(&everywhere.file()?)?;
    let settings = table(&everywhere.settings(given)?.spelled_out())?;
    let source = |key: &str| {
        if everywhere.is_from_environment(key) {
            "environment"
        } else if above.contains_key(key) {
            "flag"
        } else if file.contains_key(key) {
            "file"
        } else {
            "default"
        }
    };
    let in_force: Vec<InForce> = settings
        .into_iter()
        .map(|(key, value)| InForce {
            source: source(&key),
            key,
            value,
        })
        .collect();
    report::write(everywhere.format(), &in_force, |in_force| {
        let line = |setting: &InForce| {
            let assignment = format!("{} = {}", setting.key, setting.value);
            format!("{assignment:<56} # {}", setting.source)
        };
        in_force.iter().map(line).collect::<Vec<_>>().join("\n")
    });
    Ok(())
}
