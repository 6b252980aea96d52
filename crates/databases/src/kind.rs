//! The two servers, and what differs between them.

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::programs::Programs;
use crate::server::Durability;

/// Whom the URLs name: an ordinary account that owns its databases and nothing else.
const ACCOUNT: &str = "hallpass";
/// Its password; whoever may connect to 127.0.0.1 may as well know it.
const PASSWORD: &str = "throw-away";
/// More than all tests of a process together open.
const CONNECTIONS_MAX: u16 = 400;

/// A database server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// PostgreSQL.
    Postgresql,
    /// MariaDB, which speaks MySQL's protocol.
    Mariadb,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Postgresql, Self::Mariadb];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgresql => "PostgreSQL",
            Self::Mariadb => "MariaDB",
        }
    }

    /// What makes a cluster, what serves it, what asks it.
    pub(crate) const fn program_names(self) -> [&'static str; 3] {
        match self {
            Self::Postgresql => ["initdb", "postgres", "psql"],
            Self::Mariadb => ["mariadb-install-db", "mariadbd", "mariadb"],
        }
    }

    /// The signal that ends it in good order.
    pub(crate) const fn stop_signal(self) -> Signal {
        match self {
            Self::Postgresql => Signal::INT,
            Self::Mariadb => Signal::TERM,
        }
    }

    /// The signal that ends it at once without leaving anything in the system: of PostgreSQL, shared
    /// memory.
    pub(crate) const fn end_signal(self) -> Signal {
        match self {
            Self::Postgresql => Signal::QUIT,
            Self::Mariadb => Signal::KILL,
        }
    }

    /// Makes a cluster; that itself need not be durable.
    pub(crate) fn install(self, programs: &Programs, folder: &Path) -> Command {
        let mut command = Command::new(&programs.install);
        let data = folder.join("data");
        match self {
            Self::Postgresql => command
                .arg("--pgdata")
                .arg(data)
                .args(["--username=postgres", "--encoding=UTF8", "--no-locale"])
                .args([
                    "--auth-local=trust",
                    "--auth-host=scram-sha-256",
                    "--no-sync",
                ]),
            Self::Mariadb => command
                .arg("--no-defaults")
                .arg(option("--datadir", &data))
                .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
                .arg("--skip-name-resolve")
                .args(self.undurable()),
        };
        command
    }

    /// Serves the cluster.
    pub(crate) fn serve(
        self,
        programs: &Programs,
        folder: &Path,
        port: u16,
        durability: Durability,
    ) -> Command {
        let mut command = Command::new(&programs.server);
        let data = folder.join("data");
        match self {
            Self::Postgresql => command
                .arg("-D")
                .arg(data)
                .arg("-k")
                .arg(folder)
                .args(["-p", &port.to_string(), "-h", "127.0.0.1"])
                .args(["-N", &CONNECTIONS_MAX.to_string()]),
            Self::Mariadb => command
                .arg("--no-defaults")
                .arg(option("--datadir", &data))
                .arg(option("--socket", &folder.join("socket")))
                .arg(option("--pid-file", &folder.join("pid")))
                .args([
                    format!("--port={port}"),
                    "--bind-address=127.0.0.1".to_owned(),
                ])
                .arg(format!("--max-connections={CONNECTIONS_MAX}"))
                .arg("--skip-name-resolve"),
        };
        if durability == Durability::None {
            command.args(self.undurable());
        }
        command
    }

    /// What lets the server answer before the disk has it.
    const fn undurable(self) -> &'static [&'static str] {
        match self {
            Self::Postgresql => &["-c", "fsync=off", "-c", "full_page_writes=off"],
            Self::Mariadb => &[
                "--innodb-flush-log-at-trx-commit=2",
                "--innodb-flush-method=nosync",
                "--innodb-doublewrite=0",
            ],
        }
    }

    /// Has the administrator say something in SQL; rows come as lines, columns apart by `|` or tab.
    pub(crate) fn ask(
        self,
        programs: &Programs,
        folder: &Path,
        port: u16,
        database: Option<&str>,
        sql: &str,
    ) -> Command {
        let mut command = Command::new(&programs.client);
        match self {
            Self::Postgresql => command
                .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
                .args(["--set", "ON_ERROR_STOP=1"])
                .args(["--port", &port.to_string(), "--username=postgres", "--host"])
                .arg(folder)
                .args(["--dbname", database.unwrap_or("postgres"), "--command", sql]),
            Self::Mariadb => command
                .arg("--no-defaults")
                .arg(option("--socket", &folder.join("socket")))
                .args(["--user=root", "--batch", "--skip-column-names"])
                .args(["--database", database.unwrap_or("mysql"), "--execute", sql]),
        };
        command
    }

    /// What makes the account of the URLs.
    pub(crate) fn account_sql(self) -> String {
        match self {
            Self::Postgresql => format!("CREATE ROLE {ACCOUNT} LOGIN PASSWORD '{PASSWORD}'"),
            Self::Mariadb => format!(
                "CREATE USER '{ACCOUNT}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'; \
                 GRANT ALL ON `hp\\_%`.* TO '{ACCOUNT}'@'127.0.0.1'"
            ),
        }
    }

    /// What makes an empty database.
    pub(crate) fn create_sql(self, name: &str) -> String {
        match self {
            Self::Postgresql => format!("CREATE DATABASE {name} OWNER {ACCOUNT}"),
            Self::Mariadb => format!("CREATE DATABASE {name}"),
        }
    }

    /// What removes a database that somebody may still be connected to.
    pub(crate) fn drop_sql(self, name: &str) -> String {
        match self {
            Self::Postgresql => format!("DROP DATABASE {name} WITH (FORCE)"),
            Self::Mariadb => format!("SET SESSION lock_wait_timeout = 1; DROP DATABASE {name}"),
        }
    }

    /// Where a database is.
    pub(crate) fn url(self, port: u16, name: &str) -> String {
        let scheme = match self {
            Self::Postgresql => "postgres",
            Self::Mariadb => "mysql",
        };
        format!("{scheme}://{ACCOUNT}:{PASSWORD}@127.0.0.1:{port}/{name}")
    }
}

fn option(name: &str, value: &Path) -> std::ffi::OsString {
    let mut option = std::ffi::OsString::from(name);
    option.push("=");
    option.push(value);
    option
}
