//! One step of work: a program run to its end, quiet while it goes well.
//!
//! What takes more than two seconds says so with its elapsed seconds: on a terminal in one line
//! that is written over, elsewhere in a line of its own at growing distance. A step that fails
//! shows everything the program printed.

use std::io::{self, IsTerminal, Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::lines;

/// From here on a step says that it is still running.
const QUIET: Duration = Duration::from_secs(2);
/// Distance of the lines where output is not a terminal: a log should stay readable.
const LOG_DISTANCE: Duration = Duration::from_secs(30);
/// Distance of the looks at a line that is written over.
const TERMINAL_DISTANCE: Duration = Duration::from_secs(1);

/// What a finished program left behind.
pub(crate) struct Finished {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// Both its outputs in the order they arrived.
    pub(crate) output: String,
    /// How long it took.
    pub(crate) elapsed: Duration,
}

/// Runs a program that must succeed.
///
/// # Errors
/// When it cannot be started, or ends badly: then its output has been printed.
pub(crate) fn run(label: &str, command: Command) -> Result<Finished> {
    let finished = observe(label, command)?;
    if finished.status.success() {
        return Ok(finished);
    }
    eprint!("{}", finished.output);
    bail!(
        "{label}: failed after {} s ({})",
        seconds(finished.elapsed),
        finished.status
    );
}

/// Runs a program whose failure is the caller's to judge.
///
/// # Errors
/// When it cannot be started or waited for.
pub(crate) fn observe(label: &str, mut command: Command) -> Result<Finished> {
    let began = Instant::now();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("{label}: cannot start"))?;
    let (lines, arrivals) = mpsc::channel();
    forward(child.stdout.take(), lines.clone());
    forward(child.stderr.take(), lines);

    let mut display = Display::new(label, began);
    let mut output = String::new();
    loop {
        match arrivals.recv_timeout(TERMINAL_DISTANCE) {
            Ok(line) => {
                display.last.clone_from(&line);
                output.push_str(&line);
                output.push('\n');
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        display.refresh();
    }
    let status = child
        .wait()
        .with_context(|| format!("{label}: cannot wait"))?;
    display.close(status.success());
    Ok(Finished {
        status,
        output,
        elapsed: began.elapsed(),
    })
}

/// Seconds with one decimal, as every progress line shows them.
pub(crate) fn seconds(elapsed: Duration) -> String {
    format!("{:.1}", elapsed.as_secs_f64())
}

fn forward(stream: Option<impl Read + Send + 'static>, lines: Sender<String>) {
    if let Some(stream) = stream {
        lines::read(stream, move |line| lines.send(line).is_ok());
    }
}

/// The line that says a step is still running.
struct Display<'a> {
    label: &'a str,
    began: Instant,
    shown_at: Option<Instant>,
    terminal: bool,
    last: String,
}

impl<'a> Display<'a> {
    fn new(label: &'a str, began: Instant) -> Self {
        let terminal = io::stderr().is_terminal();
        Self {
            label,
            began,
            shown_at: None,
            terminal,
            last: String::new(),
        }
    }

    fn refresh(&mut self) {
        let distance = if self.terminal {
            TERMINAL_DISTANCE
        } else {
            LOG_DISTANCE
        };
        let due = self
            .shown_at
            .map_or(self.began + QUIET, |shown| shown + distance);
        if Instant::now() < due {
            return;
        }
        self.shown_at = Some(Instant::now());
        let label = self.label;
        let elapsed = self.began.elapsed().as_secs();
        let last: String = self
            .last
            .chars()
            .filter(|c| !c.is_control())
            .take(60)
            .collect();
        if self.terminal {
            eprint!("\r\x1b[K… {label}  {elapsed} s  {last}");
            // A line that cannot be shown is no reason to stop the work.
            let _ = io::stderr().flush();
        } else {
            eprintln!("… {label}  {elapsed} s  {last}");
        }
    }

    fn close(self, success: bool) {
        if self.shown_at.is_none() {
            return;
        }
        let line_start = if self.terminal { "\r\x1b[K" } else { "" };
        let mark = if success { "✓" } else { "✗" };
        eprintln!(
            "{line_start}{mark} {}  {} s",
            self.label,
            seconds(self.began.elapsed())
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::shell;

    #[test]
    fn observe_keeps_both_outputs_and_the_status() -> Result<()> {
        let finished = observe("example", shell("echo one; echo two >&2; exit 3"))?;
        assert_eq!(finished.status.code(), Some(3));
        let mut lines: Vec<_> = finished.output.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["one", "two"]);
        Ok(())
    }

    #[test]
    fn run_names_the_step_that_failed() {
        let error = run("example", shell("exit 3"))
            .err()
            .map(|error| error.to_string());
        assert!(error.is_some_and(|text| text.starts_with("example: failed after ")));
    }

    #[test]
    fn run_names_the_step_that_cannot_start() {
        let error = run("example", Command::new("/no/such/program")).err();
        assert_eq!(
            error.map(|e| e.to_string()).as_deref(),
            Some("example: cannot start")
        );
    }
}
