//! Where a server's programs are: Debian keeps them away from `PATH`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};

use crate::Kind;

/// The programs of one server.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Makes a cluster.
    pub install: PathBuf,
    /// The server.
    pub server: PathBuf,
    /// Asks it in SQL.
    pub client: PathBuf,
}

/// Looks for the programs; changes nothing.
///
/// # Errors
///
/// When one is missing: says which, and what installs it.
pub fn find(kind: Kind) -> Result<Programs> {
    let folders = folders(kind);
    let find = |name: &str| {
        let mut files = folders.iter().map(|folder| folder.join(name));
        files.find(|file| file.is_file()).ok_or_else(|| {
            anyhow!(
                "{} is not installed ({name} not found): run `cargo xtask setup --only databases`",
                kind.name()
            )
        })
    };
    let [install, server, client] = kind.program_names();
    Ok(Programs {
        install: find(install)?,
        server: find(server)?,
        client: find(client)?,
    })
}

/// Where to look, first first: the newest version of several, then `PATH`.
fn folders(kind: Kind) -> Vec<PathBuf> {
    let mut folders = match kind {
        Kind::Postgresql => versions(Path::new("/usr/lib/postgresql")),
        Kind::Mariadb => Vec::new(),
    };
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    folders.push(PathBuf::from("/usr/sbin")); // not on the PATH of everybody
    folders
}

fn versions(parent: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort();
    versions.into_iter().rev().map(|(_, bin)| bin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_numbers() -> Result<()> {
        let folder = tempfile::tempdir()?;
        for version in ["9", "15", "100", "common"] {
            fs::create_dir(folder.path().join(version))?;
        }
        let found: Vec<_> = versions(folder.path())
            .iter()
            .filter_map(|bin| bin.parent()?.file_name()?.to_str().map(str::to_owned))
            .collect();
        assert_eq!(found, ["100", "15", "9"]);
        Ok(())
    }
}
