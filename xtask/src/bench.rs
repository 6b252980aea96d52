//! `cargo xtask bench`: what checks cost, measured so that it can be believed.
//!
//! A part is a file: what it measures, what it compares, and which goals that has. Rounds and their
//! control are in `rounds`, what comes of them in `report`. A part that is inconclusive or misses a
//! goal is written all the same, and the command fails.

mod asked;
mod gate;
mod refusals;
mod report;
mod rounds;
mod rules;
mod service;
mod setting;
mod size;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use report::{Description, Measured, Report};
use rounds::Subject;
use setting::Begun;

/// Measure; writes bench/report.json and bench/REPORT.md, merged by part
///
/// Every case is measured once per round, round by round, next to a control that measures one thing
/// twice. When the control's medians differ by more than 5 %, rounds are added up to three times as
/// many; if they still differ the part is written as inconclusive and the command fails. Every
/// sample is kept, one that was lost counts as the worst, and no round is ever chosen.
#[derive(Args)]
pub(crate) struct Bench {
    /// The parts to measure [default: all]
    #[arg(value_name = "PART")]
    parts: Vec<Part>,
    /// Two short rounds that only show that it works; writes to target/, not to bench/
    #[arg(long)]
    smoke: bool,
    /// How many rounds
    #[arg(long, value_name = "N", default_value_t = 7,
          value_parser = clap::value_parser!(u8).range(5..=50))]
    rounds: u8,
}

/// One part of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Instructions per check of the rules, natively
    Rules,
    /// Microseconds of CPU per request through the built edge in workerd
    Gate,
    /// Microseconds per operation of the session table, on each database
    Service,
    /// Time to start, memory and bytes of the session service
    Size,
}

/// How much to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// Enough for a figure.
    Full,
    /// Enough to see that it works.
    Smoke,
}

impl Bench {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<()> {
        let (size, rounds) = if self.smoke {
            (Size::Smoke, 2)
        } else {
            (Size::Full, usize::from(self.rounds))
        };
        let mut report = Report::read(size)?;
        let mut complaints = Vec::new();
        for part in self.chosen() {
            let measured = part.measure(size, rounds)?;
            let of_part = |complaint| format!("{}: {complaint}", part.name());
            complaints.extend(measured.complaints().into_iter().map(of_part));
            report.parts.insert(part.name(), measured);
            let file = report.write(size)?;
            eprintln!("✓ {}: in {}", part.name(), file.display());
        }
        // Two short rounds are too few to be judged by.
        if complaints.is_empty() || self.smoke {
            return Ok(());
        }
        bail!("{}", complaints.join("\n"))
    }

    fn chosen(&self) -> impl Iterator<Item = Part> {
        let all = Part::value_variants().iter().copied();
        all.filter(|part| self.parts.is_empty() || self.parts.contains(part))
    }
}

impl Part {
    fn name(self) -> String {
        self.to_possible_value()
            .map_or(String::new(), |value| value.get_name().to_owned())
    }

    fn measure(self, size: Size, rounds: usize) -> Result<Measured> {
        eprintln!("── {}", self.name());
        match self {
            Self::Rules => measure(
                &mut rules::Rules::prepare()?,
                &rules::description(),
                &rules::versions(),
                rounds,
            ),
            Self::Gate => measure(
                &mut gate::Gate::prepare(size, rounds)?,
                &gate::description(),
                &gate::versions()?,
                rounds,
            ),
            Self::Service => measure(
                &mut service::Service::prepare(size)?,
                &service::description(),
                &service::versions(),
                rounds,
            ),
            Self::Size => measure(
                &mut size::Size::prepare(size)?,
                &size::description(),
                &[],
                rounds,
            ),
        }
    }
}

fn measure(
    subject: &mut dyn Subject,
    description: &Description,
    versions: &[(&'static str, String)],
    rounds: usize,
) -> Result<Measured> {
    let begun = Begun::now(versions)?;
    let samples = rounds::measure(subject, rounds)?;
    let setting = begun.ended();
    Ok(Measured::new(
        description,
        setting,
        &samples,
        subject.control(),
    ))
}
