//! `cargo xtask doctor`: what is missing or stale, and the command that mends it.
//!
//! It only looks. Exit code 1 when something that is needed is not as it should be.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::needs::{self, Group, State};
use crate::{build, ports, workspace};

/// The ports of `cargo xtask dev`.
const PORTS: [(u16, &str); 3] = [
    (8787, "edge"),
    (8788, "session service"),
    (8789, "demo app"),
];
/// What listens there while `cargo xtask dev` runs.
const OUR_PROGRAMS: [&str; 2] = ["hallpass", "workerd"];

/// Say what is missing or stale and the command that mends it; changes nothing
#[derive(Args)]
pub(crate) struct Doctor {
    /// The findings as JSON: [{"subject","ok","found","mend"}]
    #[arg(long)]
    json: bool,
}

/// One thing that was looked at.
#[derive(Serialize)]
struct Finding {
    /// What was looked at.
    subject: String,
    /// Whether it is as it should be.
    ok: bool,
    /// What was found.
    found: String,
    /// The command that mends it; absent when there is nothing to mend.
    mend: Option<String>,
}

impl Doctor {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<()> {
        let findings = findings()?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&findings)?);
        } else {
            for finding in &findings {
                println!("{}", finding.line());
            }
        }
        match findings.iter().filter(|finding| !finding.ok).count() {
            0 => Ok(()),
            count => bail!("{count} to mend"),
        }
    }
}

impl Finding {
    fn good(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            ok: true,
            found: found.into(),
            mend: None,
        }
    }

    fn bad(subject: impl Into<String>, found: impl Into<String>, mend: &str) -> Self {
        let mend = Some(mend.to_owned());
        Self {
            subject: subject.into(),
            ok: false,
            found: found.into(),
            mend,
        }
    }

    fn line(&self) -> String {
        let mark = if self.ok { "✓" } else { "✗" };
        let mend = self
            .mend
            .as_ref()
            .map(|mend| format!("\n    → {mend}"))
            .unwrap_or_default();
        format!("{mark} {}: {}{mend}", self.subject, self.found)
    }
}

fn findings() -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for group in Group::value_variants() {
        for need in needs::of(*group)? {
            findings.push(need_finding(*group, need.name(), need.look()?));
        }
    }
    findings.push(edge_finding()?);
    findings.extend(secrets_finding());
    findings.extend(PORTS.map(port_finding));
    Ok(findings)
}

fn need_finding(group: Group, name: String, state: State) -> Finding {
    let group = group
        .to_possible_value()
        .map_or(String::new(), |v| v.get_name().to_owned());
    match state {
        State::Present(found) | State::Unneeded(found) => Finding::good(name, found),
        State::Missing(wrong) => {
            Finding::bad(name, wrong, &format!("cargo xtask setup --only {group}"))
        }
    }
}

fn edge_finding() -> Result<Finding> {
    let mend = "cargo xtask build --edge";
    Ok(if !build::is_built() {
        Finding::bad("the edge in build/", "not built", mend)
    } else if build::edge_is_fresh()? {
        Finding::good("the edge in build/", "current")
    } else {
        Finding::bad("the edge in build/", "older than its sources", mend)
    })
}

/// Nothing to say before the first `cargo xtask dev`.
fn secrets_finding() -> Option<Finding> {
    let file = workspace::in_root(".hallpass/secrets.json");
    let mode = fs::metadata(&file).ok()?.permissions().mode() & 0o777;
    let others = mode & 0o077;
    Some(if others == 0 {
        Finding::good("development secrets", "readable by their owner only")
    } else {
        let mend = format!("chmod 600 {}", file.display());
        Finding::bad(
            "development secrets",
            format!("mode {mode:03o}: others may read them"),
            &mend,
        )
    })
}

fn port_finding((port, owner): (u16, &str)) -> Finding {
    let subject = format!("port {port} ({owner})");
    if ports::is_free(port) {
        return Finding::good(subject, "free");
    }
    let holder = ports::holder(port).unwrap_or_else(|| "another program".to_owned());
    let found = format!("held by {holder}");
    if OUR_PROGRAMS
        .iter()
        .any(|program| holder.starts_with(program))
    {
        return Finding::good(subject, found);
    }
    Finding::bad(
        subject,
        found,
        "stop it, or cargo xtask dev --ports EDGE,SERVICE,APP",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_with_the_command_that_mends() {
        let finding = Finding::bad("x", "gone", "cargo xtask setup");
        assert_eq!(finding.line(), "✗ x: gone\n    → cargo xtask setup");
    }

    #[test]
    fn need_finding_names_the_group_to_set_up() {
        let finding = need_finding(
            Group::Browser,
            "Chromium".into(),
            State::Missing("gone".into()),
        );
        assert_eq!(
            finding.mend.as_deref(),
            Some("cargo xtask setup --only browser")
        );
    }

    #[test]
    fn need_finding_is_good_about_what_nothing_asks_for() {
        assert!(need_finding(Group::Databases, "x".into(), State::Unneeded("y".into())).ok);
    }
}
