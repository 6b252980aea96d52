//! A short run of every fuzz target: they build, their corpus holds, a few seconds find nothing.

use anyhow::Result;

use super::summary::Totals;
use crate::fuzz;

/// For each target.
const SECONDS: u64 = 10;

/// Counts each target as one test; as skipped on a machine that cannot fuzz.
pub(super) fn run() -> Result<Totals> {
    let targets = fuzz::targets()?;
    if let Some(lack) = fuzz::lack() {
        eprintln!("skipped {}: {lack}", targets.join(", "));
        return Ok(Totals::skipped(targets.len()));
    }
    fuzz::prepare()?;
    let mut totals = Totals::default();
    for target in targets {
        totals += if fuzz::look(&target, SECONDS)?.broken {
            Totals::one_failure()
        } else {
            Totals::one_success()
        };
    }
    Ok(totals)
}
