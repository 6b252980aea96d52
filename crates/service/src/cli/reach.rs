//! Where `hallpass sessions` finds sessions: in the table itself, or at a session service.

use hallpass_session::time::UnixSeconds;
use hallpass_session::wire::{EndedBy, InForce, Position, Session};
use serde::Serialize;

use super::CommandError;
use super::remote::Remote;
use crate::clock::{Clock, SystemClock};
use crate::in_force::{bound_ms, is_everywhere};
use crate::record::{SessionRecord, Sid};
use crate::store::sql::SqlStore;
use crate::store::{Cause, Selection, Store};

const BY_ADMIN: Cause = Cause {
    by: EndedBy::Admin,
    reason: "ended_by_admin",
};

/// A session and whose it is.
#[derive(Serialize)]
pub(super) struct Listed {
    /// A service does not say whose the session is that it was asked for by id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<String>,
    #[serde(flatten)]
    pub(super) session: Session,
}

/// Which sessions to end.
pub(super) enum Target {
    /// One.
    Session(Sid),
    /// Those of a subject.
    Subject(String),
    /// All.
    Everything,
}

/// What was ended.
#[derive(Serialize)]
pub(super) struct Ended {
    pub(super) revoked: u64,
    #[serde(flatten)]
    pub(super) position: Position,
    /// When it was committed at the latest.
    #[serde(skip)]
    pub(super) committed_at_ms: u64,
    /// What was heard of it since, by `--wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) in_force: Option<InForce>,
}

/// Where sessions are.
pub(super) enum Reach {
    /// In the database.
    Table(Box<SqlStore>),
    /// At a session service.
    Service(Remote),
}

impl Reach {
    /// The newest sessions, of a subject or of all, live or ended.
    pub(super) async fn sessions(
        &self,
        subject: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Listed>, CommandError> {
        let store = match self {
            Self::Table(store) => store,
            Self::Service(remote) => return remote.sessions(subject, limit).await,
        };
        let records = match subject {
            Some(subject) => store.sessions_of(subject, limit).await?,
            None => store.newest_sessions(limit).await?,
        };
        let now = SystemClock::default().now();
        Ok(records.iter().map(|record| describe(record, now)).collect())
    }

    /// One session.
    pub(super) async fn session(&self, sid: Sid) -> Result<Listed, CommandError> {
        match self {
            Self::Table(store) => {
                let found = store.find(sid).await?.ok_or_else(unknown)?;
                Ok(describe(&found, SystemClock::default().now()))
            }
            Self::Service(remote) => remote.session(sid).await,
        }
    }

    /// How many sessions are live, where that can be told.
    pub(super) async fn live(&self) -> Result<Option<u64>, CommandError> {
        let Self::Table(store) = self else {
            return Ok(None);
        };
        let ever = (UnixSeconds::new(0), UnixSeconds::new(u64::MAX));
        Ok(Some(store.count_renewed_between(ever.0, ever.1).await?))
    }

    /// Ends sessions.
    pub(super) async fn end(&self, target: Target) -> Result<Ended, CommandError> {
        let store = match self {
            Self::Table(store) => store,
            Self::Service(remote) => return remote.end(target).await,
        };
        let revocation = match target {
            Target::Session(sid) => {
                store.find(sid).await?.ok_or_else(unknown)?;
                store.revoke(Selection::Session(sid), BY_ADMIN).await?
            }
            Target::Subject(subject) => {
                let except = None;
                let selection = Selection::Subject { subject, except };
                store.revoke(selection, BY_ADMIN).await?
            }
            Target::Everything => store.revoke_everything().await?,
        };
        Ok(Ended {
            revoked: revocation.revoked,
            position: Position {
                epoch: revocation.epoch,
                to: revocation.seq,
            },
            committed_at_ms: SystemClock::default().unix_ms(),
            in_force: None,
        })
    }

    /// Whether what was ended is so at every edge.
    pub(super) async fn in_force(&self, ended: &Ended) -> Result<InForce, CommandError> {
        let store = match self {
            Self::Table(store) => store,
            Self::Service(remote) => return remote.in_force(&ended.position).await,
        };
        // No process has the empty name: this one answers no edges.
        let reports = store.reports("").await?;
        let no_later_than_ms = ended.committed_at_ms.saturating_add(bound_ms(&reports));
        let is_past = SystemClock::default().unix_ms() >= no_later_than_ms;
        Ok(InForce {
            everywhere: is_past || is_everywhere(&ended.position, &reports),
            no_later_than_ms,
        })
    }

    /// Lets go of it.
    pub(super) async fn close(&self) {
        if let Self::Table(store) = self {
            store.close().await;
        }
    }
}

/// What is said of a session that is not there.
pub(super) fn unknown() -> CommandError {
    CommandError::No("no such session; see `hallpass sessions list`".to_owned())
}

fn describe(record: &SessionRecord, now: UnixSeconds) -> Listed {
    Listed {
        subject: Some(record.subject.clone()),
        session: record.describe(None, now),
    }
}
