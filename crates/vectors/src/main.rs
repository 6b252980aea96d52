//! The native program behind `cargo xtask vectors`: options as JSON in, tallies as JSON out. As
//! `hallpass-vectors judge` it answers line by line instead.

use hallpass_vectors::judge::Judge;
use hallpass_vectors::{Options, run};
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    match answer() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn answer() -> Result<(), String> {
    let argument = std::env::args()
        .nth(1)
        .ok_or("no options: run `cargo xtask vectors`")?;
    if argument == "judge" {
        return judge();
    }
    let options: Options = serde_json::from_str(&argument).map_err(|error| error.to_string())?;
    let tallies = run(&options).map_err(|error| error.to_string())?;
    let json = serde_json::to_string(&tallies).map_err(|error| error.to_string())?;
    println!("{json}");
    Ok(())
}

fn judge() -> Result<(), String> {
    let mut judge = Judge::default();
    let mut out = io::stdout().lock();
    for line in io::stdin().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let verdict = judge.answer(&line).map_err(|error| error.to_string())?;
        writeln!(out, "{verdict}").map_err(|error| error.to_string())?;
    }
    Ok(())
}
