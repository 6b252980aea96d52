//! `hallpass doctor`: what is wrong with a deployment, and what to do about it.
//!
//! Looks at this machine's configuration ([`configuration`]), at the session table ([`table`]) and,
//! with a URL, at a running service or edge ([`deployment`]). Changes nothing. One finding per fault,
//! each with a stable name; no secret is part of any.

mod configuration;
mod deployment;
mod private;
mod table;

use hallpass_session::time::Seconds;
use serde::Serialize;

use self::table::TableSeen;
use super::recover::length;
use super::{CommandError, Everywhere, report};
use crate::config::{GivenSettings, Settings};

/// Difference of two clocks that is worth a word, in milliseconds: less than half of the edge's
/// default `clock_skew_secs` (5), so that two clocks wrong in opposite ways still pass.
const CLOCK_DIFFERENCE_MAX_MS: u64 = 2000;

#[derive(clap::Args)]
pub(super) struct DoctorArguments {
    #[arg(
        value_name = "URL",
        help = "A running service or edge to look at, such as https://app.example"
    )]
    url: Option<String>,
    /// Age from which a credential is to be replaced, such as 90d
    #[arg(long, value_name = "TIME", default_value = "365d", value_parser = length)]
    credentials_max_age: Seconds,
    /// Age from which a signing key is to be rotated
    #[arg(long, value_name = "TIME", default_value = "365d", value_parser = length)]
    keys_max_age: Seconds,
    #[command(flatten)]
    given: GivenSettings,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    /// Something does not work, or others can get at what is secret.
    Error,
    /// It works, and could go wrong.
    Warning,
}

/// Something that is wrong.
#[derive(Debug, Serialize)]
struct Finding {
    severity: Severity,
    /// A stable name.
    code: &'static str,
    what: String,
    /// What to do.
    advice: String,
}

/// What was looked at, and what was found.
#[derive(Debug, Default, Serialize)]
struct Findings {
    looked_at: Vec<String>,
    #[serde(rename = "findings")]
    found: Vec<Finding>,
    #[serde(skip)]
    is_unreachable: bool,
}

impl Findings {
    fn looked_at(&mut self, what: impl Into<String>) {
        self.looked_at.push(what.into());
    }

    fn error(&mut self, code: &'static str, what: impl Into<String>, advice: impl Into<String>) {
        self.add(Severity::Error, code, what.into(), advice.into());
    }

    fn warning(&mut self, code: &'static str, what: impl Into<String>, advice: impl Into<String>) {
        self.add(Severity::Warning, code, what.into(), advice.into());
    }

    /// An error after which nothing more can be asked there.
    fn unreachable(
        &mut self,
        code: &'static str,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.is_unreachable = true;
        self.error(code, what, advice);
    }

    fn add(&mut self, severity: Severity, code: &'static str, what: String, advice: String) {
        self.found.push(Finding {
            severity,
            code,
            what,
            advice,
        });
    }

    /// Says so if another clock does not agree with ours.
    fn compare_clocks(&mut self, code: &'static str, whose: &str, reading: &ClockReading) {
        let difference_ms = reading.difference_ms();
        if difference_ms > CLOCK_DIFFERENCE_MAX_MS {
            let tenths = difference_ms / 100;
            self.warning(
                code,
                format!(
                    "the clock of {whose} differs from this machine's by {}.{} s",
                    tenths / 10,
                    tenths % 10
                ),
                "let both machines keep time by NTP: tokens are judged by the second",
            );
        }
    }
}

/// Another clock, read between two looks at ours.
#[derive(Clone, Copy, Debug)]
struct ClockReading {
    /// Ours before and after it was read, in milliseconds.
    ours_ms: (u64, u64),
    /// First and last moment that it can have meant, in milliseconds.
    theirs_ms: (u64, u64),
}

impl ClockReading {
    /// By how much they differ at least.
    const fn difference_ms(&self) -> u64 {
        let ((before, after), (first, last)) = (self.ours_ms, self.theirs_ms);
        let behind = before.saturating_sub(last);
        let ahead = first.saturating_sub(after);
        if behind > ahead { behind } else { ahead }
    }
}

pub(super) async fn run(
    everywhere: &Everywhere,
    arguments: DoctorArguments,
) -> Result<(), CommandError> {
    let mut findings = Findings::default();
    let seen = if is_about_this_machine(everywhere, &arguments) {
        look_here(everywhere, &arguments, &mut findings).await
    } else {
        None
    };
    if let Some(url) = &arguments.url {
        deployment::look(url, seen.as_ref(), &mut findings).await?;
    }
    report::write(everywhere.format(), &findings, in_words);
    match (findings.is_unreachable, findings.found.is_empty()) {
        (true, _) => Err(CommandError::Reported(3)),
        (false, false) => Err(CommandError::Reported(1)),
        (false, true) => Ok(()),
    }
}

/// A URL alone is asked from anywhere, where there need be no settings and no table.
fn is_about_this_machine(everywhere: &Everywhere, arguments: &DoctorArguments) -> bool {
    arguments.url.is_none()
        || everywhere.config.is_some()
        || everywhere.database_url.is_some()
        || everywhere.journal_file.is_some()
}

/// What the table was seen to hold, if it could be read.
async fn look_here(
    everywhere: &Everywhere,
    arguments: &DoctorArguments,
    findings: &mut Findings,
) -> Option<TableSeen> {
    findings.looked_at("settings");
    let settings = match everywhere.settings(arguments.given.clone()) {
        Ok(settings) => settings,
        Err(error) => {
            findings.error(
                "settings_invalid",
                error.text().to_owned(),
                "mend the setting; `hallpass config check` says when it is good",
            );
            return None;
        }
    };
    configuration::look(everywhere, &settings, findings);
    table::look(&settings, arguments, findings).await
}

/// Whether somebody out there, not only this machine, can reach the service.
fn listens_beyond_this_machine(settings: &Settings) -> bool {
    !settings.listen.ip().is_loopback()
}

fn in_words(findings: &Findings) -> String {
    let mut lines = Vec::new();
    for finding in &findings.found {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        lines.push(format!("{severity} {}: {}", finding.code, finding.what));
        lines.push(format!("  do: {}", finding.advice));
    }
    let looked_at = findings.looked_at.join(", ");
    lines.push(match findings.found.len() {
        0 => format!("nothing is wrong; looked at {looked_at}"),
        1 => format!("1 finding; looked at {looked_at}"),
        many => format!("{many} findings; looked at {looked_at}"),
    });
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::ClockReading;

    #[test]
    fn clocks_differ_by_what_no_delay_explains() {
        let reading = |theirs_ms| ClockReading {
            ours_ms: (10_000, 12_000),
            theirs_ms,
        };

        assert_eq!(reading((10_000, 10_000)).difference_ms(), 0);
        assert_eq!(reading((12_000, 12_999)).difference_ms(), 0);
        assert_eq!(reading((12_001, 13_000)).difference_ms(), 1);
        assert_eq!(reading((9_000, 9_999)).difference_ms(), 1);
        assert_eq!(reading((0, 0)).difference_ms(), 10_000);
    }
}
