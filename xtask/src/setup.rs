//! `cargo xtask setup`: installs what is missing, and nothing twice.

use std::fs::{self, File};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::needs::{self, Group, Need, State, cargo_tool};
use crate::workspace;

/// Install what is missing into a cache outside the work tree
#[derive(Args)]
pub(crate) struct Setup {
    /// Look after these groups only
    #[arg(long, value_delimiter = ',', value_name = "GROUP,…")]
    only: Vec<Group>,
    /// Only say what is missing; exit code 1 if anything is
    #[arg(long)]
    check: bool,
}

impl Setup {
    /// Runs the command.
    pub(crate) fn run(self) -> Result<()> {
        let groups = if self.only.is_empty() {
            Group::value_variants()
        } else {
            &self.only
        };
        if self.check {
            check(groups)
        } else {
            report_and_ensure(groups)
        }
    }
}

/// Installs those of these needs that are missing, saying nothing about the others.
///
/// # Errors
/// When something cannot be installed; the message says what to do.
pub(crate) fn ensure(needs: Vec<Box<dyn Need>>) -> Result<()> {
    let mut missing = Vec::new();
    for need in needs {
        if matches!(need.look()?, State::Missing(_)) {
            missing.push(need);
        }
    }
    if missing.is_empty() {
        Ok(())
    } else {
        install(missing)
    }
}

fn report_and_ensure(groups: &[Group]) -> Result<()> {
    for group in groups {
        ensure(needs::of(*group)?)?;
    }
    print_states(groups)?;
    eprintln!("Set up. Next: `cargo xtask dev`");
    Ok(())
}

fn check(groups: &[Group]) -> Result<()> {
    if print_states(groups)? {
        return Ok(());
    }
    bail!("something is missing: run `cargo xtask setup`")
}

/// Prints a line per need; whether all is there.
fn print_states(groups: &[Group]) -> Result<bool> {
    let mut complete = true;
    for group in groups {
        for need in needs::of(*group)? {
            let state = need.look()?;
            complete &= !matches!(state, State::Missing(_));
            println!("{}", line(&need.name(), &state));
        }
    }
    Ok(complete)
}

fn line(name: &str, state: &State) -> String {
    match state {
        State::Present(found) => format!("✓ {name}: {found}"),
        State::Missing(wrong) => format!("✗ {name}: {wrong}"),
        State::Unneeded(why) => format!("· {name}: {why}"),
    }
}

/// Installs one after the other, under a lock that other clones and runs share.
fn install(missing: Vec<Box<dyn Need>>) -> Result<()> {
    let cache = workspace::cache()?;
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let lock = File::create(cache.join("setup.lock"))?;
    if lock.try_lock().is_err() {
        eprintln!("… waiting for another set-up that uses {}", cache.display());
        lock.lock()?;
    }
    remove_unfinished()?;
    for need in missing {
        // Another set-up may have installed it while this one waited.
        if matches!(need.look()?, State::Missing(_)) {
            need.install()
                .with_context(|| format!("{} could not be set up", need.name()))?;
        }
    }
    cargo_tool::remove_build_folder()
}

/// Removes what an interrupted set-up left; the lock is held, so nobody is using it.
fn remove_unfinished() -> Result<()> {
    let cache = workspace::cache()?;
    for folder in [cache.clone(), cache.join("tools")] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let unfinished = entry
                .file_name()
                .to_string_lossy()
                .starts_with("unfinished-");
            // The compiled parts of an interrupted build are worth keeping until it is done.
            if unfinished && entry.file_name() != "unfinished-build" {
                fs::remove_dir_all(entry.path())?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_marks_each_state_in_its_own_way() {
        assert_eq!(line("x", &State::Present("here".into())), "✓ x: here");
        assert_eq!(line("x", &State::Missing("gone".into())), "✗ x: gone");
        assert_eq!(line("x", &State::Unneeded("why".into())), "· x: why");
    }
}
