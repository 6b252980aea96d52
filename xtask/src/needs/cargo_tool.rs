//! Tools that `cargo install` builds, in exact versions.
//!
//! One that is on `PATH` in the right version is used as it is. The others are built once into
//! `<cache>/tools/NAME-VERSION`, without `--locked`: their lock files can name crates that a
//! registry no longer has.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use super::{Need, State};
use crate::{path_search, step, tied, workspace};

/// Makes the edge out of the crate: wasm, its JavaScript border, one bundle. The version of the
/// `worker` crate, which it must match.
const WORKER_BUILD: &str = "0.8.7";
/// Runs the rule tests in wasm.
const WASM_PACK: &str = "0.15.1";
/// Runs the fuzz targets.
const CARGO_FUZZ: &str = "0.13.2";
/// Changes the rules one place at a time.
const CARGO_MUTANTS: &str = "27.1.0";

/// The tools work for seconds but are compiled for minutes: light optimisation, many units.
const PROFILE: [(&str, &str); 4] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
];

/// One such tool.
pub(crate) struct CargoTool {
    package: &'static str,
    version: String,
    programs: &'static [&'static str],
}

/// `wasm-bindgen` and its test runner, in the version of the library: the two share a format.
pub(crate) fn wasm_bindgen() -> Result<CargoTool> {
    Ok(CargoTool {
        package: "wasm-bindgen-cli",
        version: workspace::locked_version("wasm-bindgen")?,
        programs: &["wasm-bindgen", "wasm-bindgen-test-runner"],
    })
}

/// `worker-build`.
pub(crate) fn worker_build() -> CargoTool {
    let version = WORKER_BUILD.to_owned();
    CargoTool {
        package: "worker-build",
        version,
        programs: &["worker-build"],
    }
}

/// `wasm-pack`.
pub(crate) fn wasm_pack() -> CargoTool {
    let version = WASM_PACK.to_owned();
    CargoTool {
        package: "wasm-pack",
        version,
        programs: &["wasm-pack"],
    }
}

/// `cargo-fuzz`, set up only when fuzzing is asked for.
pub(crate) fn cargo_fuzz() -> CargoTool {
    let version = CARGO_FUZZ.to_owned();
    CargoTool {
        package: "cargo-fuzz",
        version,
        programs: &["cargo-fuzz"],
    }
}

/// `cargo-mutants`, set up only when mutants are asked for.
pub(crate) fn cargo_mutants() -> CargoTool {
    let version = CARGO_MUTANTS.to_owned();
    CargoTool {
        package: "cargo-mutants",
        version,
        programs: &["cargo-mutants"],
    }
}

impl CargoTool {
    /// The tool's first program.
    ///
    /// # Errors
    /// When it is not installed.
    pub(crate) fn program(&self) -> Result<PathBuf> {
        self.folder()?
            .map(|folder| folder.join(self.programs[0]))
            .ok_or_else(|| {
                anyhow!(
                    "{} is missing: run `cargo xtask setup --only tools`",
                    self.name()
                )
            })
    }

    /// The folder with all the tool's programs, in the cache or on `PATH`.
    pub(crate) fn folder(&self) -> Result<Option<PathBuf>> {
        let cached = self.home()?.join("bin");
        if self
            .programs
            .iter()
            .all(|program| cached.join(program).is_file())
        {
            return Ok(Some(cached));
        }
        Ok(self.folder_on_path())
    }

    fn folder_on_path(&self) -> Option<PathBuf> {
        let first = path_search::find(self.programs[0])?;
        let folder = first.parent()?;
        let fits = |program: &&str| is_version(&folder.join(program), &self.version);
        self.programs.iter().all(fits).then(|| folder.to_path_buf())
    }

    fn home(&self) -> Result<PathBuf> {
        let name = format!("{}-{}", self.package, self.version);
        Ok(workspace::cache()?.join("tools").join(name))
    }
}

fn is_version(program: &Path, version: &str) -> bool {
    path_search::version_of(program).is_some_and(|said| ends_with_version(&said, version))
}

/// Tools say `0.8.7` or `wasm-pack 0.15.1`.
fn ends_with_version(said: &str, version: &str) -> bool {
    said.split_whitespace().last() == Some(version)
}

impl Need for CargoTool {
    fn name(&self) -> String {
        format!("{} {}", self.package, self.version)
    }

    fn look(&self) -> Result<State> {
        Ok(match self.folder()? {
            Some(folder) => State::Present(folder.display().to_string()),
            None => State::Missing("in neither the tool cache nor PATH".to_owned()),
        })
    }

    fn install(&self) -> Result<()> {
        let home = self.home()?;
        let tools = home.parent().context("a tool has a folder above it")?;
        fs::create_dir_all(tools)?;
        let unfinished = tempfile::Builder::new()
            .prefix("unfinished-")
            .tempdir_in(tools)?;

        let mut command = tied::command("cargo");
        command
            .arg("install")
            .arg(format!("{}@{}", self.package, self.version));
        command.arg("--root").arg(unfinished.path());
        // One target folder for all tools: they share much of what they compile.
        command
            .env("CARGO_TARGET_DIR", build_folder()?)
            .envs(PROFILE);
        command.current_dir(tools); // away from the workspace's own cargo settings
        step::run(&format!("building {} (once)", self.name()), command)?;
        fs::rename(unfinished.path(), &home).context("cannot move the finished tool into place")
    }
}

/// Throws away what the tools were compiled in; called when all are done.
pub(crate) fn remove_build_folder() -> Result<()> {
    let folder = build_folder()?;
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn build_folder() -> Result<PathBuf> {
    Ok(workspace::cache()?.join("unfinished-build"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_with_version_takes_both_forms_tools_print() {
        assert!(ends_with_version("0.8.7", "0.8.7"));
        assert!(ends_with_version("wasm-pack 0.15.1", "0.15.1"));
    }

    #[test]
    fn ends_with_version_refuses_another_version() {
        assert!(!ends_with_version("wasm-pack 0.15.10", "0.15.1"));
        assert!(!ends_with_version("", "0.15.1"));
    }

    #[test]
    fn worker_build_has_the_version_of_the_worker_crate() -> Result<()> {
        assert_eq!(WORKER_BUILD, workspace::locked_version("worker")?);
        Ok(())
    }
}
