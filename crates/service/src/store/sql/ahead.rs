//! Renewals of one batch of the serial lane, read and written together on `SQLite`.
//!
//! A statement costs a trip to the thread of `SQLite` and back, which is most of what a renewal costs
//! there. So the sessions that a batch renews are read sixteen at a time before its renewals run,
//! and what they confirm is written sixteen at a time after. Between the two a session is as its last
//! renewal in this batch left it; nobody else writes meanwhile, for the lane holds the database.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;

use super::renewal::{Confirmation, Found, Sessions};
use super::rows::select_sessions;
use super::statement::Statement;
use super::transaction::Transaction;
use crate::record::Sid;
use crate::store::StoreError;

/// Sessions in one statement; places that are left over hold nulls, which no session matches.
const TOGETHER: usize = 16;
/// Values of one confirmation.
const CONFIRMATION_VALUES: usize = 12;

/// Repeats a part of a statement [`TOGETHER`] times.
macro_rules! sixteen {
    ($part:literal) => {
        concat!(
            $part, ",", $part, ",", $part, ",", $part, ",", $part, ",", $part, ",", $part, ",",
            $part, ",", $part, ",", $part, ",", $part, ",", $part, ",", $part, ",", $part, ",",
            $part, ",", $part
        )
    };
}

/// What a transaction has read ahead, and not yet written.
#[derive(Default)]
pub(super) struct Ahead {
    found: BTreeMap<Sid, Found>,
    confirmed: BTreeMap<Sid, Confirmation>,
}

impl Ahead {
    /// Has a session read anew: more than its confirmation changes.
    pub(super) fn forget(&mut self, sid: &Sid) {
        self.found.remove(sid);
    }
}

impl Transaction<'_> {
    /// Reads sessions that are about to be renewed.
    pub(super) async fn read_ahead(&mut self, sids: BTreeSet<Sid>) -> Result<(), StoreError> {
        static FIND: Statement = Statement::new(concat!(
            select_sessions!(
                ", h.began, h.keys_seq, h.adopt_until",
                "JOIN head h ON h.id = 1",
                "WHERE s.sid IN ("
            ),
            sixteen!("?"),
            ")"
        ));
        let sids: Vec<Sid> = sids.into_iter().collect();
        for sids in sids.chunks(TOGETHER) {
            let mut find = FIND.plain();
            for sid in sids {
                find = find.bind(sid);
            }
            for _ in sids.len()..TOGETHER {
                find = find.bind(None::<i64>);
            }
            for row in self.all(find).await? {
                let found = Found::read(&row)?;
                self.ahead().found.insert(found.record.sid, found);
            }
        }
        Ok(())
    }

    /// Writes what was confirmed.
    pub(super) async fn write_confirmed(&mut self) -> Result<(), StoreError> {
        static CONFIRM: Statement = Statement::new(concat!(
            "UPDATE renewals SET generation = v.column1, branch = v.column2, \
             confirmed_at = v.column3, agent = v.column4, ip = v.column5, country = v.column6, \
             region = v.column7, city = v.column8, asn = v.column9 FROM (VALUES ",
            sixteen!("(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
            ") v WHERE renewals.sid = v.column10 AND renewals.generation = v.column11 \
             AND renewals.branch = v.column12"
        ));
        let confirmed = std::mem::take(&mut self.ahead().confirmed);
        let confirmed: Vec<Confirmation> = confirmed.into_values().collect();
        for confirmed in confirmed.chunks(TOGETHER) {
            let mut confirm = CONFIRM.plain();
            for confirmation in confirmed {
                confirm = confirmation.bind_to(confirm);
            }
            for _ in confirmed.len() * CONFIRMATION_VALUES..TOGETHER * CONFIRMATION_VALUES {
                confirm = confirm.bind(None::<i64>);
            }
            let written = self.execute(confirm).await?;
            if u64::try_from(confirmed.len()) != Ok(written) {
                // Cannot be while the lane holds the database; alone, each is judged again.
                return Err(StoreError::Rejected(
                    "a confirmation found another one before it".to_owned(),
                ));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Sessions for Transaction<'_> {
    async fn find(&mut self, sid: &Sid) -> Result<Option<Found>, StoreError> {
        if let Some(found) = self.ahead().found.get(sid) {
            return Ok(Some(found.clone()));
        }
        self.write_confirmed().await?;
        self.connection().find(sid).await
    }

    async fn confirm(&mut self, confirmation: Confirmation) -> Result<bool, StoreError> {
        let ahead = self.ahead();
        let Some(found) = ahead.found.get_mut(&confirmation.sid) else {
            return self.connection().confirm(confirmation).await;
        };
        found.record.confirmed = confirmation.next.clone();
        found.record.origin = confirmation.origin.clone();
        // Of several of one session the last is written, in place of what the first replaced.
        let sid = confirmation.sid;
        let replaced = ahead.confirmed.get(&sid).map(|earlier| earlier.replaced);
        let replaced = replaced.unwrap_or(confirmation.replaced);
        let confirmation = Confirmation {
            replaced,
            ..confirmation
        };
        ahead.confirmed.insert(sid, confirmation);
        Ok(true)
    }
}
