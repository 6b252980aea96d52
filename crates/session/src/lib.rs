//! The rules of Hallpass: what may pass, and why not.
//!
//! Data in, decision out. This crate has no clock (`now` is the last parameter), no randomness, no
//! async, no log, no globals, and knows neither the Workers runtime nor a database. Where a
//! signature must be checked it asks ([`jws::SignatureQuestion`]) and takes the answer; the shells
//! (the edge in `src/`, the service in `crates/service`) do the asking.
//!
//! Trust is a type, and each step has exactly one maker:
//!
//! ```text
//! Presented ─▶ UnverifiedToken ─▶ SignatureQuestion ─▶ VerifiedToken ─▶ LiveSession
//! presented     token               jws                 jws              admission
//! ```
//!
//! Reading order: [`refusal`], [`presented`], [`jws`], [`token`], [`claims`], [`keyring`],
//! [`revocation`], [`admission`], [`renewal`], [`explain`]; below them [`cookie`], [`path`],
//! [`json`], [`base64url`], [`time`]; on the wire [`wire`].

#![forbid(unsafe_code)]
#![deny(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::unreachable,
    clippy::unimplemented,
    clippy::float_arithmetic
)]
#![cfg_attr(not(test), deny(clippy::string_slice))]

pub mod admission;
pub mod base64url;
pub mod claims;
pub mod cookie;
pub mod explain;
pub mod json;
pub mod jws;
pub mod keyring;
pub mod path;
pub mod presented;
pub mod refusal;
pub mod renewal;
pub mod revocation;
pub mod time;
pub mod token;
pub mod wire;
