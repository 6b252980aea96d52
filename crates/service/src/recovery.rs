//! Going on with a restored table: what the journal knows and the table does not.
//!
//! Sessions that were ended since the backup are ended again. Sessions created since are lost: their
//! users sign in anew. Sessions renewed since are adopted at the generation their browser has, until
//! a given time, or everybody is signed out. Doing it twice ends nobody twice.
//!
//! Source: docs/protocol.md §4 rule 5.

use std::collections::HashMap;

use hallpass_session::base64url;
use hallpass_session::time::UnixSeconds;

use crate::clock::random_bytes;
use crate::failure::Failure;
use crate::journal::{Entry, JournalRead};
use crate::record::{Sid, parse_sid};
use crate::store::{KeyKind, KeyRow, PastRevocation, Recovery, RecoveryState, Store};

/// Session indexes left out: more than are given out between a backup and its restoration.
const SKIPPED_INDEXES: u64 = 1 << 20;
/// Sessions ended in one transaction.
const BATCH: usize = 200;

/// What a recovery would do.
#[derive(Debug)]
pub struct Plan {
    state: RecoveryState,
    /// Sessions of the table to end again.
    pub reapplied: Vec<PastRevocation>,
    /// Ended sessions that the table has lost, whose tokens may still live.
    pub lost_ended: Vec<PastRevocation>,
    /// How many revocations the table has.
    pub known: u64,
    /// How many were of sessions that are over by now.
    pub over: u64,
    /// The watermark, if the journal has a later one.
    pub raised_watermark: Option<UnixSeconds>,
    /// Renewal keys made since the backup.
    pub lost_renewal_keys: Vec<KeyRow>,
    /// At least so many sessions were created since the backup; unknown if the journal has nothing
    /// newer than the table.
    pub lost_sessions_at_least: Option<u64>,
}

/// Who stays signed in.
#[derive(Clone, Copy, Debug)]
pub enum Continuity {
    /// Sessions renewed since the backup are adopted until then.
    AdoptUntil(UnixSeconds),
    /// Everybody signs in anew.
    SignOutEveryone,
}

/// Compares a journal with the table.
///
/// # Errors
///
/// When the table cannot be read.
pub async fn plan(
    store: &dyn Store,
    journal: &JournalRead,
    now: UnixSeconds,
) -> Result<Plan, Failure> {
    let state = store.recovery_state().await?;
    let mut plan = Plan {
        lost_sessions_at_least: lost_sessions(journal, &state),
        raised_watermark: later_watermark(journal, &state),
        lost_renewal_keys: lost_renewal_keys(journal, &store.keys().await?, now),
        state,
        reapplied: Vec::new(),
        lost_ended: Vec::new(),
        known: 0,
        over: 0,
    };
    for past in revocations(journal).into_values() {
        if past.ends_at <= now && past.list_exp <= now {
            plan.over += 1;
            continue;
        }
        match store.find(past.sid).await? {
            Some(record) if record.revocation.is_some() => plan.known += 1,
            Some(_) => plan.reapplied.push(past),
            None if past.list_exp > now => plan.lost_ended.push(past),
            None => plan.over += 1,
        }
    }
    Ok(plan)
}

impl Plan {
    /// When the backup was taken, if `hallpass restore` put it in place.
    #[must_use]
    pub const fn restored_at(&self) -> Option<UnixSeconds> {
        self.state.restored_at
    }

    /// Does it. Returns how many revocations were applied again, and how the table then stands.
    ///
    /// # Errors
    ///
    /// When the table cannot be written. What was done stays; do it again.
    pub async fn carry_out(
        self,
        store: &dyn Store,
        continuity: Continuity,
    ) -> Result<(u64, RecoveryState), Failure> {
        let mut ended = 0;
        for batch in [self.reapplied, self.lost_ended].concat().chunks(BATCH) {
            ended += store.reapply(batch.to_vec()).await?;
        }
        let (adopt_until, sign_out_everyone) = match continuity {
            Continuity::AdoptUntil(until) => (until, false),
            Continuity::SignOutEveryone => (UnixSeconds::new(0), true),
        };
        let recovery = Recovery {
            epoch: base64url::encode(&random_bytes::<16>()?),
            skipped_indexes: SKIPPED_INDEXES,
            adopt_until,
            revoked_before: self.raised_watermark.unwrap_or(self.state.revoked_before),
            sign_out_everyone,
            lost_renewal_keys: self.lost_renewal_keys,
        };
        Ok((ended, store.recover(recovery).await?))
    }
}

/// Every revocation of a journal, by session.
fn revocations(journal: &JournalRead) -> HashMap<Sid, PastRevocation> {
    let mut found = HashMap::new();
    for entry in &journal.entries {
        let Entry::Revoked(revoked) = entry else {
            continue;
        };
        for session in &revoked.sessions {
            let Some(sid) = parse_sid(&session.sid) else {
                continue;
            };
            found.entry(sid).or_insert_with(|| PastRevocation {
                sid,
                idx: session.idx,
                ends_at: UnixSeconds::new(session.ends_at),
                at: UnixSeconds::new(revoked.at),
                by: revoked.by.clone(),
                reason: revoked.reason.clone(),
                list_exp: UnixSeconds::new(revoked.list_exp),
            });
        }
    }
    found
}

fn later_watermark(journal: &JournalRead, state: &RecoveryState) -> Option<UnixSeconds> {
    let watermarks = journal.entries.iter().filter_map(|entry| match entry {
        Entry::RevokedBefore { revoked_before, .. } => Some(UnixSeconds::new(*revoked_before)),
        _ => None,
    });
    watermarks
        .max()
        .filter(|latest| *latest > state.revoked_before)
}

/// Keys whose ids the table would give out again. What they made cannot be verified any more.
fn lost_renewal_keys(journal: &JournalRead, keys: &[KeyRow], now: UnixSeconds) -> Vec<KeyRow> {
    let known = |kid: &str| {
        let mut renewal = keys.iter().filter(|row| row.kind == KeyKind::Renewal);
        renewal.any(|row| row.kid == kid)
    };
    let mut lost: Vec<KeyRow> = Vec::new();
    for entry in &journal.entries {
        let Entry::RenewalKey { kid, at, .. } = entry else {
            continue;
        };
        let is_id = kid
            .parse::<u8>()
            .is_ok_and(|id| id > 0 && id.to_string() == *kid);
        if is_id && !known(kid) && lost.iter().all(|row| row.kid != *kid) {
            lost.push(removed_key(kid, UnixSeconds::new(*at), now));
        }
    }
    lost
}

fn removed_key(kid: &str, created_at: UnixSeconds, now: UnixSeconds) -> KeyRow {
    KeyRow {
        kind: KeyKind::Renewal,
        kid: kid.to_owned(),
        alg: "HS256".to_owned(),
        public_jwk: None,
        secret: Vec::new(),
        sealed: false,
        check_value: [0; 32],
        created_at,
        signs_from: created_at,
        retired_at: None,
        removed_at: Some(now),
    }
}

fn lost_sessions(journal: &JournalRead, state: &RecoveryState) -> Option<u64> {
    let given_out = journal.entries.iter().filter_map(|entry| match entry {
        Entry::Revoked(revoked) => Some(revoked.next_idx),
        Entry::RevokedBefore { next_idx, .. } => Some(*next_idx),
        _ => None,
    });
    let most = given_out.max()?;
    most.checked_sub(state.next_idx).filter(|gap| *gap > 0)
}
