//! `hallpass config print|check`.

use clap::{Args, Command, Subcommand};
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
    /// None of a setting that has no default and nobody gave.
    value: Option<Value>,
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
    let mut settings = table(&everywhere.settings(given)?.spelled_out())?;
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
    let mut keys: Vec<String> = meanings().into_iter().map(|(key, _)| key).collect();
    keys.sort_unstable();
    let in_force = keys.into_iter().map(|key| InForce {
        source: source(&key),
        value: settings.remove(&key),
        key,
    });
    let in_force: Vec<InForce> = in_force.collect();
    report::write(everywhere.format(), &in_force, |in_force| {
        let line = |setting: &InForce| {
            let assignment = match &setting.value {
                Some(value) => format!("{} = {value}", setting.key),
                None => format!("# {} is not set", setting.key),
            };
            format!("{assignment:<56} # {}", setting.source)
        };
        in_force.iter().map(line).collect::<Vec<_>>().join("\n")
    });
    Ok(())
}

/// Every setting in the order of the flags, and what the help of its flag says.
pub(super) fn meanings() -> Vec<(String, String)> {
    let everywhere = Everywhere::augment_args(Command::new(""));
    let own = GivenSettings::augment_args(Command::new(""));
    let is_setting = |id: &str| ["database_url", "journal_file"].contains(&id);
    let everywhere = everywhere
        .get_arguments()
        .filter(|argument| is_setting(argument.get_id().as_str()));
    let arguments = everywhere.chain(own.get_arguments());
    let meaning = |argument: &clap::Arg| {
        let help = argument.get_help().map(ToString::to_string);
        (
            argument.get_id().to_string(),
            help.unwrap_or_default().replace('\n', " "),
        )
    };
    arguments.map(meaning).collect()
}
