//! `hallpass config print|check`.

use clap::Subcommand;

use super::report::{self, Format};
use super::{CommandError, Everywhere};
use crate::config::GivenSettings;

#[derive(Subcommand)]
pub(super) enum ConfigCommand {
    /// Print every setting that flags, environment or file give
    Print(Box<GivenSettings>),
    /// Say whether `serve` would accept the settings
    Check(Box<GivenSettings>),
}

pub(super) fn run(everywhere: &Everywhere, command: ConfigCommand) -> Result<(), CommandError> {
    match command {
        ConfigCommand::Print(given) => print(everywhere, *given),
        ConfigCommand::Check(given) => {
            everywhere.settings(*given)?;
            report::write(
                everywhere.format(),
                &serde_json::json!({"ok": true}),
                |_| "ok".into(),
            );
            Ok(())
        }
    }
}

fn print(everywhere: &Everywhere, given: GivenSettings) -> Result<(), CommandError> {
    let given = everywhere.given(given)?;
    match everywhere.format() {
        Format::Json => report::write(Format::Json, &given, |_| String::new()),
        human @ Format::Human => {
            let toml = toml::to_string(&given).map_err(|error| CommandError::No(error.to_string()));
            let toml = toml?;
            report::write(human, &given, |_| toml.trim_end().to_owned());
        }
    }
    Ok(())
}
