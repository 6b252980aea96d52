//! `cargo xtask mutants`: changes the rules one place at a time and looks whether a test notices.
//!
//! A change that no test notices is a guard that nobody guards. The rules' unit tests, which compile
//! in a second, judge every change; `tests/rules` and `tests/properties` judge what survives them,
//! in a program that does not link the edge (`crates/properties/tests/core.rs`). Outcomes are kept
//! in the target folder, so that `--again` asks only about the survivors of the last run.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::needs::cargo_tool;
use crate::{path_search, runs, setup, step, tied, workspace};

/// The decision core, files of `crates/session/src`.
const CORE: [&str; 14] = [
    "admission",
    "base64url",
    "claims",
    "cookie",
    "json",
    "jws",
    "keyring",
    "path",
    "presented",
    "refusal",
    "renewal",
    "revocation",
    "time",
    "token",
];
/// Share of the mutants that must be killed, in per mille.
const GOAL_PER_MILLE: usize = 980;
/// Both test programs need seconds; a mutant that needs a minute loops.
const HANG_SECS: &str = "60";

/// Change the decision core one place at a time and count which changes a test notices; a long run
///
/// Writes `bench/runs/mutants.json`. Fails when less than 98 % of the mutants are killed.
#[derive(Args)]
pub(crate) struct Mutants {
    /// Files of crates/session/src, without `.rs` [default: the decision core]
    files: Vec<String>,
    /// Only what survived the last run, after a change of the tests and not of the rules
    #[arg(long)]
    again: bool,
}

/// The tests that judge, the cheap ones first.
const JUDGES: [Judge; 2] = [
    Judge {
        label: "mutants before the unit tests",
        package: "hallpass-session",
        tests: &["--lib"],
    },
    Judge {
        label: "survivors before the rule and property tests",
        package: "hallpass-properties",
        tests: &["--test", "core"],
    },
];

/// One set of tests.
struct Judge {
    label: &'static str,
    package: &'static str,
    tests: &'static [&'static str],
}

/// What the run came to.
#[derive(Serialize)]
struct Found {
    files: Vec<String>,
    mutants: usize,
    unviable: usize,
    killed: usize,
    killed_percent: f64,
    missed: Vec<String>,
}

/// The last word on each mutant, by its name: `crates/session/src/jws.rs:10:5: replace …`.
type Outcomes = BTreeMap<String, String>;

impl Mutants {
    /// Runs the command.
    pub(crate) fn run(self) -> Result<()> {
        setup::ensure(vec![Box::new(cargo_tool::cargo_mutants())])?;
        let began = Instant::now();
        let files = match self.files.as_slice() {
            [] => CORE.map(str::to_owned).to_vec(),
            files => files.to_vec(),
        };
        fs::create_dir_all(state())?;
        let mut kept = if self.again {
            Kept::read()?
        } else {
            Kept::default()
        };
        kept.outcomes.retain(|_, had| had != MISSED);
        for (number, judge) in JUDGES.iter().enumerate() {
            let order = if number > 0 || self.again {
                Order::Continue
            } else {
                Order::Begin
            };
            // Tests that fail without any change would call every mutant killed.
            step::run("the tests themselves", judge.baseline())?;
            // Survivors make cargo-mutants fail; they are counted below.
            let finished = step::observe(judge.label, judge.command(&files, order)?)?;
            kept.outcomes.extend(read_outcomes(&finished.output)?);
        }
        kept.seconds += began.elapsed().as_secs();
        fs::write(Kept::file(), serde_json::to_string(&kept)?)?;
        let found = Found::count(files, &kept.outcomes);
        for missed in &found.missed {
            println!("missed: {missed}");
        }
        println!(
            "{} of {} viable mutants killed, {:.1} %",
            found.killed,
            found.killed + found.missed.len(),
            found.killed_percent
        );
        let file = runs::write("mutants", Duration::from_secs(kept.seconds), &found)?;
        eprintln!("wrote {}", file.display());
        found.judge()
    }
}

/// Which mutants a set of tests is asked about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// All.
    Begin,
    /// Those that survived before.
    Continue,
}

impl Judge {
    fn baseline(&self) -> Command {
        let mut command = tied::command("nice");
        command.args(["-n", "19", "cargo", "test", "--profile", "mutants"]);
        command.args(["-p", self.package]).args(self.tests);
        command.env("CARGO_TARGET_DIR", build_folder());
        command.current_dir(workspace::root());
        command
    }

    fn command(&self, files: &[String], order: Order) -> Result<Command> {
        let tool = cargo_tool::cargo_mutants();
        let folder = tool.folder()?.context("cargo-mutants is missing")?;
        let mut command = tied::command("nice");
        command.args(["-n", "19", "cargo", "mutants", "-p", "hallpass-session"]);
        for file in files {
            command.args(["--file", &format!("crates/session/src/{file}.rs")]);
        }
        command.args(["--baseline", "skip", "--no-shuffle", "--timeout", HANG_SECS]);
        command.args(["--jobs", "1", "--profile", "mutants"]);
        command.args(["--test-package", self.package]);
        command.arg("--output").arg(state());
        if order == Order::Continue {
            command.arg("--iterate");
        }
        command.arg("--").args(self.tests);
        command.env("CARGO_TARGET_DIR", build_folder());
        command.env("PATH", path_search::with_first(&[folder])?);
        command.current_dir(workspace::root());
        Ok(command)
    }
}

impl Found {
    fn count(files: Vec<String>, outcomes: &Outcomes) -> Self {
        let with = |summary: &str| outcomes.values().filter(|had| *had == summary).count();
        let unviable = with("Unviable");
        // A mutant that makes a test hang has been noticed.
        let killed = with("CaughtMutant") + with("Timeout");
        let missed = outcomes.iter().filter(|(_, had)| *had == MISSED);
        let missed: Vec<String> = missed.map(|(name, _)| name.clone()).collect();
        let per_mille = killed * 1000 / (killed + missed.len()).max(1);
        Self {
            files,
            mutants: outcomes.len(),
            unviable,
            killed,
            killed_percent: f64::from(u16::try_from(per_mille).unwrap_or(0)) / 10.0,
            missed,
        }
    }

    fn judge(&self) -> Result<()> {
        if self.killed == 0 {
            bail!("no mutant was killed: did the tests build?");
        }
        if self.killed * 1000 < (self.killed + self.missed.len()) * GOAL_PER_MILLE {
            bail!("less than {} % killed", GOAL_PER_MILLE / 10);
        }
        Ok(())
    }
}

/// The word for a mutant that no test noticed.
const MISSED: &str = "MissedMutant";
/// This run and those it continues.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    seconds: u64,
    outcomes: Outcomes,
}

impl Kept {
    fn file() -> PathBuf {
        state().join("outcomes.json")
    }

    fn read() -> Result<Self> {
        let text = fs::read_to_string(Self::file()).context("no earlier run to continue")?;
        Ok(serde_json::from_str(&text)?)
    }
}

/// What is below the rules is compiled here once for all runs.
fn build_folder() -> PathBuf {
    state().join("build")
}

fn state() -> PathBuf {
    workspace::target().join("mutation")
}

/// What one run of cargo-mutants has written down; `printed` is shown when it wrote nothing.
fn read_outcomes(printed: &str) -> Result<Outcomes> {
    let file = state().join("mutants.out/outcomes.json");
    let text = fs::read_to_string(file).inspect_err(|_| eprint!("{printed}"));
    parse_outcomes(&text.context("cargo-mutants did not finish")?)
}

fn parse_outcomes(text: &str) -> Result<Outcomes> {
    let report: Value = serde_json::from_str(text)?;
    let outcomes = report["outcomes"].as_array().context("no outcomes")?;
    let mutants = outcomes.iter().filter_map(|outcome| {
        let name = outcome["scenario"]["Mutant"]["name"].as_str()?;
        Some((name.to_owned(), outcome["summary"].as_str()?.to_owned()))
    });
    Ok(mutants.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{"outcomes": [
        {"scenario": "Baseline", "summary": "Success"},
        {"scenario": {"Mutant": {"name": "a.rs:1:1: x"}}, "summary": "CaughtMutant"},
        {"scenario": {"Mutant": {"name": "a.rs:2:1: x"}}, "summary": "MissedMutant"},
        {"scenario": {"Mutant": {"name": "a.rs:3:1: x"}}, "summary": "Unviable"},
        {"scenario": {"Mutant": {"name": "a.rs:4:1: x"}}, "summary": "Timeout"}
    ]}"#;

    #[test]
    fn count_takes_hanging_for_killed_and_leaves_out_the_unviable() -> Result<()> {
        let found = Found::count(Vec::new(), &parse_outcomes(REPORT)?);
        assert_eq!((found.mutants, found.killed, found.unviable), (4, 2, 1));
        assert_eq!(found.missed, ["a.rs:2:1: x"]);
        assert_eq!(format!("{:.1}", found.killed_percent), "66.6");
        assert!(found.judge().is_err());
        Ok(())
    }

    #[test]
    fn judge_refuses_a_run_that_killed_nothing() {
        let found = Found::count(Vec::new(), &Outcomes::new());
        assert!(found.judge().is_err());
    }

    #[test]
    fn core_names_files_that_exist() {
        for file in CORE {
            let path = workspace::in_root(&format!("crates/session/src/{file}.rs"));
            assert!(path.is_file(), "{file}");
        }
    }
}
