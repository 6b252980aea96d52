//! The rules, tested through the functions that the Worker calls; run natively by `cargo test` and
//! in wasm by `wasm-pack test --node`, from the same bodies.

mod admission;
mod attacks;
mod curve;
mod explain;
mod revocation;
mod settings;
mod support;
mod token;
mod wire;
