//! Loads a real session service, over HTTP and as a process of its own.
//!
//! `crash` kills it and looks whether everything that was acknowledged still holds: [`history`] is
//! what clients were told, [`holder`] and [`watcher`] are the clients, [`program`] and [`database`]
//! what they are clients of. `pair` does so to one of two behind a [`balancer`]. `measure` times the session table: [`measure`], [`seed`], [`edges`]; `size` what the program
//! takes to start. The last line of standard output is the result as
//! JSON; progress goes to standard error.

mod balancer;
mod client;
mod crash;
mod database;
mod edges;
mod history;
mod holder;
mod measure;
mod pair;
mod program;
mod seed;
mod size;
mod watcher;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "hallpass-load", about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Crash(crash::Crash),
    Measure(measure::Measure),
    Pair(pair::Pair),
    Size(size::Size),
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse().command).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<bool> {
    match command {
        Command::Crash(crash) => {
            let tally = crash.run().await?;
            println!("{}", serde_json::to_string(&tally)?);
            Ok(tally.is_clean())
        }
        Command::Pair(pair) => {
            let tally = pair.run().await?;
            println!("{}", serde_json::to_string(&tally)?);
            Ok(tally.is_clean())
        }
        Command::Size(size) => size.run().await.map(|()| true),
        Command::Measure(measure) => measure.run().await.map(|()| true),
    }
}
