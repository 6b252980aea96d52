//! `cargo xtask crash`: kills the service and its database under load, and looks what was lost.
//!
//! The load, its clients and the history they keep are `bench/load`; this builds it, runs it once
//! per database and sums up.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::native::{self, Profile};
use crate::needs::{self, Group};
use crate::{load, runs, setup, step, tied};

/// A run of as many kills is a long run and leaves a file behind.
const LONG_RUN: u32 = 200;
/// What the tests run.
const SMOKE: u32 = 20;

/// Kill the service and its database at random moments under load, and look what was lost
///
/// After each restart everything that was ever acknowledged is checked: every revocation is in the
/// list, an edge that took in nothing but deltas has it too, no confirmed renewal was forgotten, no
/// generation has two confirmed branches, nobody was signed out. A run of 200 kills or more writes
/// bench/runs/crash-DATABASE.json.
#[derive(Args)]
pub(crate) struct Crash {
    /// Only this database; repeatable [default: all]
    #[arg(long, value_name = "D")]
    database: Vec<Database>,
    /// How often, per database
    #[arg(long, value_name = "N", default_value_t = SMOKE)]
    kills: u32,
    /// Two services on one PostgreSQL behind a round-robin, one of them killed; writes
    /// bench/runs/pair.json
    #[arg(long, conflicts_with = "database")]
    pair: bool,
    /// Another seed is another load
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print the tallies as JSON
    #[arg(long)]
    json: bool,
}

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Database {
    Sqlite,
    Postgresql,
    Mariadb,
}

/// What a run of one database came to; the rest of it is shown as it is.
#[derive(Deserialize, Serialize)]
struct Tally {
    database: String,
    kills_of_service: u32,
    kills_of_database: u32,
    acknowledged: Value,
    recovery_ms: Value,
    violations: Vec<String>,
    #[serde(flatten)]
    rest: Value,
}

/// A tally with the load it is of.
#[derive(Serialize)]
struct Found<'a> {
    seed: u64,
    #[serde(flatten)]
    tally: &'a Tally,
}

impl Crash {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<()> {
        if self.pair {
            return self.run_pair();
        }
        let mut tallies = Vec::new();
        for database in self.databases() {
            let began = Instant::now();
            let tally = observe(database, self.kills, self.seed)?;
            if !self.json {
                println!("{}", tally.in_words());
            }
            if self.kills >= LONG_RUN {
                let found = Found {
                    seed: self.seed,
                    tally: &tally,
                };
                let name = format!("crash-{}", tally.database);
                let file = runs::write(&name, began.elapsed(), &found)?;
                eprintln!("✓ crash: in {}", file.display());
            }
            tallies.push(tally);
        }
        if self.json {
            println!("{}", serde_json::to_string_pretty(&tallies)?);
        }
        let lost: usize = tallies.iter().map(|t| t.violations.len()).sum();
        if lost > 0 {
            bail!("{lost} violations: what was acknowledged did not hold");
        }
        Ok(())
    }

    fn run_pair(&self) -> Result<()> {
        let began = Instant::now();
        let tally = observe_pair(self.kills, self.seed)?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&tally)?);
        } else {
            println!("{}", tally.in_words());
        }
        if self.kills >= LONG_RUN {
            let file = runs::write("pair", began.elapsed(), &tally)?;
            eprintln!("✓ crash: in {}", file.display());
        }
        if !tally.violations.is_empty() {
            bail!("{} violations", tally.violations.len());
        }
        Ok(())
    }

    fn databases(&self) -> Vec<Database> {
        if self.database.is_empty() {
            Database::value_variants().to_vec()
        } else {
            self.database.clone()
        }
    }
}

/// A short run of every database, and of a pair; whether each held.
///
/// # Errors
/// When a run cannot be made at all.
pub(crate) fn smoke() -> Result<Vec<bool>> {
    let mut held = Vec::new();
    for database in Database::value_variants() {
        let tally = observe(*database, SMOKE, 1)?;
        eprintln!("{}", tally.in_words());
        held.push(tally.violations.is_empty());
    }
    let tally = observe_pair(SMOKE, 1)?;
    eprintln!("{}", tally.in_words());
    held.push(tally.violations.is_empty());
    Ok(held)
}

/// Kills one of two services `kills` times.
fn observe_pair(kills: u32, seed: u64) -> Result<PairTally> {
    setup::ensure(needs::of(Group::Databases)?)?;
    let command = load_command("pair", kills, seed)?;
    let label = format!("{kills} kills of one of two services");
    last_line(&label, command)
}

fn load_command(what: &str, kills: u32, seed: u64) -> Result<Command> {
    let hallpass = native::ready_programs()?.join(native::SERVICE);
    let mut command = tied::command(load::build(Profile::Dev)?);
    command.arg(what).arg("--hallpass").arg(hallpass);
    command.args(["--kills", &kills.to_string(), "--seed", &seed.to_string()]);
    Ok(command)
}

/// The result of a run, which is its last line.
fn last_line<T: DeserializeOwned>(label: &str, command: Command) -> Result<T> {
    let finished = step::observe(label, command)?;
    let last = finished.output.lines().last().unwrap_or_default();
    serde_json::from_str(last).with_context(|| format!("{label}: no tally\n{}", finished.output))
}

/// Kills `kills` times with the load that `seed` makes.
///
/// # Errors
/// When something cannot be built or started again.
fn observe(database: Database, kills: u32, seed: u64) -> Result<Tally> {
    if database != Database::Sqlite {
        setup::ensure(needs::of(Group::Databases)?)?;
    }
    let mut command = load_command("crash", kills, seed)?;
    command.args(["--database", &database.name()]);
    last_line(&format!("{kills} kills with {}", database.name()), command)
}

/// What a run of a pair came to.
#[derive(Deserialize, Serialize)]
struct PairTally {
    kills: u32,
    acknowledged: Value,
    lost_in_flight: u64,
    open_when_killed: u64,
    revocation_at_edges_ms: Value,
    everywhere_in_peace_ms: Value,
    violations: Vec<String>,
    #[serde(flatten)]
    rest: Value,
}

impl PairTally {
    fn in_words(&self) -> String {
        format!(
            "pair on PostgreSQL: {} kills; {} renewals, {} revocations acknowledged; {} requests lost of \
             {} in flight at a killed process; a revocation was at each edge after {} ms (at most {}), in \
             force everywhere without kills after {} ms (at most {}); violations: {}",
            self.kills,
            self.acknowledged["renewals"],
            self.acknowledged["revocations"],
            self.lost_in_flight,
            self.open_when_killed,
            self.revocation_at_edges_ms["median"],
            self.revocation_at_edges_ms["greatest"],
            self.everywhere_in_peace_ms["median"],
            self.everywhere_in_peace_ms["greatest"],
            self.violations.len()
        )
    }
}

impl Database {
    fn name(self) -> String {
        self.to_possible_value()
            .map_or(String::new(), |value| value.get_name().to_owned())
    }
}

impl Tally {
    fn in_words(&self) -> String {
        let count = |name: &str| {
            self.acknowledged
                .get(name)
                .and_then(Value::as_u64)
                .unwrap_or(0)
        };
        format!(
            "{}: service killed {} times, database {} times; {} renewals, {} revocations, {} sign-ins \
             acknowledged; recovered in {} ms (at most {}); violations: {}",
            self.database,
            self.kills_of_service,
            self.kills_of_database,
            count("renewals"),
            count("revocations"),
            count("creations"),
            self.recovery_ms["median"],
            self.recovery_ms["greatest"],
            self.violations.len()
        )
    }
}
