//! `bench/report.json`, part by part, and `bench/REPORT.md`, which is made from it alone.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::Size;
use super::rounds::{CONTROL_LIMIT, Sample, Samples, median, spread};
use super::setting::Setting;
use crate::workspace;

const JSON: &str = "report.json";
const MARKDOWN: &str = "REPORT.md";

/// Everything measured, the last run of each part.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct Report {
    pub(crate) parts: BTreeMap<String, Measured>,
}

/// One part as it was measured.
#[derive(Deserialize, Serialize)]
pub(crate) struct Measured {
    /// What was measured.
    title: String,
    /// How, in a sentence or two.
    method: String,
    /// What a sample counts.
    unit: String,
    setting: Setting,
    rounds: usize,
    control: Control,
    cases: Vec<Case>,
    comparisons: Vec<Comparison>,
}

/// The same thing, measured twice.
#[derive(Deserialize, Serialize)]
struct Control {
    cases: [String; 2],
    ratio: Sample,
    conclusive: bool,
}

#[derive(Deserialize, Serialize)]
struct Case {
    name: String,
    what: String,
    median: Sample,
    spread: [Sample; 2],
    samples: Vec<Sample>,
}

#[derive(Deserialize, Serialize)]
struct Comparison {
    what: String,
    ratio: Sample,
    spread: [Sample; 2],
    /// The goal: at most this.
    #[serde(skip_serializing_if = "Option::is_none")]
    at_most: Option<f64>,
}

/// What a part says about itself.
pub(crate) struct Description {
    pub(crate) title: &'static str,
    pub(crate) method: &'static str,
    pub(crate) unit: &'static str,
    /// Every case with its words, in the order of the table.
    pub(crate) cases: Vec<(&'static str, &'static str)>,
    pub(crate) comparisons: Vec<Compared>,
}

/// One case set against the sum of others.
pub(crate) struct Compared {
    pub(crate) what: &'static str,
    pub(crate) case: &'static str,
    pub(crate) to: &'static [&'static str],
    pub(crate) at_most: Option<f64>,
}

impl Compared {
    /// A comparison without a goal.
    pub(crate) const fn shown(
        what: &'static str,
        case: &'static str,
        to: &'static [&'static str],
    ) -> Self {
        Self {
            what,
            case,
            to,
            at_most: None,
        }
    }

    /// A comparison whose ratio is to be `limit` at most.
    pub(crate) const fn at_most(
        limit: f64,
        what: &'static str,
        case: &'static str,
        to: &'static [&'static str],
    ) -> Self {
        Self {
            at_most: Some(limit),
            ..Self::shown(what, case, to)
        }
    }
}

impl Measured {
    /// Sums up what was sampled.
    pub(crate) fn new(
        description: &Description,
        setting: Setting,
        samples: &Samples,
        control: [&str; 2],
    ) -> Self {
        let case = |(name, what): &(&str, &str)| Case {
            name: (*name).to_owned(),
            what: (*what).to_owned(),
            median: median(samples.of(name)),
            spread: spread(samples.of(name)),
            samples: samples.of(name).to_vec(),
        };
        Self {
            title: description.title.to_owned(),
            method: description.method.to_owned(),
            unit: description.unit.to_owned(),
            setting,
            rounds: samples.rounds(),
            control: Control {
                cases: control.map(str::to_owned),
                ratio: samples.control_ratio(control),
                conclusive: samples.is_conclusive(control),
            },
            cases: description.cases.iter().map(case).collect(),
            comparisons: description
                .comparisons
                .iter()
                .map(|compared| Comparison::new(compared, samples))
                .collect(),
        }
    }

    /// What keeps this part from being a success, if anything.
    pub(crate) fn complaints(&self) -> Vec<String> {
        if !self.control.conclusive {
            return vec!["inconclusive: the control differs too much".to_owned()];
        }
        self.comparisons
            .iter()
            .filter(|comparison| comparison.holds() == Some(false))
            .map(|comparison| format!("goal missed: {}", comparison.what))
            .collect()
    }
}

impl Comparison {
    fn new(compared: &Compared, samples: &Samples) -> Self {
        let ratios = samples.ratios(compared.case, compared.to);
        Self {
            what: compared.what.to_owned(),
            ratio: median(&ratios),
            spread: spread(&ratios),
            at_most: compared.at_most,
        }
    }

    fn holds(&self) -> Option<bool> {
        let limit = self.at_most?;
        Some(self.ratio.is_some_and(|ratio| ratio <= limit))
    }
}

impl Report {
    /// Reads `report.json`; empty if there is none.
    ///
    /// # Errors
    /// When it is not a report.
    pub(crate) fn read(size: Size) -> Result<Self> {
        match fs::read_to_string(folder(size).join(JSON)) {
            Ok(text) => serde_json::from_str(&text).context("report.json is not a report"),
            Err(_) => Ok(Self::default()),
        }
    }

    /// Writes both files; the one to read.
    ///
    /// # Errors
    /// When one cannot be written.
    pub(crate) fn write(&self, size: Size) -> Result<PathBuf> {
        let folder = folder(size);
        fs::create_dir_all(&folder)?;
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(folder.join(JSON), text).context("cannot write report.json")?;
        let markdown = folder.join(MARKDOWN);
        fs::write(&markdown, self.markdown()?).context("cannot write REPORT.md")?;
        Ok(markdown)
    }

    fn markdown(&self) -> Result<String> {
        let mut text = String::from(
            "# Benchmarks\n\n\
             Written by `cargo xtask bench` from `report.json`, which has every sample. Figures are \
             medians over rounds,\nin brackets the least and the greatest; a ratio is taken within \
             each round. How it is measured: `cargo xtask bench --help`.\n",
        );
        for (name, part) in &self.parts {
            part.write_markdown(name, &mut text)?;
        }
        Ok(text)
    }
}

impl Measured {
    fn write_markdown(&self, name: &str, text: &mut String) -> Result<()> {
        writeln!(text, "\n## {name}: {}\n\n{}\n", self.title, self.method)?;
        writeln!(text, "{}\n", self.setting.in_words(self.rounds))?;
        writeln!(text, "{}\n", self.control.in_words())?;
        writeln!(text, "| case | {} | |\n| --- | ---: | ---: |", self.unit)?;
        for case in &self.cases {
            let (median, spread) = (figure(case.median), range(case.spread, figure));
            writeln!(text, "| {} | {median} | {spread} |", case.what)?;
        }
        writeln!(
            text,
            "\n| comparison | ratio | | goal |\n| --- | ---: | ---: | --- |"
        )?;
        for comparison in &self.comparisons {
            let (median, spread) = (ratio(comparison.ratio), range(comparison.spread, ratio));
            let goal = comparison.goal();
            writeln!(
                text,
                "| {} | {median} | {spread} | {goal} |",
                comparison.what
            )?;
        }
        Ok(())
    }
}

impl Control {
    fn in_words(&self) -> String {
        let [one, other] = &self.cases;
        let verdict = if self.conclusive {
            "conclusive"
        } else {
            "**inconclusive**"
        };
        format!(
            "Control (`{one}` by `{other}`, the same thing): {}, at most {:.0} % off: {verdict}.",
            ratio(self.ratio),
            CONTROL_LIMIT * 100.0
        )
    }
}

impl Comparison {
    fn goal(&self) -> String {
        match (self.at_most, self.holds()) {
            (Some(limit), Some(true)) => format!("≤ {limit}: held"),
            (Some(limit), _) => format!("≤ {limit}: **missed**"),
            (None, _) => String::new(),
        }
    }
}

/// A figure with as many digits as it deserves; thousands apart.
fn figure(sample: Sample) -> String {
    match sample {
        None => "lost".to_owned(),
        Some(value) if value < 1000.0 => format!("{value:.1}"),
        Some(value) => apart(&format!("{value:.0}")),
    }
}

fn ratio(sample: Sample) -> String {
    sample.map_or_else(|| "lost".to_owned(), |ratio| format!("{ratio:.3}"))
}

fn range([least, greatest]: [Sample; 2], write: fn(Sample) -> String) -> String {
    format!("({} – {})", write(least), write(greatest))
}

/// `1234567` as `1 234 567`.
fn apart(digits: &str) -> String {
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// What only shows that it works is no report of the project's.
fn folder(size: Size) -> PathBuf {
    match size {
        Size::Full => workspace::in_root("bench"),
        Size::Smoke => workspace::target().join("xtask/bench-smoke"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_md_is_what_report_json_says() -> Result<()> {
        let report = Report::read(Size::Full)?;
        if !report.parts.is_empty() {
            let written = fs::read_to_string(folder(Size::Full).join(MARKDOWN))?;
            assert!(
                written == report.markdown()?,
                "REPORT.md was not written by `cargo xtask bench`"
            );
        }
        Ok(())
    }

    #[test]
    fn figure_keeps_thousands_apart_and_says_what_was_lost() {
        assert_eq!(figure(Some(776_350.0)), "776 350");
        assert_eq!(figure(Some(3_410_503.4)), "3 410 503");
        assert_eq!(figure(Some(52.04)), "52.0");
        assert_eq!(figure(None), "lost");
    }

    #[test]
    fn goal_is_missed_by_more_than_its_limit_and_by_a_lost_ratio() {
        let comparison = |ratio| Comparison {
            what: String::new(),
            ratio,
            spread: [ratio, ratio],
            at_most: Some(1.2),
        };
        assert_eq!(comparison(Some(1.2)).goal(), "≤ 1.2: held");
        assert_eq!(comparison(Some(1.21)).goal(), "≤ 1.2: **missed**");
        assert_eq!(comparison(None).holds(), Some(false));
    }
}
