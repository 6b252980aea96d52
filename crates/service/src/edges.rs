//! Which edges poll the list, how far they are, and so whether a revocation is in force.
//!
//! Kept in memory only. An edge counts while it was answered within its own bound: one that was not
//! can no longer decide by its old list. A process that has just started knows no edge yet and
//! claims nothing before one bound has passed.
//!
//! Source: docs/protocol.md §3 (`me/in-force`).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use hallpass_session::wire::{InForce, Position};

/// Bound of an edge that names none, and of edges not seen yet: the default `list_max_age_secs`.
const DEFAULT_BOUND_MS: u64 = 10_000;
/// Commits whose moment is remembered; a portal asks within seconds.
const COMMITS_MAX: usize = 1024;

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

struct Seen {
    poll: EdgePoll,
    answered_at_ms: u64,
}

impl Seen {
    fn bound_ms(&self) -> u64 {
        self.poll.bound_ms.unwrap_or(DEFAULT_BOUND_MS)
    }

    fn counts_at(&self, now_ms: u64) -> bool {
        now_ms <= self.answered_at_ms.saturating_add(self.bound_ms())
    }

    fn has(&self, position: &Position) -> bool {
        let holds = self.poll.holds.as_ref();
        !self.poll.shared
            && holds.is_some_and(|held| held.epoch == position.epoch && held.to >= position.to)
    }
}

/// The edges that count at some moment, without their names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EdgesSeen {
    /// How many.
    pub count: usize,
    /// How many of them did not hold the newest entry when they asked.
    pub behind: usize,
    /// The smallest number that one held; 0 when it held none.
    pub least_position: u64,
    /// The longest time since one was answered.
    pub greatest_age_ms: u64,
}

/// The edges this process has answered.
pub struct Edges {
    started_at_ms: u64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    seen: HashMap<String, Seen>,
    commits: BTreeMap<u64, u64>,
    largest_bound_ms: u64,
}

impl Edges {
    /// Nobody seen yet.
    #[must_use]
    pub fn new(started_at_ms: u64) -> Self {
        let inner = Inner {
            largest_bound_ms: DEFAULT_BOUND_MS,
            ..Inner::default()
        };
        Self {
            started_at_ms,
            inner: Mutex::new(inner),
        }
    }

    /// Notes that `poll` was answered at `now_ms`.
    pub fn note_answer(&self, poll: EdgePoll, now_ms: u64) {
        let mut inner = self.lock();
        inner.seen.retain(|_, seen| seen.counts_at(now_ms));
        let seen = Seen {
            poll,
            answered_at_ms: now_ms,
        };
        inner.largest_bound_ms = inner.largest_bound_ms.max(seen.bound_ms());
        inner.seen.insert(seen.poll.edge.clone(), seen);
    }

    /// Notes that entry `seq` was committed by `at_ms`; the first note counts.
    pub fn note_commit(&self, seq: u64, at_ms: u64) {
        let mut inner = self.lock();
        inner.commits.entry(seq).or_insert(at_ms);
        while inner.commits.len() > COMMITS_MAX {
            inner.commits.pop_first();
        }
    }

    /// When entry `seq` was committed, if this process did it.
    #[must_use]
    pub fn committed_at_ms(&self, seq: u64) -> Option<u64> {
        self.lock().commits.get(&seq).copied()
    }

    /// Whether every edge has what was committed as `position` at `committed_at_ms`.
    #[must_use]
    pub fn in_force(&self, position: &Position, committed_at_ms: u64, now_ms: u64) -> InForce {
        let inner = self.lock();
        let bound_ms = inner.largest_bound_ms;
        let no_later_than_ms = committed_at_ms.saturating_add(bound_ms);
        let all_known = now_ms >= self.started_at_ms.saturating_add(bound_ms);
        let mut counted = inner.seen.values().filter(|seen| seen.counts_at(now_ms));
        let all_have_it = all_known && counted.all(|seen| seen.has(position));
        InForce {
            everywhere: all_have_it || now_ms >= no_later_than_ms,
            no_later_than_ms,
        }
    }

    /// The edges that count at `now_ms`, measured against the newest entry `head`.
    #[must_use]
    pub fn seen(&self, head: u64, now_ms: u64) -> EdgesSeen {
        let inner = self.lock();
        let counted = inner.seen.values().filter(|seen| seen.counts_at(now_ms));
        let mut all = EdgesSeen::default();
        for seen in counted {
            let to = seen.poll.holds.as_ref().map_or(0, |holds| holds.to);
            let is_first = all.count == 0;
            all.least_position = if is_first {
                to
            } else {
                all.least_position.min(to)
            };
            all.count += 1;
            all.behind += usize::from(to < head);
            let age_ms = now_ms.saturating_sub(seen.answered_at_ms);
            all.greatest_age_ms = all.greatest_age_ms.max(age_ms);
        }
        all
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{EdgePoll, Edges, EdgesSeen};
    use hallpass_session::wire::Position;

    fn position(to: u64) -> Position {
        Position {
            epoch: "e".into(),
            to,
        }
    }

    fn poll(edge: &str, to: u64) -> EdgePoll {
        let holds = Some(position(to));
        EdgePoll {
            edge: edge.into(),
            holds,
            bound_ms: Some(10_000),
            shared: false,
        }
    }

    /// A service up since 0, asked at 20 s about number 5, committed at 19 s.
    fn everywhere(edges: &Edges) -> bool {
        edges.in_force(&position(5), 19_000, 20_000).everywhere
    }

    #[test]
    fn in_force_waits_for_every_edge_within_its_bound() {
        let edges = Edges::new(0);
        edges.note_answer(poll("a", 5), 19_500);
        edges.note_answer(poll("b", 4), 19_000);
        assert!(!everywhere(&edges));

        edges.note_answer(poll("b", 5), 19_900);
        assert!(everywhere(&edges));
    }

    #[test]
    fn in_force_forgets_an_edge_past_its_bound() {
        let edges = Edges::new(0);
        edges.note_answer(poll("gone", 4), 9_999);
        edges.note_answer(poll("a", 5), 19_500);

        assert!(everywhere(&edges));
    }

    #[test]
    fn in_force_distrusts_shared_copies_and_other_epochs() {
        let edges = Edges::new(0);
        edges.note_answer(
            EdgePoll {
                shared: true,
                ..poll("a", 5)
            },
            19_500,
        );
        assert!(!everywhere(&edges));

        let other = Some(Position {
            epoch: "f".into(),
            to: 9,
        });
        edges.note_answer(
            EdgePoll {
                holds: other,
                ..poll("a", 5)
            },
            19_500,
        );
        assert!(!everywhere(&edges));
    }

    #[test]
    fn in_force_is_true_from_the_largest_bound_on() {
        let edges = Edges::new(0);
        edges.note_answer(
            EdgePoll {
                bound_ms: Some(30_000),
                ..poll("a", 4)
            },
            19_500,
        );
        let at = |now_ms| edges.in_force(&position(5), 19_000, now_ms);

        assert!(!at(48_999).everywhere);
        assert_eq!(at(49_000).no_later_than_ms, 49_000);
        assert!(at(49_000).everywhere);
    }

    #[test]
    fn seen_counts_edges_within_their_bound_and_how_far_they_are() {
        let edges = Edges::new(0);
        assert_eq!(edges.seen(5, 20_000), EdgesSeen::default());

        edges.note_answer(poll("gone", 1), 9_999);
        edges.note_answer(poll("a", 5), 19_500);
        edges.note_answer(poll("b", 4), 19_000);

        let expected = EdgesSeen {
            count: 2,
            behind: 1,
            least_position: 4,
            greatest_age_ms: 1_000,
        };
        assert_eq!(edges.seen(5, 20_000), expected);
    }

    #[test]
    fn in_force_claims_nothing_before_a_new_process_knows_its_edges() {
        let edges = Edges::new(15_000);

        assert!(!everywhere(&edges));
    }
}
