//! Builds `hallpass-load` (`bench/load`), which loads a real session service.

use std::path::PathBuf;

use anyhow::Result;

use crate::native::Profile;
use crate::{step, tied, workspace};

const PACKAGE: &str = "hallpass-load";

/// Builds the program; where it is.
///
/// # Errors
/// When it does not compile; cargo's output has been printed.
pub(crate) fn build(profile: Profile) -> Result<PathBuf> {
    let mut command = tied::command("cargo");
    command
        .args(["build", "--profile", profile.name(), "-p", PACKAGE])
        .current_dir(workspace::root());
    step::run("building the load", command)?;
    Ok(workspace::target().join(profile.folder()).join(PACKAGE))
}
