//! Chromium for the browser tests: any that is found, else Debian's package.

use std::env;
use std::path::PathBuf;

use anyhow::{Result, bail};

use super::{Need, State, debian};
use crate::path_search;

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
        if !debian::has_apt() {
            bail!("install Chromium or Chrome, or set HALLPASS_CHROMIUM to its program");
        }
        debian::install(&["chromium"])
    }
}
