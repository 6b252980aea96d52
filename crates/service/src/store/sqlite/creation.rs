//! Writing a session.

use async_trait::async_trait;
use hallpass_session::renewal::{Branch, Confirmed};
use hallpass_session::time::UnixSeconds;
use hallpass_session::wire::EndedBy;
use sqlx::SqliteConnection;

use super::revocation::{live_of_subject, revoke_sessions};
use super::rows::{fixed, number, stored, stored_time};
use super::{Now, find_session, unavailable};
use crate::record::SessionRecord;
use crate::store::{Cause, Creation, Idempotency, Issued, NewSession, StoreError};

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
impl super::Work for Create {
    type Output = Creation;

    async fn run(&self, tx: &mut SqliteConnection) -> Result<Creation, StoreError> {
        let issued_at = self.now.issuing_second(tx).await?;
        if let Some(key) = &self.new.idempotency
            && let Some(earlier) = find_earlier(tx, key, &self.now, issued_at).await?
        {
            return Ok(earlier);
        }
        self.make_room(tx).await?;
        let record = self.record(next_idx(tx, self.now.read()).await?, issued_at);
        insert_session(tx, &self.new, &record).await?;
        insert_renewal(tx, &record).await?;
        if let Some(key) = &self.new.idempotency {
            remember(tx, key, &self.new, self.now.read()).await?;
        }
        Ok(Creation::Made(Issued { record, issued_at }))
    }
}

impl Create {
    /// Ends the subject's oldest sessions so that one more is within the limit.
    async fn make_room(&self, tx: &mut SqliteConnection) -> Result<(), StoreError> {
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
        }
        Ok(())
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

async fn find_earlier(
    tx: &mut SqliteConnection,
    key: &Idempotency,
    now: &Now,
    issued_at: UnixSeconds,
) -> Result<Option<Creation>, StoreError> {
    let sql = "SELECT request_digest, sid FROM idempotency WHERE id = ? AND expires_at > ?";
    let row = sqlx::query(sql)
        .bind(&key.id[..])
        .bind(stored_time(now.read()))
        .fetch_optional(&mut *tx)
        .await
        .map_err(unavailable)?;
    let Some(row) = row else { return Ok(None) };
    if fixed::<32>(&row, "request_digest")? != key.request_digest {
        return Ok(Some(Creation::KeyReused));
    }
    let record = find_session(tx, fixed(&row, "sid")?).await?;
    Ok(record.map(|record| Creation::Repeated(Issued { record, issued_at })))
}

async fn remember(
    tx: &mut SqliteConnection,
    key: &Idempotency,
    new: &NewSession,
    now: UnixSeconds,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM idempotency WHERE expires_at <= ?")
        .bind(stored_time(now))
        .execute(&mut *tx)
        .await
        .map_err(unavailable)?;
    let sql = "INSERT OR REPLACE INTO idempotency (id, request_digest, sid, expires_at) \
               VALUES (?, ?, ?, ?)";
    sqlx::query(sql)
        .bind(&key.id[..])
        .bind(&key.request_digest[..])
        .bind(&new.sid[..])
        .bind(stored_time(now.plus(key.keep)))
        .execute(tx)
        .await
        .map(drop)
        .map_err(unavailable)
}

/// The next index that no session short of its end has; after 2^32 sessions they come round again.
async fn next_idx(tx: &mut SqliteConnection, now: UnixSeconds) -> Result<u32, StoreError> {
    let advance = "UPDATE issuance SET next_idx = (next_idx + 1) % 4294967296 WHERE id = 1 \
                   RETURNING next_idx";
    loop {
        let row = sqlx::query(advance)
            .fetch_one(&mut *tx)
            .await
            .map_err(unavailable)?;
        let idx = number(&row, "next_idx")?;
        let taken = sqlx::query("SELECT 1 FROM sessions WHERE idx = ? AND ends_at > ?")
            .bind(stored(idx))
            .bind(stored_time(now))
            .fetch_optional(&mut *tx)
            .await
            .map_err(unavailable)?;
        if taken.is_none() {
            return u32::try_from(idx).map_err(|_| StoreError::Damaged("next_idx"));
        }
    }
}

async fn insert_session(
    tx: &mut SqliteConnection,
    new: &NewSession,
    record: &SessionRecord,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO sessions (sid, idx, subject, created_at, auth_time, ends_at, idle_secs, \
               persistent, ip, country, region, city, asn, user_agent, device_label, device_kind, \
               device_browser, device_os, amr, ext) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let amr = serde_json::to_string(&record.amr).map_err(|_| StoreError::Damaged("amr"))?;
    let ext = record.ext.as_ref().map(serde_json::to_string).transpose();
    sqlx::query(sql)
        .bind(&record.sid[..])
        .bind(i64::from(record.idx))
        .bind(&record.subject)
        .bind(stored_time(record.created_at))
        .bind(stored_time(record.auth_time))
        .bind(stored_time(record.ends_at))
        .bind(stored(record.idle.get()))
        .bind(i64::from(record.persistent))
        .bind(record.origin.ip.as_ref())
        .bind(record.origin.place.country.as_ref())
        .bind(record.origin.place.region.as_ref())
        .bind(record.origin.place.city.as_ref())
        .bind(record.origin.asn.map(i64::from))
        .bind(new.user_agent.as_ref())
        .bind(&record.device.label)
        .bind(&record.device.kind)
        .bind(record.device.browser.as_ref())
        .bind(record.device.os.as_ref())
        .bind(amr)
        .bind(ext.map_err(|_| StoreError::Damaged("ext"))?)
        .execute(tx)
        .await
        .map(drop)
        .map_err(unavailable)
}

async fn insert_renewal(
    tx: &mut SqliteConnection,
    record: &SessionRecord,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO renewals (sid, generation, branch, confirmed_at, agent, ip, country, \
               region, city, asn) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let confirmed = &record.confirmed;
    sqlx::query(sql)
        .bind(&record.sid[..])
        .bind(i64::from(confirmed.branch.generation))
        .bind(&confirmed.branch.branch[..])
        .bind(stored_time(confirmed.confirmed_at))
        .bind(&confirmed.agent[..])
        .bind(record.origin.ip.as_ref())
        .bind(record.origin.place.country.as_ref())
        .bind(record.origin.place.region.as_ref())
        .bind(record.origin.place.city.as_ref())
        .bind(record.origin.asn.map(i64::from))
        .execute(tx)
        .await
        .map(drop)
        .map_err(unavailable)
}
