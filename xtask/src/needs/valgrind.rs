//! valgrind, whose callgrind counts instructions: Debian's package.

use anyhow::Result;

use super::{Need, State, debian};
use crate::path_search;

/// valgrind, on a system that has it.
pub(crate) struct Valgrind;

/// What it says its version is; `None` without it.
pub(crate) fn version() -> Option<String> {
    path_search::version_of(&path_search::find("valgrind")?)
}

/// Whether it is there, or can be got.
pub(crate) fn is_within_reach() -> bool {
    version().is_some() || debian::has_apt()
}

impl Need for Valgrind {
    fn name(&self) -> String {
        "valgrind".to_owned()
    }

    fn look(&self) -> Result<State> {
        Ok(match version() {
            Some(version) => State::Present(version),
            None if debian::has_apt() => State::Missing("not found".to_owned()),
            None => State::Unneeded("not found; instructions are counted where it is".to_owned()),
        })
    }

    fn install(&self) -> Result<()> {
        debian::install(&["valgrind"])
    }
}
