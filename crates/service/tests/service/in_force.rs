//! Whether a revocation is in force everywhere, when several processes answer the edges.

use std::time::Duration;

use crate::database::{Database, on_each_database};
use crate::running::Running;
use hallpass_service::store::{Report, Store};
use hallpass_session::wire::{Position, Revoked};

/// Longest time for what is told within about a second.
const SOON: Duration = Duration::from_secs(10);

/// Two processes, a user signed in at the first, and a session of theirs that ends.
struct Pair {
    asked: Running,
    other: Running,
    token: String,
    sid: String,
    before: Position,
}

impl Pair {
    async fn start(database: Database) -> Self {
        let asked = Running::start(database).await;
        let other = asked.start_beside().await;
        asked.advance(60);
        let token = asked.create("ada").await.session_token;
        let sid = asked.create("ada").await.session.sid;
        let before = asked.poll("").await.list_header().position;
        Self {
            asked,
            other,
            token,
            sid,
            before,
        }
    }

    async fn revoke(&self) -> Revoked {
        self.asked.revoke_mine(&self.token, &self.sid).await
    }

    async fn is_everywhere(&self, entry: &Position) -> bool {
        self.asked.in_force(&self.token, entry).await.everywhere
    }

    /// Asks until it is in force, though the clock stands still.
    async fn becomes_everywhere(&self, entry: &Position) {
        soon(async || self.is_everywhere(entry).await).await;
    }
}

impl Running {
    /// A poll of the edge `name` that holds this.
    async fn poll_as(&self, name: &str, holds: &Position) {
        let Position { epoch, to } = holds;
        self.poll(&format!("epoch={epoch}&after={to}&edge={name}&bound=10"))
            .await;
    }

    /// Waits until every process has reported that it knows of the entry.
    async fn all_know(&self, entry: &Position) {
        let reports = || self.store.reports("");
        let knows = |report: &Report| report.newest.to >= entry.to;
        soon(async || reports().await.unwrap().iter().all(knows)).await;
    }
}

/// Asks until it is so.
async fn soon(is_so: impl AsyncFn() -> bool) {
    let asking = async { while !is_so().await {} };
    tokio::time::timeout(SOON, asking)
        .await
        .expect("it is not so");
}

async fn edge_of_another_process_holds_the_answer_until_it_has_it(database: Database) {
    let pair = Pair::start(database).await;
    pair.other.poll_as("b", &pair.before).await;
    let entry = pair.revoke().await.list;
    assert!(!pair.is_everywhere(&entry).await);
    pair.asked.all_know(&entry).await;
    assert!(!pair.is_everywhere(&entry).await, "b was not seen with it");

    pair.other.poll_as("b", &entry).await;
    pair.becomes_everywhere(&entry).await;
}

async fn edge_that_went_to_another_process_is_found_there(database: Database) {
    let pair = Pair::start(database).await;
    pair.asked.poll_as("a", &pair.before).await;
    pair.other.poll_as("b", &pair.before).await;
    let entry = pair.revoke().await.list;

    pair.asked.poll_as("b", &entry).await;
    pair.asked.all_know(&entry).await;
    assert!(!pair.is_everywhere(&entry).await, "a was not seen with it");
    pair.other.poll_as("a", &entry).await;
    pair.becomes_everywhere(&entry).await;
}

async fn edge_that_polls_first_after_the_revocation_holds_up_nothing(database: Database) {
    let pair = Pair::start(database).await;
    let entry = pair.revoke().await.list;
    pair.asked.poll("edge=new&bound=10").await;
    pair.other.poll("").await;
    pair.other.poll("edge=newer&bound=10").await;

    pair.becomes_everywhere(&entry).await;
}

async fn killed_process_holds_the_answer_until_the_bound(database: Database) {
    let pair = Pair::start(database).await;
    pair.other.poll_as("b", &pair.before).await;
    pair.becomes_everywhere(&pair.before).await;
    let Pair {
        asked,
        other,
        token,
        sid,
        ..
    } = pair;
    other.kill();
    let revoked = asked.revoke_mine(&token, &sid).await;

    let told = asked.in_force(&token, &revoked.list).await;
    assert!(!told.everywhere);
    assert_eq!(told.no_later_than_ms, revoked.committed_at_ms + 10_000);
    asked.clock.advance_ms(9_999);
    assert!(!asked.in_force(&token, &revoked.list).await.everywhere);
    asked.clock.advance_ms(1);
    assert!(asked.in_force(&token, &revoked.list).await.everywhere);

    asked.advance(60);
    let again = asked.create("ada").await.session.sid;
    let again = asked.revoke_mine(&token, &again).await.list;
    assert!(!asked.in_force(&token, &again).await.everywhere);
    // As five minutes later.
    asked.execute("UPDATE processes SET counts_until = 1").await;
    assert!(asked.in_force(&token, &again).await.everywhere);
}

async fn stopped_process_holds_the_answer_while_its_edges_may_decide(database: Database) {
    let pair = Pair::start(database).await;
    pair.other.poll_as("b", &pair.before).await;
    let Pair {
        asked,
        other,
        token,
        sid,
        ..
    } = pair;
    let third = asked.start_beside().await;
    third.poll_as("c", &pair.before).await;
    asked.advance(11);
    other.stop().await;
    third.poll_as("c", &pair.before).await;

    let entry = asked.revoke_mine(&token, &sid).await.list;
    third.poll_as("c", &entry).await;
    // No edge of the stopped one counts.
    soon(async || asked.in_force(&token, &entry).await.everywhere).await;

    third.stop().await;
    let sid = asked.create("ada").await.session.sid;
    let entry = asked.revoke_mine(&token, &sid).await.list;
    assert!(!asked.in_force(&token, &entry).await.everywhere);
}

async fn process_that_is_asked_first_learns_of_the_entry(database: Database) {
    let pair = Pair::start(database).await;
    let entry = pair.revoke().await.list;
    let fresh = pair.asked.start_beside().await;

    let told = fresh.in_force(&pair.token, &entry).await;
    assert!(told.everywhere);
    let beyond = Position {
        to: entry.to + 1,
        ..entry
    };
    let told = fresh.in_force(&pair.token, &beyond).await;
    assert!(!told.everywhere, "nobody has what does not exist");
}

on_each_database![
    edge_of_another_process_holds_the_answer_until_it_has_it,
    edge_that_went_to_another_process_is_found_there,
    edge_that_polls_first_after_the_revocation_holds_up_nothing,
    killed_process_holds_the_answer_until_the_bound,
    stopped_process_holds_the_answer_while_its_edges_may_decide,
    process_that_is_asked_first_learns_of_the_entry,
];
