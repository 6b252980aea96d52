//! The rules depend on no clock, no randomness, no runtime: `cargo tree` says so.
//!
//! Which methods they may not call is `clippy.toml`'s.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace;

/// What `crates/session` must not have below it, on any target.
const BANNED: [&str; 9] = [
    "async-std",
    "chrono",
    "getrandom",
    "js-sys",
    "rand",
    "tokio",
    "wasm-bindgen",
    "web-sys",
    "worker",
];

/// Fails when a banned crate is below the rules.
///
/// # Errors
/// When one is, or cargo cannot say.
pub(crate) fn check() -> Result<()> {
    let tree = "tree -p hallpass-session --edges normal,build --target all --prefix none";
    let output = Command::new("cargo")
        .args(tree.split(' '))
        .current_dir(workspace::root())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    let found = banned_in(&printed);
    if found.is_empty() {
        return Ok(());
    }
    bail!(
        "hallpass-session depends on {}: `cargo tree -p hallpass-session -i NAME` says through what",
        found.join(", ")
    )
}

/// Lines are `serde v1.0.229 (…)`.
fn banned_in(tree: &str) -> Vec<&str> {
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    let mut found: Vec<&str> = names.filter(|name| BANNED.contains(name)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banned_in_names_each_once_and_nothing_alike() {
        let tree = "hallpass-session v0.1.0 (/x)\ntokio v1.0.0\ntokio-util v0.7.0\n\
                    getrandom v0.4.0\ntokio v1.0.0 (*)\n";
        assert_eq!(banned_in(tree), ["getrandom", "tokio"]);
        assert!(banned_in("worker-macros v1.0.0\nserde v1.0.0\n").is_empty());
    }
}
