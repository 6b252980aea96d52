//! The three databases, and one test's table in each.
//!
//! A behaviour is one `async fn` that is told the database; [`on_each_database`] makes it three
//! tests, in modules of the databases' names.

use std::path::PathBuf;

use hallpass_databases::{Kind, Server};
use sqlx::{AnyConnection, Connection};
use tempfile::TempDir;

/// Which database a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Database {
    Sqlite,
    Postgresql,
    Mariadb,
}

/// Makes each `async fn NAME(database: Database)` above it a test on each database.
macro_rules! on_each_database {
    ($($test:ident),+ $(,)?) => {
        on_each_database! { in sqlite on Sqlite: $($test)+ }
        on_each_database! { in postgresql on Postgresql: $($test)+ }
        on_each_database! { in mariadb on Mariadb: $($test)+ }
    };
    (in $module:ident on $database:ident: $($test:ident)+) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    super::$test(crate::database::Database::$database).await;
                }
            )+
        }
    };
}
pub(crate) use on_each_database;

/// Makes each `async fn NAME(kind: Kind)` above it a test on each database that is a server.
macro_rules! on_each_server {
    ($($test:ident),+ $(,)?) => {
        mod on_postgresql {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    super::$test(hallpass_databases::Kind::Postgresql).await;
                }
            )+
        }
        mod on_mariadb {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    super::$test(hallpass_databases::Kind::Mariadb).await;
                }
            )+
        }
    };
}
pub(crate) use on_each_server;

/// An empty database, gone when dropped.
pub(crate) enum Table {
    File(TempDir),
    /// With the URL that leads to it, perhaps not straight.
    Served(hallpass_databases::Database<'static>, String),
}

/// A table as it was.
pub(crate) enum Backup {
    File(Vec<u8>),
    Served(Vec<String>),
}

impl Database {
    /// A literal of bytes, given in hexadecimal.
    pub(crate) fn bytes(self, hexadecimal: &str) -> String {
        match self {
            Self::Sqlite | Self::Mariadb => format!("x'{hexadecimal}'"),
            Self::Postgresql => format!("'\\x{hexadecimal}'::bytea"),
        }
    }
}

impl Table {
    /// On the server that all tests share, or in a file of its own.
    pub(crate) fn new(database: Database) -> Self {
        let served = |kind| Self::served(Server::shared(kind).unwrap());
        match database {
            Database::Sqlite => Self::File(tempfile::tempdir().unwrap()),
            Database::Postgresql => served(Kind::Postgresql),
            Database::Mariadb => served(Kind::Mariadb),
        }
    }

    /// On a server.
    pub(crate) fn served(server: &'static Server) -> Self {
        let database = server.new_database().unwrap();
        let url = database.url();
        Self::Served(database, url)
    }

    /// What `database_url` is set to.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::File(_) => format!("sqlite://{}", self.file().display()),
            Self::Served(_, url) => url.clone(),
        }
    }

    /// The first row that a server's administrator sees, if there is one.
    pub(crate) fn ask(&self, sql: &str) -> Option<String> {
        let answer = self.database().ask(sql).unwrap();
        answer.lines().next().map(str::to_owned)
    }

    fn database(&self) -> &hallpass_databases::Database<'static> {
        match self {
            Self::Served(database, _) => database,
            Self::File(folder) => panic!("{} is no server", folder.path().display()),
        }
    }

    /// A connection beside the service's own.
    pub(crate) async fn sql(&self) -> AnyConnection {
        sqlx::any::install_default_drivers();
        AnyConnection::connect(&self.url()).await.unwrap()
    }

    /// The file of `SQLite`.
    pub(crate) fn file(&self) -> PathBuf {
        match self {
            Self::File(folder) => folder.path().join("table.db"),
            Self::Served(_, url) => panic!("{url} has no file"),
        }
    }

    /// The names of the tables in it.
    pub(crate) fn names(&self) -> Vec<String> {
        let Self::Served(database, _) = self else {
            panic!("ask the file");
        };
        let names = "SELECT table_name FROM information_schema.tables WHERE table_schema = ";
        let schema = match database.server().kind() {
            Kind::Postgresql => "'public'",
            Kind::Mariadb => "DATABASE()",
        };
        let names = database.ask(&format!("{names}{schema}")).unwrap();
        names.lines().map(str::to_owned).collect()
    }

    /// Nobody may be writing.
    pub(crate) fn back_up(&self) -> Backup {
        match self {
            Self::File(_) => Backup::File(std::fs::read(self.file()).unwrap()),
            Self::Served(database, _) => {
                let names = self.names();
                for name in &names {
                    let copy = format!("CREATE TABLE backup_{name} AS SELECT * FROM {name}");
                    database.ask(&copy).unwrap();
                }
                Backup::Served(names)
            }
        }
    }

    /// Nobody may be connected.
    pub(crate) fn restore(&self, backup: &Backup) {
        match (self, backup) {
            (Self::File(_), Backup::File(bytes)) => std::fs::write(self.file(), bytes).unwrap(),
            (Self::Served(database, _), Backup::Served(names)) => {
                for name in names {
                    let forget = format!("DELETE FROM {name}");
                    database.ask(&forget).unwrap();
                    let copy = format!("INSERT INTO {name} SELECT * FROM backup_{name}");
                    database.ask(&copy).unwrap();
                }
            }
            _ => panic!("a backup of another database"),
        }
    }
}
