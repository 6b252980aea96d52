//! A program that measures a round for each line it is given.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};

use super::rounds::Round;

/// A running one; ended when dropped.
pub(super) struct Asked {
    child: Child,
    /// Its end is the end of the program; `None` once it was told.
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Asked {
    /// Starts it and waits until it says `ready`.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start what measures")?;
        let input = child.stdin.take().context("no standard input")?;
        let output = child.stdout.take().context("no standard output")?;
        let mut asked = Self {
            child,
            input: Some(input),
            output: BufReader::new(output).lines(),
        };
        match asked.line()?.as_str() {
            "ready" => Ok(asked),
            other => bail!("not ready: {other}"),
        }
    }

    /// One round.
    ///
    /// # Errors
    /// When it says something else.
    pub(super) fn round(&mut self) -> Result<Round> {
        let input = self.input.as_mut().context("it was told to end")?;
        writeln!(input, "round")?;
        let line = self.line()?;
        serde_json::from_str(&line).with_context(|| format!("not a round: {line}"))
    }

    fn line(&mut self) -> Result<String> {
        let line = self.output.next().context("what measures has ended")?;
        Ok(line?)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // It stops its databases and services when its input ends.
        self.input.take();
        let _ = self.child.wait();
    }
}
