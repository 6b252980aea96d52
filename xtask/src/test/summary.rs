//! Counts tests from what test runners print.
//!
//! cargo and wasm-bindgen's runner end each test program with
//! `test result: ok. 5 passed; 0 failed; 1 ignored; …`; Node ends a run with a line per count,
//! `ℹ pass 5` on a terminal and `# pass 5` elsewhere. Everything else is passed over, so that what
//! a test itself prints does not count unless it is such a line.

use std::fmt::{self, Display, Formatter};
use std::ops::{Add, AddAssign};

/// How many tests went which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) skipped: u64,
}

impl Totals {
    /// One test that passed.
    pub(super) fn one_success() -> Self {
        Self {
            passed: 1,
            ..Self::default()
        }
    }

    /// Tests that this machine cannot run.
    pub(super) fn skipped(tests: usize) -> Self {
        Self {
            skipped: tests as u64,
            ..Self::default()
        }
    }

    /// One test that failed.
    pub(super) fn one_failure() -> Self {
        Self {
            failed: 1,
            ..Self::default()
        }
    }
}

impl Add for Totals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Display for Totals {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(
            formatter,
            "{passed} passed, {failed} failed, {skipped} skipped"
        )
    }
}

/// The sum of everything the runners in this output counted.
pub(super) fn count(output: &str) -> Totals {
    output
        .lines()
        .filter_map(|line| cargo_line(line).or_else(|| node_line(line)))
        .fold(Totals::default(), Add::add)
}

/// `test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 9 filtered out; …`
fn cargo_line(line: &str) -> Option<Totals> {
    let (_, counts) = line
        .trim()
        .strip_prefix("test result: ")?
        .split_once(". ")?;
    let number = |name: &str| {
        let part = counts
            .split(';')
            .find_map(|part| part.trim().strip_suffix(name))?;
        part.trim().parse().ok()
    };
    Some(Totals {
        passed: number("passed")?,
        failed: number("failed")?,
        skipped: number("ignored")?,
    })
}

/// `ℹ pass 5`, `# fail 0`: a cancelled test (it ran out of time) has failed.
fn node_line(line: &str) -> Option<Totals> {
    let counted = line
        .strip_prefix("ℹ ")
        .or_else(|| line.strip_prefix("# "))?;
    let (name, number) = counted.split_once(' ')?;
    let number = number.parse().ok()?;
    let none = Totals::default();
    match name {
        "pass" => Some(Totals {
            passed: number,
            ..none
        }),
        "fail" | "cancelled" => Some(Totals {
            failed: number,
            ..none
        }),
        "skipped" | "todo" => Some(Totals {
            skipped: number,
            ..none
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_sums_the_test_programs_of_cargo() {
        let output = "running 2 tests\n\
            test a ... ok\n\
            test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
            test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(
            count(output),
            Totals {
                passed: 5,
                failed: 1,
                skipped: 2
            }
        );
    }

    #[test]
    fn count_reads_both_forms_of_node() {
        let counts = [
            "tests 6",
            "suites 1",
            "pass 3",
            "fail 1",
            "cancelled 1",
            "skipped 1",
            "todo 0",
        ];
        for mark in ["ℹ", "#"] {
            let lines: Vec<_> = counts
                .iter()
                .map(|count| format!("{mark} {count}"))
                .collect();
            let output = lines.join("\n");
            assert_eq!(
                count(&output),
                Totals {
                    passed: 3,
                    failed: 2,
                    skipped: 1
                },
                "{mark}"
            );
        }
    }

    #[test]
    fn count_is_nothing_where_nothing_was_counted() {
        let output =
            "# passing notes\n# pass many\ntest result: unknown\nerror: does not compile\n";
        assert_eq!(count(output), Totals::default());
    }

    #[test]
    fn totals_print_as_the_last_line_promises() {
        let totals = Totals {
            passed: 12,
            failed: 0,
            skipped: 3,
        };
        assert_eq!(totals.to_string(), "12 passed, 0 failed, 3 skipped");
    }
}
