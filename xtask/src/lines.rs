//! What a program prints, line by line as it comes, read in a thread of its own.

use std::io::{BufRead, BufReader, Read};
use std::thread::{self, JoinHandle};

/// Hands each line to `deliver` until the stream ends or nobody wants more.
pub(crate) fn read(
    stream: impl Read + Send + 'static,
    deliver: impl Fn(String) -> bool + Send + 'static,
) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            if !deliver(String::from_utf8_lossy(&line).trim_end().to_owned()) {
                return;
            }
        }
    })
}

/// A program that prints what a test wants.
#[cfg(test)]
pub(crate) fn shell(script: &str) -> std::process::Command {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script]);
    command
}
