//! Renewals that share a transaction on `SQLite`: each is judged as if it came alone.
//!
//! The runtime of these tests has one thread, so that what is asked together waits together and goes
//! into one batch, in the order asked. That it did is told by the clock: the store reads it once a
//! transaction, once a renewal, once a revocation.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::running::START;
use hallpass_service::clock::Clock;
use hallpass_service::journal::{self, Entry, Journal};
use hallpass_service::record::{Origin, Sid};
use hallpass_service::store::sql::SqlStore;
use hallpass_service::store::{
    Cause, Creation, NewSession, Renewal, RenewalAttempt, Selection, Store, StoreError,
};
use hallpass_session::base64url;
use hallpass_session::renewal::Branch;
use hallpass_session::time::Seconds;
use hallpass_session::wire::{Device, EndedBy, Place};
use sqlx::{AnyConnection, Connection, Row};
use tempfile::TempDir;
use tokio::task::JoinSet;

pub(crate) const FIREFOX: [u8; 32] = [1; 32];
const CHROME: [u8; 32] = [2; 32];
pub(crate) const SIGNED_OUT: Cause = Cause {
    by: EndedBy::User,
    reason: "signed_out",
};

/// A clock that stands still and counts how often it is read.
#[derive(Default)]
struct CountingClock(AtomicU64);

impl Clock for CountingClock {
    fn unix_ms(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed);
        START * 1000
    }

    fn monotonic_us(&self) -> u64 {
        0
    }
}

/// A table with sessions 1, 2, 3 and so on, without a service.
pub(crate) struct Fixture {
    pub(crate) folder: TempDir,
    pub(crate) store: Arc<SqlStore>,
    clock: Arc<CountingClock>,
}

impl Fixture {
    async fn with_sessions(count: u8) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::at(&folder.path().join("journal"));
        journal.open().unwrap();
        Self::in_folder(folder, journal, count).await
    }

    /// The same with a journal of the test's own.
    pub(crate) async fn in_folder(folder: TempDir, journal: Journal, count: u8) -> Self {
        let clock = Arc::new(CountingClock::default());
        let shared: Arc<dyn Clock> = clock.clone();
        let url = format!("sqlite://{}", folder.path().join("table.db").display());
        let store = SqlStore::open_with_journal(&url, 2, shared, Some(journal));
        let store = Arc::new(store.await.unwrap());
        for number in 1..=count {
            let made = store.create(session(number)).await.unwrap();
            assert!(matches!(made, Creation::Made(_)));
        }
        clock.0.store(0, Ordering::Relaxed);
        Self {
            folder,
            store,
            clock,
        }
    }

    /// Asks these together; what became of them, in order.
    async fn ask<T: Send + 'static>(
        &self,
        asked: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
    ) -> Vec<T> {
        let mut asking = JoinSet::new();
        for (number, asked) in asked.into_iter().enumerate() {
            asking.spawn(async move { (number, asked.await) });
        }
        let mut answers = asking.join_all().await;
        answers.sort_by_key(|(number, _)| *number);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    /// A renewal of a session by a browser that presents the token `branch` of a generation.
    pub(crate) fn renew(
        &self,
        number: u8,
        presented: (u32, u8),
        agent: [u8; 32],
    ) -> impl Future<Output = Result<Renewal, StoreError>> + Send + 'static {
        let store = Arc::clone(&self.store);
        let attempt = RenewalAttempt {
            sid: sid(number),
            presented: branch(presented),
            agent,
            grace: Seconds::new(10),
            origin: from(&format!("192.0.2.{}", presented.1)),
        };
        async move { store.renew(attempt).await }
    }

    /// How many transactions there were, of works that read the clock so often.
    fn transactions(&self, reads: u64) -> u64 {
        self.clock.0.load(Ordering::Relaxed) - reads
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    async fn sql(&self) -> AnyConnection {
        let url = format!("sqlite://{}", self.folder.path().join("table.db").display());
        AnyConnection::connect(&url).await.unwrap()
    }

    /// Generation, branch and address that a session has in the table.
    async fn confirmed(&self, number: u8) -> (i64, u8, String) {
        let row = sqlx::query("SELECT generation, branch, ip FROM renewals WHERE sid = $1")
            .bind(sid(number).to_vec())
            .fetch_one(&mut self.sql().await)
            .await
            .unwrap();
        let branch: Vec<u8> = row.get(1);
        (row.get(0), branch[0], row.get(2))
    }
}

/// What a journal says was ended, and the numbers under which.
pub(crate) fn journalled(file: &Path) -> Vec<(u64, Vec<String>)> {
    let entries = journal::read(file).unwrap().entries;
    let ended = entries.into_iter().map(|entry| match entry {
        Entry::Revoked(revoked) => {
            let sids = revoked.sessions.into_iter().map(|session| session.sid);
            (revoked.seq, sids.collect())
        }
        other => panic!("{other:?}"),
    });
    ended.collect()
}

pub(crate) fn sid(number: u8) -> Sid {
    [number; 16]
}

pub(crate) fn text(number: u8) -> String {
    base64url::encode(&sid(number))
}

fn branch((generation, branch): (u32, u8)) -> Branch {
    Branch {
        generation,
        branch: [branch; 8],
    }
}

fn from(ip: &str) -> Origin {
    Origin {
        ip: Some(ip.to_owned()),
        place: Place::default(),
        asn: None,
    }
}

pub(crate) fn session(number: u8) -> NewSession {
    NewSession {
        sid: sid(number),
        branch: [0; 8],
        agent: FIREFOX,
        subject: format!("user-{number}"),
        auth_time: None,
        absolute: Seconds::new(86_400),
        idle: Seconds::new(86_400),
        persistent: false,
        origin: from("192.0.2.0"),
        user_agent: None,
        device: Device {
            label: "Firefox on Linux".to_owned(),
            kind: "desktop".to_owned(),
            browser: None,
            os: None,
        },
        amr: Vec::new(),
        ext: None,
        subject_limit: None,
        idempotency: None,
    }
}

/// Whether it was confirmed, and the confirmed token that its child is made of.
fn answered(renewal: &Result<Renewal, StoreError>) -> (bool, Branch) {
    match renewal {
        Ok(Renewal::Answer { issued, confirmed }) => (*confirmed, issued.record.confirmed.branch),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn sessions_of_one_batch_are_all_confirmed_in_one_transaction() {
    let table = Fixture::with_sessions(40).await;

    let renewals = (1..=41).map(|number| table.renew(number, (1, number), FIREFOX));
    let answers = table.ask(renewals).await;

    assert_eq!(table.transactions(40), 1);
    for (number, answer) in (1..=40).zip(&answers) {
        assert_eq!(answered(answer), (true, branch((1, number))));
        let address = format!("192.0.2.{number}");
        assert_eq!(table.confirmed(number).await, (1, number, address));
    }
    assert!(matches!(answers[40], Ok(Renewal::Unknown)));
    assert_eq!(journalled(&table.journal()), []);
}

#[tokio::test]
async fn second_tab_in_a_batch_sees_what_the_first_confirmed() {
    let table = Fixture::with_sessions(2).await;

    let answers = table
        .ask([
            table.renew(1, (1, 7), FIREFOX),
            table.renew(2, (1, 7), FIREFOX),
            table.renew(1, (1, 8), FIREFOX),
            table.renew(1, (1, 7), CHROME),
        ])
        .await;

    assert_eq!(table.transactions(4), 1);
    let answers: Vec<_> = answers.iter().map(answered).collect();
    let first = branch((1, 7));
    assert_eq!(
        answers,
        [(true, first), (true, first), (false, first), (false, first)]
    );
    assert_eq!(table.confirmed(1).await, (1, 7, "192.0.2.7".to_owned()));
}

#[tokio::test]
async fn child_of_a_child_in_a_batch_is_confirmed_in_its_place() {
    let table = Fixture::with_sessions(1).await;

    let answers = table
        .ask([(1, 7), (2, 8), (3, 9)].map(|token| table.renew(1, token, FIREFOX)))
        .await;

    assert_eq!(table.transactions(3), 1);
    assert_eq!(answered(&answers[2]), (true, branch((3, 9))));
    assert_eq!(table.confirmed(1).await, (3, 9, "192.0.2.9".to_owned()));
}

#[tokio::test]
async fn replay_in_a_batch_ends_its_session_for_those_after_it_only() {
    let table = Fixture::with_sessions(2).await;

    let answers = table
        .ask([
            table.renew(1, (1, 7), FIREFOX),
            table.renew(1, (1, 8), CHROME),
            table.renew(2, (1, 7), FIREFOX),
            table.renew(1, (1, 7), FIREFOX),
        ])
        .await;

    assert_eq!(table.transactions(4), 1);
    assert_eq!(answered(&answers[0]), (true, branch((1, 7))));
    let Ok(Renewal::Replayed(ended)) = &answers[1] else {
        panic!("{:?}", answers[1]);
    };
    assert_eq!(answered(&answers[2]), (true, branch((1, 7))));
    assert!(matches!(answers[3], Ok(Renewal::Revoked)));
    assert_eq!(table.confirmed(1).await, (1, 7, "192.0.2.7".to_owned()));
    assert_eq!(journalled(&table.journal()), [(ended.seq, vec![text(1)])]);
}

#[tokio::test]
async fn revocation_in_a_batch_ends_its_session_whether_asked_for_before_or_after() {
    for before in [true, false] {
        let table = Fixture::with_sessions(3).await;
        let store = Arc::clone(&table.store);
        let revoke = async move {
            let revoked = store.revoke(Selection::Session(sid(1)), SIGNED_OUT).await;
            assert_eq!(revoked.unwrap().revoked, 1);
            None
        };
        let renew = |number| {
            let renewal = table.renew(number, (1, 7), FIREFOX);
            async move { Some(renewal.await) }
        };
        let mut asked: Vec<std::pin::Pin<Box<dyn Future<Output = _> + Send>>> =
            vec![Box::pin(renew(1)), Box::pin(renew(2)), Box::pin(renew(3))];
        let place = if before { 0 } else { 3 };
        asked.insert(place, Box::pin(revoke));

        let mut answers = table.ask(asked).await;

        assert_eq!(table.transactions(4), 1);
        answers.remove(place);
        let answers: Vec<_> = answers.into_iter().map(Option::unwrap).collect();
        assert!(matches!(answers[0], Ok(Renewal::Revoked)));
        assert_eq!(table.confirmed(1).await.0, 0);
        for answer in &answers[1..] {
            assert_eq!(answered(answer), (true, branch((1, 7))));
        }
        assert_eq!(journalled(&table.journal()).len(), 1);
    }
}

#[tokio::test]
async fn confirmation_that_fails_fails_alone_and_nothing_is_done_twice() {
    let table = Fixture::with_sessions(4).await;
    let refuse = "CREATE TRIGGER refuse BEFORE UPDATE ON renewals WHEN OLD.sid = x'\
         02020202020202020202020202020202' BEGIN SELECT RAISE(ABORT, 'refused by the test'); END";
    sqlx::query(refuse)
        .execute(&mut table.sql().await)
        .await
        .unwrap();

    let answers = table
        .ask([
            table.renew(1, (1, 7), FIREFOX),
            table.renew(2, (1, 7), FIREFOX),
            table.renew(3, (1, 7), FIREFOX),
            table.renew(4, (0, 9), CHROME),
        ])
        .await;

    assert_eq!(table.transactions(8), 5, "together, then each alone");
    assert_eq!(answered(&answers[0]), (true, branch((1, 7))));
    let Err(StoreError::Rejected(why)) = &answers[1] else {
        panic!("{:?}", answers[1]);
    };
    assert!(why.contains("refused by the test"), "{why}");
    assert_eq!(answered(&answers[2]), (true, branch((1, 7))));
    let Ok(Renewal::Replayed(ended)) = &answers[3] else {
        panic!("{:?}", answers[3]);
    };
    for (number, generation) in [(1, 1), (2, 0), (3, 1)] {
        assert_eq!(table.confirmed(number).await.0, generation);
    }
    assert_eq!(journalled(&table.journal()), [(ended.seq, vec![text(4)])]);
    let log = "SELECT seq FROM head WHERE id = 1";
    let row = sqlx::query(log).fetch_one(&mut table.sql().await).await;
    assert_eq!(row.unwrap().get::<i64, _>(0), 1, "the batch took no number");
}
