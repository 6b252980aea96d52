//! `hallpass subjects export|erase`: what is held on a person, to hand out and to forget.

use clap::Subcommand;
use hallpass_session::time::UnixSeconds;
use hallpass_session::wire::Session;
use serde::Serialize;
use serde_json::{Map, Value};

use super::sessions::{checked, confirmed};
use super::{CommandError, Everywhere, report};
use crate::clock::{Clock, SystemClock};
use crate::store::{AuditEntry, Event, SessionHeld, Store};

#[derive(Subcommand)]
pub(super) enum SubjectsCommand {
    /// Write everything held on a subject as JSON
    Export {
        /// Whom, as the app named them at sign-in
        subject: String,
    },
    /// End a subject's sessions and forget the subject
    ///
    /// What stays: of each revocation the session's id and index, until the list no longer needs
    /// them; of events and the audit log what happened, without whom. Backups are not touched.
    Erase {
        /// Whom, as the app named them at sign-in
        subject: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// The export of a subject.
#[derive(Serialize)]
struct Export {
    subject: String,
    exported_at: u64,
    sessions: Vec<ExportedSession>,
    events: Vec<Event>,
    audit: Vec<AuditEntry>,
}

#[derive(Serialize)]
struct ExportedSession {
    #[serde(flatten)]
    session: Session,
    persistent: bool,
    idle_limit_secs: u64,
    ext: Option<Map<String, Value>>,
    user_agent: Option<String>,
    signed_in_from: Value,
}

/// What was forgotten.
#[derive(Serialize)]
struct Erased {
    sessions: u64,
    revoked: u64,
    events: u64,
    audited: u64,
    epoch: String,
    to: u64,
}

pub(super) async fn run(
    everywhere: &Everywhere,
    command: SubjectsCommand,
) -> Result<(), CommandError> {
    let store = everywhere.open().await?;
    let done = match command {
        SubjectsCommand::Export { subject } => export(&store, &subject).await,
        SubjectsCommand::Erase { subject, yes } => erase(everywhere, &store, &subject, yes).await,
    };
    store.close().await;
    done
}

async fn export(store: &dyn Store, subject: &str) -> Result<(), CommandError> {
    let held = store.held_on(checked(subject)?).await?;
    let now = SystemClock::default().now();
    let sessions = held.sessions.into_iter();
    let export = Export {
        subject: subject.to_owned(),
        exported_at: now.get(),
        sessions: sessions.map(|held| exported(held, now)).collect(),
        events: held.events,
        audit: held.audit,
    };
    report::write(report::Format::Json, &export, |_| String::new());
    Ok(())
}

fn exported(held: SessionHeld, now: UnixSeconds) -> ExportedSession {
    ExportedSession {
        session: held.record.describe(None, now),
        persistent: held.record.persistent,
        idle_limit_secs: held.record.idle.get(),
        ext: held.record.ext,
        user_agent: held.user_agent,
        signed_in_from: held.signed_in_from,
    }
}

async fn erase(
    everywhere: &Everywhere,
    store: &dyn Store,
    subject: &str,
    yes: bool,
) -> Result<(), CommandError> {
    let question = format!("End every session of {subject} and forget {subject}?");
    if !yes && !confirmed(&question) {
        return Err(CommandError::No(
            "nothing was erased; say --yes to erase".to_owned(),
        ));
    }
    let erasure = store.erase(checked(subject)?).await?;
    let erased = Erased {
        sessions: erasure.sessions,
        revoked: erasure.revocation.revoked,
        events: erasure.events,
        audited: erasure.audited,
        epoch: erasure.revocation.epoch,
        to: erasure.revocation.seq,
    };
    report::write(everywhere.format(), &erased, |erased| {
        format!(
            "{} sessions erased, {} of them live and now ended; {} events and {} entries of the \
             audit log name nobody any more",
            erased.sessions, erased.revoked, erased.events, erased.audited
        )
    });
    Ok(())
}
