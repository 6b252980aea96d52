//! Writing and reading the revocation log.

use async_trait::async_trait;
use hallpass_session::base64url;
use hallpass_session::time::{Seconds, UnixSeconds};
use serde_json::{Value, json};

use super::lane::Work;
use super::pool::Pool;
use super::rows::{ended_by_name, fixed, number, read_entry, small, text, time};
use super::statement::Statement;
use super::transaction::{Connection, Transaction};
use super::{Now, find_session};
use crate::journal::{Entry, Revoked, RevokedSession};
use crate::record::{SessionRecord, Sid};
use crate::store::{Cause, LogEntry, LogRead, Revocation, Selection, StoreError};

/// How much longer than the longest token the list holds an entry: covers the time between reading
/// the clock and committing, and clocks that differ.
const LIST_MARGIN: Seconds = Seconds::new(60);

/// A session that ends.
#[derive(Clone, Copy)]
pub(super) struct Ending {
    pub(super) sid: Sid,
    pub(super) idx: u32,
    pub(super) ends_at: UnixSeconds,
}

impl Ending {
    pub(super) const fn of(record: &SessionRecord) -> Self {
        Self {
            sid: record.sid,
            idx: record.idx,
            ends_at: record.ends_at,
        }
    }
}

/// Sessions to end.
pub(super) struct Revoke {
    pub(super) selection: Selection,
    pub(super) cause: Cause,
    pub(super) now: Now,
}

#[async_trait]
impl Work for Revoke {
    type Output = Revocation;

    const REPEATABLE: bool = true;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Revocation, StoreError> {
        let now = self.now.read();
        let live = match &self.selection {
            Selection::Session(sid) => {
                let record = find_session(tx, *sid).await?;
                let live = record.filter(|record| record.is_live(now));
                live.as_ref().map(Ending::of).into_iter().collect()
            }
            Selection::Subject { subject, except } => {
                live_of_subject(tx, subject, except.as_ref(), now).await?
            }
        };
        let revocation = revoke_sessions(tx, &live, self.cause, now).await?;
        if !live.is_empty() {
            let (action, target) = match &self.selection {
                Selection::Session(sid) => ("revoke_session", base64url::encode(sid)),
                Selection::Subject { subject, .. } => ("revoke_subject", subject.clone()),
            };
            let detail = self.cause.described(revocation.revoked);
            tx.audit(action, Some(target), detail).await?;
        }
        Ok(revocation)
    }
}

impl Cause {
    /// The cause in the audit log, of an end of so many sessions.
    pub(super) fn described(self, ended: u64) -> Value {
        json!({"by": ended_by_name(self.by), "reason": self.reason, "ended": ended})
    }
}

/// Everything there is to end.
pub(super) struct RevokeEverything {
    /// How many sessions were live just before.
    pub(super) live: u64,
    pub(super) now: Now,
}

#[async_trait]
impl Work for RevokeEverything {
    type Output = Revocation;

    const CHANGES_WATERMARK: bool = true;
    const REPEATABLE: bool = true;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Revocation, StoreError> {
        // The second after this one: tokens of this very second are over too.
        let next = self.now.read().plus(Seconds::new(1));
        tx.raise_watermark(next).await?;
        let seq = tx.advance();
        tx.journal(Entry::RevokedBefore {
            epoch: tx.epoch().to_owned(),
            seq,
            at: next.minus(Seconds::new(1)).get(),
            revoked_before: next.get(),
            next_idx: tx.issued(),
        });
        tx.tell_all_ended(next).await?;
        tx.audit("revoke_everything", None, json!({"ended": self.live}))
            .await?;
        Ok(Revocation {
            revoked: self.live,
            epoch: tx.epoch().to_owned(),
            seq,
        })
    }
}

/// A new epoch, if the current one is still `replaced`.
pub(super) struct BeginEpoch {
    pub(super) replaced: String,
    pub(super) fresh: String,
    pub(super) now: Now,
}

#[async_trait]
impl Work for BeginEpoch {
    type Output = ();

    const CHANGES_WATERMARK: bool = true;
    const REPEATABLE: bool = true;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), StoreError> {
        if tx.epoch() != self.replaced {
            return Ok(());
        }
        // The second after this one, so that every token of the old epoch lies before it.
        let began = self.now.read().plus(Seconds::new(1));
        tx.begin_epoch(self.fresh.clone(), began).await?;
        tx.journal(Entry::Epoch {
            epoch: self.fresh.clone(),
            seq: tx.seq(),
            began: began.get(),
        });
        tx.audit("begin_epoch", Some(self.fresh.clone()), json!({}))
            .await
    }
}

/// Ends these sessions under one number; takes none if there are none.
pub(super) async fn revoke_sessions(
    tx: &mut Transaction<'_>,
    live: &[Ending],
    cause: Cause,
    now: UnixSeconds,
) -> Result<Revocation, StoreError> {
    static REVOKE: Statement = Statement::new(
        "INSERT INTO revocations (sid, seq, idx, revoked_at, ended_by, reason, list_exp) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    );
    let seq = if live.is_empty() {
        tx.seq()
    } else {
        tx.advance()
    };
    let list_exp = list_exp(tx.longest_token(), now);
    for Ending { sid, idx, .. } in live {
        // A renewal that holds this row commits before, one that waits for it finds the session
        // ended: no token is issued after this commits.
        tx.lock_session(sid).await?;
        let revoke = REVOKE.bind(sid).bind(seq).bind(*idx).bind(now);
        let revoke = revoke.bind(ended_by_name(cause.by)).bind(cause.reason);
        tx.execute(revoke.bind(list_exp)).await?;
    }
    if !live.is_empty() {
        tx.journal(Entry::Revoked(Revoked {
            epoch: tx.epoch().to_owned(),
            seq,
            at: now.get(),
            by: ended_by_name(cause.by).to_owned(),
            reason: cause.reason.to_owned(),
            list_exp: list_exp.get(),
            next_idx: tx.issued(),
            sessions: live.iter().map(written).collect(),
        }));
    }
    tx.tell_ended(live, cause).await?;
    Ok(Revocation {
        revoked: u64::try_from(live.len()).unwrap_or(u64::MAX),
        epoch: tx.epoch().to_owned(),
        seq,
    })
}

/// A session as the journal has it.
pub(super) fn written(ending: &Ending) -> RevokedSession {
    RevokedSession {
        sid: base64url::encode(&ending.sid),
        idx: ending.idx,
        ends_at: ending.ends_at.get(),
    }
}

/// The minute until which the list must hold what is revoked `now`.
pub(super) fn list_exp(longest_token: Seconds, now: UnixSeconds) -> UnixSeconds {
    let exp = now.plus(longest_token).plus(LIST_MARGIN).get();
    UnixSeconds::new(exp.next_multiple_of(60))
}

/// Live sessions of a subject, oldest first.
pub(super) async fn live_of_subject(
    tx: &mut Transaction<'_>,
    subject: &str,
    except: Option<&Sid>,
    now: UnixSeconds,
) -> Result<Vec<Ending>, StoreError> {
    static LIVE: Statement = Statement::new(
        "SELECT s.sid, s.idx, s.ends_at FROM sessions s JOIN renewals n ON n.sid = s.sid \
         JOIN watermark w ON w.id = 1 LEFT JOIN revocations r ON r.sid = s.sid \
         WHERE s.subject = $1 AND r.sid IS NULL AND s.created_at >= w.revoked_before \
         AND s.ends_at > $2 AND n.confirmed_at + s.idle_secs > $3 \
         ORDER BY s.created_at, s.sid",
    );
    let rows = tx.all(LIVE.bind(subject).bind(now).bind(now)).await?;
    let mut live = Vec::with_capacity(rows.len());
    for row in &rows {
        let sid = fixed(row, "sid")?;
        if except != Some(&sid) {
            live.push(Ending {
                sid,
                idx: small(row, "idx")?,
                ends_at: time(row, "ends_at")?,
            });
        }
    }
    Ok(live)
}

/// Reads the log after `after` in one snapshot.
pub(super) async fn read_log(
    pool: &Pool,
    after: u64,
    listed_since: UnixSeconds,
) -> Result<LogRead, StoreError> {
    static HEAD: Statement = Statement::new(
        "SELECT h.seq, h.epoch, h.began, h.keys_seq, w.revoked_before \
         FROM head h CROSS JOIN watermark w",
    );
    static KIDS: Statement = Statement::new(
        "SELECT kid FROM keyring WHERE kind = 'session' AND removed_at IS NULL ORDER BY kid",
    );
    let mut connection = pool.connection().await?;
    let mut snapshot = connection.snapshot().await?;
    let mut snapshot = snapshot.connection();
    let head = snapshot.one(HEAD.plain()).await?;
    let seq = number(&head, "seq")?;
    let entries = if seq > after {
        read_entries(&mut snapshot, after, listed_since).await?
    } else {
        vec![]
    };
    let kids = snapshot.all(KIDS.plain()).await?;
    let kids = kids.iter().map(|row| text(row, "kid"));
    Ok(LogRead {
        epoch: text(&head, "epoch")?,
        began: time(&head, "began")?,
        seq,
        keys_seq: number(&head, "keys_seq")?,
        revoked_before: time(&head, "revoked_before")?,
        kids: kids.collect::<Result<_, _>>()?,
        entries,
    })
}

async fn read_entries(
    snapshot: &mut Connection<'_>,
    after: u64,
    listed_since: UnixSeconds,
) -> Result<Vec<LogEntry>, StoreError> {
    static ENTRIES: Statement = Statement::new(
        "SELECT seq, idx, list_exp FROM revocations WHERE seq > $1 AND list_exp > $2 ORDER BY seq",
    );
    let rows = snapshot.all(ENTRIES.bind(after).bind(listed_since)).await?;
    rows.iter().map(read_entry).collect()
}

/// How many sessions are live.
pub(super) async fn count_live(pool: &Pool, now: UnixSeconds) -> Result<u64, StoreError> {
    static LIVE: Statement = Statement::new(
        "SELECT COUNT(*) AS live FROM sessions s JOIN renewals n ON n.sid = s.sid \
         JOIN watermark w ON w.id = 1 LEFT JOIN revocations r ON r.sid = s.sid \
         WHERE r.sid IS NULL AND s.created_at >= w.revoked_before \
         AND s.ends_at > $1 AND n.confirmed_at + s.idle_secs > $2",
    );
    let mut connection = pool.connection().await?;
    let row = connection.get().one(LIVE.bind(now).bind(now)).await?;
    number(&row, "live")
}
