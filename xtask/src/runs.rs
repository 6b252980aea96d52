//! What long runs leave behind: `bench/runs/NAME.json`, with the commit, the machine and the time.
//!
//! A figure that documents state has to be in one of these files.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::workspace;

/// Written by every run beside what it found.
#[derive(Serialize)]
struct Run<'a, T> {
    commit: String,
    machine: String,
    seconds: u64,
    #[serde(flatten)]
    found: &'a T,
}

/// Writes what a run of `elapsed` found; the file.
///
/// # Errors
/// When the file cannot be written, or git does not say which commit this is.
pub(crate) fn write<T: Serialize>(name: &str, elapsed: Duration, found: &T) -> Result<PathBuf> {
    let run = Run {
        commit: commit()?,
        machine: machine(),
        seconds: elapsed.as_secs(),
        found,
    };
    let folder = workspace::in_root("bench/runs");
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(&run)? + "\n";
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// The commit the work tree is at, marked where files differ from it.
pub(crate) fn commit() -> Result<String> {
    let describe = [
        "describe",
        "--always",
        "--dirty",
        "--abbrev=12",
        "--exclude=*",
    ];
    let output = Command::new("git")
        .args(describe)
        .current_dir(workspace::root())
        .output()
        .context("cannot run git")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The processor, as far as the system tells.
pub(crate) fn machine() -> String {
    let told = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = told.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == "model name").then(|| value.trim().to_owned())
    });
    let model = model.unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {cores} cores")
}
