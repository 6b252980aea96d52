//! The refusals that every part measures, and what refusing may cost.

use super::report::Compared;

/// A refusal may cost this much of what accepting costs: a flood of bad requests is then no worse
/// than one of good requests.
const AT_MOST: f64 = 1.2;

/// Refusals after the token's form has been read, in the order of the checks.
pub(super) const WORDS: [(&str, &str); 7] = [
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
];

/// Every refusal by what accepting such a token costs.
pub(super) fn comparisons() -> Vec<Compared> {
    let cold: &[&str] = &["cold_eddsa"];
    vec![
        by("malformed by EdDSA", "malformed", cold),
        by("5 kB by EdDSA", "oversized_5_kb", cold),
        by("unknown key by EdDSA", "unknown_kid", cold),
        by("another algorithm by EdDSA", "wrong_alg", cold),
        by("bad signature by EdDSA", "bad_signature", cold),
        by("another audience by EdDSA", "wrong_audience", cold),
        by("expired by EdDSA", "expired", cold),
        by("revoked by EdDSA", "revoked", cold),
        by(
            "revoked, remembered by remembered",
            "revoked_remembered",
            &["remembered"],
        ),
    ]
}

/// A refusal and what accepting in its place costs.
pub(super) const fn by(
    what: &'static str,
    case: &'static str,
    to: &'static [&'static str],
) -> Compared {
    Compared::at_most(AT_MOST, what, case, to)
}
