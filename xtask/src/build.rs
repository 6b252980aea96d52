//! `cargo xtask build`: the release artefacts, each only when its inputs changed.
//!
//! The edge is made by worker-build into `build/`; wrangler's `[build]` calls this very command.
//! The service and the demo are left to cargo, which keeps its own fingerprints.

use std::env;
use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::needs::{cargo_tool, node};
use crate::{fingerprint, native, needs, path_search, setup, step, tied, wasm, workspace};

/// What the edge is compiled from, and how. `www` is served beside it, not compiled in.
const INPUTS: [&str; 8] = [
    "Cargo.lock",
    "Cargo.toml",
    "crates/session",
    "crates/signature",
    "rust-toolchain.toml",
    "src",
    "xtask/src/build.rs",
    "xtask/src/wasm.rs",
];
/// What worker-build leaves, and what a deployment ships.
pub(crate) const OUTPUTS: [&str; 2] = ["index.js", "index_bg.wasm"];

/// Build the release artefacts: the edge into build/, service and demo into target/native/
#[derive(Args)]
pub(crate) struct Build {
    /// The edge only
    #[arg(long)]
    edge: bool,
    /// The service and the demo app only
    #[arg(long, conflicts_with = "edge")]
    native: bool,
}

impl Build {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<()> {
        if !self.native {
            edge()?;
            eprintln!("The edge is in {}", folder().display());
        }
        if !self.edge {
            let programs = native::build(native::Profile::Native)?;
            eprintln!("Service and demo app are in {}", programs.display());
        }
        Ok(())
    }
}

/// Names another folder with a built edge, for runs of an edge that is not this tree's.
pub(crate) const FOLDER_VARIABLE: &str = "HALLPASS_EDGE_BUILD";

/// The folder the edge is built into.
pub(crate) fn folder() -> PathBuf {
    env::var_os(FOLDER_VARIABLE).map_or_else(|| workspace::in_root("build"), PathBuf::from)
}

/// Builds the edge if any of its inputs changed; its tools are set up first.
///
/// # Errors
/// When a tool cannot be set up or the build fails; then the last good build is still there.
pub(crate) fn edge() -> Result<()> {
    let state = workspace::target().join("xtask");
    fs::create_dir_all(&state)?;
    // Two builds at once would stage into the same folder.
    let lock = File::create(state.join("edge.lock"))?;
    lock.lock()?;
    let now = edge_fingerprint()?;
    if is_built() && fs::read_to_string(stamp()).is_ok_and(|built| built == now) {
        return Ok(());
    }
    setup::ensure(needs::to_build_the_edge()?)?;
    step::run("building the edge", worker_build("--release")?)?;
    drop_names()?;
    fs::write(stamp(), now).context("cannot note what the edge was built from")
}

/// Whether `build/` holds an edge made from the present inputs.
///
/// # Errors
/// When an input cannot be read.
pub(crate) fn edge_is_fresh() -> Result<bool> {
    let now = edge_fingerprint()?;
    Ok(is_built() && fs::read_to_string(stamp()).is_ok_and(|built| built == now))
}

/// Whether `build/` holds an edge at all.
pub(crate) fn is_built() -> bool {
    OUTPUTS.iter().all(|file| folder().join(file).is_file())
}

fn stamp() -> PathBuf {
    workspace::target().join("xtask/edge.fingerprint")
}

fn edge_fingerprint() -> Result<String> {
    let rustc = path_search::find("rustc").and_then(|rustc| path_search::version_of(&rustc));
    let tools = [cargo_tool::worker_build(), cargo_tool::wasm_bindgen()?];
    let tools: Vec<_> = tools.iter().map(needs::Need::name).collect();
    let modules = fs::read_to_string(workspace::in_root("package-lock.json"))?;
    let mut extra: Vec<_> = tools.iter().map(String::as_str).collect();
    extra.extend([rustc.as_deref().unwrap_or_default(), &modules]);
    fingerprint::of(&workspace::root(), &INPUTS, &extra)
}

/// worker-build keeps the names of functions, whatever it is told.
fn drop_names() -> Result<()> {
    let module = folder().join("index_bg.wasm");
    let built = fs::read(&module).context("worker-build left no wasm")?;
    fs::write(&module, wasm::without_names(&built)?).context("cannot write the edge")
}

/// worker-build as it is called here; `profile` is `--release` or `--dev`. It looks for its helpers in
/// these variables only, and else tries to download them.
pub(crate) fn worker_build(profile: &str) -> Result<std::process::Command> {
    let mut command = tied::command(cargo_tool::worker_build().program()?);
    command.arg(profile).current_dir(workspace::root());
    command.env("WASM_BINDGEN_BIN", cargo_tool::wasm_bindgen()?.program()?);
    command.env("WASM_OPT_BIN", node::in_modules(".bin/wasm-opt"));
    command.env("ESBUILD_BIN", esbuild()?);
    command.env("PATH", node::path()?); // wasm-opt is a script for a recent Node
    Ok(command)
}

fn esbuild() -> Result<PathBuf> {
    node::native_program(&[
        ("linux", "x86_64", "@esbuild/linux-x64/bin/esbuild"),
        ("linux", "aarch64", "@esbuild/linux-arm64/bin/esbuild"),
        ("macos", "x86_64", "@esbuild/darwin-x64/bin/esbuild"),
        ("macos", "aarch64", "@esbuild/darwin-arm64/bin/esbuild"),
    ])
}
