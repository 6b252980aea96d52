//! Everything that is held on a subject: to hand out, and to forget.

use async_trait::async_trait;
use hallpass_session::base64url;
use hallpass_session::wire::EndedBy;
use serde_json::{Value, json};
use sqlx::any::AnyRow;

use super::Now;
use super::chronicle::{read_audit_entry, read_event};
use super::lane::Work;
use super::pool::Pool;
use super::revocation::{live_of_subject, revoke_sessions};
use super::rows::{fixed, maybe_number, maybe_text, read_session, select_sessions};
use super::statement::Statement;
use super::transaction::Transaction;
use crate::record::Sid;
use crate::store::{Cause, Erasure, SessionHeld, StoreError, SubjectHeld};

/// Ends what is forgotten.
const ERASED: Cause = Cause {
    by: EndedBy::Admin,
    reason: "erased",
};

/// A subject to forget.
pub(super) struct Erase {
    pub(super) subject: String,
    pub(super) now: Now,
}

#[async_trait]
impl Work for Erase {
    type Output = Erasure;

    const REPEATABLE: bool = true;

    /// Live sessions end like any that are ended; of a revocation nothing but id and index stays,
    /// for as long as the list needs it.
    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Erasure, StoreError> {
        static SIDS: Statement = Statement::new("SELECT sid FROM sessions WHERE subject = $1");
        static IDEMPOTENCY: Statement = Statement::new("DELETE FROM idempotency WHERE sid = $1");
        static RENEWAL: Statement = Statement::new("DELETE FROM renewals WHERE sid = $1");
        static SESSIONS: Statement = Statement::new("DELETE FROM sessions WHERE subject = $1");
        static DEVICES: Statement = Statement::new(
            "UPDATE events SET detail = NULL WHERE subject = $1 AND kind = 'new_device'",
        );
        static EVENTS: Statement =
            Statement::new("UPDATE events SET subject = NULL WHERE subject = $1");
        static AUDIT: Statement =
            Statement::new("UPDATE audit SET target = NULL WHERE target = $1");

        let live = live_of_subject(tx, &self.subject, None, self.now.read()).await?;
        let revocation = revoke_sessions(tx, &live, ERASED, self.now.read()).await?;
        // One by one: MariaDB would look through whole tables for those of a subquery.
        for row in tx.all(SIDS.bind(&self.subject)).await? {
            let sid: Sid = fixed(&row, "sid")?;
            for forget in [&IDEMPOTENCY, &RENEWAL] {
                tx.execute(forget.bind(&sid)).await?;
            }
        }
        tx.execute(DEVICES.bind(&self.subject)).await?;
        let sessions = tx.execute(SESSIONS.bind(&self.subject)).await?;
        let events = tx.execute(EVENTS.bind(&self.subject)).await?;
        let audited = tx.execute(AUDIT.bind(&self.subject)).await?;
        let detail = json!({"ended": revocation.revoked, "sessions": sessions});
        tx.audit("erase_subject", None, detail).await?;
        Ok(Erasure {
            revocation,
            sessions,
            events,
            audited,
        })
    }
}

/// Everything held on a subject, in one snapshot.
pub(super) async fn held(pool: &Pool, subject: &str) -> Result<SubjectHeld, StoreError> {
    static SESSIONS: Statement = Statement::new(select_sessions!(
        ", s.user_agent, s.ip AS first_ip, s.country AS first_country, s.region AS first_region, \
         s.city AS first_city, s.asn AS first_asn",
        "",
        "WHERE s.subject = $1 ORDER BY s.created_at, s.sid"
    ));
    static EVENTS: Statement =
        Statement::new("SELECT * FROM events WHERE subject = $1 ORDER BY id");
    static AUDIT: Statement = Statement::new("SELECT * FROM audit WHERE target = $1 ORDER BY id");

    let mut connection = pool.connection().await?;
    let mut snapshot = connection.snapshot().await?;
    let mut tx = snapshot.connection();
    let rows = tx.all(SESSIONS.bind(subject)).await?;
    let sessions: Vec<SessionHeld> = rows.iter().map(read_held).collect::<Result<_, _>>()?;
    let events = tx.all(EVENTS.bind(subject)).await?;
    let mut audit = tx.all(AUDIT.bind(subject)).await?;
    for row in &rows {
        let sid: Sid = fixed(row, "sid")?;
        let of_session = AUDIT.bind(base64url::encode(&sid));
        audit.extend(tx.all(of_session).await?);
    }
    Ok(SubjectHeld {
        sessions,
        events: events.iter().map(read_event).collect::<Result<_, _>>()?,
        audit: audit
            .iter()
            .map(read_audit_entry)
            .collect::<Result<_, _>>()?,
    })
}

fn read_held(row: &AnyRow) -> Result<SessionHeld, StoreError> {
    Ok(SessionHeld {
        record: read_session(row)?,
        user_agent: maybe_text(row, "user_agent")?,
        signed_in_from: signed_in_from(row)?,
    })
}

fn signed_in_from(row: &AnyRow) -> Result<Value, StoreError> {
    Ok(json!({
        "ip": maybe_text(row, "first_ip")?,
        "country": maybe_text(row, "first_country")?,
        "region": maybe_text(row, "first_region")?,
        "city": maybe_text(row, "first_city")?,
        "asn": maybe_number(row, "first_asn")?,
    }))
}
