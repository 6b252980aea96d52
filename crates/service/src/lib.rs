//! The Hallpass session service: owns the session table, signs tokens and the revocation list.
//!
//! Reading order: [`record`] says when a session lives; [`store`] is the table as a port, with
//! three databases behind it; [`service`] holds what a running service needs; one file per thing it
//! does: [`creation`], [`renew`], [`list`], [`edges`], [`in_force`], [`me`], [`revoke`], [`events`], [`webhook`]; below them [`mint`],
//! [`keys`], [`key_changes`], [`master_key`], [`device`], [`credential`]; around them [`http`], [`metrics`],
//! [`cli`] and [`config`]. Why something fails is
//! in [`failure`], what time it is in [`clock`], on whose behalf in [`actor`].
//!
//! Rules shared with the edge are in `hallpass_session`; signatures in `hallpass_signature`.

#![forbid(unsafe_code)]

pub mod actor;
pub mod cli;
mod client;
pub mod clock;
pub mod config;
pub mod copy;
pub mod creation;
pub mod credential;
pub mod device;
pub mod edges;
pub mod events;
pub mod failure;
pub mod http;
pub mod in_force;
pub mod journal;
pub mod key_changes;
pub mod keys;
pub mod list;
pub mod master_key;
pub mod me;
pub mod metrics;
pub mod mint;
pub mod record;
pub mod recovery;
pub mod renew;
pub mod revoke;
pub mod service;
pub mod store;
pub mod upkeep;
pub mod webhook;
