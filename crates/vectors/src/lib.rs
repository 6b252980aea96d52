//! Judges third-party test vectors and mutated tokens by the rules of Hallpass.
//!
//! One program for two machines: `cargo xtask vectors` runs [`run`] natively and in wasm under Node
//! and compares what both counted. Tokens go through [`hallpass_session::token::judge`] with
//! [`hallpass_signature::verify`], the functions the Worker calls; nothing here decides. What is
//! counted: cases, verdicts by refusal code (so that a run in which one limit refused everything
//! shows), and every case that went otherwise than it must.
//!
//! The data is not ours and not here: it is read from the folder that the options name.

#![forbid(unsafe_code)]

mod byte_changes;
mod hmac;
mod issuer;
mod json_suite;
pub mod judge;
mod jwk;
mod jws;
mod machine;
mod mutation;
mod oracle;
mod primitives;
mod tally;
#[cfg(target_arch = "wasm32")]
pub mod wasm;
mod wycheproof;

pub use tally::Tally;

use issuer::Issuer;
use serde::{Deserialize, Serialize};

/// What can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Set {
    /// Wycheproof's Ed25519 signatures, at the signature layer.
    Ed25519,
    /// Wycheproof's P-256 signatures as `r ‖ s`, at the signature layer.
    P256,
    /// Wycheproof's HMAC-SHA256, at the signature layer.
    Hmac,
    /// Wycheproof's JWS: refused by the rules, and judged by jwt-simple alone.
    Jws,
    /// Wycheproof's JWK sets under the rules for key sets.
    Jwk,
    /// `JSONTestSuite` in three positions of a token.
    Json,
    /// One token of each algorithm with every byte changed to every other.
    Bytes,
    /// Tokens changed at random.
    Mutations,
}

/// What to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The folder with `wycheproof` and `jsontestsuite`.
    pub data: String,
    /// Which sets.
    pub sets: Vec<Set>,
    /// How many tokens to mutate.
    pub mutations: u64,
    /// Another seed is other mutations.
    pub seed: u64,
    /// How many threads mutate; in wasm always one.
    pub threads: u32,
}

/// The data cannot be read, or is not what it is said to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadData(String);

impl std::fmt::Display for BadData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadData {}

/// Runs the chosen sets, one tally each.
///
/// # Errors
///
/// [`BadData`]; a case that goes wrong is no error but a failure in its tally.
pub fn run(options: &Options) -> Result<Vec<Tally>, BadData> {
    let issuer = Issuer::new();
    options
        .sets
        .iter()
        .map(|set| {
            let began = machine::now_ms();
            let mut tally = run_set(*set, options, &issuer)?;
            tally.seconds = (machine::now_ms() - began) / 1000.0;
            Ok(tally)
        })
        .collect()
}

fn run_set(set: Set, options: &Options, issuer: &Issuer) -> Result<Tally, BadData> {
    match set {
        Set::Ed25519 => primitives::ed25519(&options.data),
        Set::P256 => primitives::p256(&options.data),
        Set::Hmac => hmac::run(&options.data),
        Set::Jws => jws::run(&options.data, issuer),
        Set::Jwk => jwk::run(&options.data),
        Set::Json => json_suite::run(&options.data, issuer),
        Set::Bytes => Ok(byte_changes::run(issuer)),
        Set::Mutations => Ok(mutation::run(options)),
    }
}
