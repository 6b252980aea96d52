//! Whether a case was what it says: hot cases find every signature remembered, cold ones none.
//!
//! The edge counts both in its health page. A sample of another case than its name says is worse
//! than none, so the run fails.

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::cases::{Case, Cookie};
use super::load;

/// What unlocks the counters.
pub(super) const CREDENTIAL: &str = "hpc_diagnostic_bench";

/// How often the edge has looked for a token since it began, by what it found.
#[derive(Clone, Copy, Deserialize)]
pub(super) struct Memory {
    hits: usize,
    misses: usize,
}

#[derive(Deserialize)]
struct Health {
    memo: Memory,
}

/// Asks an edge.
///
/// # Errors
/// When it does not answer, or does not tell.
pub(super) fn ask(address: &str) -> Result<Memory> {
    let request = format!(
        "GET /.session/health HTTP/1.1\r\nHost: 127.0.0.1\r\nHallpass-Diagnostics: {CREDENTIAL}\r\n\r\n"
    );
    let body = load::ask(address, request.as_bytes())?;
    let health: Health = serde_json::from_slice(&body).context("no counters in the health page")?;
    Ok(health.memo)
}

impl Memory {
    /// Checks that between these two looks `case` alone was asked for, `count` times.
    ///
    /// # Errors
    /// When a hot case missed, or a cold one hit.
    pub(super) fn check(self, after: Self, case: &Case, count: usize) -> Result<()> {
        let hits = after.hits.saturating_sub(self.hits);
        let misses = after.misses.saturating_sub(self.misses);
        let as_said = match case.cookie {
            Cookie::First(_) => (hits, misses) == (count, 0),
            Cookie::Next(_) => (hits, misses) == (0, count),
            // Not every path looks at a cookie.
            Cookie::Bytes(_) | Cookie::None => hits == 0,
        };
        if as_said {
            return Ok(());
        }
        bail!(
            "{}: of {count} requests {hits} found their signature remembered and {misses} did not",
            case.name
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::cases::ALL;
    use super::*;

    /// Whether a case of ten requests may have had so many of each.
    fn passes(name: &str, hits: usize, misses: usize) -> bool {
        let before = Memory { hits: 7, misses: 5 };
        let after = Memory {
            hits: 7 + hits,
            misses: 5 + misses,
        };
        let case = ALL.iter().find(|case| case.name == name);
        case.is_some_and(|case| before.check(after, case, 10).is_ok())
    }

    #[test]
    fn check_refuses_a_hot_case_with_a_miss_and_a_cold_one_with_a_hit() {
        assert!(passes("remembered", 10, 0));
        assert!(!passes("remembered", 9, 1));
        assert!(!passes("remembered", 0, 0));
        assert!(passes("cold_eddsa", 0, 10));
        assert!(!passes("cold_eddsa", 1, 9));
        assert!(!passes("cold_eddsa", 0, 0));
        assert!(passes("missing", 0, 0));
        assert!(!passes("missing", 1, 0));
    }
}
