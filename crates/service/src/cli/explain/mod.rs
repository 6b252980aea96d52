//! `hallpass explain`: why a session token passes, or what refuses it.
//!
//! Every rule is judged by the functions that judge at the edge (`hallpass_session::explain`), also
//! those behind the first broken one. The token comes by file or standard input; neither it nor its
//! signature is printed. Two settings of the edge that the service does not have are flags here.

mod evidence;
mod words;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::str::FromStr;

use hallpass_session::claims::TokenPolicy;
use hallpass_session::explain::{Cure, Judgement, Outcome, Report, Rule, explain};
use hallpass_session::time::{Seconds, UnixSeconds};
use hallpass_session::wire::Position;
use serde::Serialize;

use self::evidence::{Evidence, Sources};
use self::words::{Case, cure, quoted, span};
use super::presented::{TokenFile, escaped, is_standard_input};
use super::report::{self, time};
use super::{CommandError, Everywhere};
use crate::clock::{Clock, SystemClock};
use crate::config::GivenSettings;

#[derive(clap::Args)]
pub(super) struct ExplainArguments {
    #[command(flatten)]
    token: TokenFile,
    /// File with the keys: a JWK set, or the answer of GET /v1/edge/keys [default: the table's]
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// File with a whole revocation list as served [default: the table's list as it is now]
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// When to judge: seconds since 1970 or RFC 3339 [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Moment>,
    /// Issuer that the token must name [default: the service's]
    #[arg(long, env = "HALLPASS_ISSUER", value_name = "URL")]
    issuer: Option<String>,
    /// Audience that the token must name [default: the service's]
    #[arg(long, env = "HALLPASS_AUDIENCE", value_name = "NAME")]
    audience: Option<String>,
    /// The edge's tolerance for clocks, in seconds
    #[arg(long, value_name = "SECS", default_value_t = 5)]
    clock_skew_secs: u64,
    /// The edge's bound on a token's life, in seconds
    #[arg(long, value_name = "SECS", default_value_t = 3600)]
    max_token_lifetime_secs: u64,
}

/// A second somebody names.
#[derive(Clone, Copy, Debug)]
struct Moment(UnixSeconds);

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let second = text.parse::<u64>().ok().or_else(|| {
            let timestamp: jiff::Timestamp = text.parse().ok()?;
            u64::try_from(timestamp.as_second()).ok()
        });
        let words = "must be seconds since 1970, or like 2026-11-21T06:30:00Z";
        second
            .map(|second| Self(UnixSeconds::new(second)))
            .ok_or_else(|| words.to_owned())
    }
}

/// What is written with `--json`; documented in docs/explain.md.
#[derive(Serialize)]
struct Explanation {
    passes: bool,
    code: Option<&'static str>,
    status: Option<u16>,
    renewal: &'static str,
    /// The second of judgement.
    at: u64,
    proven: bool,
    token: Said,
    list: ListSeen,
    rules: Vec<Finding>,
}

/// What the token says, as far as it can be read.
#[derive(Serialize)]
struct Said {
    kid: Option<String>,
    sub: Option<String>,
    sid: Option<String>,
    idx: Option<u64>,
    auth_time: Option<u64>,
    iat: Option<u64>,
    exp: Option<u64>,
    /// Negative once it has expired.
    expires_in_secs: Option<i64>,
}

#[derive(Serialize)]
struct ListSeen {
    #[serde(flatten)]
    position: Position,
    made_at: u64,
}

#[derive(Serialize)]
struct Finding {
    rule: &'static str,
    outcome: &'static str,
    code: &'static str,
    says: String,
}

pub(super) async fn run(
    everywhere: &Everywhere,
    arguments: ExplainArguments,
) -> Result<(), CommandError> {
    one_standard_input(&arguments)?;
    let settings = everywhere.settings(GivenSettings {
        issuer: arguments.issuer.clone(),
        audience: arguments.audience.clone(),
        ..GivenSettings::default()
    })?;
    let clock = SystemClock::default().now();
    let now = arguments.at.map_or(clock, |moment| moment.0);
    let sources = Sources {
        keys: arguments.keys.as_ref(),
        list: arguments.list.as_ref(),
        clock,
        now,
    };
    let token = arguments.token.read()?;
    let evidence = Evidence::read(everywhere, &settings, &sources).await?;
    let policy = TokenPolicy {
        issuer: settings.issuer,
        audience: settings.audience,
        clock_skew: Seconds::new(arguments.clock_skew_secs),
        max_token_lifetime: Seconds::new(arguments.max_token_lifetime_secs),
    };
    let verify = hallpass_signature::verify;
    let report = explain(
        &token,
        &evidence.keyring,
        &policy,
        &evidence.list,
        verify,
        now,
    );
    let case = Case {
        report: &report,
        evidence: &evidence,
        policy: &policy,
        token_bytes: token.len(),
        now,
    };
    report::write(everywhere.format(), &case.explanation(), |_| {
        case.describe(Marks::choose())
    });
    match report.judgement() {
        Judgement::Passes => Ok(()),
        Judgement::Refused(_) | Judgement::Outage(_) => Err(CommandError::Reported(1)),
    }
}

fn one_standard_input(arguments: &ExplainArguments) -> Result<(), CommandError> {
    let files = [
        Some(&arguments.token.file),
        arguments.keys.as_ref(),
        arguments.list.as_ref(),
    ];
    let from_input = files
        .into_iter()
        .flatten()
        .filter(|file| is_standard_input(file))
        .count();
    if from_input > 1 {
        let text = "only one of token, --keys and --list can come from standard input";
        return Err(CommandError::Usage(text.to_owned()));
    }
    Ok(())
}

/// How outcomes are marked.
#[derive(Clone, Copy)]
struct Marks {
    holds: &'static str,
    broken: &'static str,
    unjudged: &'static str,
}

impl Marks {
    const FANCY: Self = Self {
        holds: "✓",
        broken: "✗",
        unjudged: "–",
    };
    const PLAIN: Self = Self {
        holds: "ok",
        broken: "NO",
        unjudged: "-",
    };

    /// Plain ASCII unless a person looks on who has not asked for plain.
    fn choose() -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if std::io::stdout().is_terminal() && !is_set("NO_COLOR") && !dumb {
            Self::FANCY
        } else {
            Self::PLAIN
        }
    }

    const fn of(self, outcome: Outcome) -> &'static str {
        match outcome {
            Outcome::Holds => self.holds,
            Outcome::Broken(_) => self.broken,
            Outcome::Unjudged(_) => self.unjudged,
        }
    }
}

impl Case<'_> {
    fn describe(&self, marks: Marks) -> String {
        let line = |(rule, outcome): &(Rule, Outcome)| {
            vec![
                marks.of(*outcome).to_owned(),
                rule.name().to_owned(),
                self.finding(*rule, *outcome),
            ]
        };
        let rows = self.report.findings.iter().map(line).collect();
        let table = report::table(&["", "rule", "finding"], rows, "");
        let [subject, judged] = self.introduction();
        let verdict = self.verdict();
        let renewal = cure(self.report.cure());
        format!("{subject}\n{judged}\n\n{table}\n\nVerdict: {verdict}.\nRenewal: {renewal}.")
    }

    fn introduction(&self) -> [String; 2] {
        let said = |name| self.claim_text(name).map_or_else(|| "?".to_owned(), quoted);
        let proof = if self.report.is_proven() {
            ""
        } else {
            "; nobody vouches for what it says"
        };
        let subject = format!("Token of {}, session {}{proof}.", said("sub"), said("sid"));
        let position = self.evidence.list.position();
        let judged = format!(
            "Judged at {} ({}), by number {} of the list, made {}.",
            time(self.now),
            self.now.get(),
            position.to,
            self.list_age(),
        );
        [subject, judged]
    }

    fn list_age(&self) -> String {
        let made = self.evidence.listed_at;
        match made.cmp(&self.now) {
            std::cmp::Ordering::Equal => "now".to_owned(),
            std::cmp::Ordering::Less => format!("{} before", span(self.now.since(made))),
            std::cmp::Ordering::Greater => format!("{} later", span(made.since(self.now))),
        }
    }

    fn verdict(&self) -> String {
        let first = self.report.first_broken().map_or("", Rule::name);
        match (self.report.judgement(), code(self.report)) {
            (Judgement::Refused(_), Some(code)) => {
                format!("refused for {first}: {code}, HTTP 401; page loads go to sign-in")
            }
            (Judgement::Outage(_), Some(code)) => {
                format!("an edge that cannot fetch the {first} answers {code}, HTTP 503")
            }
            _ => "passes".to_owned(),
        }
    }

    fn explanation(&self) -> Explanation {
        let findings = self.report.findings.iter();
        Explanation {
            passes: self.report.judgement() == Judgement::Passes,
            code: code(self.report),
            status: status(self.report),
            renewal: match self.report.cure() {
                Cure::Unneeded => "unneeded",
                Cure::Renewal => "cures",
                Cure::Vain => "vain",
                Cure::None => "none",
            },
            at: self.now.get(),
            proven: self.report.is_proven(),
            token: self.said(),
            list: ListSeen {
                position: self.evidence.list.position().clone(),
                made_at: self.evidence.listed_at.get(),
            },
            rules: findings
                .map(|(rule, outcome)| self.written(*rule, *outcome))
                .collect(),
        }
    }

    fn written(&self, rule: Rule, outcome: Outcome) -> Finding {
        Finding {
            rule: rule.name(),
            outcome: match outcome {
                Outcome::Holds => "holds",
                Outcome::Broken(_) => "broken",
                Outcome::Unjudged(_) => "unjudged",
            },
            code: rule.refusal().code(),
            says: self.finding(rule, outcome),
        }
    }

    fn said(&self) -> Said {
        let exp = self.claim_number("exp");
        Said {
            kid: self.header_text("kid").map(escaped),
            sub: self.claim_text("sub"),
            sid: self.claim_text("sid"),
            idx: self.claim_number("idx"),
            auth_time: self.claim_number("auth_time"),
            iat: self.claim_number("iat"),
            exp,
            expires_in_secs: exp.map(|exp| signed(exp).saturating_sub(signed(self.now.get()))),
        }
    }
}

fn code(report: &Report) -> Option<&'static str> {
    match report.judgement() {
        Judgement::Passes => None,
        Judgement::Refused(refusal) => Some(refusal.code()),
        Judgement::Outage(_) => Some("service_unavailable"),
    }
}

/// The status that goes with the code: whatever is wrong with a token is about who presents it.
fn status(report: &Report) -> Option<u16> {
    match report.judgement() {
        Judgement::Passes => None,
        Judgement::Refused(_) => Some(401),
        Judgement::Outage(_) => Some(503),
    }
}

fn signed(secs: u64) -> i64 {
    i64::try_from(secs).unwrap_or(i64::MAX)
}
