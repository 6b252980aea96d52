//! What both machines counted, side by side.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

use super::{Outcome, Set, seconds};

/// Counts of one set on one machine, as `crates/vectors` writes them.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Tally {
    name: String,
    cases: u64,
    failed: u64,
    failures: Vec<String>,
    counts: BTreeMap<String, BTreeMap<String, u64>>,
    notes: Vec<String>,
    fingerprint: u64,
    seconds: f64,
}

/// Both machines.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) native: Vec<Tally>,
    pub(super) wasm: Vec<Tally>,
    pub(super) skipped: Vec<Set>,
}

impl Report {
    /// Makes it a failure of the wasm run when a verdict differs from the native one.
    pub(super) fn compare(&mut self) {
        for (native, wasm) in self.native.iter().zip(&mut self.wasm) {
            if (&native.name, native.fingerprint) != (&wasm.name, wasm.fingerprint) {
                wasm.failed += 1;
                wasm.failures
                    .push("a verdict differs from the native one".to_owned());
            }
        }
    }

    /// What a run that went well says.
    pub(super) fn in_a_line(&self) -> String {
        let cases = |tallies: &[Tally]| tallies.iter().map(|tally| tally.cases).sum::<u64>();
        let (native, wasm) = (cases(&self.native), cases(&self.wasm));
        let skipped: Vec<_> = self.skipped.iter().map(|set| set.name()).collect();
        match skipped.as_slice() {
            [] => format!("{native} cases natively and {wasm} in wasm, every verdict the same"),
            names => format!(
                "{native} cases natively and {wasm} in wasm; no data in {} for {}",
                super::DATA,
                names.join(", ")
            ),
        }
    }

    /// How many sets went which way.
    pub(super) fn outcome(&self) -> Outcome {
        let tallies = || self.native.iter().chain(&self.wasm);
        let went_wrong = |tally: &&Tally| tally.failed > 0;
        Outcome {
            passed: tallies().filter(|tally| !went_wrong(tally)).count() as u64,
            failed: tallies().filter(went_wrong).count() as u64,
            skipped: self.skipped.len() as u64,
        }
    }
}

impl Display for Report {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        for (native, wasm) in self.native.iter().zip(&self.wasm) {
            native.write(formatter, "natively")?;
            wasm.write(formatter, "in wasm")?;
            for (group, verdicts) in &native.counts {
                writeln!(formatter, "    {group}: {}", sum(verdicts))?;
            }
            for note in &native.notes {
                writeln!(formatter, "    note: {note}")?;
            }
        }
        for set in &self.skipped {
            writeln!(
                formatter,
                "{}: skipped, its data is not in {}",
                set.name(),
                super::DATA
            )?;
        }
        Ok(())
    }
}

impl Tally {
    fn write(&self, formatter: &mut Formatter<'_>, machine: &str) -> fmt::Result {
        let Self {
            name,
            cases,
            failed,
            ..
        } = self;
        let mark = if *failed == 0 { "✓" } else { "✗" };
        let right = cases.saturating_sub(*failed);
        let took = seconds(self.seconds);
        writeln!(
            formatter,
            "{mark} {name} {machine}: {right}/{cases} as they must, {took} s"
        )?;
        for failure in &self.failures {
            writeln!(formatter, "    {failure}")?;
        }
        Ok(())
    }
}

/// `token_malformed 12, token_untrusted 3`
fn sum(verdicts: &BTreeMap<String, u64>) -> String {
    let each: Vec<_> = verdicts
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    each.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(native: u64, wasm: u64) -> Report {
        let tally = |fingerprint| Tally {
            name: "json".to_owned(),
            cases: 3,
            failed: 0,
            failures: Vec::new(),
            counts: BTreeMap::new(),
            notes: Vec::new(),
            fingerprint,
            seconds: 0.0,
        };
        Report {
            native: vec![tally(native)],
            wasm: vec![tally(wasm)],
            skipped: vec![Set::Jws],
        }
    }

    #[test]
    fn compare_finds_a_verdict_that_differs() {
        let (mut same, mut other) = (report(1, 1), report(1, 2));
        same.compare();
        other.compare();
        let count = |report: &Report| {
            let Outcome {
                passed,
                failed,
                skipped,
            } = report.outcome();
            [passed, failed, skipped]
        };
        assert_eq!(count(&same), [2, 0, 1]);
        assert_eq!(count(&other), [1, 1, 1]);
        assert!(other.to_string().contains("✗ json in wasm: 2/3"));
        assert!(
            same.in_a_line()
                .ends_with("no data in ../shared/vectors for jws")
        );
    }
}
