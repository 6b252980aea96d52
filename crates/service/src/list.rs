//! The revocation list as edges get it.
//!
//! A copy of the log is kept in memory and brought up to the table by one read per poll, shared by
//! polls that arrive while it runs. Only a read that began after a poll was received proves
//! anything about it; how much earlier or later it began is told in `Hallpass-List`.
//!
//! Source: docs/protocol.md §3.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hallpass_session::base64url;
use hallpass_session::revocation::{ListHeader, encode_bitmap};
use hallpass_session::time::{Seconds, UnixSeconds};
use hallpass_session::wire::{ListBucket, ListClaims, Position};
use roaring::RoaringBitmap;
use tokio::sync::Mutex;

use crate::clock::random_bytes;
use crate::failure::{Failure, Outage};
use crate::service::Service;
use crate::store::{LogEntry, LogRead};

/// Longest time a poll may wait.
pub const WAIT_MAX: Seconds = Seconds::new(5);
/// How long a signed list may be taken in.
const LIST_LIFETIME: Seconds = Seconds::new(300);
/// Least time between two epochs that polls begin here: a table that was rolled back needs one, an
/// edge that claims too much could ask for any number.
const EPOCH_EVERY_US: u64 = 600_000_000;
/// Size at which an operator should know; edges refuse 16 MiB.
const LIST_WARN_BYTES: usize = 4 << 20;

/// An edge asks for the list.
#[derive(Clone, Debug)]
pub struct ListPoll {
    /// What it holds; nothing on its first call.
    pub holds: Option<Position>,
    /// How long to wait for something new.
    pub wait: Seconds,
    /// When the request was received, by the monotonic clock.
    pub received_us: u64,
}

/// What it gets.
#[derive(Clone, Debug)]
pub struct ListAnswer {
    /// The answer's `Hallpass-List`.
    pub header: ListHeader,
    /// The signed list; `None` when nothing is new.
    pub body: Option<String>,
}

/// The log as last read.
#[derive(Default)]
pub struct ListMemory(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    known: Option<Known>,
    epoch_begun_us: Option<u64>,
}

struct Known {
    epoch: String,
    began: UnixSeconds,
    seq: u64,
    revoked_before: UnixSeconds,
    kids: Vec<String>,
    entries: Vec<LogEntry>,
    /// Entries up to here may have been dropped as outlived.
    dropped_to: u64,
    /// When the read that proved all this began.
    read_us: u64,
}

impl Service {
    /// Answers a poll, after waiting for something new if it asks to.
    ///
    /// # Errors
    ///
    /// When the table cannot be read or the list not be signed.
    pub async fn poll_list(&self, poll: &ListPoll) -> Result<ListAnswer, Failure> {
        // Before the first read: what is logged after it is news.
        let mut news = self.store.news().subscribe();
        let _open = Arc::clone(&self.open_polls);
        let mut stopping = self.stopping();
        let answer = self.answer_poll(poll, poll.received_us).await?;
        let wait = poll.wait.min(WAIT_MAX);
        if answer.body.is_some() || wait == Seconds::new(0) {
            return Ok(answer);
        }
        let mut over = pin!(tokio::time::sleep(Duration::from_secs(wait.get())));
        loop {
            let last = tokio::select! {
                told = news.changed() => told.is_err(),
                _ = stopping.wait_for(|stop| *stop) => true,
                () = &mut over => true,
            };
            let answer = self.answer_poll(poll, self.clock.monotonic_us()).await?;
            if last || answer.body.is_some() {
                return Ok(answer);
            }
        }
    }

    /// Answers from a read that began after `asked_us`.
    async fn answer_poll(&self, poll: &ListPoll, asked_us: u64) -> Result<ListAnswer, Failure> {
        let mut memory = self.list.0.lock().await;
        let mut known = self.read_after(&mut memory, asked_us).await?;
        let holds = poll.holds.as_ref();
        if holds.is_some_and(|held| known.is_behind(held)) {
            self.begin_epoch_after(&known.epoch, &mut memory).await?;
            known = self.read_on(None).await?;
        }
        let known = memory.known.insert(known);
        self.write_answer(known, poll)
    }

    async fn begin_epoch_after(&self, epoch: &str, memory: &mut Memory) -> Result<(), Failure> {
        tracing::error!(epoch, "the table lost history, or an edge claims too much");
        let now_us = self.clock.monotonic_us();
        let is_too_soon = |begun_us| now_us.saturating_sub(begun_us) < EPOCH_EVERY_US;
        if memory.epoch_begun_us.is_some_and(is_too_soon) {
            return Err(Outage::TableRolledBack.into());
        }
        let fresh = base64url::encode(&random_bytes::<16>()?);
        self.store.begin_epoch(epoch, &fresh).await?;
        memory.epoch_begun_us = Some(now_us);
        Ok(())
    }

    /// Learns of what was logged until now, without an edge that asks.
    pub(crate) async fn look_at_list(&self) -> Result<(), Failure> {
        let asked_us = self.clock.monotonic_us();
        let mut memory = self.list.0.lock().await;
        let known = self.read_after(&mut memory, asked_us).await?;
        memory.known = Some(known);
        Ok(())
    }

    /// What a read showed that began after `asked_us`, taken out of memory.
    async fn read_after(&self, memory: &mut Memory, asked_us: u64) -> Result<Known, Failure> {
        match memory.known.take_if(|known| known.read_us > asked_us) {
            Some(known) => Ok(known),
            None => self.read_on(memory.known.take()).await,
        }
    }

    /// Reads what was logged since `known`, or everything.
    async fn read_on(&self, known: Option<Known>) -> Result<Known, Failure> {
        let (known, keys_seq) = self.read_log_on(known).await?;
        // A removed list key must not sign the list that tells of it.
        self.keep_keys_current(keys_seq).await?;
        self.note_entry(&known.position(), self.clock.unix_ms());
        self.metrics.note_list_head(known.seq);
        self.metrics.note_list_entries(known.entries.len());
        Ok(known)
    }

    async fn read_log_on(&self, known: Option<Known>) -> Result<(Known, u64), Failure> {
        let listed_since = self.clock.now().minus(self.settings.list_retain);
        let read_us = self.clock.monotonic_us();
        if let Some(mut known) = known {
            let read = self.store.read_log(known.seq, listed_since).await?;
            let keys_seq = read.keys_seq;
            if read.epoch == known.epoch && read.seq >= known.seq {
                known.take_in(read, read_us);
                known.drop_outlived(listed_since);
                return Ok((known, keys_seq));
            }
        }
        let read = self.store.read_log(0, listed_since).await?;
        let keys_seq = read.keys_seq;
        Ok((Known::new(read, read_us), keys_seq))
    }

    fn write_answer(&self, known: &Known, poll: &ListPoll) -> Result<ListAnswer, Failure> {
        let position = known.position();
        let body = match &poll.holds {
            Some(held) if *held == position => None,
            held => Some(self.sign_list(known, known.first_wanted(held.as_ref()))?),
        };
        let confirmed_ms = difference_ms(known.read_us, poll.received_us);
        Ok(ListAnswer {
            header: ListHeader {
                position,
                confirmed_ms,
            },
            body,
        })
    }

    fn sign_list(&self, known: &Known, from: u64) -> Result<String, Failure> {
        let now = self.clock.now();
        let claims = known.claims_after(from, &self.settings.issuer, now);
        let list = self.keys().list_signer(now)?.sign_list(&claims)?;
        if from == 0 {
            self.metrics.note_whole_list(list.len());
        }
        if list.len() > LIST_WARN_BYTES {
            tracing::warn!(
                bytes = list.len(),
                "the revocation list is large; edges refuse 16 MiB"
            );
        }
        Ok(list)
    }
}

/// The whole list as `read` has it, for who holds the table and needs no signature.
pub(crate) fn whole_list(read: LogRead, issuer: &str, now: UnixSeconds) -> ListClaims {
    Known::new(read, 0).claims_after(0, issuer, now)
}

impl Known {
    fn new(read: LogRead, read_us: u64) -> Self {
        Self {
            epoch: read.epoch,
            began: read.began,
            seq: read.seq,
            revoked_before: read.revoked_before,
            kids: read.kids,
            entries: read.entries,
            dropped_to: 0,
            read_us,
        }
    }

    fn take_in(&mut self, read: LogRead, read_us: u64) {
        self.seq = read.seq;
        self.revoked_before = read.revoked_before;
        self.kids = read.kids;
        self.entries.extend(read.entries);
        self.read_us = read_us;
    }

    fn drop_outlived(&mut self, listed_since: UnixSeconds) {
        let outlived = |entry: &LogEntry| entry.list_exp <= listed_since;
        let dropped = self
            .entries
            .iter()
            .filter(|entry| outlived(entry))
            .map(|entry| entry.seq);
        if let Some(last) = dropped.max() {
            self.dropped_to = self.dropped_to.max(last);
            self.entries.retain(|entry| !outlived(entry));
        }
    }

    fn position(&self) -> Position {
        Position {
            epoch: self.epoch.clone(),
            to: self.seq,
        }
    }

    /// Whether the table lost what an edge of this epoch has seen.
    fn is_behind(&self, held: &Position) -> bool {
        held.epoch == self.epoch && held.to > self.seq
    }

    /// The number after which an edge needs entries; 0 for the whole list.
    fn first_wanted(&self, held: Option<&Position>) -> u64 {
        match held {
            Some(held) if held.epoch == self.epoch && held.to >= self.dropped_to => held.to,
            _ => 0,
        }
    }

    fn claims_after(&self, from: u64, issuer: &str, now: UnixSeconds) -> ListClaims {
        ListClaims {
            iss: issuer.to_owned(),
            iat: now.get(),
            exp: now.plus(LIST_LIFETIME).get(),
            epoch: self.epoch.clone(),
            began: self.began.get(),
            from,
            to: self.seq,
            revoked_before: self.revoked_before.get(),
            kids: self.kids.clone(),
            sessions: self.buckets_after(from),
        }
    }

    fn buckets_after(&self, from: u64) -> Vec<ListBucket> {
        let mut buckets: BTreeMap<UnixSeconds, RoaringBitmap> = BTreeMap::new();
        for entry in self.entries.iter().filter(|entry| entry.seq > from) {
            buckets.entry(entry.list_exp).or_default().insert(entry.idx);
        }
        let write = |(exp, bitmap): (UnixSeconds, RoaringBitmap)| ListBucket {
            exp: exp.get(),
            idx: encode_bitmap(&bitmap),
        };
        buckets.into_iter().map(write).collect()
    }
}

/// `later - earlier` in whole milliseconds, rounded down: negative when it is not later.
fn difference_ms(later_us: u64, earlier_us: u64) -> i64 {
    let signed = |us: u64| i64::try_from(us).unwrap_or(i64::MAX);
    signed(later_us)
        .saturating_sub(signed(earlier_us))
        .div_euclid(1000)
}
