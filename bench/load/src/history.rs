//! What clients were told, and what must therefore hold for ever after.
//!
//! Only acknowledged things are noted: an answer that never came promises nothing. Whatever
//! contradicts a note is a violation, kept in words.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hallpass_session::renewal::Branch;
use hallpass_session::wire::Position;
use serde::Serialize;
use tokio::time::Instant;

/// A session id as tokens and URLs have it.
pub(crate) type Sid = String;

/// How often what was acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) creations: u64,
    pub(crate) renewals: u64,
    pub(crate) revocations: u64,
    pub(crate) outages: u64,
    pub(crate) lists: u64,
}

/// Everything that was acknowledged.
#[derive(Default)]
pub(crate) struct History(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    lives: HashMap<Sid, Life>,
    counts: Counts,
    violations: Vec<String>,
}

/// One session as its user was told of it.
#[derive(Default)]
struct Life {
    idx: u32,
    /// Which branch was confirmed as which generation.
    confirmed: BTreeMap<u32, [u8; 8]>,
    /// The highest generation that an answer was a child of.
    highest: u32,
    ended: Option<(Position, Instant)>,
}

/// A revocation that was acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Revocation {
    pub(crate) sid: Sid,
    pub(crate) idx: u32,
    pub(crate) position: Position,
    pub(crate) acknowledged_at: Instant,
}

impl History {
    /// A session was created.
    pub(crate) fn note_creation(&self, sid: &str, idx: u32) {
        let mut inner = self.lock();
        inner.counts.creations += 1;
        let same_idx = inner.lives.iter().find(|(_, life)| life.idx == idx);
        if let Some((other, _)) = same_idx {
            let text = format!("{sid} and {other} were given the same idx {idx}");
            inner.violations.push(text);
        }
        let life = Life {
            idx,
            ..Life::default()
        };
        inner.lives.insert(sid.to_owned(), life);
    }

    /// The highest generation that this session's user has an answer of.
    pub(crate) fn highest(&self, sid: &str) -> u32 {
        self.lock().lives.get(sid).map_or(0, |life| life.highest)
    }

    /// A renewal answered with a token of generation `child`, asked for when `known` was the
    /// highest generation so acknowledged. `presented` is the token it confirmed, where no sibling
    /// of it was about.
    pub(crate) fn note_renewal(
        &self,
        sid: &str,
        presented: Option<Branch>,
        child: u32,
        known: u32,
    ) {
        let mut inner = self.lock();
        inner.counts.renewals += 1;
        let Some(life) = inner.lives.get_mut(sid) else {
            return;
        };
        let confirmed = child.saturating_sub(1);
        let mut wrong = Vec::new();
        if confirmed < known {
            wrong.push(format!(
                "{sid}: generation {known} was acknowledged, then {confirmed} was answered with a child"
            ));
        }
        if let Some(Branch { generation, branch }) = presented
            && generation == confirmed
        {
            let first = *life.confirmed.entry(confirmed).or_insert(branch);
            if first != branch {
                wrong.push(format!(
                    "{sid}: two branches of generation {confirmed} were confirmed"
                ));
            }
        }
        if life.ended.is_some() {
            wrong.push(format!(
                "{sid}: renewed after its revocation was acknowledged"
            ));
        }
        life.highest = life.highest.max(confirmed);
        inner.violations.append(&mut wrong);
    }

    /// A revocation was acknowledged; its renewals that were asked for before may still be answered.
    pub(crate) fn note_revocation(&self, sid: &str, position: &Position) {
        let mut inner = self.lock();
        inner.counts.revocations += 1;
        if let Some(life) = inner.lives.get_mut(sid) {
            life.ended = Some((position.clone(), Instant::now()));
        }
    }

    /// A request without an answer that means something.
    pub(crate) fn note_outage(&self) {
        self.lock().counts.outages += 1;
    }

    /// A list was taken in.
    pub(crate) fn note_list(&self) {
        self.lock().counts.lists += 1;
    }

    /// Something that must not be.
    pub(crate) fn note_violation(&self, what: String) {
        eprintln!("violation: {what}");
        self.lock().violations.push(what);
    }

    /// Every revocation acknowledged so far.
    pub(crate) fn revocations(&self) -> Vec<Revocation> {
        let inner = self.lock();
        let ended = inner.lives.iter().filter_map(|(sid, life)| {
            let (position, acknowledged_at) = life.ended.clone()?;
            Some(Revocation {
                sid: sid.clone(),
                idx: life.idx,
                position,
                acknowledged_at,
            })
        });
        ended.collect()
    }

    /// What was counted, and what must not have been.
    pub(crate) fn sum(&self) -> (Counts, Vec<String>) {
        let inner = self.lock();
        (inner.counts.clone(), inner.violations.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branch(generation: u32, branch: u8) -> Branch {
        Branch {
            generation,
            branch: [branch; 8],
        }
    }

    fn violations(history: &History) -> Vec<String> {
        history.sum().1
    }

    #[test]
    fn one_line_of_renewals_violates_nothing() {
        let history = History::default();
        history.note_creation("s", 1);
        history.note_renewal("s", Some(branch(1, 1)), 2, 0);
        history.note_renewal("s", Some(branch(1, 1)), 2, 1);
        history.note_renewal("s", Some(branch(2, 3)), 3, 1);

        assert_eq!(violations(&history), Vec::<String>::new());
        assert_eq!(history.highest("s"), 2);
    }

    #[test]
    fn two_confirmed_branches_of_one_generation_are_a_violation() {
        let history = History::default();
        history.note_creation("s", 1);
        history.note_renewal("s", Some(branch(1, 1)), 2, 0);
        history.note_renewal("s", Some(branch(1, 9)), 2, 0);

        assert_eq!(violations(&history).len(), 1);
    }

    #[test]
    fn a_lost_confirmation_is_a_violation() {
        let history = History::default();
        history.note_creation("s", 1);
        history.note_renewal("s", Some(branch(2, 1)), 3, 0);
        let known = history.highest("s");
        history.note_renewal("s", Some(branch(1, 1)), 2, known);

        assert_eq!(violations(&history).len(), 1);
    }

    #[test]
    fn a_renewal_after_an_acknowledged_revocation_is_a_violation() {
        let history = History::default();
        history.note_creation("s", 1);
        let position = Position {
            epoch: "e".into(),
            to: 1,
        };
        history.note_revocation("s", &position);
        history.note_renewal("s", Some(branch(1, 1)), 2, 0);

        assert_eq!(violations(&history).len(), 1);
    }

    #[test]
    fn two_sessions_with_one_idx_are_a_violation() {
        let history = History::default();
        history.note_creation("s", 1);
        history.note_creation("t", 1);

        assert_eq!(violations(&history).len(), 1);
    }
}
