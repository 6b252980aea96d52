//! schemathesis, which tries the service against its own description: from Python's index of packages,
//! into an environment of its own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Need, State};
use crate::{path_search, step, tied, workspace};

const VERSION: &str = "4.32.5";

/// schemathesis in the tool cache.
pub(crate) struct Schemathesis;

/// A command that runs it.
///
/// # Errors
/// When it is not installed.
pub(crate) fn command() -> Result<Command> {
    let python = python()?;
    if !python.is_file() {
        bail!("schemathesis is missing: run `cargo xtask setup --only tools`");
    }
    let mut command = tied::command(python);
    command.args(["-m", "schemathesis.cli"]);
    Ok(command)
}

fn home() -> Result<PathBuf> {
    Ok(workspace::cache()?.join(format!("tools/schemathesis-{VERSION}")))
}

fn python() -> Result<PathBuf> {
    Ok(home()?.join("bin/python"))
}

impl Need for Schemathesis {
    fn name(&self) -> String {
        format!("schemathesis {VERSION}")
    }

    fn look(&self) -> Result<State> {
        let home = home()?;
        Ok(if python()?.is_file() {
            State::Present(home.display().to_string())
        } else {
            State::Missing("not installed".to_owned())
        })
    }

    fn install(&self) -> Result<()> {
        if path_search::find("python3").is_none() {
            bail!(
                "no python3 on PATH: install it with venv (Debian: apt-get install python3-venv)"
            );
        }
        let tools = workspace::cache()?.join("tools");
        fs::create_dir_all(&tools)?;
        let unfinished = tempfile::Builder::new()
            .prefix("unfinished-")
            .tempdir_in(&tools)?;
        let mut environment = tied::command("python3");
        environment.args(["-m", "venv"]).arg(unfinished.path());
        step::run("making a Python environment", environment)?;
        let mut install = tied::command(unfinished.path().join("bin/python"));
        install.args(["-m", "pip", "install", "--quiet"]);
        install.args([
            "--disable-pip-version-check",
            &format!("schemathesis=={VERSION}"),
        ]);
        step::run("installing schemathesis", install)?;
        // Its scripts name the folder they were made in; `python -m` does not need them.
        fs::rename(unfinished.path(), home()?)
            .context("cannot move the finished environment into place")
    }
}
