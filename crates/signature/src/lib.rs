//! Signatures for Hallpass: jwt-simple behind the questions that the rules ask.
//!
//! `crates/session` decides which bytes must be checked with which key and what the answer means;
//! this crate computes. The edge verifies with it, the service verifies and mints with it. It is a
//! crate of its own because the rules must not depend on cryptography, which brings randomness and
//! clocks along, and edge and service must not depend on each other.
//!
//! jwt-simple's own judgement of claims and time is switched off (see [`verify`](fn@verify)): the rules have
//! one, stricter.

#![forbid(unsafe_code)]
#![deny(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::unreachable,
    clippy::unimplemented
)]
#![cfg_attr(not(test), deny(clippy::string_slice))]

mod mint;
mod verify;

pub use mint::{MintError, SigningAlgorithm, SigningKey};
pub use verify::{is_sound, verify};
