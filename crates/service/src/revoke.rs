//! Ending sessions, and asking about them, for the app and operators.
//!
//! Source: docs/protocol.md §3, §5.

use hallpass_session::claims::is_subject;
use hallpass_session::wire::{EndedBy, Liveness, Position, Revoked, Session, Sessions};

use crate::failure::{Failure, Refusal};
use crate::record::{SessionRecord, Sid};
use crate::service::Service;
use crate::store::{Cause, Revocation, Selection};

/// Most sessions listed at once: nobody has that many, a runaway app may.
const LISTED_MAX: u32 = 1000;

impl Service {
    /// Whether a session is live.
    ///
    /// # Errors
    ///
    /// When the table cannot be read.
    pub async fn liveness(&self, sid: Sid) -> Result<Liveness, Failure> {
        let now = self.clock.now();
        let record = self.store.find(sid).await?;
        Ok(record.map_or(
            Liveness {
                live: false,
                ends_at: 0,
            },
            |record| Liveness {
                live: record.is_live(now),
                ends_at: record.ends_at.get(),
            },
        ))
    }

    /// One session.
    ///
    /// # Errors
    ///
    /// `SessionUnknown`.
    pub async fn show_session(&self, sid: Sid) -> Result<Session, Failure> {
        let record = self.store.find(sid).await?.ok_or(Refusal::SessionUnknown)?;
        Ok(record.describe(None, self.clock.now()))
    }

    /// A subject's sessions: the asking one first, the others by last seen; ended ones newest
    /// first, as long as they are shown.
    ///
    /// # Errors
    ///
    /// When the subject is none or the table cannot be read.
    pub async fn sessions_of(
        &self,
        subject: &str,
        current: Option<&Sid>,
    ) -> Result<Sessions, Failure> {
        if !is_subject(subject) {
            return Err(Refusal::RequestMalformed("the subject is not one").into());
        }
        let now = self.clock.now();
        let records = self.store.sessions_of(subject, LISTED_MAX).await?;
        let describe = |record: &SessionRecord| record.describe(current, now);
        let (mut sessions, mut ended): (Vec<_>, Vec<_>) = records
            .iter()
            .map(describe)
            .partition(|session| session.ended.is_none());
        sessions.sort_by_key(|session| (!session.current, u64::MAX - session.last_seen_at));
        let shown_since = now.minus(self.settings.ended_retain).get();
        let ended_at = |session: &Session| session.ended.as_ref().map_or(0, |ended| ended.at);
        ended.retain(|session| ended_at(session) >= shown_since);
        ended.sort_by_key(|session| u64::MAX - ended_at(session));
        Ok(Sessions { sessions, ended })
    }

    /// Ends sessions and says where the list has it.
    ///
    /// # Errors
    ///
    /// When the table cannot be written.
    pub async fn revoke(&self, selection: Selection, cause: Cause) -> Result<Revoked, Failure> {
        let revocation = self.store.revoke(selection, cause).await?;
        Ok(self.revoked(revocation, cause.by))
    }

    /// Ends one session that must exist.
    ///
    /// # Errors
    ///
    /// `SessionUnknown`.
    pub async fn revoke_session(&self, sid: Sid, cause: Cause) -> Result<Revoked, Failure> {
        self.store.find(sid).await?.ok_or(Refusal::SessionUnknown)?;
        self.revoke(Selection::Session(sid), cause).await
    }

    /// Ends every session there is.
    ///
    /// # Errors
    ///
    /// When the table cannot be written.
    pub async fn revoke_everything(&self) -> Result<Revoked, Failure> {
        let revocation = self.store.revoke_everything().await?;
        Ok(self.revoked(revocation, EndedBy::Admin))
    }

    fn revoked(&self, revocation: Revocation, by: EndedBy) -> Revoked {
        self.metrics.note_revocation(by, revocation.revoked);
        let committed_at_ms = self.announce(&revocation);
        let Revocation {
            revoked,
            epoch,
            seq,
        } = revocation;
        Revoked {
            revoked,
            list: Position { epoch, to: seq },
            committed_at_ms,
        }
    }
}
