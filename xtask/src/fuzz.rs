//! `cargo xtask fuzz`: libFuzzer looks for inputs that break a property.
//!
//! The bodies and the committed corpus are the property tests' too (`crates/properties`,
//! `fuzz/corpus`). What libFuzzer finds interesting is kept in the target folder from run to run;
//! what breaks a property is shown with what to do next.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use crate::needs::cargo_tool;
use crate::{path_search, runs, setup, step, tied, workspace};

/// Longest input: one and a half times the longest token, so that limits are passed.
const MAX_INPUT_BYTES: u32 = 6144;
/// An input that takes longer hangs: the slowest good one takes milliseconds.
const HANG_SECS: u32 = 5;

/// Look for inputs that break a property, with libFuzzer; a long run
///
/// Needs a nightly toolchain and a C++ compiler. Writes `bench/runs/fuzz.json`, for one target
/// `bench/runs/fuzz-*.json`.
#[derive(Args)]
pub(crate) struct Fuzz {
    /// The target, a file of `fuzz/fuzz_targets` [default: all, one after the other]
    target: Option<String>,
    /// How long to look, for each target
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
}

/// What one target's run came to.
#[derive(Serialize)]
pub(crate) struct Outcome {
    target: String,
    seconds: u64,
    executions: u64,
    executions_per_second: u64,
    /// Whether an input broke a property.
    pub(crate) broken: bool,
}

#[derive(Serialize)]
struct Found {
    targets: Vec<Outcome>,
}

impl Fuzz {
    /// Runs the command.
    pub(crate) fn run(self) -> Result<()> {
        if let Some(lack) = lack() {
            bail!("{lack}");
        }
        let all = targets()?;
        let chosen = match &self.target {
            Some(target) if !all.contains(target) => {
                bail!("no such target; there are {}", all.join(", "))
            }
            Some(target) => vec![target.clone()],
            None => all,
        };
        prepare()?;
        let began = Instant::now();
        let mut found = Found {
            targets: Vec::new(),
        };
        for target in &chosen {
            found.targets.push(look(target, self.seconds)?);
        }
        let broken = found.targets.iter().filter(|outcome| outcome.broken);
        let broken: Vec<&str> = broken.map(|outcome| outcome.target.as_str()).collect();
        if !broken.is_empty() {
            bail!("a property of {} is broken", broken.join(", "));
        }
        let name = self
            .target
            .map_or("fuzz".to_owned(), |target| format!("fuzz-{target}"));
        let file = runs::write(&name, began.elapsed(), &found)?;
        eprintln!("wrote {}", file.display());
        Ok(())
    }
}

/// The names of all targets.
///
/// # Errors
/// When there are none.
pub(crate) fn targets() -> Result<Vec<String>> {
    let folder = workspace::in_root("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).context("no fuzz targets")?;
    let files = entries.flatten().map(|entry| entry.path());
    let mut names: Vec<String> = files
        .filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// What this machine lacks for fuzzing, and how to get it; nothing is installed unasked, since no
/// other part of the project needs either.
pub(crate) fn lack() -> Option<String> {
    let compiler = env::var_os("CXX").is_some() || path_search::find("c++").is_some();
    if !has_nightly() {
        Some(
            "no nightly toolchain: `rustup toolchain install nightly --profile minimal`".to_owned(),
        )
    } else if !compiler {
        Some("no C++ compiler, which libFuzzer needs: install g++ or clang".to_owned())
    } else {
        None
    }
}

fn has_nightly() -> bool {
    let mut rustc = Command::new("rustup");
    rustc.args(["run", "nightly", "rustc", "--version"]);
    let asked = rustc.stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// Sets cargo-fuzz up and builds all targets.
///
/// # Errors
/// When either fails.
pub(crate) fn prepare() -> Result<()> {
    setup::ensure(vec![Box::new(cargo_tool::cargo_fuzz())])?;
    step::run("building the fuzz targets", cargo_fuzz("build")?)?;
    Ok(())
}

/// Lets libFuzzer look for so many seconds, beginning with the committed corpus.
///
/// # Errors
/// When the target cannot be run; a broken property is part of the outcome.
pub(crate) fn look(target: &str, seconds: u64) -> Result<Outcome> {
    let (found, broken) = (state("corpus", target)?, state("broken", target)?);
    let mut command = cargo_fuzz("run")?;
    command.arg(target);
    // New inputs go into the first folder.
    command
        .arg(found)
        .arg(workspace::in_root("fuzz/corpus").join(target));
    command.arg("--").args([
        format!("-max_total_time={seconds}"),
        format!("-max_len={MAX_INPUT_BYTES}"),
        format!("-timeout={HANG_SECS}"),
        format!("-artifact_prefix={}/", broken.display()),
        "-print_final_stats=1".to_owned(),
    ]);
    let finished = step::observe(&format!("fuzzing {target}"), command)?;
    let outcome = Outcome::read(
        target,
        finished.elapsed,
        &finished.output,
        !finished.status.success(),
    );
    if outcome.broken {
        eprint!("{}", finished.output);
        eprintln!(
            "Mend it, and keep the input as fuzz/corpus/{target}/WHAT-IT-IS: it is below {}",
            broken.display()
        );
    } else {
        eprintln!("{}", outcome.line());
    }
    Ok(outcome)
}

impl Outcome {
    fn read(target: &str, elapsed: Duration, output: &str, broken: bool) -> Self {
        let executions = statistic(output, "number_of_executed_units");
        Self {
            target: target.to_owned(),
            seconds: elapsed.as_secs(),
            executions,
            executions_per_second: statistic(output, "average_exec_per_sec"),
            broken,
        }
    }

    fn line(&self) -> String {
        let Self {
            target,
            seconds,
            executions,
            executions_per_second,
            ..
        } = self;
        format!("  {target}: {executions} inputs in {seconds} s, {executions_per_second} a second")
    }
}

/// `stat::number_of_executed_units: 1234`
fn statistic(output: &str, name: &str) -> u64 {
    let number = output.lines().find_map(|line| {
        let (found, number) = line.strip_prefix("stat::")?.split_once(':')?;
        (found == name).then(|| number.trim().parse().ok())?
    });
    number.unwrap_or(0)
}

/// A folder below the target folder that stays from run to run.
fn state(kind: &str, target: &str) -> Result<PathBuf> {
    let folder = workspace::target().join("fuzz").join(kind).join(target);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// `cargo +nightly fuzz SUBCOMMAND`; `+nightly` outranks rust-toolchain.toml.
fn cargo_fuzz(subcommand: &str) -> Result<Command> {
    let tool = cargo_tool::cargo_fuzz();
    let folder = tool.folder()?.context("cargo-fuzz is missing")?;
    let mut command = tied::command("cargo");
    command.args(["+nightly", "fuzz", subcommand, "--fuzz-dir"]);
    command.arg(workspace::in_root("fuzz"));
    command
        .arg("--target-dir")
        .arg(workspace::target().join("fuzz"));
    command.env("PATH", path_search::with_first(&[folder])?);
    command.current_dir(workspace::root());
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "#8\tDONE cov: 1 ft: 2\n\
        Done 4096 runs in 11 second(s)\n\
        stat::number_of_executed_units: 4096\n\
        stat::average_exec_per_sec:     372\n";

    #[test]
    fn outcome_reads_what_libfuzzer_counted() {
        let outcome = Outcome::read("path", Duration::from_secs(11), OUTPUT, false);
        assert_eq!(outcome.line(), "  path: 4096 inputs in 11 s, 372 a second");
    }

    #[test]
    fn outcome_counts_nothing_where_nothing_was_counted() {
        let outcome = Outcome::read("path", Duration::ZERO, "==1== ERROR: libFuzzer", true);
        assert_eq!((outcome.executions, outcome.broken), (0, true));
    }

    #[test]
    fn targets_have_a_corpus_each() -> Result<()> {
        for target in targets()? {
            let corpus = workspace::in_root("fuzz/corpus").join(&target);
            assert!(fs::read_dir(corpus)?.next().is_some(), "{target}");
        }
        Ok(())
    }
}
