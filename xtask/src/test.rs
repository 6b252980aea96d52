//! `cargo xtask test` and `check`: everything, or the fast subset.
//!
//! A part is a list of runs; how a run's tests are counted is in `summary`. A failing part shows
//! all its output and stops no other. The last line is the sum over all parts, and a run that
//! counted no test at all has failed: silence is no proof.

mod api;
mod parts;
mod smoke;
mod summary;
mod tally;

use std::time::Instant;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::step;
use parts::{Part, Run};
use summary::Totals;

/// Run the fast parts: fmt, clippy, rules
#[derive(Args)]
pub(crate) struct Check {}

/// Run the tests; sets up first what the chosen parts need
///
/// Each part prints its seconds; the last line is `N passed, N failed, N skipped`.
#[derive(Args)]
pub(crate) struct Test {
    /// The parts to run [default: all]
    #[arg(value_name = "PART")]
    parts: Vec<Part>,
    /// Leave out a part; repeatable
    #[arg(long, value_name = "PART")]
    skip: Vec<Part>,
}

impl Check {
    /// Runs the command.
    #[expect(clippy::unused_self, reason = "called as every command is")]
    pub(crate) fn run(&self) -> Result<()> {
        run(&[Part::Fmt, Part::Clippy, Part::Rules])
    }
}

impl Test {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<()> {
        run(&self.chosen())
    }

    /// The chosen parts in the order of the list of parts, each once.
    fn chosen(&self) -> Vec<Part> {
        let all = Part::value_variants().iter().copied();
        all.filter(|part| self.parts.is_empty() || self.parts.contains(part))
            .filter(|part| !self.skip.contains(part))
            .collect()
    }
}

fn run(parts: &[Part]) -> Result<()> {
    let began = Instant::now();
    let mut totals = Totals::default();
    for part in parts {
        totals += run_part(*part);
    }
    eprintln!(
        "{} parts in {} s",
        parts.len(),
        step::seconds(began.elapsed())
    );
    println!("{totals}");
    match totals {
        Totals {
            failed: 0,
            passed: 1..,
            ..
        } => Ok(()),
        Totals { failed: 0, .. } => bail!("no test ran"),
        _ => bail!("{} failed", totals.failed),
    }
}

fn run_part(part: Part) -> Totals {
    let name = part
        .to_possible_value()
        .map_or(String::new(), |value| value.get_name().to_owned());
    eprintln!("── {name}");
    let began = Instant::now();
    let totals = part.runs().and_then(run_all).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        Totals::one_failure()
    });
    let mark = if totals.failed == 0 { "✓" } else { "✗" };
    eprintln!(
        "{mark} {name}: {totals}, {} s",
        step::seconds(began.elapsed())
    );
    totals
}

fn run_all(runs: Vec<Run>) -> Result<Totals> {
    let mut totals = Totals::default();
    for run in runs {
        totals += run.count()?;
    }
    if totals == Totals::default() {
        bail!("no test ran");
    }
    Ok(totals)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(parts: &[Part], skip: &[Part]) -> Vec<Part> {
        Test {
            parts: parts.to_vec(),
            skip: skip.to_vec(),
        }
        .chosen()
    }

    #[test]
    fn chosen_is_everything_by_default() {
        assert_eq!(chosen(&[], &[]), Part::value_variants());
    }

    #[test]
    fn chosen_keeps_the_order_and_takes_each_once() {
        let wanted = chosen(&[Part::Rules, Part::Fmt, Part::Rules], &[]);
        assert_eq!(wanted, [Part::Fmt, Part::Rules]);
    }

    #[test]
    fn chosen_leaves_out_what_is_skipped() {
        assert_eq!(
            chosen(&[Part::Rules, Part::Fmt], &[Part::Fmt]),
            [Part::Rules]
        );
        assert!(!chosen(&[], &[Part::Browser]).contains(&Part::Browser));
    }

    #[test]
    fn run_all_refuses_to_have_run_nothing() {
        assert_eq!(
            run_all(Vec::new()).err().map(|e| e.to_string()).as_deref(),
            Some("no test ran")
        );
    }
}
