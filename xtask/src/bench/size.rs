//! Part `size`: what the released `hallpass` takes before it does anything, on SQLite.

use std::process::Command;

use anyhow::Result;

use super::Size as HowMuch;
use super::asked::Asked;
use super::report::{Compared, Description};
use super::rounds::{Round, Subject};
use crate::load;
use crate::native::{self, Profile};

/// The program that measures.
pub(super) struct Size(Asked);

impl Size {
    /// Builds what is measured.
    ///
    /// # Errors
    /// When something cannot be built or started.
    pub(super) fn prepare(how_much: HowMuch) -> Result<Self> {
        let programs = native::build(Profile::Native)?;
        let mut command: Command = crate::tied::command(load::build(Profile::Native)?);
        command
            .arg("size")
            .arg("--hallpass")
            .arg(programs.join(native::SERVICE));
        if how_much == HowMuch::Smoke {
            command.args(["--starts", "3", "--edges", "50"]);
        }
        Asked::start(command).map(Self)
    }
}

impl Subject for Size {
    fn control(&self) -> [&str; 2] {
        ["start", "start_again"]
    }

    fn round(&mut self, _number: usize) -> Result<Round> {
        self.0.round()
    }
}

/// What the part says about itself.
pub(super) fn description() -> Description {
    Description {
        title: "start and size of the session service",
        method: "The native build of `hallpass serve` on an SQLite file: time from its start to its \
                 `ready` line, median of 15 starts per round; resident memory right then; resident \
                 memory of one with 10 000 sessions while 1 000 edges wait for news; size of the \
                 program.",
        unit: "ms; memory and size in MiB",
        cases: vec![
            ("start", "start to ready"),
            ("start_again", "start to ready, the same again"),
            ("start_new", "start to ready, the database made first"),
            ("memory_idle", "memory when ready, MiB"),
            ("memory_waiting", "memory with 1 000 waiting edges, MiB"),
            ("bytes", "the program, MiB"),
        ],
        comparisons: vec![Compared::shown(
            "memory with 1 000 waiting edges by none",
            "memory_waiting",
            &["memory_idle"],
        )],
    }
}
