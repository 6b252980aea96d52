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

mod mint;
mod verify;

pub use mint::{MintError, SigningKey};
pub use verify::{is_sound, verify};
