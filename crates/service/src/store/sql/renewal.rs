//! Confirming a renewal, or ending the session that two parties hold.
//!
//! A renewal is judged while its session's row and the watermark are held. The serial lane holds the
//! head, and with it the watermark. Where rows can be locked, renewals run beside it and beside each
//! other, one transaction each: the server then groups what it makes durable. What they must not do
//! there is take a number; one that finds a replay is run again in the lane, which ends the session.

use std::sync::Arc;

use async_trait::async_trait;
use hallpass_session::base64url;
use hallpass_session::renewal::{Branch, Confirmed, Verdict};
use hallpass_session::time::UnixSeconds;
use hallpass_session::wire::EndedBy;
use sqlx::any::AnyRow;
use tokio::sync::Semaphore;

use super::Now;
use super::lane::{BUSY_RETRIES, TRANSACTION_TIMEOUT, Work};
use super::pool::{Loan, Pool};
use super::revocation::{Ending, revoke_sessions};
use super::rows::{number, read_session, select_sessions, time};
use super::statement::{Bound, Statement};
use super::transaction::{Connection, Transaction};
use crate::record::{Origin, SessionRecord, Sid, Standing};
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

/// What is to be done about it.
enum Judged {
    /// Answer so; what had to be written is written.
    Answer(Renewal),
    /// End the session.
    Replay(Box<Issued>),
}

/// Where a renewal finds its session and is confirmed.
#[async_trait]
pub(super) trait Sessions: Send {
    /// The session, under a lock that lasts until the transaction ends.
    async fn find(&mut self, sid: &Sid) -> Result<Option<Found>, StoreError>;

    /// Compare-and-set; `false` when it lost.
    async fn confirm(&mut self, confirmation: Confirmation) -> Result<bool, StoreError>;
}

/// A session with what its renewal is judged by.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) record: SessionRecord,
    /// First second of the epoch.
    began: UnixSeconds,
    /// Number of the last change of any key.
    keys_seq: u64,
    /// Until when higher generations are adopted.
    adopt_until: UnixSeconds,
}

/// A child that becomes the confirmed token.
pub(super) struct Confirmation {
    pub(super) sid: Sid,
    pub(super) next: Confirmed,
    pub(super) origin: Origin,
    pub(super) replaced: Branch,
}

#[async_trait]
impl Sessions for Connection<'_> {
    async fn find(&mut self, sid: &Sid) -> Result<Option<Found>, StoreError> {
        static FIND: Statement = Statement::new(select_sessions!(
            ", h.began, h.keys_seq, h.adopt_until",
            "JOIN head h ON h.id = 1",
            "WHERE s.sid = $1"
        ));
        self.lock_session(sid).await?;
        let row = self.optional(FIND.bind(sid)).await?;
        row.as_ref().map(Found::read).transpose()
    }

    async fn confirm(&mut self, confirmation: Confirmation) -> Result<bool, StoreError> {
        static CONFIRM: Statement = Statement::new(
            "UPDATE renewals SET generation = $1, branch = $2, confirmed_at = $3, agent = $4, \
             ip = $5, country = $6, region = $7, city = $8, asn = $9 \
             WHERE sid = $10 AND generation = $11 AND branch = $12",
        );
        let confirm = confirmation.bind_to(CONFIRM.plain());
        Ok(self.execute(confirm).await? == 1)
    }
}

impl Found {
    pub(super) fn read(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self {
            record: read_session(row)?,
            began: time(row, "began")?,
            keys_seq: number(row, "keys_seq")?,
            adopt_until: time(row, "adopt_until")?,
        })
    }

    /// The session as of the second to issue at: now, but never before the watermark or the epoch.
    /// Both may lie in the second after now, which every verifier tolerates.
    fn at(self, now: UnixSeconds) -> Box<Issued> {
        Box::new(Issued {
            issued_at: now.max(self.record.revoked_before).max(self.began),
            keys_seq: self.keys_seq,
            record: self.record,
        })
    }
}

impl Confirmation {
    /// Adds its twelve values.
    pub(super) fn bind_to(&self, bound: Bound) -> Bound {
        let place = &self.origin.place;
        bound
            .bind(self.next.branch.generation)
            .bind(&self.next.branch.branch)
            .bind(self.next.confirmed_at)
            .bind(&self.next.agent)
            .bind(&self.origin.ip)
            .bind(&place.country)
            .bind(&place.region)
            .bind(&place.city)
            .bind(self.origin.asn)
            .bind(&self.sid)
            .bind(self.replaced.generation)
            .bind(&self.replaced.branch)
    }
}

#[async_trait]
impl Work for Renew {
    type Output = Renewal;

    const REPEATABLE: bool = true;

    fn renews(&self) -> Option<Sid> {
        Some(self.attempt.sid)
    }

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Renewal, StoreError> {
        match self.judge(tx).await? {
            Judged::Answer(renewal) => Ok(renewal),
            Judged::Replay(found) => {
                tx.ahead().forget(&found.record.sid);
                let both = [Ending::of(&found.record)];
                let ended = revoke_sessions(tx, &both, REUSED, found.issued_at).await?;
                let target = base64url::encode(&found.record.sid);
                tx.audit("revoke_session", Some(target), REUSED.described(1))
                    .await?;
                Ok(Renewal::Replayed(ended))
            }
        }
    }
}

impl Renew {
    /// Judges under locks that the transaction keeps, and confirms.
    async fn judge(&self, sessions: &mut impl Sessions) -> Result<Judged, StoreError> {
        loop {
            let Some(found) = sessions.find(&self.attempt.sid).await? else {
                return Ok(Judged::Answer(Renewal::Unknown));
            };
            let adopt_until = found.adopt_until;
            let mut issued = found.at(self.now.read());
            match issued.record.standing(issued.issued_at) {
                Standing::Live => {}
                Standing::Revoked(_) => return Ok(Judged::Answer(Renewal::Revoked)),
                Standing::Expired(_) => return Ok(Judged::Answer(Renewal::Expired)),
            }
            match self.verdict(&issued, adopt_until) {
                Verdict::AnswerAgain => return Ok(answer(issued, false)),
                Verdict::Replay => return Ok(Judged::Replay(issued)),
                Verdict::RolledBack => return Ok(Judged::Answer(Renewal::RolledBack)),
                Verdict::Advance => {}
            }
            let confirmation = self.confirmation(&issued);
            let next = confirmation.next.clone();
            if sessions.confirm(confirmation).await? {
                issued.record.confirmed = next;
                return Ok(answer(issued, true));
            }
            // Another renewal was confirmed meanwhile: judge again.
        }
    }

    fn verdict(&self, issued: &Issued, adopt_until: UnixSeconds) -> Verdict {
        let RenewalAttempt {
            presented,
            agent,
            grace,
            ..
        } = &self.attempt;
        let confirmed = &issued.record.confirmed;
        let verdict = confirmed.judge(*presented, agent, *grace, issued.issued_at);
        if issued.issued_at < adopt_until {
            verdict.adopting()
        } else {
            verdict
        }
    }

    fn confirmation(&self, issued: &Issued) -> Confirmation {
        let (attempt, record) = (&self.attempt, &issued.record);
        // A renewal that does not say from where leaves the last known place.
        let origin = if attempt.origin.ip.is_some() {
            &attempt.origin
        } else {
            &record.origin
        };
        Confirmation {
            sid: record.sid,
            next: Confirmed {
                branch: attempt.presented,
                confirmed_at: issued.issued_at,
                agent: attempt.agent,
            },
            origin: origin.clone(),
            replaced: record.confirmed.branch,
        }
    }
}

fn answer(issued: Box<Issued>, confirmed: bool) -> Judged {
    Judged::Answer(Renewal::Answer { issued, confirmed })
}

/// Renewals beside the serial lane.
#[derive(Clone)]
pub(super) struct Renewals {
    pool: Pool,
    /// Leaves a connection to those who read: the list must not wait for a crowd of renewals.
    permits: Arc<Semaphore>,
}

impl Renewals {
    /// On a pool of `connections_max`.
    pub(super) fn new(pool: Pool, connections_max: u32) -> Self {
        let permits = usize::try_from(connections_max.saturating_sub(1).max(1));
        Self {
            pool,
            permits: Arc::new(Semaphore::new(permits.unwrap_or(1))),
        }
    }

    /// Judges and commits; `None` when it is a replay, of which nothing is written.
    ///
    /// A caller that goes away does not stop it: its connection is never left half way.
    pub(super) async fn renew(&self, work: Arc<Renew>) -> Result<Option<Renewal>, StoreError> {
        let renewals = self.clone();
        let task = tokio::spawn(async move { renewals.retry(&work).await });
        task.await
            .unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))
    }

    /// Tries again what passes by itself. To run a renewal twice does no harm: the token presented
    /// is then the confirmed one.
    async fn retry(&self, work: &Renew) -> Result<Option<Renewal>, StoreError> {
        let waiting = self.pool.wait();
        let permit = self.permits.acquire().await;
        drop(waiting);
        let Ok(_permit) = permit else {
            return Err(StoreError::Unavailable(
                "the service is stopping".to_owned(),
            ));
        };
        let (mut busy, mut broken) = (0, false);
        loop {
            let mut connection = self.pool.connection().await?;
            let transaction = transact(&mut connection, work);
            let error = match tokio::time::timeout(TRANSACTION_TIMEOUT, transaction).await {
                Ok(Ok(renewal)) => return Ok(renewal),
                Ok(Err(error)) => error,
                Err(_) => StoreError::Unavailable("it did not answer in time".to_owned()),
            };
            match error {
                StoreError::Busy(_) if busy < BUSY_RETRIES => busy += 1,
                StoreError::Unavailable(_) => {
                    connection.give_up();
                    if broken {
                        return Err(error);
                    }
                    broken = true;
                }
                error => return Err(error),
            }
        }
    }
}

async fn transact(loan: &mut Loan, work: &Renew) -> Result<Option<Renewal>, StoreError> {
    let mut tx = loan.begin().await?;
    let mut connection = tx.connection();
    connection.share_watermark().await?;
    match work.judge(&mut connection).await? {
        Judged::Replay(_) => Ok(None),
        Judged::Answer(renewal) => {
            tx.commit().await?;
            Ok(Some(renewal))
        }
    }
}
