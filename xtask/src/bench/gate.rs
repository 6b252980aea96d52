//! Part `gate`: microseconds of processor time per request inside workerd.
//!
//! Each Worker is a workerd process of its own, so that its processor time is its own; what stands
//! around them (service, app, the client) is not counted. Tokens are minted beforehand, and where a
//! case is cold each is presented once.

mod cases;
mod cpu;
mod load;
mod memory;
mod workers;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::Size;
use super::report::Description;
use super::rounds::{self, Round, Sample, Subject};
use crate::children::Family;
use crate::needs::{self, node};
use crate::{build, files, path_search, setup};
use cases::{ALL, Case, Cookie};
use workers::{Around, Worker};

/// What is measured, and what of it was asked for.
pub(super) struct Gate {
    family: Family,
    addresses: BTreeMap<Worker, String>,
    tokens: Tokens,
    requests: usize,
    // Dropped last: the children use it.
    _state: TempDir,
}

/// The tokens of each kind, and which is next in each case.
struct Tokens {
    kinds: BTreeMap<&'static str, Vec<String>>,
    next: BTreeMap<&'static str, usize>,
}

/// How many requests make a sample, and how many go before the first round.
const fn requests(size: Size) -> (usize, usize) {
    match size {
        Size::Full => (1500, 3000), // a sample of a tenth of a second or more; 3000 until V8 has settled
        Size::Smoke => (40, 40),
    }
}

/// The edge remembers at most 10 000 tokens, and forgets the oldest half first: whoever comes again
/// after 12 000 others is new.
const TOKENS_MAX: usize = 12_000;

impl Gate {
    /// Builds and starts everything, and warms it up.
    pub(super) fn prepare(size: Size, rounds: usize) -> Result<Self> {
        setup::ensure(needs::to_run_the_edge())?;
        build::edge()?;
        let (requests, warm_up) = requests(size);
        let count = (1 + warm_up + requests * rounds * rounds::CAP).min(TOKENS_MAX);
        let state = files::throw_away_folder("hallpass-bench-")?;
        let mut family = Family::new()?;
        eprintln!("… minting {count} tokens of each kind");
        let around = workers::start_around(&mut family, state.path(), count)?;
        let mut gate = Self {
            addresses: start_workers(&mut family, &around, state.path())?,
            tokens: Tokens::read(state.path())?,
            family,
            requests,
            _state: state,
        };
        gate.warm_up(warm_up)?;
        Ok(gate)
    }

    fn warm_up(&mut self, requests: usize) -> Result<()> {
        eprintln!("… warming up");
        for case in ALL {
            let warm = self.send(case, requests);
            self.family.check()?;
            warm.with_context(|| format!("warming up {}", case.name))?;
        }
        Ok(())
    }

    /// A sample, and that it was of this case: a lost sample is lost, another one ends the run.
    fn sample(&mut self, case: &Case) -> Result<Sample> {
        if !case.worker.remembers() {
            let sample = self.send(case, self.requests);
            return self.or_lost(case, sample);
        }
        if matches!(case.cookie, Cookie::First(_)) {
            // Thousands of other tokens came since the last round.
            self.send(case, 1)?;
        }
        let before = memory::ask(&self.addresses[&case.worker])?;
        let sample = self.send(case, self.requests);
        let sample = self.or_lost(case, sample)?;
        if sample.is_some() {
            let after = memory::ask(&self.addresses[&case.worker])?;
            before.check(after, case, self.requests)?;
        }
        Ok(sample)
    }

    fn send(&mut self, case: &Case, count: usize) -> Result<f64> {
        self.family.check()?;
        let requests = self.tokens.requests(case, count);
        let process = self.family.process(case.worker.name());
        let process = process.context("the Worker is gone")?;
        let before = cpu::spent_ns(process)?;
        load::send(&self.addresses[&case.worker], &requests, case.status)?;
        let spent = cpu::spent_ns(process)?.saturating_sub(before);
        #[expect(
            clippy::cast_precision_loss,
            reason = "seconds in nanoseconds fit 52 bits"
        )]
        let microseconds = spent as f64 / 1000.0 / count as f64;
        Ok(microseconds)
    }
}

impl Subject for Gate {
    fn control(&self) -> [&str; 2] {
        ["pass_through", "pass_through_again"]
    }

    fn round(&mut self, number: usize) -> Result<Round> {
        let mut order: Vec<&Case> = ALL.iter().collect();
        if number % 2 == 1 {
            order.reverse();
        }
        let mut round = Round::new();
        for case in order {
            round.insert(case.name.to_owned(), self.sample(case)?);
        }
        Ok(round)
    }
}

impl Gate {
    /// A sample in which a request was lost is lost; a Worker that is gone ends the run.
    fn or_lost(&mut self, case: &Case, sample: Result<f64>) -> Result<Sample> {
        self.family.check()?;
        Ok(sample
            .inspect_err(|error| eprintln!("! {}: a sample was lost: {error:#}", case.name))
            .ok())
    }
}

fn start_workers(
    family: &mut Family,
    around: &Around,
    state: &Path,
) -> Result<BTreeMap<Worker, String>> {
    let start = |worker| Ok((worker, workers::start(family, worker, around, state)?));
    Worker::ALL.into_iter().map(start).collect()
}

impl Tokens {
    fn read(folder: &Path) -> Result<Self> {
        let read = |kind: &'static str| {
            let text = fs::read_to_string(folder.join(format!("{kind}.txt")))
                .with_context(|| format!("no tokens of kind {kind}"))?;
            Ok((kind, text.lines().map(str::to_owned).collect()))
        };
        Ok(Self {
            kinds: cases::kinds()
                .into_iter()
                .map(read)
                .collect::<Result<_>>()?,
            next: BTreeMap::new(),
        })
    }

    /// The requests of a sample.
    fn requests(&mut self, case: &Case, count: usize) -> Vec<Vec<u8>> {
        (0..count)
            .map(|_| case.request(&self.cookie(case)))
            .collect()
    }

    fn cookie(&mut self, case: &Case) -> String {
        match case.cookie {
            Cookie::None => String::new(),
            Cookie::Bytes(bytes) => "A".repeat(bytes),
            Cookie::First(kind) => self.kinds[kind][0].clone(),
            Cookie::Next(kind) => {
                let others = &self.kinds[kind][1..]; // the first may be remembered
                let next = self.next.entry(case.name).or_default();
                let token = others[*next % others.len()].clone();
                *next += 1;
                token
            }
        }
    }
}

/// What the part says about itself.
pub(super) fn description() -> Description {
    Description {
        title: "processor time per request in workerd",
        method: "Bare workerd, one process per Worker, keep-alive requests over loopback on four \
                 connections; processor time from /proc/PID/task/*/schedstat, before and after \
                 each sample of 1500 requests. The edge logs a line per request, as it does when \
                 deployed. The list holds 10 000 revoked sessions. By the edge's own counters every \
                 signature was remembered in the cases that say so, and none in the others.",
        unit: "µs",
        cases: cases::words(),
        comparisons: cases::comparisons(),
    }
}

/// The runtime, and what the stand-ins run on.
pub(super) fn versions() -> Result<Vec<(&'static str, String)>> {
    let version = |program: &Path| path_search::version_of(program).unwrap_or_default();
    Ok(vec![
        ("workerd", version(&crate::edge::workerd()?)),
        ("node", version(&node::node()?)),
    ])
}
