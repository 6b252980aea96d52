//! `cargo xtask generate`: documents written from the code itself.
//!
//! `docs/cli.md` holds the help of every command; `docs/openapi.json` what the session service says
//! about its HTTP interface. `--check` only compares, so that neither can fall behind.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Args, CommandFactory};

use crate::commands::Xtask;
use crate::{native, workspace};

/// Write the documents that come from the code: docs/cli.md, docs/openapi.json
#[derive(Args)]
pub(crate) struct Generate {
    /// Only compare; exit code 1 if a document is not current
    #[arg(long)]
    check: bool,
}

/// A generated file: its path below the root, and its text.
type Document = (&'static str, String);

impl Generate {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<()> {
        if self.check { check() } else { write() }
    }
}

/// Compares the documents with what the code says.
///
/// # Errors
/// Names those that are not current, and the command that mends them.
pub(crate) fn check() -> Result<()> {
    let is_current = |(path, text): &Document| {
        fs::read_to_string(workspace::in_root(path)).is_ok_and(|written| written == *text)
    };
    let documents = documents()?;
    let stale: Vec<_> = documents
        .iter()
        .filter(|d| !is_current(d))
        .map(|(path, _)| *path)
        .collect();
    if !stale.is_empty() {
        bail!(
            "not current: {}; run `cargo xtask generate`",
            stale.join(", ")
        );
    }
    Ok(())
}

fn write() -> Result<()> {
    for (path, text) in documents()? {
        let file = workspace::in_root(path);
        fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
        fs::write(&file, text).with_context(|| format!("cannot write {path}"))?;
        eprintln!("wrote {path}");
    }
    Ok(())
}

fn documents() -> Result<Vec<Document>> {
    let programs = native::ready_programs()?;
    let service = programs.join(native::SERVICE);
    let mut text = String::from(HEAD);
    add_program(&mut text, &service, &[])?;
    add_program(&mut text, &programs.join(native::DEMO), &[])?;
    add_own(&mut text, &mut Xtask::command(), "");
    let mut documents = vec![("docs/cli.md", text)];
    if subcommands(&help(&service, &[])?)
        .iter()
        .any(|name| name == "openapi")
    {
        documents.push(("docs/openapi.json", output(&service, &["openapi"])?));
    }
    Ok(documents)
}

const HEAD: &str = "# Commands

Written by `cargo xtask generate` from the commands' own `--help`; change it there.
";

/// Adds the help of a program's command and of all commands below it.
fn add_program(text: &mut String, program: &Path, command: &[&str]) -> Result<()> {
    let help = help(program, command)?;
    let name = program
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let title: Vec<_> = [name.as_str()].iter().chain(command).copied().collect();
    add_section(text, &title.join(" "), &help);
    for below in subcommands(&help) {
        let command: Vec<_> = command.iter().copied().chain([below.as_str()]).collect();
        add_program(text, program, &command)?;
    }
    Ok(())
}

/// Adds the help of this program's commands, which needs no run of it.
fn add_own(text: &mut String, command: &mut clap::Command, above: &str) {
    let title = format!("{above}{}", command.get_name());
    add_section(text, &title, &command.render_long_help().to_string());
    for below in command
        .get_subcommands_mut()
        .filter(|command| command.get_name() != "help")
    {
        add_own(text, below, &format!("{title} "));
    }
}

fn add_section(text: &mut String, title: &str, help: &str) {
    let depth = "#".repeat(title.trim_start_matches("cargo ").split(' ').count() + 1);
    let help: Vec<_> = help.trim().lines().map(str::trim_end).collect();
    let help = help.join("\n");
    text.extend([
        "\n",
        &depth,
        " `",
        title,
        "`\n\n```text\n",
        &help,
        "\n```\n",
    ]);
}

fn help(program: &Path, command: &[&str]) -> Result<String> {
    let arguments: Vec<_> = command.iter().copied().chain(["--help"]).collect();
    output(program, &arguments)
}

fn output(program: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments);
    // A help text shows the value a variable has; the document must not depend on it.
    crate::service::remove_settings(&mut command);
    let output = command
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    if !output.status.success() {
        bail!(
            "{} {}: {}",
            program.display(),
            arguments.join(" "),
            output.status
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The names under `Commands:` in a help text; lines of description are indented further.
fn subcommands(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subcommands_are_the_names_under_commands() {
        let help = "About\n\nUsage: x <COMMAND>\n\nCommands:\n  serve  Run it\n         for long\n  \
                    keys   Keys\n  help   Print this\n\nOptions:\n  -h  Help\n";
        assert_eq!(subcommands(help), ["serve", "keys"]);
    }

    #[test]
    fn subcommands_are_none_where_there_are_none() {
        assert!(subcommands("Usage: x\n\nOptions:\n  -h  Help\n").is_empty());
    }

    #[test]
    fn add_section_nests_a_command_below_its_program() {
        let mut text = String::new();
        add_section(&mut text, "hallpass keys", "Usage: x  \n");
        assert_eq!(text, "\n### `hallpass keys`\n\n```text\nUsage: x\n```\n");
    }
}
