//! `hallpass sessions list|show|revoke|revoke-subject|revoke-all`.

use std::time::Duration;

use clap::Subcommand;
use hallpass_session::claims::is_subject;
use hallpass_session::time::UnixSeconds;
use hallpass_session::wire::{EndedBy, InForce, Session};

use super::reach::{Ended, Listed, Reach, Target};
use super::remote::RemoteArguments;
use super::report::{table, time};
use super::{CommandError, Everywhere, report};
use crate::record::{Sid, parse_sid};

/// How often it is asked whether what was ended is in force everywhere.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// Longest wait for that: more than any edge's bound.
const WAIT_MOST: Duration = Duration::from_mins(5);

#[derive(clap::Args)]
pub(super) struct SessionsArguments {
    #[command(flatten)]
    remote: RemoteArguments,
    #[command(subcommand)]
    command: SessionsCommand,
}

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
        /// Wait until it is in force at every edge
        #[arg(long)]
        wait: bool,
    },
    /// End every session of a subject
    RevokeSubject {
        /// Whose
        subject: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Wait until it is in force at every edge
        #[arg(long)]
        wait: bool,
    },
    /// End every session there is: everybody signs in anew
    RevokeAll {
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Wait until it is in force at every edge
        #[arg(long)]
        wait: bool,
    },
}

pub(super) async fn run(
    everywhere: &Everywhere,
    arguments: SessionsArguments,
) -> Result<(), CommandError> {
    let reach = match arguments.remote.connect()? {
        Some(remote) => Reach::Service(remote),
        None => Reach::Table(Box::new(everywhere.open().await?)),
    };
    let done = match arguments.command {
        SessionsCommand::List {
            subject,
            ended,
            limit,
        } => list(everywhere, &reach, subject.as_deref(), ended, limit).await,
        SessionsCommand::Show { sid } => show(everywhere, &reach, &sid).await,
        SessionsCommand::Revoke { sid, wait } => match id(&sid) {
            Ok(sid) => end(everywhere, &reach, Target::Session(sid), wait).await,
            Err(error) => Err(error),
        },
        SessionsCommand::RevokeSubject { subject, yes, wait } => {
            revoke_subject(everywhere, &reach, subject, yes, wait).await
        }
        SessionsCommand::RevokeAll { yes, wait } => revoke_all(everywhere, &reach, yes, wait).await,
    };
    reach.close().await;
    done
}

async fn list(
    everywhere: &Everywhere,
    reach: &Reach,
    subject: Option<&str>,
    ended: bool,
    limit: u32,
) -> Result<(), CommandError> {
    let subject = subject.map(checked).transpose()?;
    let mut listed = reach.sessions(subject, limit).await?;
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

async fn show(everywhere: &Everywhere, reach: &Reach, sid: &str) -> Result<(), CommandError> {
    let listed = reach.session(id(sid)?).await?;
    report::write(everywhere.format(), &listed, |listed| {
        table(&["what", "value"], facts(listed), "")
    });
    Ok(())
}

async fn revoke_subject(
    everywhere: &Everywhere,
    reach: &Reach,
    subject: String,
    yes: bool,
    wait: bool,
) -> Result<(), CommandError> {
    let subject = checked(&subject)?.to_owned();
    if !yes && !confirmed(&format!("End every session of {subject}?")) {
        return Err(CommandError::No(
            "nothing was ended; say --yes to end them".to_owned(),
        ));
    }
    end(everywhere, reach, Target::Subject(subject), wait).await
}

async fn revoke_all(
    everywhere: &Everywhere,
    reach: &Reach,
    yes: bool,
    wait: bool,
) -> Result<(), CommandError> {
    if !yes {
        let question = match reach.live().await? {
            Some(live) => format!("End every session there is, {live} of them?"),
            None => "End every session there is?".to_owned(),
        };
        if !confirmed(&question) {
            return Err(CommandError::No(
                "nothing was ended; say --yes to sign everybody out".to_owned(),
            ));
        }
    }
    end(everywhere, reach, Target::Everything, wait).await
}

/// Ends sessions, and says so whatever becomes of the wait.
async fn end(
    everywhere: &Everywhere,
    reach: &Reach,
    target: Target,
    wait: bool,
) -> Result<(), CommandError> {
    let mut ended = reach.end(target).await?;
    let waited = if wait {
        in_force(reach, &ended).await.map(Some)
    } else {
        Ok(None)
    };
    let failed = match waited {
        Ok(in_force) => {
            ended.in_force = in_force;
            None
        }
        Err(error) => Some(error),
    };
    report::write(everywhere.format(), &ended, in_words);
    failed.map_or(Ok(()), Err)
}

/// Waits until every edge has it.
async fn in_force(reach: &Reach, ended: &Ended) -> Result<InForce, CommandError> {
    let waiting = async {
        let mut is_said = false;
        loop {
            let in_force = reach.in_force(ended).await?;
            if in_force.everywhere {
                return Ok(in_force);
            }
            if !is_said {
                let at = time(UnixSeconds::from_ms(in_force.no_later_than_ms));
                eprintln!("waiting until every edge has it, at the latest until {at}");
                is_said = true;
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    };
    let too_long = "ended, but it was not heard in time that every edge has it".to_owned();
    let waited = tokio::time::timeout(WAIT_MOST, waiting).await;
    waited.unwrap_or(Err(CommandError::Unreachable(too_long)))
}

fn in_words(ended: &Ended) -> String {
    let number = ended.position.to;
    let mut text = match ended.revoked {
        0 => "nothing was live".to_owned(),
        1 => format!("1 session ended, number {number} of the list"),
        many => format!("{many} sessions ended, number {number} of the list"),
    };
    if ended.in_force.is_some() {
        text.push_str("; in force at every edge that reaches the service");
    }
    text
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

fn id(sid: &str) -> Result<Sid, CommandError> {
    let usage = "a session id has 22 characters of base64url".to_owned();
    parse_sid(sid).ok_or(CommandError::Usage(usage))
}

pub(super) fn checked(subject: &str) -> Result<&str, CommandError> {
    let text = "a subject has 1 to 255 printable ASCII bytes without space \" , ; \\";
    is_subject(subject)
        .then_some(subject)
        .ok_or_else(|| CommandError::Usage(text.to_owned()))
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

fn subject(listed: &Listed) -> String {
    listed.subject.clone().unwrap_or_else(|| "-".to_owned())
}

fn line(listed: &Listed) -> Vec<String> {
    let session = &listed.session;
    vec![
        session.sid.clone(),
        subject(listed),
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
        ("subject", subject(listed)),
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
