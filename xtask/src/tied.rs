//! Ties a child's life to its parent's: whoever starts a program through [`command`] can be killed
//! outright and still leaves no orphan.
//!
//! Asking the kernel for that has to be done in the child, before the program takes over. So this
//! binary starts itself with a mark and the parent's process id, asks, and becomes the program.
//! On systems without that request the program is started plainly.

use std::env;
use std::ffi::OsStr;
use std::process::{Command, ExitCode};

/// The mark: no command of this binary has this name.
const MARK: &str = "--tied-to-parent";

/// A command for `program` that gets SIGTERM when this process dies, however it dies.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    if cfg!(not(target_os = "linux")) {
        return Command::new(program);
    }
    // Through /proc, because the file may have been rebuilt, and so replaced, since this began.
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(MARK)
        .arg(std::process::id().to_string())
        .arg(program);
    command
}

/// Becomes the program this process was started for; `None` when it was started for a command.
#[cfg(target_os = "linux")]
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    use std::os::unix::process::CommandExt;

    let mut arguments = env::args_os().skip(1);
    if arguments.next()? != MARK {
        return None;
    }
    let parent = arguments.next()?.into_string().ok()?;
    let program = arguments.next()?;
    if !tie_to(&parent) {
        return Some(ExitCode::FAILURE);
    }
    let error = Command::new(&program).args(arguments).exec();
    eprintln!("error: cannot start {}: {error}", program.display());
    Some(ExitCode::from(127))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    None
}

/// Asks for the signal, then looks whether the parent died before the request was in force.
#[cfg(target_os = "linux")]
fn tie_to(parent: &str) -> bool {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};

    let asked = set_parent_process_death_signal(Some(Signal::TERM)).is_ok();
    let alive = getppid().is_some_and(|pid| pid.as_raw_nonzero().to_string() == parent);
    asked && alive
}
