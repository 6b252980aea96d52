//! Part `service`: what the session table costs on each database, few sessions and many.
//!
//! The store is measured in process by `bench/load`, which keeps its databases from round to round
//! and measures one for every line it is given.

use anyhow::Result;

use super::Size;
use super::asked::Asked;
use super::report::{Compared, Description};
use super::rounds::{Round, Subject};
use crate::native::{self, Profile};
use crate::needs::{self, Group};
use crate::{load, path_search, setup, tied};

/// SQLite's group commit is to be at least ten times one transaction per renewal.
const GROUPED: f64 = 0.1;
/// A hundred times the sessions, at most three times the cost.
const GROWTH: f64 = 3.0;

/// The cases of one database, in the order of the table.
macro_rules! cases {
    ($id:literal, $name:literal) => {
        [
            (concat!($id, "_renewal_few"), concat!($name, ": renewal")),
            (
                concat!($id, "_renewal_again_few"),
                concat!($name, ": renewal, the same again"),
            ),
            (
                concat!($id, "_renewal_alone_few"),
                concat!($name, ": renewal, one at a time"),
            ),
            (
                concat!($id, "_renewal_many"),
                concat!($name, ": renewal, 1 000 000 sessions"),
            ),
            (concat!($id, "_creation_few"), concat!($name, ": creation")),
            (
                concat!($id, "_creation_many"),
                concat!($name, ": creation, 1 000 000 sessions"),
            ),
            (
                concat!($id, "_revocation_few"),
                concat!($name, ": revocation"),
            ),
            (
                concat!($id, "_revocation_many"),
                concat!($name, ": revocation, 1 000 000 sessions"),
            ),
            (concat!($id, "_find_few"), concat!($name, ": look-up")),
            (
                concat!($id, "_find_many"),
                concat!($name, ": look-up, 1 000 000 sessions"),
            ),
        ]
    };
}

/// What is asked of every database.
macro_rules! comparisons {
    ($id:literal, $name:literal) => {
        [
            Compared::at_most(
                GROWTH,
                concat!($name, ": renewal with 1 000 000 sessions by 10 000"),
                concat!($id, "_renewal_many"),
                &[concat!($id, "_renewal_few")],
            ),
            Compared::at_most(
                GROWTH,
                concat!($name, ": creation with 1 000 000 by 10 000"),
                concat!($id, "_creation_many"),
                &[concat!($id, "_creation_few")],
            ),
            Compared::at_most(
                GROWTH,
                concat!($name, ": revocation with 1 000 000 by 10 000"),
                concat!($id, "_revocation_many"),
                &[concat!($id, "_revocation_few")],
            ),
            Compared::at_most(
                GROWTH,
                concat!($name, ": look-up with 1 000 000 by 10 000"),
                concat!($id, "_find_many"),
                &[concat!($id, "_find_few")],
            ),
        ]
    };
}

/// The program that measures, with its databases.
pub(super) struct Service(Asked);

impl Service {
    /// Builds what is measured and fills the databases.
    ///
    /// # Errors
    /// When something cannot be built or started.
    pub(super) fn prepare(size: Size) -> Result<Self> {
        setup::ensure(needs::of(Group::Databases)?)?;
        let programs = native::build(Profile::Native)?;
        let mut command = tied::command(load::build(Profile::Native)?);
        command
            .arg("measure")
            .arg("--hallpass")
            .arg(programs.join(native::SERVICE));
        if size == Size::Smoke {
            command.args(["--operations", "256", "--few", "1000", "--many", "10000"]);
            command.args(["--edges", "50"]);
        }
        Asked::start(command).map(Self)
    }
}

impl Subject for Service {
    fn control(&self) -> [&str; 2] {
        ["sqlite_renewal_few", "sqlite_renewal_again_few"]
    }

    fn round(&mut self, _number: usize) -> Result<Round> {
        self.0.round()
    }
}

/// What the part says about itself.
pub(super) fn description() -> Description {
    let mut cases = Vec::new();
    cases.extend(cases!("sqlite", "SQLite"));
    cases.extend(cases!("postgresql", "PostgreSQL"));
    cases.extend(cases!("mariadb", "MariaDB"));
    cases.extend([
        ("sqlite_list_few", "news of the list, per waiting edge"),
        (
            "sqlite_list_many",
            "news of the list, per waiting edge, 1 000 000 sessions",
        ),
        ("memory_few", "memory of the service, MiB"),
        (
            "memory_many",
            "memory of the service, 1 000 000 sessions, MiB",
        ),
    ]);
    Description {
        title: "the session table",
        method: "Wall time per operation of the store, in process, native build, with 64 operations \
                 asked for at once (`one at a time`: with one, so that each has a transaction of its \
                 own); every acknowledged write is on disk. Databases on the same disk with 10 000 \
                 sessions or 1 000 000; PostgreSQL and MariaDB with their defaults of durability, \
                 over loopback. News of the list: from a revocation's request to the last of 1 000 \
                 edges that waited for it at a service of its own, over HTTP, divided by 1 000; its \
                 memory while they wait.",
        unit: "µs; memory in MiB",
        cases,
        comparisons: comparisons(),
    }
}

fn comparisons() -> Vec<Compared> {
    let mut comparisons = vec![
        Compared::at_most(
            GROUPED,
            "SQLite: renewal by one at a time",
            "sqlite_renewal_few",
            &["sqlite_renewal_alone_few"],
        ),
        Compared::shown(
            "PostgreSQL: renewal by one at a time",
            "postgresql_renewal_few",
            &["postgresql_renewal_alone_few"],
        ),
        Compared::shown(
            "MariaDB: renewal by one at a time",
            "mariadb_renewal_few",
            &["mariadb_renewal_alone_few"],
        ),
    ];
    comparisons.extend(comparisons!("sqlite", "SQLite"));
    comparisons.extend(comparisons!("postgresql", "PostgreSQL"));
    comparisons.extend(comparisons!("mariadb", "MariaDB"));
    comparisons.push(Compared::at_most(
        GROWTH,
        "news of the list with 1 000 000 by 10 000",
        "sqlite_list_many",
        &["sqlite_list_few"],
    ));
    comparisons.push(Compared::shown(
        "memory with 1 000 000 sessions by 10 000",
        "memory_many",
        &["memory_few"],
    ));
    comparisons
}

/// The servers.
pub(super) fn versions() -> Vec<(&'static str, String)> {
    let of = |kind| {
        let programs = hallpass_databases::programs::find(kind).ok();
        programs
            .and_then(|programs| path_search::version_of(&programs.server))
            .unwrap_or_default()
    };
    vec![
        ("PostgreSQL", of(hallpass_databases::Kind::Postgresql)),
        ("MariaDB", of(hallpass_databases::Kind::Mariadb)),
    ]
}
