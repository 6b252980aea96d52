//! The native program behind `cargo xtask vectors`: options as JSON in, tallies as JSON out.

use hallpass_vectors::{Options, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    match answer() {
        Ok(json) => {
            println!("{json}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn answer() -> Result<String, String> {
    let json = std::env::args()
        .nth(1)
        .ok_or("no options: run `cargo xtask vectors`")?;
    let options: Options = serde_json::from_str(&json).map_err(|error| error.to_string())?;
    let tallies = run(&options).map_err(|error| error.to_string())?;
    serde_json::to_string(&tallies).map_err(|error| error.to_string())
}
