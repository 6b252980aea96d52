//! The two machines that judge vectors: this one, and wasm under Node.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, anyhow};

use super::Options;
use super::report::Tally;
use crate::needs::{cargo_tool, node, toolchain};
use crate::{setup, step, tied, workspace};

const PACKAGE: &str = "hallpass-vectors";
/// What wasm-bindgen makes of the library.
const MODULE: &str = "hallpass_vectors";
/// Loads the module, runs it with the options, prints the answer.
const SCRIPT: &str = "console.log(require(process.argv[1]).run(process.argv[2]))";

/// Where the rules run.
#[derive(Clone, Copy)]
pub(super) enum Machine {
    Native,
    Wasm,
}

impl Machine {
    /// Builds the program and runs it.
    pub(super) fn run(self, options: &Options) -> Result<Vec<Tally>> {
        let mut command = match self {
            Self::Native => native()?,
            Self::Wasm => wasm()?,
        };
        command.arg(serde_json::to_string(options)?);
        let label = match self {
            Self::Native => "vectors natively",
            Self::Wasm => "vectors in wasm",
        };
        let finished = step::run(label, command)?;
        let answer = finished.output.lines().last().unwrap_or_default();
        serde_json::from_str(answer).with_context(|| format!("{label}: no tallies: {answer}"))
    }
}

fn native() -> Result<Command> {
    Ok(tied::command(program()?))
}

/// Builds the native program; where it is.
///
/// # Errors
/// When it does not compile; cargo's output has been printed.
pub(crate) fn program() -> Result<PathBuf> {
    let mut command = tied::command("cargo");
    command
        .args(["build", "--profile", "native", "-p", PACKAGE])
        .current_dir(workspace::root());
    step::run("building the vectors' program", command)?;
    Ok(workspace::target().join("native").join(PACKAGE))
}

/// Release, as the edge is: the same optimiser has been over the same rules.
fn wasm() -> Result<Command> {
    let bindgen = cargo_tool::wasm_bindgen()?;
    setup::ensure(vec![
        Box::new(toolchain::WasmTarget),
        Box::new(node::NodeTools),
        Box::new(cargo_tool::wasm_bindgen()?),
    ])?;
    let mut build = tied::command("cargo");
    build
        .args(["build", "--release", "--lib", "-p", PACKAGE])
        .args(["--target", toolchain::WASM])
        .current_dir(workspace::root());
    step::run("building the vectors' program for wasm", build)?;
    let module = bind(&bindgen)?;
    let mut command = node::command()?;
    command.arg("-e").arg(SCRIPT).arg(module);
    Ok(command)
}

/// The module that Node can load.
fn bind(bindgen: &cargo_tool::CargoTool) -> Result<PathBuf> {
    let built = workspace::target()
        .join(toolchain::WASM)
        .join("release")
        .join(format!("{MODULE}.wasm"));
    let folder = workspace::target().join("vectors");
    fs::create_dir_all(&folder)?;
    let mut command = tied::command(bindgen.program()?);
    command.args(["--target", "nodejs", "--no-typescript", "--out-dir"]);
    command.arg(&folder).arg(&built);
    step::run("wasm-bindgen", command)?;
    let module = folder.join(format!("{MODULE}.js"));
    let found = module.is_file().then_some(module);
    found.ok_or_else(|| anyhow!("wasm-bindgen wrote no {MODULE}.js"))
}
