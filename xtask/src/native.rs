//! Builds the native programs: the session service (`hallpass`) and the demo app (`hallpass-demo`).

use std::env;
use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::{step, tied, workspace};

/// The session service and its command.
pub(crate) const SERVICE: &str = "hallpass";
/// The demo app.
pub(crate) const DEMO: &str = "hallpass-demo";

/// How to compile.
#[derive(Clone, Copy)]
pub(crate) enum Profile {
    /// Quick to compile: for `dev` and the tests.
    Dev,
    /// Quick to run: for a deployment.
    Native,
}

impl Profile {
    /// As cargo knows it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Native => "native",
        }
    }

    /// The folder of the target folder it builds into.
    pub(crate) const fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Native => "native",
        }
    }
}

/// Builds both programs; the folder they are in.
///
/// # Errors
/// When they do not compile; cargo's output has been printed.
pub(crate) fn build(profile: Profile) -> Result<PathBuf> {
    let name = profile.name();
    let mut command = tied::command("cargo");
    command.args([
        "build",
        "--profile",
        name,
        "-p",
        "hallpass-service",
        "-p",
        "hallpass-demo",
    ]);
    command.current_dir(workspace::root());
    step::run(
        &format!("building service and demo app ({name} profile)"),
        command,
    )?;
    Ok(workspace::target().join(profile.folder()))
}

/// The folder of programs a test run has built already (`HALLPASS_BIN_DIR`), else a fresh build.
///
/// # Errors
/// When the folder lacks a program, or the build fails.
pub(crate) fn ready_programs() -> Result<PathBuf> {
    let Some(folder) = env::var_os("HALLPASS_BIN_DIR").map(PathBuf::from) else {
        return build(Profile::Dev);
    };
    for program in [SERVICE, DEMO] {
        if !folder.join(program).is_file() {
            bail!("HALLPASS_BIN_DIR: no {program} in {}", folder.display());
        }
    }
    Ok(folder)
}
