//! The rule tests and the property tests in one program that does not link the edge: what
//! `cargo xtask mutants` runs against each change of the rules.
//!
//! Everybody else runs them as tests of the root package, natively and in wasm.

#[path = "../../../tests/rules/admission.rs"]
mod admission;
#[path = "../../../tests/rules/attacks.rs"]
mod attacks;
#[path = "../../../tests/rules/curve.rs"]
mod curve;
#[path = "../../../tests/rules/explain.rs"]
mod explain;
#[path = "../../../tests/properties/main.rs"]
mod properties;
#[path = "../../../tests/rules/revocation.rs"]
mod revocation;
#[path = "../../../tests/rules/support.rs"]
mod support;
#[path = "../../../tests/rules/token.rs"]
mod token;
