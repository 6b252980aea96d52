//! `cargo xtask vectors`: third-party vectors and mutated tokens under the rules, natively and in
//! wasm, by the same program (`crates/vectors`).
//!
//! What both machines judged has to have come out the same, case by case: their fingerprints are
//! compared. The data is not part of the repository; where it is absent the sets that need it are
//! skipped, which under `CI=true` is a failure.

mod machine;
mod report;

use std::env;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{runs, workspace};
use machine::Machine;
pub(crate) use machine::program;
use report::Report;

/// Where the data is, seen from the root of the work tree.
const DATA: &str = "../shared/vectors";
/// From so many mutations on a run is long, and leaves `bench/runs/vectors.json` behind.
const LONG_RUN: u64 = 10_000_000;
/// In wasm a signature takes five times as long: at most so many mutations are judged there.
const MUTATIONS_IN_WASM: u64 = 20_000;

/// Judge third-party vectors and mutated tokens by the rules, natively and in wasm
///
/// Prints the counts per set and refusal code. A run of ten million mutations or more writes
/// bench/runs/vectors.json.
#[derive(Args)]
pub(crate) struct Vectors {
    /// Only this set; repeatable [default: all]
    #[arg(long = "set", value_name = "NAME")]
    sets: Vec<Set>,
    /// How many tokens to mutate natively; in wasm at most 20,000 of them
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    mutations: u64,
    /// Another seed is other mutations
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// What can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Set {
    /// Wycheproof's Ed25519 signatures, at the signature layer
    Ed25519,
    /// Wycheproof's P-256 signatures, at the signature layer
    P256,
    /// Wycheproof's HMAC-SHA256, at the signature layer
    Hmac,
    /// Wycheproof's JWS: all refused by the rules, and judged by jwt-simple alone
    Jws,
    /// Wycheproof's JWK sets under the rules for key sets
    Jwk,
    /// The JSON test suite of N. Seriot in three positions of a token
    Json,
    /// One token of each algorithm with every byte changed to every other
    Bytes,
    /// Tokens changed at random
    Mutations,
}

/// What the program on either machine is told.
#[derive(Serialize)]
struct Options {
    data: PathBuf,
    sets: Vec<Set>,
    mutations: u64,
    seed: u64,
    threads: usize,
}

/// How many sets went which way, on both machines together.
pub(crate) struct Outcome {
    /// Sets of which every case went as it must.
    pub(crate) passed: u64,
    /// The others.
    pub(crate) failed: u64,
    /// Sets without their data.
    pub(crate) skipped: u64,
}

impl Vectors {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<()> {
        let began = Instant::now();
        let report = self.report()?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            print!("{report}");
        }
        if self.is_long() {
            let file = runs::write("vectors", began.elapsed(), &report)?;
            eprintln!("wrote {}", file.display());
        }
        let outcome = report.outcome();
        if outcome.failed > 0 {
            bail!("{} sets went wrong", outcome.failed);
        }
        Ok(())
    }

    fn is_long(&self) -> bool {
        let mutates = self.sets.is_empty() || self.sets.contains(&Set::Mutations);
        mutates && self.mutations >= LONG_RUN
    }

    fn report(&self) -> Result<Report> {
        let (sets, skipped) = self.runnable()?;
        let mut options = Options {
            data: workspace::in_root(DATA),
            sets,
            mutations: self.mutations,
            seed: self.seed,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        };
        let mut report = Report {
            skipped,
            ..Report::default()
        };
        if options.sets.is_empty() {
            return Ok(report);
        }
        report.native = Machine::Native.run(&options)?;
        options.mutations = self.mutations.min(MUTATIONS_IN_WASM);
        report.wasm = Machine::Wasm.run(&options)?;
        report.compare();
        Ok(report)
    }

    /// The chosen sets: those that can run, and those whose data is not here.
    fn runnable(&self) -> Result<(Vec<Set>, Vec<Set>)> {
        let all = Set::value_variants().iter().copied();
        let chosen = all.filter(|set| self.sets.is_empty() || self.sets.contains(set));
        let here = workspace::in_root(DATA).is_dir();
        let (sets, skipped): (Vec<_>, Vec<_>) = chosen.partition(|set| here || !set.needs_data());
        if !skipped.is_empty() && env::var("CI").is_ok_and(|value| value == "true") {
            bail!("no third-party data in {DATA}: under CI=true it must be there");
        }
        Ok((sets, skipped))
    }
}

impl Set {
    fn needs_data(self) -> bool {
        !matches!(self, Self::Bytes | Self::Mutations)
    }

    /// As it is chosen on the command line.
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// The run that belongs to the tests: every set, few mutations.
///
/// # Errors
/// When the program does not build or does not run.
pub(crate) fn smoke() -> Result<Outcome> {
    let command = Vectors {
        sets: Vec::new(),
        mutations: MUTATIONS_IN_WASM,
        seed: 1,
        json: false,
    };
    let report = command.report()?;
    let outcome = report.outcome();
    if outcome.failed > 0 {
        eprint!("{report}");
    } else {
        eprintln!("{}", report.in_a_line());
    }
    Ok(outcome)
}

/// Seconds of a set as the report shows them.
fn seconds(seconds: f64) -> String {
    crate::step::seconds(Duration::from_secs_f64(seconds.max(0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(sets: &[Set], mutations: u64) -> Vectors {
        Vectors {
            sets: sets.to_vec(),
            mutations,
            seed: 1,
            json: false,
        }
    }

    #[test]
    fn is_long_only_with_ten_million_mutations() {
        assert!(command(&[], LONG_RUN).is_long());
        assert!(command(&[Set::Mutations], LONG_RUN).is_long());
        assert!(!command(&[], LONG_RUN - 1).is_long());
        assert!(!command(&[Set::Json], LONG_RUN).is_long());
    }

    #[test]
    fn runnable_keeps_the_order_and_needs_no_data_for_own_tokens() -> Result<()> {
        let (sets, skipped) = command(&[Set::Mutations, Set::Bytes], 1).runnable()?;
        assert_eq!(sets, [Set::Bytes, Set::Mutations]);
        assert!(skipped.is_empty());
        Ok(())
    }
}
