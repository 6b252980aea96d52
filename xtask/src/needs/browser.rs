//! Chromium for the browser tests: any that is found, else Debian's package.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, anyhow, bail};

use super::{Need, State};
use crate::{path_search, step, tied};

const NAMES: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
];
const ON_MACOS: &str = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome";

/// A Chromium or Chrome.
pub(crate) struct Chromium;

/// The browser's program: `HALLPASS_CHROMIUM` if set, else the first that is found.
pub(crate) fn program() -> Option<PathBuf> {
    env::var_os("HALLPASS_CHROMIUM")
        .map(PathBuf::from)
        .into_iter()
        .chain(NAMES.into_iter().filter_map(path_search::find))
        .chain([PathBuf::from(ON_MACOS)])
        .find(|program| program.is_file())
}

impl Need for Chromium {
    fn name(&self) -> String {
        "Chromium".to_owned()
    }

    fn look(&self) -> Result<State> {
        Ok(match program() {
            Some(program) => State::Present(program.display().to_string()),
            None => State::Missing("no Chromium or Chrome found".to_owned()),
        })
    }

    fn install(&self) -> Result<()> {
        if path_search::find("apt-get").is_none() {
            bail!("install Chromium or Chrome, or set HALLPASS_CHROMIUM to its program");
        }
        if !has_package_lists() {
            step::run("apt-get update", apt(&["update"])?)?;
        }
        let install = ["install", "--yes", "--no-install-recommends", "chromium"];
        step::run("installing Chromium", apt(&install)?)?;
        Ok(())
    }
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
