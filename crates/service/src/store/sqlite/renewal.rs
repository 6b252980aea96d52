//! Confirming a renewal, or ending the session that two parties hold.
//!
//! `SQLite`'s writer holds the whole database, so reading here is reading under lock.

use async_trait::async_trait;
use hallpass_session::renewal::{Confirmed, Verdict};
use hallpass_session::time::UnixSeconds;
use hallpass_session::wire::EndedBy;
use sqlx::SqliteConnection;

use super::revocation::revoke_sessions;
use super::rows::stored_time;
use super::{Now, find_session, unavailable};
use crate::record::{SessionRecord, Standing};
use crate::store::{Cause, Issued, Renewal, RenewalAttempt, StoreError};

const REUSED: Cause = Cause {
    by: EndedBy::System,
    reason: "renewal_reused",
};

/// A renewal to judge.
pub(super) struct Renew {
    pub(super) attempt: RenewalAttempt,
    pub(super) now: Now,
}

#[async_trait]
impl super::Work for Renew {
    type Output = Renewal;

    async fn run(&self, tx: &mut SqliteConnection) -> Result<Renewal, StoreError> {
        let issued_at = self.now.issuing_second(tx).await?;
        loop {
            let Some(record) = find_session(tx, self.attempt.sid).await? else {
                return Ok(Renewal::Unknown);
            };
            match record.standing(issued_at) {
                Standing::Live => {}
                Standing::Revoked(_) => return Ok(Renewal::Revoked),
                Standing::Expired(_) => return Ok(Renewal::Expired),
            }
            if let Some(renewal) = self.judge(tx, record, issued_at).await? {
                return Ok(renewal);
            }
        }
    }
}

impl Renew {
    /// `None` when another renewal was confirmed meanwhile: judge again.
    async fn judge(
        &self,
        tx: &mut SqliteConnection,
        record: SessionRecord,
        now: UnixSeconds,
    ) -> Result<Option<Renewal>, StoreError> {
        let RenewalAttempt {
            presented,
            agent,
            grace,
            ..
        } = &self.attempt;
        match record.confirmed.judge(*presented, agent, *grace, now) {
            Verdict::AnswerAgain => Ok(Some(answer(record, now, false))),
            Verdict::Advance => self.confirm(tx, record, now).await,
            Verdict::Replay => {
                let both = [(record.sid, record.idx)];
                revoke_sessions(tx, &both, REUSED, now)
                    .await
                    .map(Renewal::Replayed)
                    .map(Some)
            }
            Verdict::RolledBack => Ok(Some(Renewal::RolledBack)),
        }
    }

    async fn confirm(
        &self,
        tx: &mut SqliteConnection,
        mut record: SessionRecord,
        now: UnixSeconds,
    ) -> Result<Option<Renewal>, StoreError> {
        let RenewalAttempt {
            presented, agent, ..
        } = &self.attempt;
        // A renewal that does not say from where leaves the last known place.
        let origin = if self.attempt.origin.ip.is_some() {
            &self.attempt.origin
        } else {
            &record.origin
        };
        let next = Confirmed {
            branch: *presented,
            confirmed_at: now,
            agent: *agent,
        };
        let sql = "UPDATE renewals SET generation = ?, branch = ?, confirmed_at = ?, agent = ?, \
                   ip = ?, country = ?, region = ?, city = ?, asn = ? \
                   WHERE sid = ? AND generation = ? AND branch = ?";
        let done = sqlx::query(sql)
            .bind(i64::from(next.branch.generation))
            .bind(&next.branch.branch[..])
            .bind(stored_time(now))
            .bind(&next.agent[..])
            .bind(origin.ip.as_ref())
            .bind(origin.place.country.as_ref())
            .bind(origin.place.region.as_ref())
            .bind(origin.place.city.as_ref())
            .bind(origin.asn.map(i64::from))
            .bind(&record.sid[..])
            .bind(i64::from(record.confirmed.branch.generation))
            .bind(&record.confirmed.branch.branch[..])
            .execute(tx)
            .await
            .map_err(unavailable)?;
        record.confirmed = next;
        Ok((done.rows_affected() == 1).then(|| answer(record, now, true)))
    }
}

fn answer(record: SessionRecord, issued_at: UnixSeconds, confirmed: bool) -> Renewal {
    Renewal::Answer {
        issued: Box::new(Issued { record, issued_at }),
        confirmed,
    }
}
