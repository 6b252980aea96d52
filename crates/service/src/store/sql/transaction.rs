//! Connections and transactions as works and reads see them.
//!
//! A [`Transaction`] of the serial lane holds the head row from its first statement to its commit:
//! what it says of head, watermark and issuance is the newest there is, and the numbers it takes
//! are commit order in every process. Numbers and indexes are taken in memory and written once,
//! just before the commit.

use std::ops::{Deref, DerefMut};

use hallpass_session::time::{Seconds, UnixSeconds};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::ahead::Ahead;
use super::dialect::Dialect;
use super::fault::failed;
use super::rows::{number, text, time};
use super::statement::{Bound, Statement};
use crate::actor::Actor;
use crate::journal::Entry;
use crate::record::Sid;
use crate::store::StoreError;

/// A connection that runs statements in its dialect.
pub(super) struct Connection<'c> {
    raw: &'c mut AnyConnection,
    dialect: Dialect,
}

/// A transaction of the serial lane.
pub(super) struct Transaction<'c> {
    connection: Connection<'c>,
    now: UnixSeconds,
    actor: Actor,
    journal: Vec<Entry>,
    state: State,
    written: State,
    /// The newest number when the head was taken.
    found_seq: u64,
    /// Renewals of its batch.
    ahead: Ahead,
}

/// The one-row tables.
#[derive(Clone)]
struct State {
    head: Head,
    revoked_before: UnixSeconds,
    issuance: Issuance,
}

#[derive(Clone, PartialEq, Eq)]
struct Head {
    seq: u64,
    epoch: String,
    began: UnixSeconds,
    keys_seq: u64,
    adopt_until: UnixSeconds,
    audit_id: u64,
    event_id: u64,
}

#[derive(Clone, PartialEq, Eq)]
struct Issuance {
    next_idx: u64,
    longest_token: Seconds,
}

impl<'c> Connection<'c> {
    pub(super) const fn new(raw: &'c mut AnyConnection, dialect: Dialect) -> Self {
        Self { raw, dialect }
    }

    /// Locks the renewals of one session until the transaction ends.
    ///
    /// A statement of its own: only the next one sees what was committed while this one waited.
    pub(super) async fn lock_session(&mut self, sid: &Sid) -> Result<(), StoreError> {
        if let Some(lock) = self.dialect.lock_session() {
            self.optional(lock.bind(sid)).await?;
        }
        Ok(())
    }

    /// Keeps changes of the watermark out until the transaction ends.
    pub(super) async fn share_watermark(&mut self) -> Result<(), StoreError> {
        if let Some(lock) = self.dialect.share_watermark() {
            self.one(lock.plain()).await?;
        }
        Ok(())
    }

    /// The current second by the database's clock.
    pub(super) async fn second(&mut self) -> Result<u64, StoreError> {
        number(&self.one(self.dialect.second().plain()).await?, "second")
    }

    /// Runs a statement; returns how many rows it found to change.
    pub(super) async fn execute(&mut self, bound: Bound) -> Result<u64, StoreError> {
        let done = bound.query(self.dialect).execute(&mut *self.raw).await;
        done.map(|done| done.rows_affected()).map_err(failed)
    }

    /// The one row that there must be.
    pub(super) async fn one(&mut self, bound: Bound) -> Result<AnyRow, StoreError> {
        let row = bound.query(self.dialect).fetch_one(&mut *self.raw).await;
        row.map_err(failed)
    }

    /// The first row, if there is any.
    pub(super) async fn optional(&mut self, bound: Bound) -> Result<Option<AnyRow>, StoreError> {
        let row = bound.query(self.dialect).fetch_optional(&mut *self.raw);
        row.await.map_err(failed)
    }

    /// Every row.
    pub(super) async fn all(&mut self, bound: Bound) -> Result<Vec<AnyRow>, StoreError> {
        let rows = bound.query(self.dialect).fetch_all(&mut *self.raw).await;
        rows.map_err(failed)
    }
}

impl<'c> Transaction<'c> {
    /// Takes the head on a connection in which a transaction has begun.
    pub(super) async fn open(
        mut connection: Connection<'c>,
        now: UnixSeconds,
    ) -> Result<Self, StoreError> {
        static STATE: Statement = Statement::new(
            "SELECT h.seq, h.epoch, h.began, h.keys_seq, h.adopt_until, h.audit_id, h.event_id, \
             w.revoked_before, i.next_idx, i.longest_token_secs \
             FROM head h CROSS JOIN watermark w CROSS JOIN issuance i",
        );
        // The lock is a statement of its own: only the next one sees what was committed while this
        // one waited.
        if let Some(lock) = connection.dialect.lock_head() {
            connection.execute(lock.plain()).await?;
        }
        let state = State::read(&connection.one(STATE.plain()).await?)?;
        Ok(Self {
            connection,
            now,
            actor: Actor::service(),
            journal: Vec::new(),
            found_seq: state.head.seq,
            ahead: Ahead::default(),
            written: state.clone(),
            state,
        })
    }

    /// Keeps renewals out until the commit.
    pub(super) async fn lock_watermark(&mut self) -> Result<(), StoreError> {
        if let Some(lock) = self.connection.dialect.lock_watermark() {
            self.connection.one(lock.plain()).await?;
        }
        Ok(())
    }

    /// Says on whose behalf the next work runs.
    pub(super) fn act_for(&mut self, actor: Actor) {
        self.actor = actor;
    }

    /// On whose behalf this runs.
    pub(super) const fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The second in which the transaction began.
    pub(super) const fn now(&self) -> UnixSeconds {
        self.now
    }

    /// Its connection, past what was read ahead.
    pub(super) const fn connection(&mut self) -> &mut Connection<'c> {
        &mut self.connection
    }

    /// What was read ahead for its renewals.
    pub(super) const fn ahead(&mut self) -> &mut Ahead {
        &mut self.ahead
    }

    /// Has an entry written to the journal once this is committed.
    pub(super) fn journal(&mut self, entry: Entry) {
        self.journal.push(entry);
    }

    /// What the journal is to have.
    pub(super) fn take_journal(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.journal)
    }

    /// Number of the newest entry, of this transaction or before it.
    pub(super) const fn seq(&self) -> u64 {
        self.state.head.seq
    }

    /// The log's epoch.
    pub(super) fn epoch(&self) -> &str {
        &self.state.head.epoch
    }

    /// Longest token lifetime ever configured.
    pub(super) const fn longest_token(&self) -> Seconds {
        self.state.issuance.longest_token
    }

    /// The second to issue at: now, but never before the watermark or the epoch. Both may lie in
    /// the second after now, which every verifier tolerates.
    pub(super) fn issuing_second(&self, now: UnixSeconds) -> UnixSeconds {
        now.max(self.state.revoked_before)
            .max(self.state.head.began)
    }

    /// Takes the next number.
    pub(super) const fn advance(&mut self) -> u64 {
        self.state.head.seq += 1;
        self.state.head.seq
    }

    /// Takes the number of the next line of the audit log.
    pub(super) const fn next_audit_id(&mut self) -> u64 {
        self.state.head.audit_id += 1;
        self.state.head.audit_id
    }

    /// Takes the number of the next event.
    pub(super) const fn next_event_id(&mut self) -> u64 {
        self.state.head.event_id += 1;
        self.state.head.event_id
    }

    /// Takes a number for a change of a key, by which every process notices it.
    pub(super) async fn advance_for_key(&mut self) -> Result<u64, StoreError> {
        let seq = self.advance();
        self.state.head.keys_seq = seq;
        self.write_state().await?;
        Ok(seq)
    }

    /// Number of the last change of any key.
    pub(super) const fn keys_seq(&self) -> u64 {
        self.state.head.keys_seq
    }

    /// Whether this transaction takes a number.
    pub(super) const fn has_advanced(&self) -> bool {
        self.state.head.seq != self.found_seq
    }

    /// Tells every process of the numbers taken, once this is committed.
    pub(super) async fn notify(&mut self) -> Result<(), StoreError> {
        if let Some(notify) = self.connection.dialect.notify()
            && self.has_advanced()
        {
            let seq = self.state.head.seq.to_string();
            self.connection.one(notify.bind(seq)).await?;
        }
        Ok(())
    }

    /// The session index given out last.
    pub(super) const fn issued(&self) -> u64 {
        self.state.issuance.next_idx
    }

    /// Leaves out as many session indexes.
    pub(super) const fn skip_indexes(&mut self, count: u64) {
        let next = self.state.issuance.next_idx.wrapping_add(count);
        self.state.issuance.next_idx = next % (1 << 32);
    }

    /// Lets higher generations be adopted until then.
    pub(super) const fn adopt_until(&mut self, until: UnixSeconds) {
        self.state.head.adopt_until = until;
    }

    /// Takes the next session index; after 2^32 of them they come round again.
    pub(super) const fn next_idx(&mut self) -> u32 {
        let [_, _, _, _, low @ ..] = self.state.issuance.next_idx.wrapping_add(1).to_be_bytes();
        let idx = u32::from_be_bytes(low);
        self.state.issuance.next_idx = idx as u64;
        idx
    }

    /// Notes that tokens of this lifetime are issued.
    pub(super) fn note_token_lifetime(&mut self, lifetime: Seconds) {
        self.state.issuance.longest_token = self.state.issuance.longest_token.max(lifetime);
    }

    /// Begins an epoch.
    ///
    /// The work must be one that changes the watermark: renewals read the epoch's first second.
    pub(super) async fn begin_epoch(
        &mut self,
        epoch: String,
        began: UnixSeconds,
    ) -> Result<(), StoreError> {
        (self.state.head.epoch, self.state.head.began) = (epoch, began);
        self.advance();
        self.write_state().await
    }

    /// Moves the watermark, never back.
    ///
    /// The work must be one that changes the watermark.
    pub(super) async fn raise_watermark(&mut self, to: UnixSeconds) -> Result<(), StoreError> {
        self.state.revoked_before = self.state.revoked_before.max(to);
        self.write_state().await
    }

    /// Writes what was taken or changed in memory.
    pub(super) async fn write_state(&mut self) -> Result<(), StoreError> {
        static HEAD: Statement = Statement::new(
            "UPDATE head SET seq = $1, epoch = $2, began = $3, keys_seq = $4, adopt_until = $5, \
             audit_id = $6, event_id = $7 WHERE id = 1",
        );
        static WATERMARK: Statement =
            Statement::new("UPDATE watermark SET revoked_before = $1 WHERE id = 1");
        static ISSUANCE: Statement = Statement::new(
            "UPDATE issuance SET next_idx = $1, longest_token_secs = $2 WHERE id = 1",
        );
        let (old, new) = (&self.written, &self.state);
        if old.head != new.head {
            let head = &new.head;
            let bound = HEAD.bind(head.seq).bind(&head.epoch).bind(head.began);
            let bound = bound.bind(head.keys_seq).bind(head.adopt_until);
            let bound = bound.bind(head.audit_id).bind(head.event_id);
            self.connection.execute(bound).await?;
        }
        if old.revoked_before != new.revoked_before {
            let bound = WATERMARK.bind(new.revoked_before);
            self.connection.execute(bound).await?;
        }
        if old.issuance != new.issuance {
            let issuance = &new.issuance;
            let bound = ISSUANCE
                .bind(issuance.next_idx)
                .bind(issuance.longest_token);
            self.connection.execute(bound).await?;
        }
        self.written = self.state.clone();
        Ok(())
    }
}

impl State {
    fn read(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self {
            head: Head {
                seq: number(row, "seq")?,
                epoch: text(row, "epoch")?,
                began: time(row, "began")?,
                keys_seq: number(row, "keys_seq")?,
                adopt_until: time(row, "adopt_until")?,
                audit_id: number(row, "audit_id")?,
                event_id: number(row, "event_id")?,
            },
            revoked_before: time(row, "revoked_before")?,
            issuance: Issuance {
                next_idx: number(row, "next_idx")?,
                longest_token: Seconds::new(number(row, "longest_token_secs")?),
            },
        })
    }
}

impl<'c> Deref for Transaction<'c> {
    type Target = Connection<'c>;

    fn deref(&self) -> &Self::Target {
        &self.connection
    }
}

impl DerefMut for Transaction<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.connection
    }
}
