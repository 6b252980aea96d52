//! The index of rules and attacks, `tests/vectors/rows.toml`: which test covers which.
//!
//! It holds when every row of the attack catalogue that concerns tokens and requests has a test,
//! every word of §1 and §2 of docs/protocol.md is quoted by a rule that has one (or is listed as
//! prose that rules nothing), and every test it names exists. So neither a rule nor a test can come
//! or go alone.

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::Deserialize;

use crate::{vectors, workspace};

const INDEX: &str = "tests/vectors/rows.toml";
const PROTOCOL: &str = "docs/protocol.md";
/// Rows of the catalogue that concern tokens, credentials and requests: letter, first, last.
const ROWS: [(char, u8, u8); 5] = [
    ('A', 1, 18),
    ('B', 1, 12),
    ('C', 1, 10),
    ('D', 1, 11),
    ('E', 1, 15),
];
/// Begins a reference to a set of vectors in place of a test.
const SET: &str = "cargo xtask vectors --set ";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    /// Parts of the protocol that rule nothing: headings, introductions.
    prose: Vec<String>,
    rule: Vec<Rule>,
    row: Vec<Row>,
}

/// A rule of the protocol, in its words.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    quote: String,
    tests: Vec<String>,
}

/// A row of the attack catalogue.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) id: String,
    /// What is attempted.
    pub(crate) attack: String,
    pub(crate) tests: Vec<String>,
}

/// Checks the index.
///
/// # Errors
/// Names everything that is not as it must be.
pub(crate) fn check() -> Result<()> {
    let index = read()?;
    let protocol = fs::read_to_string(workspace::in_root(PROTOCOL)).context(PROTOCOL)?;
    let mut faults = rows_without_test(&index.row);
    faults.extend(words_without_rule(&index, chapters(&protocol)));
    faults.extend(tests_that_are_not_there(&index));
    if !faults.is_empty() {
        bail!("{INDEX}:\n  {}", faults.join("\n  "));
    }
    Ok(())
}

/// The rows that concern requests: what the built edge is put to.
///
/// # Errors
/// When the index cannot be read.
pub(crate) fn of_the_edge() -> Result<Vec<Row>> {
    let rows = read()?.row.into_iter();
    Ok(rows.filter(|row| row.id.starts_with(['D', 'E'])).collect())
}

fn read() -> Result<Index> {
    let text = fs::read_to_string(workspace::in_root(INDEX)).context(INDEX)?;
    toml::from_str(&text).context(INDEX)
}

fn rows_without_test(rows: &[Row]) -> Vec<String> {
    let wanted = ROWS
        .iter()
        .flat_map(|(letter, first, last)| (*first..=*last).map(move |n| format!("{letter}{n}")));
    let covered = |id: &String| {
        let of_id = |row: &&Row| row.id == *id && !row.attack.is_empty();
        rows.iter().filter(of_id).any(|row| !row.tests.is_empty())
    };
    wanted
        .filter(|id| !covered(id))
        .map(|id| format!("{id} has no test"))
        .collect()
}

/// §1 and §2.
fn chapters(protocol: &str) -> &str {
    let from = protocol.find("## 1. ").unwrap_or(0);
    let to = protocol.find("## 3. ").unwrap_or(protocol.len());
    protocol.get(from..to).unwrap_or_default()
}

fn words_without_rule(index: &Index, chapters: &str) -> Vec<String> {
    let text = one_line(chapters);
    let rules = index.rule.iter().map(|rule| &rule.quote);
    let mut quoted = vec![false; text.len()];
    let mut faults = Vec::new();
    for quote in rules.chain(&index.prose).map(|quote| one_line(quote)) {
        match text.find(&quote) {
            Some(at) => quoted[at..at + quote.len()].fill(true),
            None => faults.push(format!("{PROTOCOL} does not say: {quote}")),
        }
    }
    for rule in index.rule.iter().filter(|rule| rule.tests.is_empty()) {
        faults.push(format!("no test: {}", rule.quote));
    }
    let open = gaps(&quoted).into_iter().filter_map(|gap| text.get(gap));
    let words = open.filter(|gap| gap.chars().any(char::is_alphanumeric));
    faults.extend(words.map(|gap| format!("no rule quotes: {}", gap.trim())));
    faults
}

/// Ranges in which nothing is quoted.
fn gaps(quoted: &[bool]) -> Vec<Range<usize>> {
    let mut gaps = Vec::new();
    let mut at = 0;
    for run in quoted.chunk_by(|one, next| one == next) {
        if run.first() == Some(&false) {
            gaps.push(at..at + run.len());
        }
        at += run.len();
    }
    gaps
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn tests_that_are_not_there(index: &Index) -> Vec<String> {
    let rules = index.rule.iter().flat_map(|rule| &rule.tests);
    let rows = index.row.iter().flat_map(|row| &row.tests);
    rules
        .chain(rows)
        .filter(|test| !exists(test))
        .map(|test| format!("there is no test {test}"))
        .collect()
}

/// `FILE::NAME` of a Rust or a Node test, or a set of vectors.
fn exists(test: &str) -> bool {
    if let Some(set) = test.strip_prefix(SET) {
        return vectors::Set::from_str(set, false).is_ok();
    }
    let Some((file, name)) = test.split_once("::") else {
        return false;
    };
    let source = fs::read_to_string(workspace::in_root(file)).unwrap_or_default();
    if Path::new(file)
        .extension()
        .is_some_and(|kind| kind == "mjs")
    {
        return ["\"", "`"]
            .iter()
            .any(|quote| source.contains(&format!("test({quote}{name}{quote}")));
    }
    is_test(&source, name)
}

/// Whether a Rust file has a function of this name under a test attribute, or in the list of those
/// that are a test on each database.
fn is_test(text: &str, name: &str) -> bool {
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let declares = |line: &&str| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.strip_prefix("fn ")
            .is_some_and(|rest| rest.starts_with(&format!("{name}(")))
    };
    let Some(at) = lines.iter().position(declares) else {
        return false;
    };
    let above = lines.get(..at).unwrap_or_default().iter().rev();
    let has_attribute = above
        .take_while(|line| line.starts_with("#[") || line.starts_with("///"))
        .any(|line| line.starts_with("#[") && line.contains("test"));
    let below = lines.get(at..).unwrap_or_default().iter();
    let mut listed = below
        .skip_while(|line| !line.starts_with("on_each_"))
        .take_while(|line| !line.starts_with(['}', ']']));
    has_attribute || listed.any(|line| line.trim_end_matches(',') == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(rule: &str, prose: &str, tests: &[&str]) -> Index {
        Index {
            prose: vec![prose.to_owned()],
            rule: vec![Rule {
                quote: rule.to_owned(),
                tests: tests.iter().map(|&test| test.to_owned()).collect(),
            }],
            row: Vec::new(),
        }
    }

    #[test]
    fn words_without_rule_names_what_no_rule_quotes() {
        let chapters = "## 1. Token\nIt is\nshort. | It is good. |\n";
        let good = index("It is short.", "## 1. Token", &["x"]);
        assert_eq!(
            words_without_rule(&good, chapters),
            ["no rule quotes: | It is good. |"]
        );
        let wrong = index("It is long.", "## 1. Token It is short. | It is good.", &[]);
        let faults = [
            "docs/protocol.md does not say: It is long.",
            "no test: It is long.",
        ];
        assert_eq!(words_without_rule(&wrong, chapters), faults);
    }

    #[test]
    fn rows_without_test_wants_every_row() {
        let row = |id: &str, tests: &[&str]| Row {
            id: id.to_owned(),
            attack: "x".to_owned(),
            tests: tests.iter().map(|&test| test.to_owned()).collect(),
        };
        let missing = rows_without_test(&[row("A1", &["x"]), row("A2", &[])]);
        assert_eq!(missing.len(), 65);
        assert_eq!(missing[0], "A2 has no test");
    }

    #[test]
    fn is_test_wants_an_attribute_above_the_function() {
        let text = "#[test]\nfn one() {}\n\n#[wasm_bindgen_test(unsupported = test)]\nfn two() {}\nfn three() {}\n";
        assert!(is_test(text, "one") && is_test(text, "two"));
        assert!(!is_test(text, "three") && !is_test(text, "four"));

        let text =
            "async fn one(d: D) {}\nasync fn two(d: D) {}\non_each_database![\n    two,\n];\n";
        assert!(is_test(text, "two") && !is_test(text, "one"));
    }

    #[test]
    fn exists_finds_tests_of_node_and_sets_of_vectors() {
        assert!(exists(
            "tests/e2e/refusals.test.mjs::edge survives cookies of 64 kB"
        ));
        assert!(exists("cargo xtask vectors --set jws"));
        assert!(!exists(
            "tests/e2e/refusals.test.mjs::edge survives anything"
        ));
        assert!(!exists("cargo xtask vectors --set other"));
    }
}
