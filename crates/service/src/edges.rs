//! Which edges poll this process, and how far they are.
//!
//! Kept in memory only. An edge counts while it is being answered, and from each answer on for its
//! own bound: after that it decides by this list no more. What an edge holds is known when it asks;
//! what it was given it may not have got. One that asks for the first time holds nothing, so that it
//! lacks nothing that was committed before.
//!
//! Whether a revocation is in force in all processes is judged in [`crate::in_force`].
//!
//! Source: docs/protocol.md §3 (`me/in-force`).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hallpass_session::wire::Position;
use hmac_sha256::Hash;

use crate::store::Report;

/// Bound of an edge that names none: the default `list_max_age_secs`.
pub const DEFAULT_BOUND_MS: u64 = 10_000;
/// Most edges that are told apart: 2 MiB. All beyond are together one that has nothing.
const EDGES_MAX: usize = 16_384;
/// Entries whose commit is remembered; a portal asks within seconds.
const COMMITS_MAX: usize = 1024;
/// How often those that count no more are forgotten.
const FORGET_EVERY_MS: u64 = 1000;
/// Stands for all edges that are not told apart.
const OTHERS: u64 = 0;

/// One edge's poll.
#[derive(Clone, Debug)]
pub struct EdgePoll {
    /// Random id of the isolate.
    pub edge: String,
    /// The epoch and number it says it holds.
    pub holds: Option<Position>,
    /// Its largest tolerated age, in milliseconds; the default if it names none.
    pub bound_ms: Option<u64>,
    /// Whether what it holds may have come from a shared copy.
    pub shared: bool,
}

/// The edges that count at some moment, without their names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EdgesSeen {
    /// How many are told apart.
    pub count: usize,
    /// How many of them did not hold the newest entry when they asked.
    pub behind: usize,
    /// The smallest number that one held; 0 when it held none.
    pub least_position: u64,
    /// The longest time since one was answered.
    pub greatest_age_ms: u64,
}

/// The edges that this process answers.
pub struct Edges(Mutex<Inner>);

/// An edge that is being answered.
pub struct Visit<'a> {
    edges: &'a Edges,
    edge: u64,
}

struct Inner {
    seen: HashMap<u64, Seen>,
    newest: Newest,
    forgot_at_ms: u64,
}

/// What is known of one edge.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// The epoch it holds, as a digest.
    epoch: u64,
    /// The number it holds, as it said last.
    holds: u64,
    /// The number up to which it lacks nothing.
    has: u64,
    bound_ms: u64,
    /// How many of its polls are being answered.
    open: u32,
    answered_at_ms: Option<u64>,
}

/// The newest entry known to be committed.
struct Newest {
    position: Position,
    moved_at_ms: u64,
    epoch_known_since_ms: u64,
    /// By when each entry was committed.
    commits: BTreeMap<u64, u64>,
}

impl Edges {
    /// Nobody seen yet.
    #[must_use]
    pub fn new(now_ms: u64) -> Self {
        let newest = Newest {
            position: Position {
                epoch: String::new(),
                to: 0,
            },
            moved_at_ms: now_ms,
            epoch_known_since_ms: now_ms,
            commits: BTreeMap::new(),
        };
        Self(Mutex::new(Inner {
            seen: HashMap::new(),
            newest,
            forgot_at_ms: now_ms,
        }))
    }

    /// Notes that an edge asks. It counts from now on.
    #[must_use]
    pub fn arrive(&self, poll: &EdgePoll, now_ms: u64) -> Visit<'_> {
        let mut inner = self.lock();
        inner.forget(now_ms);
        let edge = inner.room_for(digest(&poll.edge));
        let asking = if edge == OTHERS {
            Seen::default()
        } else {
            Seen::asking(poll, &inner.newest.position)
        };
        let bound_ms = poll.bound_ms.unwrap_or(DEFAULT_BOUND_MS);
        let seen = inner.seen.entry(edge).or_default();
        seen.take_in(asking);
        seen.bound_ms = if edge == OTHERS {
            bound_ms.max(seen.bound_ms)
        } else {
            bound_ms
        };
        seen.open = seen.open.saturating_add(1);
        Visit { edges: self, edge }
    }

    /// Notes an entry that was committed by `now_ms`. Whether it is a newer one.
    pub fn note_entry(&self, position: &Position, now_ms: u64) -> bool {
        let newest = &mut self.lock().newest;
        if newest.position.epoch != position.epoch {
            newest.epoch_known_since_ms = now_ms;
            newest.commits.clear();
        } else if newest.position.to >= position.to {
            return false;
        }
        newest.position = position.clone();
        newest.moved_at_ms = now_ms;
        newest.commits.insert(position.to, now_ms);
        while newest.commits.len() > COMMITS_MAX {
            newest.commits.pop_first();
        }
        true
    }

    /// Whether an entry of this position is known to be committed.
    #[must_use]
    pub fn knows(&self, position: &Position) -> bool {
        let newest = &self.lock().newest.position;
        newest.epoch == position.epoch && newest.to >= position.to
    }

    /// By when `position` was committed, by this process's clock; `None` if that is not known to
    /// be so. An epoch that is not the newest one was over when that one began.
    #[must_use]
    pub fn committed_by_ms(&self, position: &Position) -> Option<u64> {
        let newest = &self.lock().newest;
        if newest.position.epoch != position.epoch {
            return Some(newest.epoch_known_since_ms);
        }
        let noted = newest.commits.range(position.to..).next();
        noted.map(|(_, at_ms)| *at_ms)
    }

    /// Whether an edge may still decide without the newest entry.
    #[must_use]
    pub fn are_moving(&self, now_ms: u64) -> bool {
        let inner = self.lock();
        let bounds = inner.counting(now_ms).map(|(_, seen)| seen.bound_ms);
        let bound_ms = bounds.max().unwrap_or(0).max(DEFAULT_BOUND_MS);
        let moved_at_ms = inner.newest.moved_at_ms;
        now_ms.saturating_sub(moved_at_ms) <= bound_ms + FORGET_EVERY_MS
    }

    /// What there is to say of the edges that count.
    #[must_use]
    pub fn report(&self, now_ms: u64) -> Report {
        let inner = self.lock();
        let newest = inner.newest.position.clone();
        let epoch = digest(&newest.epoch);
        let mut bound_ms = DEFAULT_BOUND_MS;
        let mut edges = Vec::new();
        for (edge, seen) in inner.counting(now_ms) {
            bound_ms = bound_ms.max(seen.bound_ms);
            let has = if seen.epoch == epoch { seen.has } else { 0 };
            edges.push((*edge, has));
        }
        edges.sort_unstable();
        Report {
            newest,
            bound_ms,
            edges,
        }
    }

    /// For how long some edge will count, if none asks again.
    #[must_use]
    pub fn count_for_ms(&self, now_ms: u64) -> u64 {
        let inner = self.lock();
        let left = inner.counting(now_ms).map(|(_, seen)| {
            let answered_at_ms = seen.answered_at_ms.filter(|_| seen.open == 0);
            let until_ms = answered_at_ms.unwrap_or(now_ms) + seen.bound_ms;
            until_ms.saturating_sub(now_ms).saturating_add(1)
        });
        left.max().unwrap_or(0)
    }

    /// The edges that count at `now_ms`, measured against the newest entry `head`.
    #[must_use]
    pub fn seen(&self, head: u64, now_ms: u64) -> EdgesSeen {
        let inner = self.lock();
        let mut all = EdgesSeen::default();
        let mut least = u64::MAX;
        for (_, seen) in inner.counting(now_ms).filter(|(edge, _)| **edge != OTHERS) {
            all.count += 1;
            all.behind += usize::from(seen.holds < head);
            least = least.min(seen.holds);
            let age_ms = now_ms.saturating_sub(seen.answered_at_ms.unwrap_or(now_ms));
            all.greatest_age_ms = all.greatest_age_ms.max(age_ms);
        }
        all.least_position = if all.count == 0 { 0 } else { least };
        all
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visit<'_> {
    /// Notes that the edge gets an answer now: it counts for its bound.
    pub fn answered(self, now_ms: u64) {
        let mut inner = self.edges.lock();
        if let Some(seen) = inner.seen.get_mut(&self.edge) {
            seen.answered_at_ms = Some(now_ms);
        }
    }
}

/// An edge that went away before its answer counts as it did before it asked.
impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let mut inner = self.edges.lock();
        if let Some(seen) = inner.seen.get_mut(&self.edge) {
            seen.open = seen.open.saturating_sub(1);
        }
    }
}

impl Inner {
    fn counting(&self, now_ms: u64) -> impl Iterator<Item = (&u64, &Seen)> {
        self.seen
            .iter()
            .filter(move |(_, seen)| seen.counts_at(now_ms))
    }

    fn forget(&mut self, now_ms: u64) {
        if now_ms.abs_diff(self.forgot_at_ms) >= FORGET_EVERY_MS {
            self.forgot_at_ms = now_ms;
            self.seen.retain(|_, seen| seen.counts_at(now_ms));
        }
    }

    fn room_for(&self, edge: u64) -> u64 {
        let has_room = self.seen.len() < EDGES_MAX || self.seen.contains_key(&edge);
        if has_room { edge } else { OTHERS }
    }
}

impl Seen {
    fn asking(poll: &EdgePoll, newest: &Position) -> Self {
        let position = poll.holds.as_ref().unwrap_or(newest);
        Self {
            epoch: digest(&position.epoch),
            holds: poll.holds.as_ref().map_or(0, |holds| holds.to),
            has: if poll.shared { 0 } else { position.to },
            ..Self::default()
        }
    }

    /// Within an epoch an edge never holds less than before, whatever order its polls come in.
    fn take_in(&mut self, asking: Self) {
        if self.epoch == asking.epoch {
            self.has = self.has.max(asking.has);
        } else {
            (self.epoch, self.has) = (asking.epoch, asking.has);
        }
        self.holds = asking.holds;
    }

    fn counts_at(&self, now_ms: u64) -> bool {
        let is_within_bound = |at_ms: u64| now_ms <= at_ms.saturating_add(self.bound_ms);
        self.open > 0 || self.answered_at_ms.is_some_and(is_within_bound)
    }
}

/// Names that others choose, in eight bytes.
fn digest(name: &str) -> u64 {
    let digest = Hash::hash(name.as_bytes());
    digest
        .first_chunk()
        .map_or(OTHERS, |first| u64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::{EDGES_MAX, EdgePoll, Edges, EdgesSeen, OTHERS};
    use hallpass_session::wire::Position;

    fn position(to: u64) -> Position {
        Position {
            epoch: "e".into(),
            to,
        }
    }

    fn poll(edge: &str, to: u64) -> EdgePoll {
        EdgePoll {
            edge: edge.into(),
            holds: Some(position(to)),
            bound_ms: Some(10_000),
            shared: false,
        }
    }

    /// Knows number 5 since 19 s.
    fn edges() -> Edges {
        let edges = Edges::new(0);
        edges.note_entry(&position(5), 19_000);
        edges
    }

    fn answer(edges: &Edges, poll: &EdgePoll, now_ms: u64) {
        edges.arrive(poll, now_ms).answered(now_ms);
    }

    /// What the edges that count at 20 s have.
    fn have(edges: &Edges) -> Vec<u64> {
        let report = edges.report(20_000);
        let mut have: Vec<u64> = report.edges.iter().map(|(_, has)| *has).collect();
        have.sort_unstable();
        have
    }

    #[test]
    fn edge_counts_from_its_question_to_the_end_of_its_bound() {
        let edges = edges();
        let visit = edges.arrive(&poll("a", 4), 9_000);
        assert_eq!(have(&edges), [4], "it is being answered");
        visit.answered(9_999);
        assert_eq!(have(&edges), [0; 0]);

        answer(&edges, &poll("b", 4), 10_000);
        assert_eq!(have(&edges), [4]);
        assert_eq!(edges.count_for_ms(20_000), 1);
        assert_eq!(edges.count_for_ms(20_001), 0);
    }

    #[test]
    fn edge_that_goes_away_before_its_answer_counts_as_before() {
        let edges = edges();
        drop(edges.arrive(&poll("new", 4), 19_500));
        assert_eq!(have(&edges), [0; 0]);

        answer(&edges, &poll("a", 3), 10_000);
        drop(edges.arrive(&poll("a", 4), 19_500));
        assert_eq!(have(&edges), [4]);
        assert_eq!(edges.count_for_ms(20_000), 1);
    }

    #[test]
    fn edge_has_what_it_held_when_it_asked() {
        let edges = edges();
        answer(&edges, &poll("a", 4), 19_500);
        assert_eq!(have(&edges), [4]);

        let waiting = edges.arrive(&poll("a", 5), 19_600);
        assert_eq!(have(&edges), [5], "it need not be answered to have it");
        waiting.answered(19_700);
        answer(&edges, &poll("a", 4), 19_800);
        assert_eq!(have(&edges), [5], "a question that was overtaken");
    }

    #[test]
    fn edge_that_holds_nothing_lacks_nothing_from_before() {
        let first = EdgePoll {
            holds: None,
            ..poll("new", 0)
        };
        let edges = edges();
        answer(&edges, &first, 19_500);
        edges.note_entry(&position(6), 19_600);
        assert_eq!(have(&edges), [5]);

        let unread = Edges::new(0);
        answer(&unread, &first, 19_500);
        unread.note_entry(&position(6), 19_600);
        assert_eq!(have(&unread), [0]);
    }

    #[test]
    fn edge_of_a_shared_copy_or_another_epoch_has_nothing() {
        let edges = edges();
        let shared = EdgePoll {
            shared: true,
            ..poll("a", 5)
        };
        answer(&edges, &shared, 19_500);
        assert_eq!(have(&edges), [0]);

        let other = EdgePoll {
            holds: Some(Position {
                epoch: "f".into(),
                to: 9,
            }),
            ..poll("a", 5)
        };
        answer(&edges, &other, 19_500);
        assert_eq!(have(&edges), [0]);
    }

    #[test]
    fn edges_beyond_the_most_are_one_that_has_nothing() {
        let edges = edges();
        for number in 0..EDGES_MAX {
            answer(&edges, &poll(&number.to_string(), 5), 19_500);
        }
        assert_eq!(have(&edges).first(), Some(&5));

        let one_more = EdgePoll {
            bound_ms: Some(30_000),
            ..poll("one more", 5)
        };
        answer(&edges, &one_more, 19_600);
        answer(&edges, &poll("another", 5), 19_700);
        answer(&edges, &poll("7", 6), 19_800);
        let report = edges.report(20_000);
        assert_eq!(report.edges.len(), EDGES_MAX + 1);
        assert_eq!(report.edges[0], (OTHERS, 0));
        assert_eq!(report.bound_ms, 30_000);
        assert_eq!(edges.seen(5, 20_000).count, EDGES_MAX);

        answer(&edges, &poll("later", 5), 40_000);
        assert_eq!(edges.report(40_000).edges.len(), 2, "there is room again");
        assert_eq!(edges.report(49_701).edges.len(), 1, "they count no more");
    }

    #[test]
    fn entry_is_committed_by_the_moment_it_or_a_later_one_is_known() {
        let edges = edges();
        edges.note_entry(&position(7), 21_000);
        edges.note_entry(&position(6), 22_000);

        let by = |to| edges.committed_by_ms(&position(to));
        assert_eq!((by(4), by(5)), (Some(19_000), Some(19_000)));
        assert_eq!((by(6), by(7)), (Some(21_000), Some(21_000)));
        assert_eq!(by(8), None);
        assert!(edges.knows(&position(7)) && !edges.knows(&position(8)));

        let later = Position {
            epoch: "f".into(),
            to: 1,
        };
        edges.note_entry(&later, 30_000);
        assert_eq!(by(7), Some(30_000), "its epoch was over by then");
    }

    #[test]
    fn edges_move_for_a_bound_after_an_entry() {
        let edges = edges();
        assert!(edges.are_moving(30_000));
        assert!(!edges.are_moving(30_001));

        let slow = EdgePoll {
            bound_ms: Some(20_000),
            ..poll("slow", 4)
        };
        answer(&edges, &slow, 30_000);
        assert!(edges.are_moving(40_000));
        assert!(!edges.are_moving(40_001));
    }

    #[test]
    fn seen_counts_edges_within_their_bound_and_how_far_they_are() {
        let edges = edges();
        assert_eq!(edges.seen(5, 20_000), EdgesSeen::default());

        answer(&edges, &poll("gone", 1), 9_999);
        answer(&edges, &poll("a", 5), 19_500);
        answer(&edges, &poll("b", 4), 19_000);

        let expected = EdgesSeen {
            count: 2,
            behind: 1,
            least_position: 4,
            greatest_age_ms: 1_000,
        };
        assert_eq!(edges.seen(5, 20_000), expected);
    }
}
