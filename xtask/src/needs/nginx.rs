//! nginx, the shared cache of the end-to-end tests: any that is found, else Debian's package. Tests
//! start one of their own; no service of the system is used.

use std::env;
use std::path::PathBuf;

use anyhow::{Result, bail};

use super::{Need, State, debian};
use crate::path_search;

/// Where Debian has it: not on the `PATH` of everybody.
const IN_DEBIAN: &str = "/usr/sbin/nginx";

/// nginx.
pub(crate) struct Nginx;

/// Its program: `HALLPASS_NGINX` if set, else the first that is found.
pub(crate) fn program() -> Option<PathBuf> {
    env::var_os("HALLPASS_NGINX")
        .map(PathBuf::from)
        .into_iter()
        .chain(path_search::find("nginx"))
        .chain([PathBuf::from(IN_DEBIAN)])
        .find(|program| program.is_file())
}

impl Need for Nginx {
    fn name(&self) -> String {
        "nginx".to_owned()
    }

    fn look(&self) -> Result<State> {
        Ok(match program() {
            Some(program) => State::Present(program.display().to_string()),
            None => State::Missing("not found".to_owned()),
        })
    }

    fn install(&self) -> Result<()> {
        if !debian::has_apt() {
            bail!("install nginx, or set HALLPASS_NGINX to its program");
        }
        debian::install(&["nginx"])
    }
}
