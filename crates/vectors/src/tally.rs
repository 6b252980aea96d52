//! What one set counted.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most failures described; all are counted.
const MAX_DESCRIBED: usize = 20;

/// Counts of one set. The same data gives the same tally on every machine, but for the seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// The set's name.
    pub name: String,
    /// How many cases were judged.
    pub cases: u64,
    /// How many went otherwise than they must.
    pub failed: u64,
    /// The first of those, each in a sentence.
    pub failures: Vec<String>,
    /// Verdicts by group of cases.
    pub counts: BTreeMap<String, BTreeMap<String, u64>>,
    /// What a reader must know to read the counts.
    pub notes: Vec<String>,
    /// Every verdict with its case, in one number: equal on two machines when each verdict is.
    pub fingerprint: u64,
    /// How long it took.
    pub seconds: f64,
}

impl Tally {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// Counts one case of `group`.
    pub(crate) fn count(&mut self, group: &str, verdict: &str) {
        self.cases += 1;
        self.mark(self.cases, verdict);
        self.add(group, verdict);
    }

    /// Counts a verdict under a heading without counting a case.
    pub(crate) fn add(&mut self, group: &str, verdict: &str) {
        if !self.counts.contains_key(group) {
            self.counts.insert(group.to_owned(), BTreeMap::new());
        }
        let group = self.counts.entry(group.to_owned()).or_default();
        match group.get_mut(verdict) {
            Some(count) => *count += 1,
            None => {
                group.insert(verdict.to_owned(), 1);
            }
        }
    }

    /// Takes a verdict into the fingerprint; the order of calls does not matter.
    pub(crate) fn mark(&mut self, case: u64, verdict: &str) {
        // FNV-1a over the verdict, then the finaliser of SplitMix64 with the case.
        let word = verdict.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, b| {
            (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut mixed = word ^ case.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.fingerprint = self.fingerprint.wrapping_add(mixed ^ (mixed >> 31));
    }

    /// Notes a failure unless `holds`.
    pub(crate) fn expect(&mut self, holds: bool, describe: impl FnOnce() -> String) {
        if holds {
            return;
        }
        self.failed += 1;
        if self.failures.len() < MAX_DESCRIBED {
            self.failures.push(describe());
        }
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Adds what another thread counted of the same set.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.cases += other.cases;
        self.failed += other.failed;
        self.fingerprint = self.fingerprint.wrapping_add(other.fingerprint);
        for (group, verdicts) in other.counts {
            let own = self.counts.entry(group).or_default();
            for (verdict, count) in verdicts {
                *own.entry(verdict).or_default() += count;
            }
        }
        let room = MAX_DESCRIBED.saturating_sub(self.failures.len());
        self.failures.extend(other.failures.into_iter().take(room));
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn absorb_gives_the_same_tally_in_any_division() {
        let mut whole = Tally::new("x");
        let mut parts = [Tally::new("x"), Tally::new("x")];
        for case in 0..10_u64 {
            let verdict = if case % 3 == 0 { "a" } else { "b" };
            for tally in [&mut whole, &mut parts[usize::from(case >= 4)]] {
                tally.cases += 1;
                tally.mark(case, verdict);
                tally.add("g", verdict);
                tally.expect(case != 5, || "five".to_owned());
            }
        }

        let [first, mut second] = parts;
        second.absorb(first);

        assert_eq!(second, whole);
        assert_eq!((whole.failed, whole.counts["g"]["a"]), (1, 4));
    }

    #[test]
    fn mark_tells_two_exchanged_verdicts_apart() {
        let fingerprint = |verdicts: [&str; 2]| {
            let mut tally = Tally::default();
            for verdict in verdicts {
                tally.count("g", verdict);
            }
            tally.fingerprint
        };
        assert_ne!(fingerprint(["a", "b"]), fingerprint(["b", "a"]));
    }
}
