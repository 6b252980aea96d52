//! Database servers besides the embedded SQLite. No test asks for one, so they are only looked for.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use super::{Need, State};
use crate::path_search;

/// One server.
pub(crate) struct Server {
    name: &'static str,
    program: &'static str,
    /// Debian keeps the server's programs here, one folder per version, away from `PATH`.
    versions: &'static str,
}

impl Server {
    /// PostgreSQL.
    pub(crate) fn postgresql() -> Self {
        Self {
            name: "PostgreSQL",
            program: "postgres",
            versions: "/usr/lib/postgresql",
        }
    }

    /// MariaDB.
    pub(crate) fn mariadb() -> Self {
        Self {
            name: "MariaDB",
            program: "mariadbd",
            versions: "/usr/lib/mariadb",
        }
    }

    fn program(&self) -> Option<PathBuf> {
        let versions = fs::read_dir(self.versions).into_iter().flatten().flatten();
        let mut installed: Vec<_> = versions
            .map(|version| version.path().join("bin").join(self.program))
            .filter(|program| program.is_file())
            .collect();
        installed.sort();
        installed.pop().or_else(|| path_search::find(self.program))
    }
}

impl Need for Server {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn look(&self) -> Result<State> {
        Ok(match self.program() {
            Some(program) => State::Present(program.display().to_string()),
            None => State::Unneeded("not installed; no test asks for it".to_owned()),
        })
    }

    fn install(&self) -> Result<()> {
        Ok(())
    }
}
