//! Forgetting what nobody needs any more.
//!
//! What is due is looked up beside the lane; each transaction then judges anew what it forgets, a
//! few rows at a time, so that nobody waits for it.

use async_trait::async_trait;
use hallpass_session::time::UnixSeconds;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::fault::failed;
use super::lane::Work;
use super::pool::Pool;
use super::rows::{fixed, maybe_number, number};
use super::statement::{Bound, Statement};
use super::transaction::Transaction;
use super::{Now, find_session};
use crate::record::{Sid, Standing};
use crate::store::{Due, Forgotten, Retention, StoreError};

/// Most rows of each sort looked up at once.
const DUE_MAX: u32 = 2000;
/// Most rows of audit and events deleted in one transaction.
const LOG_BATCH: u64 = 500;

/// Sessions that ended long ago, and addresses seen long ago.
pub(super) async fn due(pool: &Pool, retention: &Retention) -> Result<Due, StoreError> {
    static REVOKED: Statement = Statement::new(
        "SELECT sid FROM revocations WHERE list_exp <= $1 AND revoked_at <= $2 \
         ORDER BY list_exp LIMIT $3",
    );
    static PAST_END: Statement = Statement::new(
        "SELECT s.sid FROM sessions s LEFT JOIN revocations r ON r.sid = s.sid \
         WHERE s.ends_at <= $1 AND r.sid IS NULL ORDER BY s.ends_at LIMIT $2",
    );
    static IDLE: Statement = Statement::new(
        "SELECT s.sid FROM renewals n JOIN sessions s ON s.sid = n.sid \
         LEFT JOIN revocations r ON r.sid = s.sid \
         WHERE n.confirmed_at + s.idle_secs <= $1 AND r.sid IS NULL LIMIT $2",
    );
    static BEFORE_WATERMARK: Statement = Statement::new(
        "SELECT s.sid FROM sessions s CROSS JOIN watermark w \
         LEFT JOIN revocations r ON r.sid = s.sid \
         WHERE s.created_at < w.revoked_before AND w.revoked_before <= $1 AND r.sid IS NULL LIMIT $2",
    );
    static SEEN: Statement = Statement::new(
        "SELECT sid FROM renewals WHERE confirmed_at <= $1 AND (ip IS NOT NULL \
         OR country IS NOT NULL OR region IS NOT NULL OR city IS NOT NULL OR asn IS NOT NULL) \
         LIMIT $2",
    );
    static SIGNED_IN: Statement = Statement::new(
        "SELECT sid FROM sessions WHERE created_at <= $1 AND (ip IS NOT NULL \
         OR country IS NOT NULL OR region IS NOT NULL OR city IS NOT NULL OR asn IS NOT NULL) \
         LIMIT $2",
    );
    let ended = retention.ended_before;
    let mut due = Due::default();
    for bound in [
        REVOKED
            .bind(retention.listed_before)
            .bind(ended)
            .bind(DUE_MAX),
        PAST_END.bind(ended).bind(DUE_MAX),
        IDLE.bind(ended).bind(DUE_MAX),
        BEFORE_WATERMARK.bind(ended).bind(DUE_MAX),
    ] {
        due.ended.extend(sids(pool, bound).await?);
    }
    // A session may be due for more than one reason.
    due.ended.sort_unstable();
    due.ended.dedup();
    let addresses = retention.addresses_before;
    due.seen = sids(pool, SEEN.bind(addresses).bind(DUE_MAX)).await?;
    due.signed_in = sids(pool, SIGNED_IN.bind(addresses).bind(DUE_MAX)).await?;
    Ok(due)
}

async fn sids(pool: &Pool, bound: Bound) -> Result<Vec<Sid>, StoreError> {
    let rows = pool.connection().await?.get().all(bound).await?;
    rows.iter().map(|row| fixed(row, "sid")).collect()
}

/// A few of what is due.
pub(super) struct Forget {
    pub(super) due: Due,
    pub(super) retention: Retention,
    pub(super) now: Now,
}

#[async_trait]
impl Work for Forget {
    type Output = Forgotten;

    const REPEATABLE: bool = true;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Forgotten, StoreError> {
        let mut forgotten = Forgotten::default();
        for sid in &self.due.ended {
            forgotten.sessions += u64::from(self.forget_ended(tx, sid).await?);
        }
        for sid in &self.due.seen {
            forgotten.addresses += self.forget_seen(tx, sid).await?;
        }
        for sid in &self.due.signed_in {
            forgotten.addresses += u64::from(self.forget_signed_in(tx, sid).await?);
        }
        Ok(forgotten)
    }
}

impl Forget {
    /// Whether there was something to forget.
    async fn forget_ended(&self, tx: &mut Transaction<'_>, sid: &Sid) -> Result<bool, StoreError> {
        static LISTED: Statement =
            Statement::new("SELECT 1 FROM revocations WHERE sid = $1 AND list_exp > $2");
        tx.lock_session(sid).await?;
        let listed = LISTED.bind(sid).bind(self.retention.listed_before);
        if tx.optional(listed).await?.is_some() {
            return Ok(false);
        }
        // Without a session: a revocation of one that a restored table had lost.
        if let Some(record) = find_session(tx, *sid).await? {
            let ended = match record.standing(self.now.read()) {
                Standing::Live => return Ok(false),
                Standing::Revoked(ended) | Standing::Expired(ended) => ended,
            };
            if UnixSeconds::new(ended.at) > self.retention.ended_before {
                return Ok(false);
            }
        }
        delete_session(tx, sid).await?;
        Ok(true)
    }

    async fn forget_seen(&self, tx: &mut Transaction<'_>, sid: &Sid) -> Result<u64, StoreError> {
        static FORGET: Statement = Statement::new(
            "UPDATE renewals SET ip = NULL, country = NULL, region = NULL, city = NULL, asn = NULL \
             WHERE sid = $1 AND confirmed_at <= $2",
        );
        let forget = FORGET.bind(sid).bind(self.retention.addresses_before);
        tx.execute(forget).await
    }

    /// Writes the row anew: it is never updated.
    async fn forget_signed_in(
        &self,
        tx: &mut Transaction<'_>,
        sid: &Sid,
    ) -> Result<bool, StoreError> {
        static READ: Statement = Statement::new("SELECT * FROM sessions WHERE sid = $1");
        static DELETE: Statement = Statement::new("DELETE FROM sessions WHERE sid = $1");
        static INSERT: Statement = Statement::new(
            "INSERT INTO sessions (sid, idx, subject, created_at, auth_time, ends_at, idle_secs, \
             persistent, user_agent, device_label, device_kind, device_browser, device_os, amr, ext) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        );
        tx.lock_session(sid).await?;
        let Some(row) = tx.optional(READ.bind(sid)).await? else {
            return Ok(false);
        };
        let mut insert = INSERT.bind(sid).bind(number(&row, "idx")?);
        insert = insert.bind(words(&row, "subject")?);
        for column in [
            "created_at",
            "auth_time",
            "ends_at",
            "idle_secs",
            "persistent",
        ] {
            insert = insert.bind(number(&row, column)?);
        }
        for column in [
            "user_agent",
            "device_label",
            "device_kind",
            "device_browser",
            "device_os",
            "amr",
            "ext",
        ] {
            insert = insert.bind(words(&row, column)?);
        }
        tx.execute(DELETE.bind(sid)).await?;
        tx.execute(insert).await?;
        Ok(true)
    }
}

/// Deletes everything the table has of a session.
pub(super) async fn delete_session(tx: &mut Transaction<'_>, sid: &Sid) -> Result<(), StoreError> {
    static SESSION: Statement = Statement::new("DELETE FROM sessions WHERE sid = $1");
    static RENEWAL: Statement = Statement::new("DELETE FROM renewals WHERE sid = $1");
    static REVOCATION: Statement = Statement::new("DELETE FROM revocations WHERE sid = $1");
    for statement in [&SESSION, &RENEWAL, &REVOCATION] {
        tx.execute(statement.bind(sid)).await?;
    }
    Ok(())
}

/// Old lines of audit and events, and creations that nobody repeats any more.
pub(super) struct ForgetLogs {
    pub(super) retention: Retention,
    pub(super) now: Now,
}

#[async_trait]
impl Work for ForgetLogs {
    type Output = u64;

    const REPEATABLE: bool = true;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<u64, StoreError> {
        static CREATIONS: Statement =
            Statement::new("DELETE FROM idempotency WHERE expires_at <= $1");
        static AUDIT: Log = Log {
            oldest: Statement::new("SELECT MIN(id) AS oldest FROM audit"),
            delete: Statement::new("DELETE FROM audit WHERE id < $1 AND at <= $2"),
        };
        static EVENTS: Log = Log {
            oldest: Statement::new("SELECT MIN(id) AS oldest FROM events"),
            delete: Statement::new("DELETE FROM events WHERE id < $1 AND at <= $2"),
        };
        tx.execute(CREATIONS.bind(self.now.read())).await?;
        let audit = AUDIT.forget(tx, self.retention.audit_before).await?;
        let events = EVENTS.forget(tx, self.retention.events_before).await?;
        Ok(audit + events)
    }
}

struct Log {
    oldest: Statement,
    delete: Statement,
}

impl Log {
    async fn forget(
        &'static self,
        tx: &mut Transaction<'_>,
        before: UnixSeconds,
    ) -> Result<u64, StoreError> {
        let row = tx.one(self.oldest.plain()).await?;
        let Some(oldest) = maybe_number(&row, "oldest")? else {
            return Ok(0);
        };
        let delete = self.delete.bind(oldest.saturating_add(LOG_BATCH));
        tx.execute(delete.bind(before)).await
    }
}

fn words(row: &AnyRow, column: &str) -> Result<Option<String>, StoreError> {
    row.try_get(column).map_err(failed)
}
