//! Database servers to test against besides the embedded SQLite: any that are found, else Debian's
//! packages. Tests start servers of their own from the programs; no service of the system is used.

use anyhow::{Result, bail};
use hallpass_databases::{Kind, programs};

use super::{Need, State, debian};

/// One server's programs.
pub(crate) struct Server(pub(crate) Kind);

impl Server {
    /// MariaDB's packages bring the programs only, PostgreSQL's also a service.
    fn packages(&self) -> &'static [&'static str] {
        match self.0 {
            Kind::Postgresql => &["postgresql"],
            Kind::Mariadb => &["mariadb-server-core", "mariadb-client-core"],
        }
    }
}

impl Need for Server {
    fn name(&self) -> String {
        self.0.name().to_owned()
    }

    fn look(&self) -> Result<State> {
        Ok(match programs::find(self.0) {
            Ok(found) => State::Present(found.server.display().to_string()),
            Err(error) => State::Missing(format!("{error:#}")),
        })
    }

    fn install(&self) -> Result<()> {
        if !debian::has_apt() {
            bail!("install {} so that its programs are on PATH", self.name());
        }
        debian::install(self.packages())
    }
}
