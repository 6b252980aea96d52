//! `hallpass completions`: what a shell completes.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use super::Arguments;

/// Prints the script that the shell reads at its start.
pub(super) fn run(shell: Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "hallpass", &mut script);
    // A reader that closed its end has seen enough.
    let _closed = std::io::stdout().write_all(&script);
}
