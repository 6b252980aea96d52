//! `cargo xtask budget`: instructions per check and bytes of the edge, against `bench/budget.toml`.
//!
//! Both are the same on a busy machine as on a quiet one, so every test run can hold them to a few
//! per cent. What the slack is there for: another version of valgrind, of the C library or of the
//! machine's vector instructions moves a count a little, and so does a harmless change of the code.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::{build, callgrind, workspace};

const HEAD: &str = "\
# What a check may cost in instructions, and the edge in bytes. More than that and the slack fails
# `cargo xtask budget`, which is part of the tests; `cargo xtask budget --update` writes what is.

";

/// Hold instructions per check and the edge's bytes to bench/budget.toml
#[derive(Args)]
pub(crate) struct Budget {
    /// Write what is now as the budget
    #[arg(long)]
    update: bool,
}

/// `bench/budget.toml`.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Allowed {
    /// How much more than the budget is still no failure.
    slack_percent: f64,
    instructions: Figures,
    bytes: Figures,
}

type Figures = BTreeMap<String, u64>;

impl Budget {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<()> {
        let (instructions, bytes) = (count_instructions()?, count_bytes()?);
        let allowed = Allowed::read()?;
        if self.update {
            let updated = Allowed {
                instructions,
                bytes,
                ..allowed
            };
            return updated.write();
        }
        let mut complaints = print(
            "instructions",
            &instructions,
            &allowed.instructions,
            &allowed,
        );
        complaints.extend(print("bytes", &bytes, &allowed.bytes, &allowed));
        settle(&complaints)
    }
}

/// Whether the edge is within its budget.
///
/// # Errors
/// When it is not, or cannot be built.
pub(crate) fn check_bytes() -> Result<()> {
    let allowed = Allowed::read()?;
    settle(&allowed.complaints(&count_bytes()?, &allowed.bytes))
}

/// Whether every check is within its budget.
///
/// # Errors
/// When one is not, or cannot be counted.
pub(crate) fn check_instructions() -> Result<()> {
    let allowed = Allowed::read()?;
    settle(&allowed.complaints(&count_instructions()?, &allowed.instructions))
}

fn settle(complaints: &[String]) -> Result<()> {
    if complaints.is_empty() {
        return Ok(());
    }
    bail!(
        "{}\nIf that is the price of something wanted: `cargo xtask budget --update`",
        complaints.join("\n")
    )
}

/// Prints a line per figure; the complaints.
fn print(what: &str, figures: &Figures, budget: &Figures, allowed: &Allowed) -> Vec<String> {
    println!("{what}:");
    for (name, figure) in figures {
        let budgeted = budget.get(name).copied();
        println!("  {name}: {figure} ({})", compared(*figure, budgeted));
    }
    allowed.complaints(figures, budget)
}

fn compared(figure: u64, budget: Option<u64>) -> String {
    budget.map_or("no budget".to_owned(), |budget| {
        format!("{:+.2} %", over_percent(figure, budget))
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a percentage of counts far below 2^52"
)]
fn over_percent(figure: u64, budget: u64) -> f64 {
    (figure as f64 / budget as f64 - 1.0) * 100.0
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "instructions of one check"
)]
fn count_instructions() -> Result<Figures> {
    callgrind::build()?;
    let counted = callgrind::count()?;
    Ok(counted
        .into_iter()
        .map(|(check, instructions)| (check, instructions.round() as u64))
        .collect())
}

/// Bytes of the wasm that is deployed, as it is and as Cloudflare counts it.
fn count_bytes() -> Result<Figures> {
    build::edge()?;
    let wasm = build::folder().join("index_bg.wasm");
    let gzip = Command::new("gzip")
        .args(["-9", "--stdout"])
        .arg(&wasm)
        .output()
        .context("cannot run gzip")?;
    Ok([
        ("wasm".to_owned(), fs::metadata(&wasm)?.len()),
        ("wasm_gzipped".to_owned(), gzip.stdout.len() as u64),
    ]
    .into())
}

fn file() -> PathBuf {
    workspace::in_root("bench/budget.toml")
}

impl Allowed {
    fn read() -> Result<Self> {
        let text = fs::read_to_string(file()).context("cannot read bench/budget.toml")?;
        toml::from_str(&text).context("bench/budget.toml is not valid")
    }

    fn write(&self) -> Result<()> {
        fs::write(file(), HEAD.to_owned() + &toml::to_string(self)?)
            .context("cannot write bench/budget.toml")
    }

    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    fn is_over(&self, figure: u64, budget: u64) -> bool {
        figure as f64 * 100.0 > budget as f64 * (100.0 + self.slack_percent)
    }

    /// What is over its budget, or has none, or has one and is gone.
    fn complaints(&self, figures: &Figures, budget: &Figures) -> Vec<String> {
        let over = |(name, figure): (&String, &u64)| match budget.get(name) {
            None => Some(format!("{name}: {figure}, and no budget for it")),
            Some(budget) if self.is_over(*figure, *budget) => Some(format!(
                "{name}: {figure}, {} over its budget of {budget}",
                compared(*figure, Some(*budget))
            )),
            Some(_) => None,
        };
        let gone = |name: &&String| !figures.contains_key(*name);
        let gone = budget.keys().filter(gone);
        figures
            .iter()
            .filter_map(over)
            .chain(gone.map(|name| format!("{name}: has a budget and is not counted")))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(figures: &[(&str, u64)]) -> Figures {
        let owned = |(name, figure): &(&str, u64)| ((*name).to_owned(), *figure);
        figures.iter().map(owned).collect()
    }

    fn complaints(of: &[(&str, u64)], budget: &[(&str, u64)]) -> Vec<String> {
        let allowed = Allowed {
            slack_percent: 3.0,
            instructions: figures(budget),
            bytes: Figures::new(),
        };
        allowed.complaints(&figures(of), &allowed.instructions)
    }

    #[test]
    fn complaints_begin_above_the_slack() {
        assert!(complaints(&[("a", 1030)], &[("a", 1000)]).is_empty());
        assert!(complaints(&[("a", 1)], &[("a", 1000)]).is_empty());
        assert_eq!(complaints(&[("a", 1031)], &[("a", 1000)]).len(), 1);
    }

    #[test]
    fn complaints_name_what_has_no_budget_and_what_is_gone() {
        let said = complaints(&[("new", 1)], &[("old", 1)]);
        assert_eq!(
            said,
            [
                "new: 1, and no budget for it",
                "old: has a budget and is not counted"
            ]
        );
    }

    #[test]
    fn budget_file_reads_back_as_it_is_written() -> Result<()> {
        let allowed = Allowed::read()?;
        let written = HEAD.to_owned() + &toml::to_string(&allowed)?;
        assert_eq!(fs::read_to_string(file())?, written);
        Ok(())
    }
}
