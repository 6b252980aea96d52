//! `hallpass sessions list|show|revoke|revoke-subject`.

use clap::Subcommand;
use hallpass_session::claims::is_subject;
use hallpass_session::time::UnixSeconds;
use hallpass_session::wire::{EndedBy, Session};
use serde::Serialize;

use super::report::{table, time};
use super::{CommandError, Everywhere, report};
use crate::clock::{Clock, SystemClock};
use crate::record::{SessionRecord, Sid, parse_sid};
use crate::store::{Cause, Revocation, Selection, Store};

const BY_ADMIN: Cause = Cause {
    by: EndedBy::Admin,
    reason: "ended_by_admin",
};

#[derive(Subcommand)]
pub(super) enum SessionsCommand {
    /// List sessions, newest first
    List {
        /// Only those of this subject
        #[arg(long)]
        subject: Option<String>,
        /// Ended ones too
        #[arg(long)]
        ended: bool,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Show one session
    Show {
        /// Its id
        #[arg(allow_hyphen_values = true)]
        sid: String,
    },
    /// End one session
    Revoke {
        /// Its id
        #[arg(allow_hyphen_values = true)]
        sid: String,
    },
    /// End every session of a subject
    RevokeSubject {
        /// Whose
        subject: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// A session and whose it is.
#[derive(Serialize)]
struct Listed {
    subject: String,
    #[serde(flatten)]
    session: Session,
}

/// What was ended.
#[derive(Serialize)]
struct Ended {
    revoked: u64,
    epoch: String,
    to: u64,
}

pub(super) async fn run(
    everywhere: &Everywhere,
    command: SessionsCommand,
) -> Result<(), CommandError> {
    let store = everywhere.open().await?;
    let done = match command {
        SessionsCommand::List {
            subject,
            ended,
            limit,
        } => list(everywhere, &store, subject.as_deref(), ended, limit).await,
        SessionsCommand::Show { sid } => show(everywhere, &store, &sid).await,
        SessionsCommand::Revoke { sid } => revoke(everywhere, &store, &sid).await,
        SessionsCommand::RevokeSubject { subject, yes } => {
            revoke_subject(everywhere, &store, subject, yes).await
        }
    };
    store.close().await;
    done
}

async fn list(
    everywhere: &Everywhere,
    store: &dyn Store,
    subject: Option<&str>,
    ended: bool,
    limit: u32,
) -> Result<(), CommandError> {
    let records = match subject {
        Some(subject) => store.sessions_of(checked(subject)?, limit).await?,
        None => store.newest_sessions(limit).await?,
    };
    let now = SystemClock::default().now();
    let mut listed: Vec<Listed> = records.iter().map(|record| describe(record, now)).collect();
    listed.retain(|listed| ended || listed.session.ended.is_none());
    report::write(everywhere.format(), &listed, |listed| {
        let heading = [
            "sid",
            "subject",
            "device",
            "address",
            "created",
            "last seen",
            "state",
        ];
        table(&heading, listed.iter().map(line).collect(), "no sessions")
    });
    Ok(())
}

async fn show(everywhere: &Everywhere, store: &dyn Store, sid: &str) -> Result<(), CommandError> {
    let record = known(store, sid).await?;
    let listed = describe(&record, SystemClock::default().now());
    report::write(everywhere.format(), &listed, |listed| {
        table(&["what", "value"], facts(listed), "")
    });
    Ok(())
}

async fn revoke(everywhere: &Everywhere, store: &dyn Store, sid: &str) -> Result<(), CommandError> {
    let record = known(store, sid).await?;
    let revocation = store
        .revoke(Selection::Session(record.sid), BY_ADMIN)
        .await?;
    report_ended(everywhere, revocation);
    Ok(())
}

async fn revoke_subject(
    everywhere: &Everywhere,
    store: &dyn Store,
    subject: String,
    yes: bool,
) -> Result<(), CommandError> {
    let subject = checked(&subject)?.to_owned();
    if !yes && !confirmed(&format!("End every session of {subject}?")) {
        return Err(CommandError::No(
            "nothing was ended; say --yes to end them".to_owned(),
        ));
    }
    let selection = Selection::Subject {
        subject,
        except: None,
    };
    report_ended(everywhere, store.revoke(selection, BY_ADMIN).await?);
    Ok(())
}

fn report_ended(everywhere: &Everywhere, revocation: Revocation) {
    let Revocation {
        revoked,
        epoch,
        seq,
    } = revocation;
    let ended = Ended {
        revoked,
        epoch,
        to: seq,
    };
    report::write(everywhere.format(), &ended, |ended| match ended.revoked {
        0 => "nothing was live".to_owned(),
        1 => format!("1 session ended, number {} of the list", ended.to),
        many => format!("{many} sessions ended, number {} of the list", ended.to),
    });
}

/// Asks on the terminal; a program that cannot answer has not agreed.
pub(super) fn confirmed(question: &str) -> bool {
    use std::io::IsTerminal;
    if !std::io::stdin().is_terminal() {
        return false;
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && answer.trim().eq_ignore_ascii_case("y")
}

async fn known(store: &dyn Store, sid: &str) -> Result<SessionRecord, CommandError> {
    let usage = || CommandError::Usage("a session id has 22 characters of base64url".to_owned());
    let sid: Sid = parse_sid(sid).ok_or_else(usage)?;
    let found = store.find(sid).await?;
    found.ok_or_else(|| CommandError::No("no such session; see `hallpass sessions list`".into()))
}

pub(super) fn checked(subject: &str) -> Result<&str, CommandError> {
    let text = "a subject has 1 to 255 printable ASCII bytes without space \" , ; \\";
    is_subject(subject)
        .then_some(subject)
        .ok_or_else(|| CommandError::Usage(text.to_owned()))
}

fn describe(record: &SessionRecord, now: UnixSeconds) -> Listed {
    Listed {
        subject: record.subject.clone(),
        session: record.describe(None, now),
    }
}

fn state(session: &Session) -> String {
    let Some(ended) = &session.ended else {
        return "live".to_owned();
    };
    let by = match ended.by {
        EndedBy::User => "user",
        EndedBy::Admin => "admin",
        EndedBy::App => "app",
        EndedBy::System => "system",
    };
    format!("{} by {by}", ended.reason)
}

fn line(listed: &Listed) -> Vec<String> {
    let session = &listed.session;
    vec![
        session.sid.clone(),
        listed.subject.clone(),
        session.device.label.clone(),
        session.ip.clone().unwrap_or_else(|| "-".to_owned()),
        time(UnixSeconds::new(session.created_at)),
        time(UnixSeconds::new(session.last_seen_at)),
        state(session),
    ]
}

fn facts(listed: &Listed) -> Vec<Vec<String>> {
    let session = &listed.session;
    let place = [
        &session.place.city,
        &session.place.region,
        &session.place.country,
    ];
    let place: Vec<&str> = place.into_iter().flatten().map(String::as_str).collect();
    let unknown = || "-".to_owned();
    let at = |second: u64| time(UnixSeconds::new(second));
    [
        ("sid", session.sid.clone()),
        ("subject", listed.subject.clone()),
        ("state", state(session)),
        ("device", session.device.label.clone()),
        ("address", session.ip.clone().unwrap_or_else(unknown)),
        (
            "place",
            if place.is_empty() {
                unknown()
            } else {
                place.join(", ")
            },
        ),
        (
            "signed in by",
            if session.amr.is_empty() {
                unknown()
            } else {
                session.amr.join(", ")
            },
        ),
        ("created", at(session.created_at)),
        ("authenticated", at(session.auth_time)),
        ("last seen", at(session.last_seen_at)),
        ("ends unless used", at(session.idle_ends_at)),
        ("ends", at(session.ends_at)),
    ]
    .into_iter()
    .map(|(what, value)| vec![what.to_owned(), value])
    .collect()
}
