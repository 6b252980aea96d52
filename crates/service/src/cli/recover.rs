//! `hallpass recover`.

use std::path::PathBuf;

use hallpass_session::time::{Seconds, UnixSeconds};
use serde::Serialize;

use super::report::time;
use super::sessions::confirmed;
use super::{CommandError, Everywhere, report};
use crate::clock::{Clock, SystemClock};
use crate::journal::{self, JournalRead};
use crate::recovery::{Continuity, Plan, plan};
use crate::store::Store;

#[derive(clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "flags of a command line are booleans"
)]
pub(super) struct RecoverArguments {
    /// Journal to re-apply; may be given more than once [default: the settings' `journal_file`]
    #[arg(long, value_name = "FILE")]
    journal: Vec<PathBuf>,
    /// There is no journal: what was ended since the backup lives again
    #[arg(long, conflicts_with = "journal")]
    no_journal: bool,
    /// How long sessions renewed since the backup are adopted, such as 12h or 7d
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = length)]
    adopt_for: Seconds,
    /// Sign everybody out instead
    #[arg(long, conflicts_with = "adopt_for")]
    sign_out_everyone: bool,
    /// Say what would be done and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Serialize)]
struct Report {
    done: bool,
    /// When the backup was taken, if `hallpass restore` put it in place.
    backup_taken_at: Option<u64>,
    journal_entries: usize,
    journal_lines_unreadable: u64,
    revocations_reapplied: usize,
    revocations_of_lost_sessions: usize,
    revocations_known: u64,
    revocations_over: u64,
    revoked_before: Option<u64>,
    renewal_keys_lost: Vec<String>,
    lost_sessions_at_least: Option<u64>,
    signed_out_everyone: bool,
    adopt_until: Option<u64>,
    epoch: Option<String>,
}

pub(super) async fn run(
    everywhere: &Everywhere,
    arguments: RecoverArguments,
) -> Result<(), CommandError> {
    let journal = read_journals(everywhere, &arguments)?;
    let store = everywhere.open().await?;
    let done = recover(everywhere, &store, &arguments, &journal).await;
    store.close().await;
    done
}

async fn recover(
    everywhere: &Everywhere,
    store: &dyn Store,
    arguments: &RecoverArguments,
    journal: &JournalRead,
) -> Result<(), CommandError> {
    let now = SystemClock::default().now();
    let planned = plan(store, journal, now).await?;
    let continuity = if arguments.sign_out_everyone {
        Continuity::SignOutEveryone
    } else {
        Continuity::AdoptUntil(now.plus(arguments.adopt_for))
    };
    let mut report = describe(&planned, journal, continuity);
    if !arguments.dry_run {
        let question = format!("{}\nRecover?", in_words(&report));
        if !arguments.yes && !confirmed(&question) {
            return Err(CommandError::No(
                "nothing was changed; say --yes to recover, --dry-run to look".to_owned(),
            ));
        }
        let (_, state) = planned.carry_out(store, continuity).await?;
        report.done = true;
        report.epoch = Some(state.epoch);
    }
    report::write(everywhere.format(), &report, in_words);
    Ok(())
}

fn read_journals(
    everywhere: &Everywhere,
    arguments: &RecoverArguments,
) -> Result<JournalRead, CommandError> {
    let mut all = JournalRead::default();
    if arguments.no_journal {
        return Ok(all);
    }
    let files = if arguments.journal.is_empty() {
        everywhere.journal_file()?.into_iter().collect()
    } else {
        arguments.journal.clone()
    };
    if files.is_empty() {
        return Err(CommandError::Usage(
            "no journal is kept: name one with --journal, or say --no-journal".to_owned(),
        ));
    }
    for file in files {
        let read = journal::read(&file).map_err(|error| {
            CommandError::No(format!(
                "{}: {error}; name the journal with --journal, or say --no-journal",
                file.display()
            ))
        })?;
        all.entries.extend(read.entries);
        all.unreadable += read.unreadable;
    }
    Ok(all)
}

fn describe(plan: &Plan, journal: &JournalRead, continuity: Continuity) -> Report {
    let lost = plan.lost_renewal_keys.iter();
    Report {
        done: false,
        backup_taken_at: plan.restored_at().map(UnixSeconds::get),
        journal_entries: journal.entries.len(),
        journal_lines_unreadable: journal.unreadable,
        revocations_reapplied: plan.reapplied.len(),
        revocations_of_lost_sessions: plan.lost_ended.len(),
        revocations_known: plan.known,
        revocations_over: plan.over,
        revoked_before: plan.raised_watermark.map(UnixSeconds::get),
        renewal_keys_lost: lost.map(|row| row.kid.clone()).collect(),
        lost_sessions_at_least: plan.lost_sessions_at_least,
        signed_out_everyone: matches!(continuity, Continuity::SignOutEveryone),
        adopt_until: match continuity {
            Continuity::AdoptUntil(until) => Some(until.get()),
            Continuity::SignOutEveryone => None,
        },
        epoch: None,
    }
}

fn in_words(report: &Report) -> String {
    let mut lines = Vec::new();
    if let Some(second) = report.backup_taken_at {
        let at = time(UnixSeconds::new(second));
        lines.push(format!("The table is a backup of {at}."));
    }
    lines.push(format!(
        "{} sessions that were ended since the backup {} ended again; of {} others ended since, \
         the table has nothing but what the list needs.",
        report.revocations_reapplied,
        if report.done { "are" } else { "will be" },
        report.revocations_of_lost_sessions,
    ));
    if let Some(second) = report.revoked_before {
        let at = time(UnixSeconds::new(second));
        lines.push(format!("Sessions created before {at} are over again."));
    }
    lines.push(match report.lost_sessions_at_least {
        Some(count) => format!(
            "Sessions created since the backup are lost, at least {count}: their users sign in anew."
        ),
        None => "Sessions created since the backup are lost, the journal does not say how many: \
                 their users sign in anew."
            .to_owned(),
    });
    if report.journal_lines_unreadable > 0 {
        lines.push(format!(
            "{} lines of the journal could not be read; what they said is not known.",
            report.journal_lines_unreadable
        ));
    }
    if !report.renewal_keys_lost.is_empty() {
        lines.push(format!(
            "Renewal keys {} were made since and are lost: who holds a token of one signs in anew.",
            report.renewal_keys_lost.join(", ")
        ));
    }
    lines.push(match report.adopt_until {
        Some(until) => format!(
            "Sessions renewed since the backup are adopted until {}; nobody else is signed out.",
            time(UnixSeconds::new(until))
        ),
        None => "Everybody is signed out.".to_owned(),
    });
    lines.push(match &report.epoch {
        Some(epoch) => format!("Recovered: the revocation list goes on in epoch {epoch}."),
        None => "Nothing has been changed yet.".to_owned(),
    });
    lines.join("\n")
}

/// Reads a length of time such as `90s`, `30m`, `12h` or `7d`.
pub(super) fn length(text: &str) -> Result<Seconds, String> {
    let wanted = || "a number and s, m, h or d, such as 12h; at most 400d".to_owned();
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(wanted)?;
    let unit_secs: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wanted()),
    };
    let number: u64 = number.parse().map_err(|_| wanted())?;
    let secs = number.checked_mul(unit_secs).ok_or_else(wanted)?;
    (secs <= 400 * 86_400)
        .then_some(Seconds::new(secs))
        .ok_or_else(wanted)
}

#[cfg(test)]
mod tests {
    use super::length;

    #[test]
    fn length_reads_number_and_unit_only() {
        for (text, secs) in [
            ("0s", 0),
            ("90s", 90),
            ("12h", 43_200),
            ("400d", 34_560_000),
        ] {
            assert_eq!(length(text).unwrap().get(), secs, "{text}");
        }
        for wrong in [
            "",
            "d",
            "7",
            "7w",
            "-1d",
            "401d",
            "99999999999999999999d",
            "1é",
        ] {
            assert!(length(wrong).is_err(), "{wrong}");
        }
    }
}
