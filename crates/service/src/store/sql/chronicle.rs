//! What was done and what happened: the audit log for operators, events for apps.
//!
//! Both are written in the transaction that does it, with running numbers taken while the head is
//! held: so the numbers are commit order, and whoever reads on from one misses nothing.

use async_trait::async_trait;
use hallpass_session::base64url;
use hallpass_session::time::UnixSeconds;
use serde_json::{Value, json};
use sqlx::any::AnyRow;

use super::lane::Work;
use super::pool::Pool;
use super::revocation::Ending;
use super::rows::{ended_by_name, maybe_bytes, maybe_text, number, text, time};
use super::statement::Statement;
use super::transaction::Transaction;
use crate::record::Sid;
use crate::store::{AuditEntry, AuditFilter, Cause, Event, EventKind, StoreError};

impl Transaction<'_> {
    /// Writes who does what this transaction does.
    pub(super) async fn audit(
        &mut self,
        action: &'static str,
        target: Option<String>,
        detail: Value,
    ) -> Result<(), StoreError> {
        static INSERT: Statement = Statement::new(
            "INSERT INTO audit (id, at, actor, action, target, detail, ip, request_id) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        );
        let actor = self.actor().clone();
        let insert = INSERT
            .bind(self.next_audit_id())
            .bind(self.now())
            .bind(&actor.name)
            .bind(action)
            .bind(target)
            .bind(detail.to_string())
            .bind(actor.ip.map(|ip| ip.to_string()))
            .bind(actor.request_id);
        self.execute(insert).await.map(drop)
    }

    /// Tells apps that these sessions were ended.
    pub(super) async fn tell_ended(
        &mut self,
        ended: &[Ending],
        cause: Cause,
    ) -> Result<(), StoreError> {
        let kind = if cause.reason == "renewal_reused" {
            EventKind::Replay
        } else {
            EventKind::Ended
        };
        let detail = json!({"by": ended_by_name(cause.by), "reason": cause.reason});
        let sids: Vec<_> = ended.iter().map(|ending| ending.sid).collect();
        self.tell(kind, &sids, &detail).await
    }

    /// Tells apps what happened to sessions that the table has.
    pub(super) async fn tell(
        &mut self,
        kind: EventKind,
        sids: &[Sid],
        detail: &Value,
    ) -> Result<(), StoreError> {
        static INSERT: Statement = Statement::new(
            "INSERT INTO events (id, at, kind, sid, subject, detail) \
             SELECT $1, $2, $3, sid, subject, $4 FROM sessions WHERE sid = $5",
        );
        for sid in sids {
            let insert = INSERT.bind(self.next_event_id()).bind(self.now());
            let insert = insert.bind(kind.name());
            self.execute(insert.bind(detail.to_string()).bind(sid))
                .await?;
        }
        Ok(())
    }

    /// Tells apps that every session was ended.
    pub(super) async fn tell_all_ended(&mut self, before: UnixSeconds) -> Result<(), StoreError> {
        static INSERT: Statement =
            Statement::new("INSERT INTO events (id, at, kind, detail) VALUES ($1, $2, $3, $4)");
        let detail = json!({"created_before": before.get()}).to_string();
        let kind = EventKind::AllEnded.name();
        let insert = INSERT
            .bind(self.next_event_id())
            .bind(self.now())
            .bind(kind);
        self.execute(insert.bind(detail)).await.map(drop)
    }
}

/// The newest entries of the audit log, newest first.
pub(super) async fn audit(
    pool: &Pool,
    filter: &AuditFilter,
) -> Result<Vec<AuditEntry>, StoreError> {
    static ALL: Statement =
        Statement::new("SELECT * FROM audit WHERE at >= $1 ORDER BY at DESC, id DESC LIMIT $2");
    static OF_ACTION: Statement = Statement::new(
        "SELECT * FROM audit WHERE at >= $1 AND action = $2 ORDER BY at DESC, id DESC LIMIT $3",
    );
    let bound = match &filter.action {
        None => ALL.bind(filter.since).bind(filter.limit),
        Some(action) => OF_ACTION.bind(filter.since).bind(action).bind(filter.limit),
    };
    let rows = pool.connection().await?.get().all(bound).await?;
    rows.iter().map(read_audit_entry).collect()
}

/// Events after number `after`, oldest first.
pub(super) async fn events(pool: &Pool, after: u64, limit: u32) -> Result<Vec<Event>, StoreError> {
    static EVENTS: Statement =
        Statement::new("SELECT * FROM events WHERE id > $1 ORDER BY id LIMIT $2");
    let bound = EVENTS.bind(after).bind(limit);
    let rows = pool.connection().await?.get().all(bound).await?;
    rows.iter().map(read_event).collect()
}

/// Number of the last event that the webhook delivered.
pub(super) async fn webhook_position(pool: &Pool) -> Result<u64, StoreError> {
    static POSITION: Statement = Statement::new("SELECT delivered_to FROM webhook WHERE id = 1");
    let row = pool.connection().await?.get().one(POSITION.plain()).await?;
    number(&row, "delivered_to")
}

/// The webhook's position to move on by whoever has the turn.
pub(super) struct AdvanceWebhook {
    pub(super) holder: String,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) until: UnixSeconds,
}

#[async_trait]
impl Work for AdvanceWebhook {
    type Output = bool;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<bool, StoreError> {
        static ADVANCE: Statement = Statement::new(
            "UPDATE webhook SET holder = $1, delivered_to = $2, held_until = $3 \
             WHERE id = 1 AND delivered_to = $4 AND (holder = $5 OR held_until <= $6)",
        );
        let advance = ADVANCE.bind(&self.holder).bind(self.to).bind(self.until);
        let advance = advance.bind(self.from).bind(&self.holder).bind(tx.now());
        Ok(tx.execute(advance).await? == 1)
    }
}

pub(super) fn read_audit_entry(row: &AnyRow) -> Result<AuditEntry, StoreError> {
    Ok(AuditEntry {
        id: number(row, "id")?,
        at: time(row, "at")?.get(),
        actor: text(row, "actor")?,
        action: text(row, "action")?,
        target: maybe_text(row, "target")?,
        detail: read_detail(row)?,
        ip: maybe_text(row, "ip")?,
        request_id: maybe_text(row, "request_id")?,
    })
}

pub(super) fn read_event(row: &AnyRow) -> Result<Event, StoreError> {
    let kind = EventKind::parse(&text(row, "kind")?).ok_or(StoreError::Damaged("kind"))?;
    let sid = maybe_bytes(row, "sid")?;
    Ok(Event {
        id: number(row, "id")?,
        at: time(row, "at")?.get(),
        kind,
        sid: sid.map(|sid| base64url::encode(&sid)),
        subject: maybe_text(row, "subject")?,
        detail: read_detail(row)?,
    })
}

fn read_detail(row: &AnyRow) -> Result<Value, StoreError> {
    let detail = maybe_text(row, "detail")?;
    let detail = detail
        .map(|detail| serde_json::from_str(&detail))
        .transpose();
    detail
        .map(Option::unwrap_or_default)
        .map_err(|_| StoreError::Damaged("detail"))
}
