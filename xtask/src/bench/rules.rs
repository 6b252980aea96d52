//! Part `rules`: instructions per check, natively, counted by callgrind.
//!
//! Instructions do not depend on what else the machine does, so this is the figure to gate on
//! (`cargo xtask budget`); microseconds inside the Workers runtime are part `gate`.

use anyhow::Result;

use super::refusals;
use super::report::{Compared, Description};
use super::rounds::{Round, Subject};
use crate::callgrind;
use crate::needs::valgrind;

/// What is accepted, and what is refused for its form.
const BY_FORM: [(&str, &str); 8] = [
    ("remembered", "accept: signature remembered, list of 10 000"),
    ("cold_eddsa", "accept: EdDSA"),
    ("cold_eddsa_again", "the same again (control)"),
    ("cold_es256", "accept: ES256"),
    ("cold_hs256", "accept: HS256"),
    ("malformed", "refuse: malformed"),
    ("oversized_5_kb", "refuse: 5 kB"),
    ("oversized_1_mb", "refuse: 1 MB"),
];
/// What reading alone costs.
const READING: [(&str, &str); 2] = [
    ("reading_5_kb", "read the cookies of 5 kB"),
    ("reading_1_mb", "read the cookies of 1 MB"),
];

/// The native program under callgrind.
pub(super) struct Rules;

impl Rules {
    /// Sets up and builds what is measured.
    pub(super) fn prepare() -> Result<Self> {
        callgrind::build()?;
        Ok(Self)
    }
}

/// What the part says about itself.
pub(super) fn description() -> Description {
    Description {
        title: "instructions per check of the rules",
        method: "The rules built natively, from one request's cookies to its verdict, counted by \
                 callgrind; signatures by jwt-simple. The list holds 10 000 revoked sessions.",
        unit: "instructions",
        cases: [&BY_FORM[..], &refusals::WORDS, &READING].concat(),
        comparisons: comparisons(),
    }
}

/// The program that counts.
pub(super) fn versions() -> Vec<(&'static str, String)> {
    vec![("valgrind", valgrind::version().unwrap_or_default())]
}

impl Subject for Rules {
    fn control(&self) -> [&str; 2] {
        ["cold_eddsa", "cold_eddsa_again"]
    }

    /// The order of the checks does not matter to a count of instructions.
    fn round(&mut self, _number: usize) -> Result<Round> {
        let counted = callgrind::count()?;
        Ok(counted
            .into_iter()
            .map(|(check, instructions)| (check, Some(instructions)))
            .collect())
    }
}

fn comparisons() -> Vec<Compared> {
    let mut comparisons = refusals::comparisons();
    comparisons.push(Compared::at_most(
        1.0,
        "1 MB by 5 kB and reading 1 MB",
        "oversized_1_mb",
        &["oversized_5_kb", "reading_1_mb"],
    ));
    comparisons
}
