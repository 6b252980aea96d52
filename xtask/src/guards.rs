//! `cargo xtask guards`: takes the edge's guards out one by one and looks whether a test notices.
//!
//! `tests/e2e/guards.toml` names each guard, the text that makes it, and the tests that are to
//! notice. A copy of the source is changed, built without optimization and put before those tests;
//! they pass against the unchanged copy first, since tests that fail anyhow notice nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::native::{self, Profile};
use crate::needs::node;
use crate::{build, needs, runs, setup, step, workspace};

/// The list of guards.
const LIST: &str = "tests/e2e/guards.toml";
/// What the edge is compiled from; the rest of the work tree is there for cargo alone.
const SOURCE: &str = "src";
/// Longest that one test may take: some wait for tokens to end.
const TEST_TIMEOUT_MS: u32 = 120_000;

/// Take out the edge's guards one by one and look whether a test notices; a long run
///
/// A run over all of them writes bench/runs/guards.json. Fails when a guard goes unnoticed.
#[derive(Args)]
pub(crate) struct Guards {
    /// Only these [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    guard: Vec<Guard>,
}

/// One guard, and what it is without.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Guard {
    name: String,
    what: String,
    file: String,
    find: String,
    replace: String,
    tests: String,
    #[serde(default)]
    only: Option<String>,
}

/// What became of one.
#[derive(Serialize)]
struct Outcome {
    guard: String,
    what: String,
    /// The tests that noticed; none where nobody did.
    noticed_by: BTreeSet<String>,
}

#[derive(Serialize)]
struct Found {
    guards: usize,
    noticed: usize,
    outcomes: Vec<Outcome>,
}

impl Guards {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<()> {
        let began = Instant::now();
        let guards = self.chosen(read_list()?)?;
        setup::ensure(needs::to_run_the_edge())?;
        setup::ensure(needs::to_build_the_edge()?)?;
        let range = Range {
            tree: copy_of_the_tree()?,
            programs: native::build(Profile::Dev)?,
        };
        range.check_unchanged(&guards)?;
        let mut outcomes = Vec::new();
        for (number, guard) in guards.iter().enumerate() {
            let outcome = range.without(guard)?;
            println!("{:>3}/{}  {outcome}", number + 1, guards.len());
            outcomes.push(outcome);
        }
        let found = Found {
            guards: outcomes.len(),
            noticed: outcomes.iter().filter(|it| it.is_noticed()).count(),
            outcomes,
        };
        if self.names.is_empty() {
            let file = runs::write("guards", began.elapsed(), &found)?;
            eprintln!("wrote {}", file.display());
        }
        println!("{} of {} noticed", found.noticed, found.guards);
        if found.noticed < found.guards {
            bail!("a guard can be taken out and no test notices");
        }
        Ok(())
    }

    fn chosen(&self, all: Vec<Guard>) -> Result<Vec<Guard>> {
        let known = |name: &String| all.iter().any(|guard| guard.name == *name);
        if let Some(unknown) = self.names.iter().find(|name| !known(name)) {
            bail!("no guard {unknown:?} in {LIST}");
        }
        let chosen = |guard: &Guard| self.names.is_empty() || self.names.contains(&guard.name);
        Ok(all.into_iter().filter(chosen).collect())
    }
}

fn read_list() -> Result<Vec<Guard>> {
    let text = fs::read_to_string(workspace::in_root(LIST)).context("no list of guards")?;
    let list: List = toml::from_str(&text).with_context(|| format!("cannot read {LIST}"))?;
    Ok(list.guard)
}

impl Guard {
    /// The file's text without this guard.
    ///
    /// # Errors
    /// When the guard is not in its file exactly once: then the list is out of date.
    fn taken_out_of(&self, text: &str) -> Result<String> {
        match text.matches(&self.find).count() {
            1 => Ok(text.replacen(&self.find, &self.replace, 1)),
            found => bail!(
                "guard {:?}: {found} times in {}, mend {LIST}",
                self.name,
                self.file
            ),
        }
    }

    /// Which tests are to notice: a file, and a pattern of names in it.
    fn tests(&self) -> (&str, Option<&str>) {
        (&self.tests, self.only.as_deref())
    }
}

/// The copy that is changed, and the other programs that its tests need.
struct Range {
    tree: PathBuf,
    programs: PathBuf,
}

impl Range {
    /// Whether every test that is to notice something passes when nothing is gone.
    fn check_unchanged(&self, guards: &[Guard]) -> Result<()> {
        for guard in guards {
            let text = fs::read_to_string(workspace::in_root(&guard.file))?;
            guard.taken_out_of(&text)?;
        }
        self.build("the edge with all its guards")?;
        let selections: BTreeSet<_> = guards.iter().map(Guard::tests).collect();
        for (file, only) in selections {
            let label = format!("{file} {}", only.unwrap_or_default());
            let seen = self.test(&label, file, only)?;
            if !seen.failed.is_empty() || seen.passed == 0 {
                bail!(
                    "{label}: {} passed, failed without any change: {:?}",
                    seen.passed,
                    seen.failed
                );
            }
        }
        Ok(())
    }

    fn without(&self, guard: &Guard) -> Result<Outcome> {
        let file = self.tree.join(&guard.file);
        let text = fs::read_to_string(&file)?;
        fs::write(&file, guard.taken_out_of(&text)?)?;
        let built = self.build(&format!("the edge without {}", guard.name));
        fs::write(&file, text)?;
        built?;
        let (tests, only) = guard.tests();
        let seen = self.test(&format!("{} without {}", tests, guard.name), tests, only)?;
        Ok(Outcome {
            guard: guard.name.clone(),
            what: guard.what.clone(),
            noticed_by: seen.failed,
        })
    }

    fn build(&self, label: &str) -> Result<()> {
        let mut command = build::worker_build("--dev")?;
        command
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", folder().join("target"));
        // What is left of a guard may be unused.
        command.env("RUSTFLAGS", "--cap-lints warn");
        step::run(label, command)?;
        Ok(())
    }

    fn test(&self, label: &str, file: &str, only: Option<&str>) -> Result<Seen> {
        let mut command = node::command()?;
        command.args(["--test", "--test-reporter=tap"]);
        command.arg(format!("--test-timeout={TEST_TIMEOUT_MS}"));
        if let Some(only) = only {
            command.args(["--test-name-pattern", only]);
        }
        command
            .arg(format!("tests/e2e/{file}.test.mjs"))
            .current_dir(workspace::root());
        command.env("HALLPASS_XTASK", workspace::target().join("debug/xtask"));
        command.env("HALLPASS_BIN_DIR", &self.programs);
        command.env(build::FOLDER_VARIABLE, self.tree.join("build"));
        Ok(Seen::read(&step::observe(label, command)?.output))
    }
}

/// What Node's runner says of single tests.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    passed: usize,
    failed: BTreeSet<String>,
}

impl Seen {
    /// Reads TAP. Suites are indented less than their tests and fail with them: what counts is what
    /// has no test below it, and those left out by the pattern are marked as skipped.
    fn read(output: &str) -> Self {
        let mut seen = Self::default();
        let mut below: Option<usize> = None;
        for line in output.lines() {
            let text = line.trim_start();
            let depth = line.len() - text.len();
            let (good, rest) = match (text.strip_prefix("ok "), text.strip_prefix("not ok ")) {
                (Some(rest), _) => (true, rest),
                (_, Some(rest)) => (false, rest),
                _ => continue,
            };
            let is_suite = below.is_some_and(|deeper| depth < deeper);
            below = Some(depth);
            let name = rest.split_once(" - ").map_or(rest, |(_, name)| name);
            if is_suite || name.contains(" # SKIP") {
                continue;
            }
            if good {
                seen.passed += 1;
            } else {
                seen.failed.insert(name.to_owned());
            }
        }
        seen
    }
}

impl Outcome {
    fn is_noticed(&self) -> bool {
        !self.noticed_by.is_empty()
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.noticed_by.first() {
            Some(test) => write!(f, "noticed   {}: {test}", self.guard),
            None => write!(f, "UNNOTICED {}: {}", self.guard, self.what),
        }
    }
}

fn folder() -> PathBuf {
    workspace::target().join("guards")
}

/// A copy of what git knows, as it is in the work tree, in a folder of its own.
fn copy_of_the_tree() -> Result<PathBuf> {
    let tree = folder().join("tree");
    let mut list = Command::new("git");
    list.args(["ls-files"]).current_dir(workspace::root());
    let files = step::run("listing files", list)?.output;
    // Whatever the last run left changed goes.
    let _ = fs::remove_dir_all(tree.join(SOURCE));
    for file in files.lines() {
        copy(&workspace::in_root(file), &tree.join(file))?;
    }
    Ok(tree)
}

/// Copies what differs, so that cargo sees no change where there is none.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let Ok(wanted) = fs::read(from) else {
        return Ok(()); // deleted, and not yet committed
    };
    if fs::read(to).is_ok_and(|there| there == wanted) {
        return Ok(());
    }
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    fs::write(to, wanted).with_context(|| format!("cannot write {}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guard_is_where_the_list_says() -> Result<()> {
        let guards = read_list()?;
        let names: BTreeSet<_> = guards.iter().map(|guard| &guard.name).collect();
        assert_eq!(names.len(), guards.len());
        for guard in &guards {
            let text = fs::read_to_string(workspace::in_root(&guard.file))?;
            assert_ne!(guard.taken_out_of(&text)?, text, "{}", guard.name);
            let tests = format!("tests/e2e/{}.test.mjs", guard.tests);
            assert!(workspace::in_root(&tests).is_file(), "{}", guard.name);
        }
        Ok(())
    }

    #[test]
    fn seen_counts_tests_and_not_suites_nor_what_was_left_out() {
        let output = "TAP version 13\n# Subtest: suite\n    # Subtest: one\n    ok 1 - one\n      ---\n\
                      \x20   not ok 2 - two\n    ok 3 - three # SKIP test name does not match pattern\n\
                      \x20   1..3\nnot ok 1 - suite\n1..1\n# tests 3\n";
        let seen = Seen::read(output);
        assert_eq!(seen.passed, 1);
        assert_eq!(seen.failed, BTreeSet::from(["two".to_owned()]));
    }
}
