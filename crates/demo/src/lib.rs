//! The demo app: what an adopter reads to learn how an app stands behind Hallpass.
//!
//! An app has three things to do, and each is one file here:
//! check that a request came through the edge and whose it is ([`assertion`]),
//! ask the session service for a session once it knows who somebody is ([`session_client`]),
//! and say so to the edge on its answer (`sign_in`). The rest is a page to look at.
//!
//! It keeps no state: no session store, no cookie, no token. Restarting it signs nobody out.

pub mod assertion;
pub mod config;
pub mod return_path;
pub mod server;
pub mod session_client;

mod clock;
mod echo;
mod live;
mod page;
mod public;
mod refusal;
mod sign_in;
mod who;
