//! Where and when a part was measured: a figure without that is none.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{path_search, runs};

/// Machine, time and versions.
#[derive(Deserialize, Serialize)]
pub(crate) struct Setting {
    commit: String,
    /// UTC, when the part began.
    date: String,
    duration_secs: u64,
    machine: String,
    kernel: String,
    /// Load averages of a minute before and after: what else the machine was doing.
    load: [String; 2],
    versions: BTreeMap<String, String>,
}

/// A part under way.
pub(crate) struct Begun {
    instant: Instant,
    setting: Setting,
}

impl Begun {
    /// Notes where and when; `versions` are those of the programs the part is about.
    ///
    /// # Errors
    /// When the system does not say.
    pub(crate) fn now(versions: &[(&str, String)]) -> Result<Self> {
        let rustc = path_search::find("rustc").and_then(|rustc| path_search::version_of(&rustc));
        let mut versions: BTreeMap<_, _> = versions
            .iter()
            .map(|(name, version)| ((*name).to_owned(), version.clone()))
            .collect();
        versions.insert("rustc".to_owned(), rustc.unwrap_or_default());
        Ok(Self {
            instant: Instant::now(),
            setting: Setting {
                commit: runs::commit()?,
                date: said_by("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"])?,
                duration_secs: 0,
                machine: runs::machine(),
                kernel: said_by("uname", &["-sr"])?,
                load: [load(), String::new()],
                versions,
            },
        })
    }

    /// Notes how long it took.
    pub(crate) fn ended(self) -> Setting {
        let [before, _] = self.setting.load;
        Setting {
            duration_secs: self.instant.elapsed().as_secs(),
            load: [before, load()],
            ..self.setting
        }
    }
}

impl Setting {
    pub(super) fn in_words(&self, rounds: usize) -> String {
        let [before, after] = &self.load;
        let versions: Vec<_> = self
            .versions
            .iter()
            .map(|(name, version)| {
                version
                    .starts_with(name)
                    .then(|| version.clone())
                    .unwrap_or(format!("{name} {version}"))
            })
            .collect();
        format!(
            "{}, commit {}, {rounds} rounds in {} s; {}, {}, load {before} before and {after} \
             after; {}.",
            self.date,
            self.commit,
            self.duration_secs,
            self.machine,
            self.kernel,
            versions.join(", ")
        )
    }
}

fn said_by(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The load average of the last minute; empty where the system has none to read.
fn load() -> String {
    let told = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    told.split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned()
}
