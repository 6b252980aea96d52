//! Where things are: the work tree, the tool cache, and the versions the lock file names.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

/// The root of the work tree this binary was built from.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// A path below the root of the work tree.
pub(crate) fn in_root(path: &str) -> PathBuf {
    root().join(path)
}

/// The folder cargo builds into: `CARGO_TARGET_DIR` where it is set, as cargo has it.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| in_root("target"), |dir| root().join(dir))
}

/// The tool cache, outside the work tree so that clones share it and `cargo clean` spares it.
pub(crate) fn cache() -> Result<PathBuf> {
    let from = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    let folder = from("HALLPASS_CACHE")
        .map(PathBuf::from)
        .or_else(|| from("XDG_CACHE_HOME").map(|dir| PathBuf::from(dir).join("hallpass")))
        .or_else(|| from("HOME").map(|dir| PathBuf::from(dir).join(".cache/hallpass")))
        .ok_or_else(|| anyhow!("no HOME: set HALLPASS_CACHE to a folder for the tools"))?;
    std::path::absolute(&folder).context("the tool cache needs an absolute path")
}

/// The version of a package in `Cargo.lock`.
pub(crate) fn locked_version(package: &str) -> Result<String> {
    let lock = fs::read_to_string(in_root("Cargo.lock")).context("cannot read Cargo.lock")?;
    version_in(&lock, package)
}

fn version_in(lock: &str, package: &str) -> Result<String> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    lines
        .nth(1)
        .and_then(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
        .map(str::to_owned)
        .ok_or_else(|| anyhow!("Cargo.lock does not name {package}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "[[package]]\nname = \"worker\"\nversion = \"0.8.7\"\n\n\
                        [[package]]\nname = \"worker-build\"\nversion = \"9.9.9\"\n";

    #[test]
    fn version_in_finds_exactly_the_package_asked_for() -> Result<()> {
        assert_eq!(version_in(LOCK, "worker")?, "0.8.7");
        assert_eq!(version_in(LOCK, "worker-build")?, "9.9.9");
        Ok(())
    }

    #[test]
    fn version_in_names_a_package_that_is_absent() {
        let error = version_in(LOCK, "work")
            .err()
            .map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("Cargo.lock does not name work"));
    }
}
