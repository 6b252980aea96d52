//! Packages of Debian and what descends from it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, anyhow};

use crate::{path_search, step, tied};

/// Whether there is a package manager to ask.
pub(crate) fn has_apt() -> bool {
    path_search::find("apt-get").is_some()
}

/// Installs a package.
///
/// # Errors
/// When that is not allowed or fails.
pub(crate) fn install(package: &str) -> Result<()> {
    if !has_package_lists() {
        step::run("apt-get update", apt(&["update"])?)?;
    }
    let install = ["install", "--yes", "--no-install-recommends", package];
    step::run(&format!("installing {package}"), apt(&install)?).map(drop)
}

/// A bare Debian image has no package lists, and then knows no package.
fn has_package_lists() -> bool {
    let Ok(entries) = fs::read_dir("/var/lib/apt/lists") else {
        return false;
    };
    let is_list = |path: &Path| path.to_string_lossy().contains("_Packages");
    entries.flatten().any(|entry| is_list(&entry.path()))
}

fn apt(arguments: &[&str]) -> Result<Command> {
    let mut command = if rustix::process::geteuid().is_root() {
        tied::command("apt-get")
    } else if path_search::find("sudo").is_some() {
        let mut command = tied::command("sudo");
        // Never a password prompt inside a step whose input is closed.
        command.args(["--non-interactive", "apt-get"]);
        command
    } else {
        let line = arguments.join(" ");
        return Err(anyhow!(
            "neither root nor sudo: run `apt-get {line}` as root, then this again"
        ));
    };
    command
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive");
    Ok(command)
}
