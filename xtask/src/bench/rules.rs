//! Part `rules`: instructions per check, natively, counted by callgrind.
//!
//! Instructions do not depend on what else the machine does, so this is the figure to gate on
//! (`cargo xtask budget`); microseconds inside the Workers runtime are part `gate`.

use anyhow::Result;

use super::report::{Compared, Description};
use super::rounds::{Round, Subject};
use crate::callgrind;
use crate::needs::valgrind;

const CASES: &[(&str, &str)] = &[
    ("remembered", "accept: signature remembered, list of 10 000"),
    ("cold_eddsa", "accept: EdDSA"),
    ("cold_eddsa_again", "the same again (control)"),
    ("cold_es256", "accept: ES256"),
    ("cold_hs256", "accept: HS256"),
    ("malformed", "refuse: malformed"),
    ("oversized_5_kb", "refuse: 5 kB"),
    ("oversized_1_mb", "refuse: 1 MB"),
    ("unknown_kid", "refuse: unknown key"),
    ("wrong_alg", "refuse: another algorithm than the key's"),
    ("bad_signature", "refuse: bad signature"),
    ("wrong_audience", "refuse: another audience"),
    ("expired", "refuse: expired"),
    ("revoked", "refuse: revoked"),
    (
        "revoked_remembered",
        "refuse: revoked, signature remembered",
    ),
    ("reading_5_kb", "read the cookies of 5 kB"),
    ("reading_1_mb", "read the cookies of 1 MB"),
];

/// A refusal may cost this much of what accepting costs: a flood of bad requests is then no worse
/// than one of good requests.
pub(super) const REFUSING: f64 = 1.2;

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
        cases: CASES,
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
    let refusal = |what, case, to| Compared {
        what,
        case,
        to,
        at_most: Some(REFUSING),
    };
    let cold: &[&str] = &["cold_eddsa"];
    vec![
        refusal("malformed by EdDSA", "malformed", cold),
        refusal("5 kB by EdDSA", "oversized_5_kb", cold),
        refusal("unknown key by EdDSA", "unknown_kid", cold),
        refusal("another algorithm by EdDSA", "wrong_alg", cold),
        refusal("bad signature by EdDSA", "bad_signature", cold),
        refusal("another audience by EdDSA", "wrong_audience", cold),
        refusal("expired by EdDSA", "expired", cold),
        refusal("revoked by EdDSA", "revoked", cold),
        refusal(
            "revoked, remembered by remembered",
            "revoked_remembered",
            &["remembered"],
        ),
        Compared {
            what: "1 MB by 5 kB and reading 1 MB",
            case: "oversized_1_mb",
            to: &["oversized_5_kb", "reading_1_mb"],
            at_most: Some(1.0),
        },
    ]
}
