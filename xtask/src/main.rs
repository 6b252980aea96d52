//! `cargo xtask …`: every tool the project needs, in one typed place.
//!
//! This file decides only which command runs; each command is a file of its own. Progress and
//! failures go to standard error, so that standard output holds nothing but what a command
//! promises to print there: `ready` lines, reports, the totals of a test run.

mod bench;
mod budget;
mod build;
mod callgrind;
mod children;
mod commands;
mod crash;
mod dev;
mod doctor;
mod edge;
mod files;
mod fingerprint;
mod fuzz;
mod generate;
mod guards;
mod lines;
mod load;
mod markdown;
mod mutants;
mod native;
mod needs;
mod path_search;
mod ports;
mod purity;
mod rows;
mod runs;
mod service;
mod setup;
mod step;
mod tabs;
mod test;
mod tied;
mod vectors;
mod wasm;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    if let Some(exit) = tied::run_if_asked() {
        return exit;
    }
    match commands::Xtask::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
