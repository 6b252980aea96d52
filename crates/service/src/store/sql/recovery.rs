//! Going on with a restored table.

use async_trait::async_trait;
use hallpass_session::time::{Seconds, UnixSeconds};
use serde_json::json;

use super::Now;
use super::key_changes::write_key;
use super::lane::Work;
use super::pool::Pool;
use super::revocation::{Ending, list_exp, written};
use super::rows::{number, text, time};
use super::statement::Statement;
use super::transaction::Transaction;
use crate::journal::{Entry, Revoked};
use crate::store::{PastRevocation, Recovery, RecoveryState, StoreError};

pub(super) async fn state(pool: &Pool) -> Result<RecoveryState, StoreError> {
    static STATE: Statement = Statement::new(
        "SELECT h.epoch, h.seq, h.adopt_until, h.restored_at, w.revoked_before, i.next_idx \
         FROM head h CROSS JOIN watermark w CROSS JOIN issuance i",
    );
    let row = pool.connection().await?.get().one(STATE.plain()).await?;
    Ok(RecoveryState {
        epoch: text(&row, "epoch")?,
        seq: number(&row, "seq")?,
        next_idx: number(&row, "next_idx")?,
        revoked_before: time(&row, "revoked_before")?,
        adopt_until: time(&row, "adopt_until")?,
        restored_at: Some(time(&row, "restored_at")?).filter(|at| at.get() > 0),
    })
}

/// Sessions to end once more.
pub(super) struct Reapply {
    pub(super) revoked: Vec<PastRevocation>,
    pub(super) now: Now,
}

#[async_trait]
impl Work for Reapply {
    type Output = u64;

    const REPEATABLE: bool = true;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<u64, StoreError> {
        let now = self.now.read();
        let mut ended = 0;
        for past in &self.revoked {
            if let Some(list_exp) = self.due(tx, past, now).await? {
                end(tx, past, list_exp).await?;
                ended += 1;
            }
        }
        Ok(ended)
    }
}

impl Reapply {
    /// Until when the list must hold it; `None` if there is nothing to do.
    async fn due(
        &self,
        tx: &mut Transaction<'_>,
        past: &PastRevocation,
        now: UnixSeconds,
    ) -> Result<Option<UnixSeconds>, StoreError> {
        static ENDED: Statement = Statement::new("SELECT 1 FROM revocations WHERE sid = $1");
        static KNOWN: Statement = Statement::new("SELECT 1 FROM sessions WHERE sid = $1");
        static TAKEN: Statement =
            Statement::new("SELECT 1 FROM sessions WHERE idx = $1 AND ends_at > $2 LIMIT 1");
        tx.lock_session(&past.sid).await?;
        if tx.optional(ENDED.bind(&past.sid)).await?.is_some() {
            return Ok(None);
        }
        if tx.optional(KNOWN.bind(&past.sid)).await?.is_some() {
            // Tokens may have been issued since the restoration.
            return Ok(Some(past.list_exp.max(list_exp(tx.longest_token(), now))));
        }
        // A session that was lost with the table may still have a token; its index counts unless
        // another session has been given it since.
        let taken = tx.optional(TAKEN.bind(past.idx).bind(now)).await?.is_some();
        Ok((past.list_exp > now && !taken).then_some(past.list_exp))
    }
}

async fn end(
    tx: &mut Transaction<'_>,
    past: &PastRevocation,
    list_exp: UnixSeconds,
) -> Result<(), StoreError> {
    static REVOKE: Statement = Statement::new(
        "INSERT INTO revocations (sid, seq, idx, revoked_at, ended_by, reason, list_exp) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    );
    let seq = tx.advance();
    let revoke = REVOKE.bind(&past.sid).bind(seq).bind(past.idx);
    let revoke = revoke.bind(past.at).bind(&past.by).bind(&past.reason);
    tx.execute(revoke.bind(list_exp)).await?;
    let ending = Ending {
        sid: past.sid,
        idx: past.idx,
        ends_at: past.ends_at,
    };
    tx.journal(Entry::Revoked(Revoked {
        epoch: tx.epoch().to_owned(),
        seq,
        at: past.at.get(),
        by: past.by.clone(),
        reason: past.reason.clone(),
        list_exp: list_exp.get(),
        next_idx: tx.issued(),
        sessions: vec![written(&ending)],
    }));
    Ok(())
}

/// A new epoch for a restored table.
pub(super) struct Recover {
    pub(super) recovery: Recovery,
    pub(super) now: Now,
}

#[async_trait]
impl Work for Recover {
    type Output = RecoveryState;

    const CHANGES_WATERMARK: bool = true;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<RecoveryState, StoreError> {
        static RECOVERED: Statement =
            Statement::new("UPDATE head SET restored_at = 0 WHERE id = 1");
        let recovery = &self.recovery;
        let next = self.now.read().plus(Seconds::new(1));
        tx.skip_indexes(recovery.skipped_indexes);
        tx.adopt_until(recovery.adopt_until);
        let watermark = if recovery.sign_out_everyone {
            recovery.revoked_before.max(next)
        } else {
            recovery.revoked_before
        };
        tx.raise_watermark(watermark).await?;
        for key in &recovery.lost_renewal_keys {
            write_key(tx, key).await?;
            tx.advance_for_key().await?;
        }
        tx.begin_epoch(recovery.epoch.clone(), next).await?;
        tx.execute(RECOVERED.plain()).await?;
        let detail = json!({
            "adopt_until": recovery.adopt_until.get(),
            "signed_out_everyone": recovery.sign_out_everyone,
        });
        tx.audit("recover", Some(recovery.epoch.clone()), detail)
            .await?;
        tx.journal(Entry::Epoch {
            epoch: recovery.epoch.clone(),
            seq: tx.seq(),
            began: next.get(),
        });
        if recovery.sign_out_everyone {
            tx.journal(Entry::RevokedBefore {
                epoch: recovery.epoch.clone(),
                seq: tx.seq(),
                at: self.now.read().get(),
                revoked_before: watermark.get(),
                next_idx: tx.issued(),
            });
        }
        Ok(RecoveryState {
            epoch: recovery.epoch.clone(),
            seq: tx.seq(),
            next_idx: tx.issued(),
            revoked_before: watermark,
            adopt_until: recovery.adopt_until,
            restored_at: None,
        })
    }
}
