//! Counts instructions per check with valgrind's callgrind.
//!
//! `bench-rules` calls every check a few times through one function; callgrind notes the cost of
//! what a function calls, callee by callee. That is read here; nothing is timed.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail};

use crate::needs::valgrind;
use crate::{files, setup, step, tied, workspace};

const PACKAGE: &str = "bench-rules";
/// The function through which every counted call goes.
const CALLER: &str = "bench_rules::measure";
/// The module of the checks; what follows is the name of one.
const CHECKS: &str = "bench_rules::checks::";

/// Builds the program, and sets valgrind up.
///
/// # Errors
/// When either fails.
pub(crate) fn build() -> Result<()> {
    setup::ensure(vec![Box::new(valgrind::Valgrind)])?;
    let mut command = tied::command("cargo");
    command.args(["build", "--profile", "native", "-p", PACKAGE]);
    command.current_dir(workspace::root());
    step::run("building the checks", command).map(drop)
}

/// Instructions per call of every check.
///
/// # Errors
/// When the program fails, or callgrind says something else than expected.
pub(crate) fn count() -> Result<BTreeMap<String, f64>> {
    let folder = files::throw_away_folder("hallpass-callgrind-")?;
    let out = folder.path().join("out");
    let mut command = tied::command("valgrind");
    command.arg("--tool=callgrind");
    command.arg(format!("--callgrind-out-file={}", out.display()));
    command.arg(workspace::target().join("native").join(PACKAGE));
    step::run("counting instructions", command)?;
    let counted = per_call(&fs::read_to_string(&out).context("callgrind wrote nothing")?);
    if counted.is_empty() {
        bail!("callgrind saw no check: has {CALLER} been inlined?");
    }
    Ok(counted)
}

/// Reads what the caller's calls cost from callgrind's output:
///
/// ```text
/// fn=(1550) bench_rules::measure
/// cfn=(1982) bench_rules::checks::revoked
/// calls=8 0
/// 0 6221303
/// ```
///
/// A name is written out where it first appears and is only a number after that.
fn per_call(output: &str) -> BTreeMap<String, f64> {
    let mut known = BTreeMap::new();
    let mut counted = BTreeMap::new();
    let (mut within, mut called) = ("", "");
    let mut lines = output.lines();
    while let Some(line) = lines.next() {
        if let Some(named) = line.strip_prefix("fn=") {
            within = name(named, &mut known);
        } else if let Some(named) = line.strip_prefix("cfn=") {
            called = name(named, &mut known);
        } else if let Some(calls) = line.strip_prefix("calls=") {
            let cost = lines.next().and_then(|cost| number(cost, 1));
            let check = called.strip_prefix(CHECKS);
            if let (true, Some(check), Some(calls), Some(cost)) =
                (within == CALLER, check, number(calls, 0), cost)
            {
                counted.insert(check.to_owned(), cost / calls);
            }
        }
    }
    counted
}

/// The name of `(7) name` or of `(7)` alone.
fn name<'a>(named: &'a str, known: &mut BTreeMap<&'a str, &'a str>) -> &'a str {
    let (number, written) = named.split_once(' ').unwrap_or((named, ""));
    if written.is_empty() {
        return known.get(number).copied().unwrap_or_default();
    }
    // Mangled names end in a hash, which some versions of valgrind leave on.
    let written =
        written.split_once("::h").map_or(
            written,
            |(name, hash)| {
                if hash.len() == 16 { name } else { written }
            },
        );
    known.insert(number, written);
    written
}

fn number(line: &str, place: usize) -> Option<f64> {
    line.split_whitespace().nth(place)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "fn=(1) bench_rules::warm_up\ncfn=(2) bench_rules::checks::expired\n\
        calls=1 0 \n0 900\n\nfn=(3) bench_rules::measure\n0 512\n\
        cfn=(4) bench_rules::checks::revoked\ncalls=8 0 \n0 1600\ncfn=(2)\ncalls=8 0 \n0 800\n";

    #[test]
    fn per_call_reads_only_what_the_caller_called() {
        let counted = per_call(OUTPUT);
        assert_eq!(counted.get("expired"), Some(&100.0));
        assert_eq!(counted.get("revoked"), Some(&200.0));
        assert_eq!(counted.len(), 2);
    }

    #[test]
    fn name_drops_the_hash_of_a_mangled_name() {
        let mut known = BTreeMap::new();
        let named = "(1) bench_rules::measure::h0123456789abcdef";
        assert_eq!(name(named, &mut known), "bench_rules::measure");
        assert_eq!(name("(1)", &mut known), "bench_rules::measure");
        assert_eq!(name("(2) a::hash", &mut known), "a::hash");
    }
}
