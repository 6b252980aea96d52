//! The command line: one variant per command, each with its own file.

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::bench::Bench;
use crate::budget::Budget;
use crate::build::Build;
use crate::crash::Crash;
use crate::dev::Dev;
use crate::doctor::Doctor;
use crate::edge::Edge;
use crate::fuzz::Fuzz;
use crate::generate::Generate;
use crate::guards::Guards;
use crate::mutants::Mutants;
use crate::service::Service;
use crate::setup::Setup;
use crate::tabs::Tabs;
use crate::test::{Check, Test};
use crate::vectors::Vectors;

/// Every tool the project needs: set-up, development, tests
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub(crate) struct Xtask {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Setup(Setup),
    Doctor(Doctor),
    Build(Build),
    Dev(Dev),
    Edge(Edge),
    Service(Service),
    Check(Check),
    Test(Test),
    Vectors(Vectors),
    Fuzz(Fuzz),
    Mutants(Mutants),
    Guards(Guards),
    Crash(Crash),
    Tabs(Tabs),
    Bench(Bench),
    Budget(Budget),
    Generate(Generate),
}

impl Xtask {
    /// Runs the chosen command.
    pub(crate) fn run(self) -> Result<()> {
        match self.command {
            Command::Setup(command) => command.run(),
            Command::Doctor(command) => command.run(),
            Command::Build(command) => command.run(),
            Command::Dev(command) => command.run(),
            Command::Edge(command) => command.run(),
            Command::Service(command) => command.run(),
            Command::Check(command) => command.run(),
            Command::Test(command) => command.run(),
            Command::Vectors(command) => command.run(),
            Command::Fuzz(command) => command.run(),
            Command::Mutants(command) => command.run(),
            Command::Guards(command) => command.run(),
            Command::Crash(command) => command.run(),
            Command::Tabs(command) => command.run(),
            Command::Bench(command) => command.run(),
            Command::Budget(command) => command.run(),
            Command::Generate(command) => command.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_consistent() {
        Xtask::command().debug_assert();
    }
}
