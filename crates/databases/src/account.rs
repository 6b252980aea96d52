//! Who runs the servers: whoever we are, but `nobody` where that is root.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// An account other than ours.
#[derive(Clone, Copy)]
struct Other {
    user: u32,
    group: u32,
}

/// What we run as, unless that is root.
fn other() -> Option<Other> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let nobody = passwd.lines().find_map(|line| line.strip_prefix("nobody:"));
    let ids = nobody.and_then(|line| {
        let mut fields = line.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    let (user, group) = ids.unwrap_or((65_534, 65_534)); // as Linux itself calls nobody
    Some(Other { user, group })
}

/// Hands a folder to the account.
pub(crate) fn hand_over(folder: &Path) -> Result<()> {
    let Some(Other { user, group }) = other() else {
        return Ok(());
    };
    chown(folder, Some(user), Some(group))
        .with_context(|| format!("cannot hand {} over to nobody", folder.display()))
}

/// Has a command run as the account, in this folder and without our environment: variables such as
/// `PGHOST` change what clients do, and two MariaDB servers in the making that share a folder for
/// temporary files take each other's.
pub(crate) fn confine(command: &mut Command, folder: &Path) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    command
        .env_clear()
        .env("PATH", path)
        .env("LC_ALL", "C")
        .env("HOME", folder)
        .env("TMPDIR", folder)
        .current_dir(folder);
    if let Some(Other { user, group }) = other() {
        command.uid(user).gid(group);
    }
}
