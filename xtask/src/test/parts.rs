//! The parts of the test run: what each needs, and which programs it runs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use clap::ValueEnum;

use super::api;
use super::smoke;
use super::summary::{self, Totals};
use super::tally;
use crate::needs::{
    self, Need, browser, cargo_tool, nginx, node, schemathesis, toolchain, valgrind,
};
use crate::{
    budget, build, crash, generate, markdown, native, path_search, purity, rows, setup, step, tied,
    vectors, workspace,
};

/// Milliseconds after which one end-to-end test has hung: a journey with its waits takes seconds.
const NODE_TEST_TIMEOUT_MS: u32 = 180_000;
/// Writes down each test that ran.
const TALLY: &str = "tests/e2e/harness/tally.mjs";

/// One part of the test run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Every Rust file is formatted
    Fmt,
    /// No lint of any crate, natively and for wasm
    Clippy,
    /// Tokens, lists, paths, signatures and the gate, natively
    Rules,
    /// The same tests in wasm under Node
    Wasm,
    /// Third-party vectors and mutated tokens, natively and in wasm
    Vectors,
    /// The session service over HTTP and against its description, the demo app, these commands
    Service,
    /// The session service and its database killed under load
    Crash,
    /// Journeys through the built edge in workerd
    E2e,
    /// Journeys in a real browser
    Browser,
    /// Every fuzz target for some seconds, where a nightly toolchain is
    Fuzz,
    /// Instructions per check and bytes of the edge, against bench/budget.toml
    Budget,
    /// Generated documents are current, links and paths lead somewhere, the crates' documentation builds
    Docs,
}

/// One program to run, or one look, and how it is counted.
pub(super) enum Run {
    /// Counts as one test.
    Once(&'static str, Command),
    /// Counts what the program says that it ran.
    Counted(&'static str, Command),
    /// Counts as one test; done in this process.
    Look(&'static str, fn() -> Result<()>),
    /// Counts for itself; done in this process.
    Sum(fn() -> Result<Totals>),
}

impl Run {
    /// Runs it; a failure is counted and its output shown.
    pub(super) fn count(self) -> Result<Totals> {
        match self {
            Self::Sum(count) => count(),
            Self::Look(label, look) => Ok(match look() {
                Ok(()) => Totals::one_success(),
                Err(error) => {
                    eprintln!("{label}: {error:#}");
                    Totals::one_failure()
                }
            }),
            Self::Once(label, command) => {
                let finished = step::observe(label, command)?;
                Ok(judge(&finished, Totals::one_success()))
            }
            Self::Counted(label, command) => {
                let finished = step::observe(label, command)?;
                Ok(judge(&finished, summary::count(&finished.output)))
            }
        }
    }
}

/// A program that failed without a failing test (it did not compile, say) is one failure.
fn judge(finished: &step::Finished, totals: Totals) -> Totals {
    if finished.status.success() {
        return totals;
    }
    eprint!("{}", finished.output);
    match totals.failed {
        0 => {
            Totals {
                passed: 0,
                ..totals
            } + Totals::one_failure()
        }
        _ => totals,
    }
}

impl Part {
    /// Sets up what the part needs; what it then runs.
    ///
    /// # Errors
    /// When something it needs cannot be set up or built.
    pub(super) fn runs(self) -> Result<Vec<Run>> {
        Ok(match self {
            Self::Fmt => {
                ensure(vec![Box::new(toolchain::Components)])?;
                vec![Run::Once("cargo fmt", cargo(&["fmt", "--all", "--check"]))]
            }
            Self::Clippy => {
                ensure(vec![
                    Box::new(toolchain::Components),
                    Box::new(toolchain::WasmTarget),
                ])?;
                clippy()
            }
            Self::Rules => {
                let packages = ["hallpass-session", "hallpass-signature", "hallpass-edge"];
                vec![
                    Run::Look("index of rules and attacks", rows::check),
                    cargo_test("rules", &packages),
                ]
            }
            Self::Vectors => vec![
                cargo_test("vectors' own tests", &["hallpass-vectors"]),
                Run::Sum(judge_vectors),
            ],
            Self::Wasm => vec![wasm()?],
            Self::Service => {
                ensure(needs::databases())?;
                ensure(vec![Box::new(schemathesis::Schemathesis)])?;
                let packages = [
                    "hallpass-databases",
                    "hallpass-service",
                    "hallpass-demo",
                    "xtask",
                ];
                vec![cargo_test("service", &packages), Run::Sum(api::run)]
            }
            Self::Crash => vec![
                cargo_test("the load's own tests", &["hallpass-load"]),
                Run::Sum(kill_and_look),
            ],
            Self::E2e => {
                ensure(vec![Box::new(nginx::Nginx)])?;
                let nginx = nginx::program().context("just set up")?;
                let more = [
                    ("HALLPASS_VECTORS", vectors::program()?),
                    ("HALLPASS_NGINX", nginx),
                ];
                vec![
                    end_to_end("tests/e2e", &more)?,
                    Run::Look("rows of the catalogue", tally::report),
                ]
            }
            Self::Browser => {
                ensure(vec![Box::new(browser::Chromium)])?;
                vec![end_to_end("tests/e2e/browser", &[])?]
            }
            Self::Fuzz => vec![Run::Sum(smoke::run)],
            Self::Budget => vec![
                Run::Look("bytes of the edge", budget::check_bytes),
                instructions(),
            ],
            Self::Docs => vec![
                Run::Look("generated documents", generate::check),
                Run::Look("links", markdown::check_links),
                Run::Look("quoted tests", markdown::check_quoted_tests),
                Run::Once("cargo doc", documentation()),
            ],
        })
    }
}

fn ensure(needs: Vec<Box<dyn Need>>) -> Result<()> {
    setup::ensure(needs)
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = tied::command("cargo");
    command.args(arguments).current_dir(workspace::root());
    command
}

fn cargo_test(label: &'static str, packages: &[&str]) -> Run {
    let mut command = cargo(&["test", "--no-fail-fast"]);
    for package in packages {
        command.args(["-p", package]);
    }
    Run::Counted(label, command)
}

fn clippy() -> Vec<Run> {
    let native = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    let edge = [
        "clippy",
        "-p",
        "hallpass-edge",
        "--all-targets",
        "--target",
        toolchain::WASM,
    ];
    let mut wasm = cargo(&edge);
    wasm.args(["--", "-D", "warnings"]);
    vec![
        Run::Once("clippy", cargo(&native)),
        Run::Once("clippy for wasm", wasm),
        Run::Look("what the rules depend on", purity::check),
    ]
}

fn documentation() -> Command {
    let mut command = cargo(&[
        "doc",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ]);
    command.env(
        "RUSTDOCFLAGS",
        "-D warnings -A rustdoc::private-intra-doc-links",
    );
    command
}

/// `--mode no-install` keeps wasm-pack from downloading what is on its `PATH` already.
fn wasm() -> Result<Run> {
    let (bindgen, pack) = (cargo_tool::wasm_bindgen()?, cargo_tool::wasm_pack());
    let program = |tool: &cargo_tool::CargoTool| tool.folder()?.context("just set up");
    ensure(vec![
        Box::new(toolchain::WasmTarget),
        Box::new(node::NodeTools),
        Box::new(cargo_tool::wasm_bindgen()?),
        Box::new(cargo_tool::wasm_pack()),
    ])?;
    let mut command = tied::command(pack.program()?);
    command
        .args(["test", "--node", "--mode", "no-install"])
        .current_dir(workspace::root());
    let node = node::node()?
        .parent()
        .map(PathBuf::from)
        .unwrap_or_default();
    command.env(
        "PATH",
        path_search::with_first(&[program(&bindgen)?, program(&pack)?, node])?,
    );
    Ok(Run::Counted("rules in wasm", command))
}

/// Each set is one test natively and one in wasm.
fn judge_vectors() -> Result<Totals> {
    let outcome = vectors::smoke()?;
    Ok(Totals {
        passed: outcome.passed,
        failed: outcome.failed,
        skipped: outcome.skipped,
    })
}

/// Each database is one test.
fn kill_and_look() -> Result<Totals> {
    let held = crash::smoke()?;
    Ok(held.into_iter().fold(Totals::default(), |totals, held| {
        totals
            + if held {
                Totals::one_success()
            } else {
                Totals::one_failure()
            }
    }))
}

fn instructions() -> Run {
    if valgrind::is_within_reach() {
        Run::Look("instructions per check", budget::check_instructions)
    } else {
        Run::Sum(|| Ok(Totals::skipped(1)))
    }
}

/// Runs the `*.test.mjs` of one folder under Node, against programs built here and `more` of them.
fn end_to_end(folder: &'static str, more: &[(&str, PathBuf)]) -> Result<Run> {
    let tests = test_files(folder)?;
    ensure(needs::to_run_the_edge())?;
    let programs = native::build(native::Profile::Dev)?;
    build::edge()?;
    let mut command = node::command()?;
    command.args(["--test", "--test-reporter=spec"]);
    command.arg("--test-reporter-destination=stdout");
    command.arg(format!(
        "--test-reporter={}",
        workspace::in_root(TALLY).display()
    ));
    let lines = tally::lines()?.display().to_string();
    command.arg(format!("--test-reporter-destination={lines}"));
    command.arg(format!("--test-timeout={NODE_TEST_TIMEOUT_MS}"));
    // Files mostly wait for tokens to end, each on ports and state of its own.
    command.arg("--test-concurrency=2");
    command.args(tests).current_dir(workspace::root());
    command.env("HALLPASS_XTASK", workspace::target().join("debug/xtask"));
    command.env("HALLPASS_BIN_DIR", programs);
    command.envs(more.iter().map(|(name, path)| (name, path)));
    if let Some(chromium) = browser::program() {
        command.env("HALLPASS_CHROMIUM", chromium);
    }
    Ok(Run::Counted(folder, command))
}

fn test_files(folder: &str) -> Result<Vec<PathBuf>> {
    let path = workspace::in_root(folder);
    let entries = fs::read_dir(&path).with_context(|| format!("no tests in {folder}"))?;
    let mut files: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|file| file.to_string_lossy().ends_with(".test.mjs"))
        .collect();
    files.sort();
    if files.is_empty() {
        Err(anyhow!("no tests in {folder}"))
    } else {
        Ok(files)
    }
}
