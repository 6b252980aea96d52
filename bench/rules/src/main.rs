//! Runs every kind of check of the rules a few times over, for callgrind to count instructions.
//!
//! Each check is a function of its own in `checks`, called through [`measure`] after one call
//! through [`warm_up`]: callgrind tells callers apart, so what the first call alone pays for is not
//! counted. Keys, tokens and times are fixed, so that two runs count the same. A check whose outcome
//! is not the expected one ends the run: nobody measures something else by mistake.
//!
//! The counting and its comparison is `cargo xtask bench rules` and `cargo xtask budget`.

mod checks;
mod desk;
mod signers;

use std::process::ExitCode;

use checks::{ALL, Check};
use desk::Desk;

/// Calls per check that count; a check is deterministic, so a few only even out the allocator.
const CALLS: u32 = 8;

fn main() -> ExitCode {
    let desk = Desk::new();
    for check in &ALL {
        let outcome = warm_up(check, &desk);
        if outcome != check.expected {
            eprintln!(
                "{}: expected {:?}, came {outcome:?}",
                check.name, check.expected
            );
            return ExitCode::FAILURE;
        }
        for _ in 0..CALLS {
            measure(check, &desk);
        }
    }
    ExitCode::SUCCESS
}

#[inline(never)]
fn warm_up(check: &Check, desk: &Desk) -> checks::Outcome {
    (check.run)(desk)
}

/// The caller whose calls count: `xtask` looks for this name.
#[inline(never)]
fn measure(check: &Check, desk: &Desk) {
    // The outcome was compared once; here only its cost counts.
    let _ = std::hint::black_box((check.run)(desk));
}
