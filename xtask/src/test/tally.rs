//! Which rows of the attack catalogue the edge was put to, in which runtime: `target/e2e/rows.json`.
//!
//! The end-to-end tests leave a line for each test that ran; the index of rows names the tests of
//! each row, by their names as written. A row whose tests against the built edge did not all run is
//! a failure: a test that was renamed or left out would otherwise be missed by nobody.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::{rows, workspace};

/// Where the end-to-end tests are, as the index names them.
const TESTS: &str = "tests/e2e/";
/// Browser journeys are a part of their own.
const BROWSER: &str = "tests/e2e/browser/";

/// One test that ran.
#[derive(Deserialize)]
struct Ran {
    file: String,
    suites: Vec<String>,
    name: String,
    outcome: String,
    said: Vec<String>,
}

/// What came of one row.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Tally {
    attack: String,
    /// Tests passed, by runtime.
    passed: BTreeMap<&'static str, usize>,
    /// What they said of how much they tried.
    said: Vec<String>,
    /// Tests of other parts: the rules, the service, the browser.
    elsewhere: usize,
}

/// Where the reporter of the end-to-end tests is to write.
pub(super) fn lines() -> Result<PathBuf> {
    let folder = workspace::target().join("e2e");
    fs::create_dir_all(&folder)?;
    Ok(folder.join("tests.jsonl"))
}

/// Counts per row and runtime what ran, prints it and writes it beside the lines.
///
/// # Errors
/// When a test that the index names for a row did not run or did not pass.
pub(super) fn report() -> Result<()> {
    let text = fs::read_to_string(lines()?).context("the end-to-end tests left no lines")?;
    let ran: Vec<Ran> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let mut missing = Vec::new();
    let mut tallies = BTreeMap::new();
    for row in rows::of_the_edge()? {
        let tally = count(&row, &ran, &mut missing);
        tallies.insert(order(&row.id), (row.id, tally));
    }
    print(tallies.values());
    let file = workspace::target().join("e2e/rows.json");
    let by_id: BTreeMap<_, _> = tallies.into_values().collect();
    fs::write(&file, serde_json::to_string_pretty(&by_id)? + "\n")?;
    if missing.is_empty() {
        return Ok(());
    }
    bail!("did not run, or failed:\n  {}", missing.join("\n  "));
}

fn count(row: &rows::Row, ran: &[Ran], missing: &mut Vec<String>) -> Tally {
    let mut tally = Tally {
        attack: row.attack.clone(),
        ..Tally::default()
    };
    for test in &row.tests {
        let found = test
            .split_once("::")
            .filter(|(file, _)| file.starts_with(TESTS) && !file.starts_with(BROWSER));
        let Some((file, name)) = found else {
            tally.elsewhere += 1;
            continue;
        };
        let of_it: Vec<_> = ran
            .iter()
            .filter(|one| one.file == file && is_called(&one.name, name))
            .collect();
        if of_it.is_empty() || of_it.iter().any(|one| one.outcome != "pass") {
            missing.push(format!("{}: {test}", row.id));
        }
        for one in of_it {
            *tally.passed.entry(runtime(&one.suites)).or_default() += 1;
            tally.said.extend(one.said.iter().cloned());
        }
    }
    tally
}

/// Whether a test of this name is the one written so, where `${…}` stands for anything.
fn is_called(name: &str, written: &str) -> bool {
    let Some((before, after)) = written.split_once("${") else {
        return name == written;
    };
    let (Some(rest), Some((_, after))) = (name.strip_prefix(before), after.split_once('}')) else {
        return false;
    };
    let starts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    starts
        .filter_map(|at| rest.get(at..))
        .any(|rest| is_called(rest, after))
}

/// The suites of a file say which runtime they are in.
fn runtime(suites: &[String]) -> &'static str {
    let says = |word: &str| suites.iter().any(|suite| suite.contains(word));
    match () {
        () if says("wrangler") => "wrangler's runtime",
        () if says("workerd") => "bare workerd",
        () => "either",
    }
}

/// `D2` before `D10`.
fn order(id: &str) -> (String, u32) {
    let (letter, number) = id.split_at_checked(1).unwrap_or((id, ""));
    (letter.to_owned(), number.parse().unwrap_or_default())
}

fn print<'a>(tallies: impl Iterator<Item = &'a (String, Tally)>) {
    let mut table = String::from("rows of the catalogue, tests passed:\n");
    for (id, tally) in tallies {
        let in_runtime = |name| tally.passed.get(name).copied().unwrap_or_default();
        let (wrangler, workerd) = (in_runtime("wrangler's runtime"), in_runtime("bare workerd"));
        let (either, elsewhere) = (in_runtime("either"), tally.elsewhere);
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "  {id:<4} wrangler's {wrangler:>3}  bare workerd {workerd:>3}  either {either:>2}  \
             elsewhere {elsewhere:>2}  {}",
            tally.attack
        );
    }
    eprint!("{table}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(suite: &str, name: &str, outcome: &str) -> Ran {
        Ran {
            file: "tests/e2e/x.test.mjs".to_owned(),
            suites: vec![suite.to_owned()],
            name: name.to_owned(),
            outcome: outcome.to_owned(),
            said: vec!["5 forms".to_owned()],
        }
    }

    fn row(tests: &[&str]) -> rows::Row {
        rows::Row {
            id: "E1".to_owned(),
            attack: "paths".to_owned(),
            tests: tests.iter().map(|&test| test.to_owned()).collect(),
        }
    }

    #[test]
    fn is_called_takes_anything_for_a_placeholder() {
        assert!(is_called("edge refuses ${what}", "edge refuses ${what}"));
        assert!(is_called(
            "edge refuses two cookies",
            "edge refuses ${what}"
        ));
        assert!(is_called(
            "edge takes A and B",
            "edge takes ${one} and ${other}"
        ));
        assert!(!is_called("the edge refuses", "edge refuses"));
        assert!(!is_called("edge refuses more", "edge refuses"));
        assert!(!is_called(
            "edge takes A or B",
            "edge takes ${one} and ${other}"
        ));
    }

    #[test]
    fn count_tells_the_runtimes_apart() {
        let ran = [
            ran("paths in wrangler's runtime", "one", "pass"),
            ran("paths in bare workerd", "one", "pass"),
            ran("paths in bare workerd", "two", "pass"),
        ];
        let mut missing = Vec::new();
        let row = row(&["tests/e2e/x.test.mjs::one", "tests/rules/a.rs::b"]);
        let tally = count(&row, &ran, &mut missing);
        assert!(missing.is_empty());
        assert_eq!(
            tally.passed,
            BTreeMap::from([("bare workerd", 1), ("wrangler's runtime", 1)])
        );
        assert_eq!((tally.said.len(), tally.elsewhere), (2, 1));
    }

    #[test]
    fn count_misses_what_did_not_run_and_what_failed() {
        let ran = [ran("paths", "one", "fail")];
        let mut missing = Vec::new();
        let row = row(&["tests/e2e/x.test.mjs::one", "tests/e2e/x.test.mjs::gone"]);
        count(&row, &ran, &mut missing);
        assert_eq!(missing.len(), 2);
    }

    #[test]
    fn order_counts_as_numbers() {
        assert!(order("D2") < order("D10"));
        assert!(order("D11") < order("E1"));
    }
}
