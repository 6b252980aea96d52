//! Whether a revocation is in force at every edge, whichever process answers them.
//!
//! Each process keeps a row in the table, its [`Report`]: how far the log was when it looked at its
//! edges, and what those that count have. It is written before a process answers its first edge, and
//! anew when a revocation or an edge moved, a few times a second for one bound; else once a minute.
//! A revocation is in force once every row is of a moment after it, and each edge in any of them
//! has it in at least one: edges go from process to process. What a process that was killed said
//! stays, and so says that nothing is known, until the bound of the revocation has passed.
//!
//! Rows end by the database's clock. A commit is timed by the clock of the process that is asked, once
//! it learns of it, or some seconds after the one that the revocation bears, whichever is earlier.
//!
//! Source: docs/protocol.md §3 (`me/in-force`).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hallpass_session::base64url;
use hallpass_session::time::Seconds;
use hallpass_session::wire::{InForce, Position};
use tokio::sync::{Mutex, Notify};

use crate::clock::random_bytes;
use crate::edges::{DEFAULT_BOUND_MS, EdgePoll};
use crate::failure::Failure;
use crate::list::{ListAnswer, ListPoll};
use crate::service::Service;
use crate::store::{Report, StoreError};

/// How long after the second that a revocation bears it is committed at the latest: a second, and
/// five by which the clocks of two processes may differ, as everywhere.
const WRITTEN_WITHIN: Seconds = Seconds::new(6);
/// How long a row counts from when it was written.
const ROW_LIFETIME: Seconds = Seconds::new(300);
/// How often it is written when nothing happens, in microseconds of our clock.
const WRITE_AGAIN_US: u64 = 60_000_000;
/// How long a process relies on its row: less than the row counts, by more than a write takes.
const RELIED_ON_US: u64 = 150_000_000;
/// How long edges are answered without a row after it could not be written.
const RETRY_US: u64 = 1_000_000;
/// Least time between two writes.
const PACE: Duration = Duration::from_millis(250);
/// Time between two looks when nothing happens.
const IDLE: Duration = Duration::from_secs(5);

/// What a process tells the others of its edges.
pub(crate) struct Reporter {
    process: String,
    row: Mutex<Row>,
    /// Until when polls need not look after the row.
    relied_on_until_us: AtomicU64,
    wake: Notify,
}

#[derive(Default)]
struct Row {
    report: Option<Report>,
    written_us: u64,
}

impl Reporter {
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self {
            process: base64url::encode(&random_bytes::<16>()?),
            row: Mutex::default(),
            relied_on_until_us: AtomicU64::new(0),
            wake: Notify::new(),
        })
    }
}

/// Whether every edge has the entry, by what all processes say.
#[must_use]
pub fn is_everywhere(position: &Position, reports: &[Report]) -> bool {
    let knows =
        |report: &Report| report.newest.epoch == position.epoch && report.newest.to >= position.to;
    if !reports.iter().all(knows) {
        return false;
    }
    let mut has = HashMap::new();
    for (edge, to) in reports.iter().flat_map(|report| &report.edges) {
        let most = has.entry(*edge).or_insert(*to);
        *most = (*most).max(*to);
    }
    has.values().all(|to| *to >= position.to)
}

/// The longest that an edge in these reports may decide without an entry, from its commit on.
#[must_use]
pub fn bound_ms(reports: &[Report]) -> u64 {
    let bounds = reports.iter().map(|report| report.bound_ms);
    bounds.max().unwrap_or(0).max(DEFAULT_BOUND_MS)
}

impl Service {
    /// Answers the poll of an edge that says who it is.
    ///
    /// # Errors
    ///
    /// When the table cannot be read or the list not be signed.
    pub async fn poll_as(&self, edge: &EdgePoll, poll: &ListPoll) -> Result<ListAnswer, Failure> {
        let visit = self.edges.arrive(edge, self.clock.unix_ms());
        self.have_row().await;
        let answer = self.poll_list(poll).await?;
        visit.answered(self.clock.unix_ms());
        Ok(answer)
    }

    /// Whether the entry is in force at every edge.
    pub(crate) async fn judge_in_force(&self, position: &Position) -> Result<InForce, Failure> {
        if !self.edges.knows(position) {
            self.look_at_list().await?;
        }
        let mut reports = self.store.reports(&self.reporter.process).await?;
        let now_ms = self.clock.unix_ms();
        reports.push(self.edges.report(now_ms));
        let is_everywhere = is_everywhere(position, &reports);
        let mut committed_by_ms = self.edges.committed_by_ms(position).unwrap_or(now_ms);
        if !is_everywhere && self.edges.knows(position) {
            // We may have learned of it long after: a process that has just started does.
            let second = self.store.revoked_at(position.to).await?;
            let by = second.map(|second| second.plus(WRITTEN_WITHIN).get().saturating_mul(1000));
            committed_by_ms = committed_by_ms.min(by.unwrap_or(u64::MAX));
        }
        let no_later_than_ms = committed_by_ms.saturating_add(bound_ms(&reports));
        Ok(InForce {
            everywhere: is_everywhere || now_ms >= no_later_than_ms,
            no_later_than_ms,
        })
    }

    /// Notes an entry that is committed.
    pub(crate) fn note_entry(&self, position: &Position, now_ms: u64) {
        if self.edges.note_entry(position, now_ms) {
            self.reporter.wake.notify_one();
        }
    }

    /// Has a row in the table before an edge is answered.
    ///
    /// Where it cannot be written the edge is answered all the same: nor can a revocation then.
    async fn have_row(&self) {
        if self.is_row_relied_on() {
            return;
        }
        let mut row = self.reporter.row.lock().await;
        if !self.is_row_relied_on() {
            let nothing_known = Report {
                newest: Position {
                    epoch: String::new(),
                    to: 0,
                },
                bound_ms: DEFAULT_BOUND_MS,
                edges: Vec::new(),
            };
            self.write_row(&mut row, nothing_known).await;
            self.reporter.wake.notify_one();
        }
    }

    fn is_row_relied_on(&self) -> bool {
        let until_us = self.reporter.relied_on_until_us.load(Ordering::SeqCst);
        self.clock.monotonic_us() < until_us
    }

    async fn write_row(&self, row: &mut Row, report: Report) {
        let process = &self.reporter.process;
        let done = self.store.write_report(process, &report, ROW_LIFETIME);
        let done = done.await;
        let now_us = self.clock.monotonic_us();
        let relied_on_us = if done.is_ok() { RELIED_ON_US } else { RETRY_US };
        row.report = done.is_ok().then_some(report);
        row.written_us = now_us;
        let until_us = now_us.saturating_add(relied_on_us);
        let relied_on = &self.reporter.relied_on_until_us;
        relied_on.store(until_us, Ordering::SeqCst);
        warn_unwritten(done);
    }

    /// Writes the row if it should say something else, or is old.
    async fn renew_row(&self) {
        let mut row = self.reporter.row.lock().await;
        let now_ms = self.clock.unix_ms();
        let report = self.edges.report(now_ms);
        let age_us = self.clock.monotonic_us().saturating_sub(row.written_us);
        let is_other = row.report.as_ref() != Some(&report);
        let is_due = age_us >= WRITE_AGAIN_US || (is_other && self.edges.are_moving(now_ms));
        if row.report.is_none() || is_due {
            self.write_row(&mut row, report).await;
        }
    }

    /// Takes the row back if no edge counts; whether it did.
    async fn withdraw_row(&self) -> bool {
        let mut row = self.reporter.row.lock().await;
        let relied_on = &self.reporter.relied_on_until_us;
        let until_us = relied_on.swap(0, Ordering::SeqCst);
        // Who asks from here on waits for us, and writes a row.
        if self.edges.count_for_ms(self.clock.unix_ms()) > 0 {
            relied_on.store(until_us, Ordering::SeqCst);
            return false;
        }
        self.end_row(&mut row, Seconds::new(0)).await;
        true
    }

    /// Leaves the row for as long as an edge that was answered may decide by that.
    pub(crate) async fn leave_row(&self) {
        let mut row = self.reporter.row.lock().await;
        let count_for_ms = self.edges.count_for_ms(self.clock.unix_ms());
        let lasting = Seconds::new(count_for_ms.div_ceil(1000));
        self.end_row(&mut row, lasting).await;
    }

    async fn end_row(&self, row: &mut Row, lasting: Seconds) {
        if let Some(report) = row.report.take() {
            let process = &self.reporter.process;
            warn_unwritten(self.store.write_report(process, &report, lasting).await);
        }
    }
}

fn warn_unwritten(done: Result<(), StoreError>) {
    if let Err(error) = done {
        tracing::warn!(%error, "what edges hold could not be told to other processes");
    }
}

/// Tells other processes of our edges until the service stops.
pub async fn keep_reporting(service: Arc<Service>) {
    let mut stopping = service.stopping();
    tokio::select! {
        // Fails only when the service is gone, which is a reason to stop as well.
        _ = stopping.wait_for(|stop| *stop) => {}
        () = report_for_ever(&service) => {}
    }
}

async fn report_for_ever(service: &Service) {
    loop {
        service.reporter.wake.notified().await;
        if service.is_row_relied_on() {
            report_while_polled(service).await;
        }
    }
}

async fn report_while_polled(service: &Service) {
    let mut news = service.store.news().subscribe();
    news.mark_changed();
    let mut polled_us = service.clock.monotonic_us();
    loop {
        // No edge need ask for us to learn of an entry.
        if news.has_changed().unwrap_or(false) {
            news.mark_unchanged();
            if let Err(failure) = service.look_at_list().await {
                tracing::debug!(?failure, "could not look for news of the log");
            }
        }
        service.renew_row().await;
        let now_us = service.clock.monotonic_us();
        if service.edges.count_for_ms(service.clock.unix_ms()) > 0 {
            polled_us = now_us;
        } else if now_us.saturating_sub(polled_us) >= WRITE_AGAIN_US && service.withdraw_row().await
        {
            return;
        }
        tokio::time::sleep(PACE).await;
        if !service.edges.are_moving(service.clock.unix_ms()) {
            tokio::select! {
                _ = news.changed() => news.mark_changed(),
                () = service.reporter.wake.notified() => {}
                () = tokio::time::sleep(IDLE) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{bound_ms, is_everywhere};
    use crate::edges::DEFAULT_BOUND_MS;
    use crate::store::Report;
    use hallpass_session::wire::Position;

    fn position(to: u64) -> Position {
        Position {
            epoch: "e".into(),
            to,
        }
    }

    fn report(to: u64, edges: &[(u64, u64)]) -> Report {
        Report {
            newest: position(to),
            bound_ms: 10_000,
            edges: edges.to_vec(),
        }
    }

    #[test]
    fn entry_is_everywhere_when_each_edge_has_it_in_one_report() {
        let everywhere = |reports: &[Report]| is_everywhere(&position(5), reports);

        assert!(everywhere(&[]));
        assert!(everywhere(&[report(5, &[]), report(6, &[(1, 5), (2, 6)])]));
        assert!(!everywhere(&[report(5, &[(1, 4)]), report(5, &[(2, 5)])]));
        assert!(everywhere(&[
            report(5, &[(1, 4), (2, 5)]),
            report(5, &[(1, 5)])
        ]));
    }

    #[test]
    fn report_of_before_or_of_another_epoch_tells_nothing() {
        assert!(!is_everywhere(&position(5), &[report(4, &[])]));
        let newest = Position {
            epoch: "f".into(),
            to: 9,
        };
        let other = Report {
            newest,
            ..report(0, &[])
        };
        assert!(!is_everywhere(&position(5), &[report(5, &[]), other]));
    }

    #[test]
    fn bound_is_the_largest_and_never_below_the_default() {
        let long = Report {
            bound_ms: 30_000,
            ..report(5, &[])
        };
        assert_eq!(bound_ms(&[]), DEFAULT_BOUND_MS);
        assert_eq!(bound_ms(&[report(5, &[]), long]), 30_000);
    }
}
