//! The `hallpass` command: the session service and what operators do with it.

use std::process::ExitCode;

fn main() -> ExitCode {
    hallpass_service::cli::run()
}
