//! `cargo xtask tabs`: many sessions renewed by many tabs at once, on each database.
//!
//! The test is one of `crates/service`, which the tests run with few sessions; this runs it with many
//! and keeps what it counted.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::needs::{self, Group};
use crate::{runs, setup, step, tied, workspace};

/// The test that is run on each database.
const TEST: &str = "tabs_of_many_sessions_sign_nobody_out_though_answers_are_lost_and_late";
/// What it prints before its tally.
const MARK: &str = "tally ";
/// A run of as many sessions leaves a file behind.
const LONG_RUN: u32 = 1000;

/// Renew many sessions by ten tabs each at once, with lost and late answers, on each database
///
/// Nobody may be signed out. A run of 1000 sessions or more writes bench/runs/tabs.json.
#[derive(Args)]
pub(crate) struct Tabs {
    /// How many sessions
    #[arg(long, value_name = "N", default_value_t = LONG_RUN, value_parser = clap::value_parser!(u32).range(1..))]
    sessions: u32,
}

#[derive(Serialize)]
struct Found {
    databases: Vec<Value>,
}

impl Tabs {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<()> {
        let began = Instant::now();
        setup::ensure(needs::of(Group::Databases)?)?;
        let mut command = tied::command("cargo");
        command
            .args(["test", "-p", "hallpass-service", "--test", "service", "--"])
            .args([TEST, "--nocapture", "--test-threads", "1"])
            .env("HALLPASS_TEST_SESSIONS", self.sessions.to_string())
            .current_dir(workspace::root());
        let label = format!("{} sessions with ten tabs each", self.sessions);
        let finished = step::run(&label, command)?;
        let found = Found {
            databases: tallies(&finished.output)?,
        };
        for tally in &found.databases {
            println!("{tally}");
        }
        if self.sessions >= LONG_RUN {
            let file = runs::write("tabs", began.elapsed(), &found)?;
            eprintln!("✓ tabs: in {}", file.display());
        }
        Ok(())
    }
}

/// What the test printed, once for each database.
fn tallies(output: &str) -> Result<Vec<Value>> {
    let tallies = output
        .lines()
        .filter_map(|line| line.split_once(MARK))
        .map(|(_, tally)| serde_json::from_str(tally).context("the test printed no tally"))
        .collect::<Result<Vec<Value>>>()?;
    if tallies.len() != 3 {
        bail!("{} databases were tested, not 3", tallies.len());
    }
    Ok(tallies)
}

#[cfg(test)]
mod tests {
    use super::tallies;

    #[test]
    fn tallies_are_read_of_every_database_or_none() {
        let line = "test a::b ... tally {\"signed_out\":0}\nok\n";
        let read = tallies(&line.repeat(3));
        assert_eq!(read.ok().map(|tallies| tallies.len()), Some(3));
        assert!(tallies(&line.repeat(2)).is_err());
        assert!(tallies(&"tally {\n".repeat(3)).is_err());
    }
}
