//! Writing a session.

use async_trait::async_trait;
use hallpass_session::renewal::{Branch, Confirmed};
use hallpass_session::time::UnixSeconds;
use hallpass_session::wire::EndedBy;
use serde_json::json;

use super::revocation::{live_of_subject, revoke_sessions};
use super::rows::fixed;
use super::statement::Statement;
use super::transaction::Transaction;
use super::{Now, find_session};
use crate::record::SessionRecord;
use crate::store::{Cause, Creation, EventKind, Idempotency, Issued, NewSession, StoreError};

/// Ends the oldest session for a new one.
const LIMIT_REACHED: Cause = Cause {
    by: EndedBy::System,
    reason: "limit_reached",
};

/// A session to write.
pub(super) struct Create {
    pub(super) new: NewSession,
    pub(super) now: Now,
}

#[async_trait]
impl super::lane::Work for Create {
    type Output = Creation;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Creation, StoreError> {
        let issued_at = tx.issuing_second(self.now.read());
        if let Some(key) = &self.new.idempotency
            && let Some(earlier) = find_earlier(tx, key, &self.now, issued_at).await?
        {
            return Ok(earlier);
        }
        self.make_room(tx).await?;
        let is_new_device = self.is_new_device(tx).await?;
        let record = self.record(free_idx(tx, self.now.read()).await?, issued_at);
        insert_session(tx, &self.new, &record).await?;
        insert_renewal(tx, &record).await?;
        if is_new_device {
            let detail = json!({"device": record.device.label});
            tx.tell(EventKind::NewDevice, &[record.sid], &detail)
                .await?;
        }
        if let Some(key) = &self.new.idempotency {
            remember(tx, key, &self.new, self.now.read()).await?;
        }
        Ok(Creation::Made(issued(tx, record, issued_at)))
    }
}

impl Create {
    /// Ends the subject's oldest sessions so that one more is within the limit.
    async fn make_room(&self, tx: &mut Transaction<'_>) -> Result<(), StoreError> {
        let Some(limit) = self.new.subject_limit else {
            return Ok(());
        };
        let live = live_of_subject(tx, &self.new.subject, None, self.now.read()).await?;
        let keep = usize::try_from(limit.saturating_sub(1)).unwrap_or(usize::MAX);
        let surplus = live.len().saturating_sub(keep);
        if surplus > 0 {
            // Oldest first.
            let oldest = live.get(..surplus).unwrap_or_default();
            revoke_sessions(tx, oldest, LIMIT_REACHED, self.now.read()).await?;
            let detail = LIMIT_REACHED.described(u64::try_from(surplus).unwrap_or(u64::MAX));
            let subject = self.new.subject.clone();
            tx.audit("revoke_subject", Some(subject), detail).await?;
        }
        Ok(())
    }

    /// Whether the subject has sessions here, live or ended, and none on such a device.
    async fn is_new_device(&self, tx: &mut Transaction<'_>) -> Result<bool, StoreError> {
        static ANY: Statement = Statement::new("SELECT 1 FROM sessions WHERE subject = $1 LIMIT 1");
        static SUCH: Statement = Statement::new(
            "SELECT 1 FROM sessions WHERE subject = $1 AND device_label = $2 LIMIT 1",
        );
        let new = &self.new;
        let such = SUCH.bind(&new.subject).bind(&new.device.label);
        Ok(tx.optional(such).await?.is_none()
            && tx.optional(ANY.bind(&new.subject)).await?.is_some())
    }

    fn record(&self, idx: u32, created_at: UnixSeconds) -> SessionRecord {
        let new = &self.new;
        SessionRecord {
            sid: new.sid,
            idx,
            subject: new.subject.clone(),
            created_at,
            auth_time: new
                .auth_time
                .map_or(created_at, |time| time.min(created_at)),
            ends_at: created_at.plus(new.absolute),
            idle: new.idle,
            persistent: new.persistent,
            device: new.device.clone(),
            amr: new.amr.clone(),
            ext: new.ext.clone(),
            confirmed: Confirmed {
                branch: Branch {
                    generation: 0,
                    branch: new.branch,
                },
                confirmed_at: created_at,
                agent: new.agent,
            },
            origin: new.origin.clone(),
            revocation: None,
            revoked_before: UnixSeconds::new(0),
        }
    }
}

fn issued(tx: &Transaction<'_>, record: SessionRecord, issued_at: UnixSeconds) -> Issued {
    Issued {
        record,
        issued_at,
        keys_seq: tx.keys_seq(),
    }
}

async fn find_earlier(
    tx: &mut Transaction<'_>,
    key: &Idempotency,
    now: &Now,
    issued_at: UnixSeconds,
) -> Result<Option<Creation>, StoreError> {
    static EARLIER: Statement = Statement::new(
        "SELECT request_digest, sid FROM idempotency WHERE id = $1 AND expires_at > $2",
    );
    let row = tx.optional(EARLIER.bind(&key.id).bind(now.read())).await?;
    let Some(row) = row else { return Ok(None) };
    if fixed::<32>(&row, "request_digest")? != key.request_digest {
        return Ok(Some(Creation::KeyReused));
    }
    let record = find_session(tx, fixed(&row, "sid")?).await?;
    Ok(record.map(|record| Creation::Repeated(issued(tx, record, issued_at))))
}

async fn remember(
    tx: &mut Transaction<'_>,
    key: &Idempotency,
    new: &NewSession,
    now: UnixSeconds,
) -> Result<(), StoreError> {
    static FORGET: Statement = Statement::new("DELETE FROM idempotency WHERE expires_at <= $1");
    static FREE: Statement = Statement::new("DELETE FROM idempotency WHERE id = $1");
    static REMEMBER: Statement = Statement::new(
        "INSERT INTO idempotency (id, request_digest, sid, expires_at) VALUES ($1, $2, $3, $4)",
    );
    tx.execute(FORGET.bind(now)).await?;
    tx.execute(FREE.bind(&key.id)).await?;
    let remember = REMEMBER.bind(&key.id).bind(&key.request_digest);
    let remember = remember.bind(&new.sid).bind(now.plus(key.keep));
    tx.execute(remember).await.map(drop)
}

/// The next index that no session short of its end has.
async fn free_idx(tx: &mut Transaction<'_>, now: UnixSeconds) -> Result<u32, StoreError> {
    static TAKEN: Statement =
        Statement::new("SELECT 1 FROM sessions WHERE idx = $1 AND ends_at > $2 LIMIT 1");
    loop {
        let idx = tx.next_idx();
        if tx.optional(TAKEN.bind(idx).bind(now)).await?.is_none() {
            return Ok(idx);
        }
    }
}

async fn insert_session(
    tx: &mut Transaction<'_>,
    new: &NewSession,
    record: &SessionRecord,
) -> Result<(), StoreError> {
    static INSERT: Statement = Statement::new(
        "INSERT INTO sessions (sid, idx, subject, created_at, auth_time, ends_at, idle_secs, \
         persistent, ip, country, region, city, asn, user_agent, device_label, device_kind, \
         device_browser, device_os, amr, ext) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, \
         $19, $20)",
    );
    let amr = serde_json::to_string(&record.amr).map_err(|_| StoreError::Damaged("amr"))?;
    let ext = record.ext.as_ref().map(serde_json::to_string).transpose();
    let insert = INSERT
        .bind(&record.sid)
        .bind(record.idx)
        .bind(&record.subject)
        .bind(record.created_at)
        .bind(record.auth_time)
        .bind(record.ends_at)
        .bind(record.idle)
        .bind(record.persistent)
        .bind(&record.origin.ip)
        .bind(&record.origin.place.country)
        .bind(&record.origin.place.region)
        .bind(&record.origin.place.city)
        .bind(record.origin.asn)
        .bind(&new.user_agent)
        .bind(&record.device.label)
        .bind(&record.device.kind)
        .bind(&record.device.browser)
        .bind(&record.device.os)
        .bind(amr)
        .bind(ext.map_err(|_| StoreError::Damaged("ext"))?);
    tx.execute(insert).await.map(drop)
}

async fn insert_renewal(
    tx: &mut Transaction<'_>,
    record: &SessionRecord,
) -> Result<(), StoreError> {
    static INSERT: Statement = Statement::new(
        "INSERT INTO renewals (sid, generation, branch, confirmed_at, agent, ip, country, region, \
         city, asn) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    );
    let confirmed = &record.confirmed;
    let insert = INSERT
        .bind(&record.sid)
        .bind(confirmed.branch.generation)
        .bind(&confirmed.branch.branch)
        .bind(confirmed.confirmed_at)
        .bind(&confirmed.agent)
        .bind(&record.origin.ip)
        .bind(&record.origin.place.country)
        .bind(&record.origin.place.region)
        .bind(&record.origin.place.city)
        .bind(record.origin.asn);
    tx.execute(insert).await.map(drop)
}
