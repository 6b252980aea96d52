//! Changing keys, and what a change would hit.

use async_trait::async_trait;
use hallpass_session::time::UnixSeconds;
use serde_json::json;

use super::lane::Work;
use super::pool::Pool;
use super::rows::number;
use super::statement::Statement;
use super::transaction::Transaction;
use crate::journal::Entry;
use crate::store::{KeyKind, KeyRow, StoreError};

/// Keys to write, if none was changed since number `seen`.
pub(super) struct ChangeKeys {
    pub(super) seen: u64,
    pub(super) keys: Vec<KeyRow>,
}

#[async_trait]
impl Work for ChangeKeys {
    type Output = Option<u64>;

    /// Renewals read the number of the last change, to notice it.
    const CHANGES_WATERMARK: bool = true;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Option<u64>, StoreError> {
        if tx.keys_seq() != self.seen {
            return Ok(None);
        }
        for key in &self.keys {
            write_key(tx, key).await?;
            let target = format!("{} {}", key.kind.name(), key.kid);
            let second = |time: Option<UnixSeconds>| time.map(UnixSeconds::get);
            let detail = json!({
                "alg": key.alg,
                "sealed": key.sealed,
                "signs_from": key.signs_from.get(),
                "retired_at": second(key.retired_at),
                "removed_at": second(key.removed_at),
            });
            tx.audit("change_key", Some(target), detail).await?;
        }
        let seq = tx.advance_for_key().await?;
        for key in &self.keys {
            if key.kind == KeyKind::Renewal && key.removed_at.is_none() {
                tx.journal(Entry::RenewalKey {
                    kid: key.kid.clone(),
                    seq,
                    at: key.created_at.get(),
                });
            }
        }
        Ok(Some(seq))
    }
}

/// Writes a key in place of the one with its id, if there is one.
///
/// Every change of keys takes a number besides: processes notice it by that, and of session keys
/// edges too.
pub(super) async fn write_key(tx: &mut Transaction<'_>, key: &KeyRow) -> Result<(), StoreError> {
    static DELETE: Statement = Statement::new("DELETE FROM keyring WHERE kind = $1 AND kid = $2");
    static INSERT: Statement = Statement::new(
        "INSERT INTO keyring (kind, kid, alg, public_jwk, secret, sealed, check_value, created_at, \
         signs_from, retired_at, removed_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    );
    let delete = DELETE.bind(key.kind.name()).bind(&key.kid);
    tx.execute(delete).await?;
    let insert = INSERT
        .bind(key.kind.name())
        .bind(&key.kid)
        .bind(&key.alg)
        .bind(&key.public_jwk)
        .bind(&key.secret[..])
        .bind(key.sealed)
        .bind(&key.check_value)
        .bind(key.created_at)
        .bind(key.signs_from)
        .bind(stored(key.retired_at))
        .bind(stored(key.removed_at));
    tx.execute(insert).await.map(drop)
}

/// Number of the last change of any key.
pub(super) async fn keys_seq(pool: &Pool) -> Result<u64, StoreError> {
    static SEQ: Statement = Statement::new("SELECT keys_seq FROM head WHERE id = 1");
    let row = pool.connection().await?.get().one(SEQ.plain()).await?;
    number(&row, "keys_seq")
}

/// Live sessions that were last renewed from `from` on and before `until`.
pub(super) async fn count_renewed_between(
    pool: &Pool,
    from: UnixSeconds,
    until: UnixSeconds,
    now: UnixSeconds,
) -> Result<u64, StoreError> {
    static COUNT: Statement = Statement::new(
        "SELECT COUNT(*) AS live FROM sessions s JOIN renewals n ON n.sid = s.sid \
         JOIN watermark w ON w.id = 1 LEFT JOIN revocations r ON r.sid = s.sid \
         WHERE n.confirmed_at >= $1 AND n.confirmed_at < $2 AND r.sid IS NULL \
         AND s.created_at >= w.revoked_before AND s.ends_at > $3 \
         AND n.confirmed_at + s.idle_secs > $4",
    );
    let count = COUNT.bind(from).bind(until).bind(now).bind(now);
    let row = pool.connection().await?.get().one(count).await?;
    number(&row, "live")
}

fn stored(time: Option<UnixSeconds>) -> Option<i64> {
    time.map(|time| i64::try_from(time.get()).unwrap_or(i64::MAX))
}
