//! The service over HTTP, on real databases, with a clock that the tests move.
//!
//! `database` makes a table and a test of each behaviour on each database; `running` starts a
//! service; each other file tests one idea. `command` runs the real binary.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod batches;
#[cfg(test)]
mod canary;
#[cfg(test)]
mod command;
#[cfg(test)]
mod concurrency;
#[cfg(test)]
mod copies;
#[cfg(test)]
mod creation;
#[cfg(test)]
mod database;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod in_force;
#[cfg(test)]
mod init;
#[cfg(test)]
mod journalling;
#[cfg(test)]
mod journey;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod me;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod operators_day;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod remote;
#[cfg(test)]
mod renewal;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod revocations;
#[cfg(test)]
mod running;
#[cfg(test)]
mod several;
#[cfg(test)]
mod signals;
#[cfg(test)]
mod subjects;
#[cfg(test)]
mod table;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod webhook;
