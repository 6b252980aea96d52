//! Writing and reading the revocation log.

use async_trait::async_trait;
use hallpass_session::time::{Seconds, UnixSeconds};
use sqlx::{SqliteConnection, SqlitePool};

use super::rows::{
    ended_by_name, fixed, number, read_entry, small, stored, stored_time, text, time,
};
use super::{Now, find_session, unavailable};
use crate::record::Sid;
use crate::store::{Cause, LogRead, Revocation, Selection, StoreError};

/// How much longer than the longest token the list holds an entry: covers the time between reading
/// the clock and committing, and clocks that differ.
const LIST_MARGIN: Seconds = Seconds::new(60);

/// Sessions to end.
pub(super) struct Revoke {
    pub(super) selection: Selection,
    pub(super) cause: Cause,
    pub(super) now: Now,
}

#[async_trait]
impl super::Work for Revoke {
    type Output = Revocation;

    async fn run(&self, tx: &mut SqliteConnection) -> Result<Revocation, StoreError> {
        let now = self.now.read();
        let live = match &self.selection {
            Selection::Session(sid) => {
                let record = find_session(tx, *sid).await?;
                let live = record.filter(|record| record.is_live(now));
                live.map(|record| (record.sid, record.idx))
                    .into_iter()
                    .collect()
            }
            Selection::Subject { subject, except } => {
                live_of_subject(tx, subject, except.as_ref(), now).await?
            }
        };
        revoke_sessions(tx, &live, self.cause, now).await
    }
}

/// Everything there is to end.
pub(super) struct RevokeEverything {
    pub(super) now: Now,
}

#[async_trait]
impl super::Work for RevokeEverything {
    type Output = Revocation;

    async fn run(&self, tx: &mut SqliteConnection) -> Result<Revocation, StoreError> {
        let now = self.now.read();
        let revoked = count_live(tx, now).await?;
        // The second after this one: tokens of this very second are over too.
        sqlx::query("UPDATE watermark SET revoked_before = MAX(revoked_before, ?) WHERE id = 1")
            .bind(stored_time(now.plus(Seconds::new(1))))
            .execute(&mut *tx)
            .await
            .map_err(unavailable)?;
        let (epoch, seq) = advance_head(tx).await?;
        Ok(Revocation {
            revoked,
            epoch,
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
impl super::Work for BeginEpoch {
    type Output = ();

    async fn run(&self, tx: &mut SqliteConnection) -> Result<(), StoreError> {
        // The second after this one, so that every token of the old epoch lies before it.
        sqlx::query("UPDATE head SET epoch = ?, began = ? WHERE id = 1 AND epoch = ?")
            .bind(&self.fresh)
            .bind(stored_time(self.now.read().plus(Seconds::new(1))))
            .bind(&self.replaced)
            .execute(tx)
            .await
            .map(drop)
            .map_err(unavailable)
    }
}

/// Ends these sessions under one number; takes none if there are none.
pub(super) async fn revoke_sessions(
    tx: &mut SqliteConnection,
    live: &[(Sid, u32)],
    cause: Cause,
    now: UnixSeconds,
) -> Result<Revocation, StoreError> {
    if live.is_empty() {
        let (epoch, seq) = read_head(tx).await?;
        return Ok(Revocation {
            revoked: 0,
            epoch,
            seq,
        });
    }
    let (epoch, seq) = advance_head(tx).await?;
    let list_exp = list_exp(tx, now).await?;
    let sql = "INSERT INTO revocations (sid, seq, idx, revoked_at, ended_by, reason, list_exp) \
               VALUES (?, ?, ?, ?, ?, ?, ?)";
    for (sid, idx) in live {
        sqlx::query(sql)
            .bind(&sid[..])
            .bind(stored(seq))
            .bind(i64::from(*idx))
            .bind(stored_time(now))
            .bind(ended_by_name(cause.by))
            .bind(cause.reason)
            .bind(stored_time(list_exp))
            .execute(&mut *tx)
            .await
            .map_err(unavailable)?;
    }
    let revoked = u64::try_from(live.len()).unwrap_or(u64::MAX);
    Ok(Revocation {
        revoked,
        epoch,
        seq,
    })
}

/// Live sessions of a subject, oldest first.
pub(super) async fn live_of_subject(
    tx: &mut SqliteConnection,
    subject: &str,
    except: Option<&Sid>,
    now: UnixSeconds,
) -> Result<Vec<(Sid, u32)>, StoreError> {
    let sql = "SELECT s.sid, s.idx FROM sessions s JOIN renewals n ON n.sid = s.sid \
               CROSS JOIN watermark w LEFT JOIN revocations r ON r.sid = s.sid \
               WHERE s.subject = ? AND r.sid IS NULL AND s.created_at >= w.revoked_before \
               AND s.ends_at > ? AND n.confirmed_at + s.idle_secs > ? \
               ORDER BY s.created_at, s.sid";
    let rows = sqlx::query(sql)
        .bind(subject)
        .bind(stored_time(now))
        .bind(stored_time(now))
        .fetch_all(tx)
        .await
        .map_err(unavailable)?;
    let mut live = Vec::with_capacity(rows.len());
    for row in &rows {
        let sid = fixed(row, "sid")?;
        if except != Some(&sid) {
            live.push((sid, small(row, "idx")?));
        }
    }
    Ok(live)
}

/// Reads the log after `after` in one snapshot.
pub(super) async fn read_log(
    pool: &SqlitePool,
    after: u64,
    listed_since: UnixSeconds,
) -> Result<LogRead, StoreError> {
    let mut tx = pool.begin().await.map_err(unavailable)?;
    let sql = "SELECT h.seq, h.epoch, h.began, w.revoked_before FROM head h CROSS JOIN watermark w";
    let head = sqlx::query(sql)
        .fetch_one(&mut *tx)
        .await
        .map_err(unavailable)?;
    let seq = number(&head, "seq")?;
    let entries = if seq > after {
        read_entries(&mut tx, after, listed_since).await?
    } else {
        vec![]
    };
    let kids = "SELECT kid FROM keys WHERE kind = 'session' AND removed_at IS NULL ORDER BY kid";
    let kids = sqlx::query(kids)
        .fetch_all(&mut *tx)
        .await
        .map_err(unavailable)?;
    Ok(LogRead {
        epoch: text(&head, "epoch")?,
        began: time(&head, "began")?,
        seq,
        revoked_before: time(&head, "revoked_before")?,
        kids: kids
            .iter()
            .map(|row| text(row, "kid"))
            .collect::<Result<_, _>>()?,
        entries,
    })
}

async fn read_entries(
    tx: &mut SqliteConnection,
    after: u64,
    listed_since: UnixSeconds,
) -> Result<Vec<crate::store::LogEntry>, StoreError> {
    let sql = "SELECT seq, idx, list_exp FROM revocations WHERE seq > ? AND list_exp > ? \
               ORDER BY seq";
    let rows = sqlx::query(sql)
        .bind(stored(after))
        .bind(stored_time(listed_since))
        .fetch_all(tx)
        .await
        .map_err(unavailable)?;
    rows.iter().map(read_entry).collect()
}

/// Takes the next number; whoever has it is the only one writing the log until the commit.
pub(super) async fn advance_head(tx: &mut SqliteConnection) -> Result<(String, u64), StoreError> {
    let sql = "UPDATE head SET seq = seq + 1 WHERE id = 1 RETURNING epoch, seq";
    let row = sqlx::query(sql).fetch_one(tx).await.map_err(unavailable)?;
    Ok((text(&row, "epoch")?, number(&row, "seq")?))
}

async fn read_head(tx: &mut SqliteConnection) -> Result<(String, u64), StoreError> {
    let sql = "SELECT epoch, seq FROM head WHERE id = 1";
    let row = sqlx::query(sql).fetch_one(tx).await.map_err(unavailable)?;
    Ok((text(&row, "epoch")?, number(&row, "seq")?))
}

async fn list_exp(tx: &mut SqliteConnection, now: UnixSeconds) -> Result<UnixSeconds, StoreError> {
    let sql = "SELECT longest_token_secs FROM issuance WHERE id = 1";
    let row = sqlx::query(sql).fetch_one(tx).await.map_err(unavailable)?;
    let longest = Seconds::new(number(&row, "longest_token_secs")?);
    let exp = now.plus(longest).plus(LIST_MARGIN).get();
    Ok(UnixSeconds::new(exp.next_multiple_of(60)))
}

async fn count_live(tx: &mut SqliteConnection, now: UnixSeconds) -> Result<u64, StoreError> {
    let sql = "SELECT COUNT(*) AS live FROM sessions s JOIN renewals n ON n.sid = s.sid \
               CROSS JOIN watermark w LEFT JOIN revocations r ON r.sid = s.sid \
               WHERE r.sid IS NULL AND s.created_at >= w.revoked_before \
               AND s.ends_at > ? AND n.confirmed_at + s.idle_secs > ?";
    let row = sqlx::query(sql)
        .bind(stored_time(now))
        .bind(stored_time(now))
        .fetch_one(tx)
        .await
        .map_err(unavailable)?;
    number(&row, "live")
}
