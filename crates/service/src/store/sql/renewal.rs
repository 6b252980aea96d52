//! Confirming a renewal, or ending the session that two parties hold.
//!
//! `SQLite`'s writer holds the whole database, so reading here is reading under lock.

use async_trait::async_trait;
use hallpass_session::renewal::{Confirmed, Verdict};
use hallpass_session::time::UnixSeconds;
use hallpass_session::wire::EndedBy;

use super::revocation::revoke_sessions;
use super::statement::Statement;
use super::transaction::Transaction;
use super::{Now, find_session};
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
impl super::lane::Work for Renew {
    type Output = Renewal;

    const REPEATABLE: bool = true;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Renewal, StoreError> {
        let issued_at = tx.issuing_second(self.now.read());
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
        tx: &mut Transaction<'_>,
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
        tx: &mut Transaction<'_>,
        mut record: SessionRecord,
        now: UnixSeconds,
    ) -> Result<Option<Renewal>, StoreError> {
        static CONFIRM: Statement = Statement::new(
            "UPDATE renewals SET generation = $1, branch = $2, confirmed_at = $3, agent = $4, \
             ip = $5, country = $6, region = $7, city = $8, asn = $9 \
             WHERE sid = $10 AND generation = $11 AND branch = $12",
        );
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
        let confirm = CONFIRM
            .bind(next.branch.generation)
            .bind(&next.branch.branch)
            .bind(now)
            .bind(&next.agent)
            .bind(&origin.ip)
            .bind(&origin.place.country)
            .bind(&origin.place.region)
            .bind(&origin.place.city)
            .bind(origin.asn)
            .bind(&record.sid)
            .bind(record.confirmed.branch.generation)
            .bind(&record.confirmed.branch.branch);
        let written = tx.execute(confirm).await? == 1;
        record.confirmed = next;
        Ok(written.then(|| answer(record, now, true)))
    }
}

fn answer(record: SessionRecord, issued_at: UnixSeconds, confirmed: bool) -> Renewal {
    Renewal::Answer {
        issued: Box::new(Issued { record, issued_at }),
        confirmed,
    }
}
