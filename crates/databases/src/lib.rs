//! Throw-away database servers: real ones, each in a folder of its own, gone with who made them.
//!
//! [`Server::create`] makes a cluster and starts it; [`Server::new_database`] hands out empty
//! databases by URL, one per test. A server can be stopped, killed as by a power cut, and started
//! again on the same data and port. [`Server::shared`] is one per process for tests that need no
//! more than a database. However the process ends, no server and no folder stays ([`mod@guard`]).
//!
//! Servers refuse to run as root, so what root starts runs as `nobody`. Which programs that takes
//! and where they are is said in [`programs`].

pub mod programs;

mod account;
mod guard;
mod kind;
mod server;

pub use kind::Kind;
pub use server::{Database, Durability, Server};
