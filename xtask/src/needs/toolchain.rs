//! What Rust itself has to bring: the wasm target, rustfmt and clippy.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Need, State};
use crate::{path_search, step, tied};

/// The target the edge is built for.
pub(crate) const WASM: &str = "wasm32-unknown-unknown";

/// The standard library for [`WASM`].
pub(crate) struct WasmTarget;

impl Need for WasmTarget {
    fn name(&self) -> String {
        format!("Rust target {WASM}")
    }

    fn look(&self) -> Result<State> {
        let library = sysroot()?.join("lib/rustlib").join(WASM).join("lib");
        Ok(if library.is_dir() {
            State::Present("in the toolchain".to_owned())
        } else {
            State::Missing("not in the toolchain".to_owned())
        })
    }

    fn install(&self) -> Result<()> {
        rustup(&["target", "add", WASM], &self.name())
    }
}

/// The formatter and the linter.
pub(crate) struct Components;

impl Need for Components {
    fn name(&self) -> String {
        "rustfmt and clippy".to_owned()
    }

    fn look(&self) -> Result<State> {
        let absent: Vec<_> = ["cargo-fmt", "cargo-clippy"]
            .into_iter()
            .filter(|tool| {
                path_search::find(tool)
                    .and_then(|t| path_search::version_of(&t))
                    .is_none()
            })
            .collect();
        Ok(if absent.is_empty() {
            State::Present("in the toolchain".to_owned())
        } else {
            State::Missing(format!("{} does not run", absent.join(" and ")))
        })
    }

    fn install(&self) -> Result<()> {
        rustup(&["component", "add", "rustfmt", "clippy"], &self.name())
    }
}

fn rustup(arguments: &[&str], label: &str) -> Result<()> {
    if path_search::find("rustup").is_none() {
        bail!("{label}: no rustup on PATH; install it with the tool that installed Rust");
    }
    let mut command = tied::command("rustup");
    command.args(arguments);
    step::run(label, command)?;
    Ok(())
}

fn sysroot() -> Result<PathBuf> {
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .context("cannot run rustc: is Rust on PATH?")?;
    Ok(PathBuf::from(
        String::from_utf8_lossy(&output.stdout).trim(),
    ))
}
