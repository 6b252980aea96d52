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

/// Installs without starting: a database server's package would run a service at once. Whoever
/// has a policy of their own keeps it.
const INSTALL: &str = r#"
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
apt-get install --yes --no-install-recommends "$@"
"#;

/// Installs packages.
///
/// # Errors
/// When that is not allowed or fails.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    let mut install = as_root(&format!("apt-get install {names}"))?;
    if !has_package_lists() {
        let mut update = as_root("apt-get update")?;
        update.args(["apt-get", "update"]);
        step::run("apt-get update", update)?;
    }
    install.args(["sh", "-c", INSTALL, "sh"]).args(packages);
    step::run(&format!("installing {names}"), install).map(drop)
}

/// A bare Debian image has no package lists, and then knows no package.
fn has_package_lists() -> bool {
    let Ok(entries) = fs::read_dir("/var/lib/apt/lists") else {
        return false;
    };
    let is_list = |path: &Path| path.to_string_lossy().contains("_Packages");
    entries.flatten().any(|entry| is_list(&entry.path()))
}

/// A command whose arguments are run as root; `instead` is what whoever may not do that has to say.
fn as_root(instead: &str) -> Result<Command> {
    let mut command = if rustix::process::geteuid().is_root() {
        tied::command("env")
    } else if path_search::find("sudo").is_some() {
        let mut command = tied::command("sudo");
        // Never a password prompt inside a step whose input is closed.
        command.args(["--non-interactive", "env"]);
        command
    } else {
        return Err(anyhow!(
            "neither root nor sudo: run `{instead}` as root, then this again"
        ));
    };
    command.arg("DEBIAN_FRONTEND=noninteractive");
    Ok(command)
}
