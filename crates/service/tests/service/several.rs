//! Several processes on one database: what one writes, all serve.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::database::{Database, Table, on_each_database};
use crate::running::{FIREFOX, Running};
use hallpass_service::clock::SystemClock;
use hallpass_service::failure::{Failure, Refusal};
use hallpass_service::store::Store;
use hallpass_service::store::sql::SqlStore;
use hallpass_session::time::UnixSeconds;
use hallpass_session::wire::{Client, Position, RenewRequest, Revoked};
use reqwest::StatusCode;
use serde_json::json;
use sqlx::Row;
use tokio::task::JoinSet;

/// Longest a poll may wait, less enough to tell that it was not for nothing.
const SOON: Duration = Duration::from_secs(4);

async fn two(database: Database) -> (Running, Running) {
    let one = Running::start(database).await;
    let other = one.start_beside().await;
    (one, other)
}

async fn revocation_ends_a_wait_at_another_process(database: Database) {
    let (one, other) = two(database).await;
    let created = one.create("ada").await;
    let held = other.poll("after=0").await.list_header().position;

    let query = format!("epoch={}&after={}&wait=5", held.epoch, held.to);
    let waiting = async {
        let answer = tokio::time::timeout(SOON, other.poll(&query)).await;
        answer.expect("it waits for nothing but the revocation")
    };
    let revoking = async {
        while other.service.open_polls() < 1 {
            tokio::task::yield_now().await;
        }
        let path = format!("/v1/sessions/{}", created.session.sid);
        one.delete(&path, &one.app)
            .await
            .json::<Revoked>(StatusCode::OK)
    };
    let (answer, revoked) = tokio::join!(waiting, revoking);

    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(answer.list_header().position, revoked.list);
}

async fn numbers_are_commit_order_in_every_process(database: Database) {
    let (one, other) = two(database).await;
    let processes = [Arc::new(one), Arc::new(other)];
    let before = processes[0].poll("after=0").await.list_header().position;
    let mut revoking = JoinSet::new();
    for number in 0..40 {
        let process = Arc::clone(&processes[number % 2]);
        revoking.spawn(async move {
            let created = process.create(&format!("user-{number}")).await;
            let path = format!("/v1/sessions/{}", created.session.sid);
            let revoked: Revoked = process
                .delete(&path, &process.app)
                .await
                .json(StatusCode::OK);
            // Whoever was told a number finds everything up to it.
            let seen = process.poll("after=0").await.list_header().position;
            assert!(seen.to >= revoked.list.to);
            revoked.list.to
        });
    }
    let numbers: BTreeSet<u64> = revoking.join_all().await.into_iter().collect();

    let all: BTreeSet<u64> = (before.to + 1..=before.to + 40).collect();
    assert_eq!(numbers, all, "each took one of its own");
    for process in &processes {
        let seen = process.poll("after=0").await.list_header().position;
        let to = before.to + 40;
        assert_eq!(
            seen,
            Position {
                to,
                ..before.clone()
            }
        );
    }
}

async fn child_presented_to_two_processes_at_once_is_confirmed_once(database: Database) {
    let (one, other) = two(database).await;
    let created = one.create("ada").await;
    let processes = [Arc::new(one), Arc::new(other)];
    let mut renewing = JoinSet::new();
    for number in 0..60 {
        let (process, token) = (
            Arc::clone(&processes[number % 2]),
            created.renewal_token.clone(),
        );
        renewing.spawn(async move { process.renewed(&token).await.renewal_token });
    }
    let children = renewing.join_all().await;

    let mut sql = processes[0].sql().await;
    let row = sqlx::query("SELECT generation FROM renewals");
    let row = row.fetch_one(&mut sql).await.unwrap();
    assert_eq!(row.get::<i64, _>(0), 1);
    processes[1].renewed(&children[59]).await;
}

async fn mass_sign_out_leaves_no_token_that_is_not_revoked(database: Database) {
    let (one, other) = two(database).await;
    let mut tokens = Vec::new();
    for number in 0..30 {
        let created = one.create(&format!("user-{number}")).await;
        tokens.push(created.renewal_token);
    }
    let (one, other) = (Arc::new(one), Arc::new(other));
    let mut renewing = JoinSet::new();
    for token in &tokens {
        let (one, request) = (Arc::clone(&one), renewal(token));
        renewing.spawn(async move { one.service.renew(&request).await });
    }
    let all = json!({});
    let revoked = other.post("/v1/revoked-before", &other.admin, &all).await;
    assert_eq!(revoked.status, StatusCode::OK, "{}", revoked.body);
    let renewed = renewing.join_all().await;

    let mut sql = one.sql().await;
    let row = sqlx::query("SELECT revoked_before FROM watermark");
    let row = row.fetch_one(&mut sql).await.unwrap();
    let revoked_before = u64::try_from(row.get::<i64, _>(0)).unwrap();
    for answer in renewed {
        match answer {
            Ok(renewed) => {
                let issued_at = issued_at(&renewed.session_token);
                assert!(issued_at < revoked_before, "{issued_at} {revoked_before}");
            }
            Err(Failure::Refusal(Refusal::SessionRevoked)) => {}
            Err(failure) => panic!("{failure:?}"),
        }
    }
    for token in &tokens {
        one.renew(token).await.refused(401, "session_revoked");
    }
}

async fn removed_key_is_trusted_by_no_process_once_it_is_noticed(database: Database) {
    let (one, other) = two(database).await;
    let created = one.create("ada").await;
    other.renewed(&created.renewal_token).await;

    // As a removal in a third process writes it.
    let removed = "UPDATE keyring SET removed_at = 1 WHERE kind = 'renewal'";
    one.execute(removed).await;
    one.execute("UPDATE head SET seq = seq + 1, keys_seq = seq + 1")
        .await;

    for process in [&one, &other] {
        process
            .renew(&created.renewal_token)
            .await
            .refused(401, "session_revoked");
    }
}

async fn several_processes_may_start_at_once(database: Database) {
    let table = Table::new(database);
    let start = || epoch_after_start(table.url());

    let (one, two, three) = tokio::join!(start(), start(), start());

    assert_eq!((&one, &one), (&two, &three), "there is one log");
}

/// What a new process finds: whoever comes second finds the tables made.
async fn epoch_after_start(url: String) -> String {
    let clock = Arc::new(SystemClock::default());
    let store = SqlStore::open(&url, 2, clock).await.unwrap();
    let log = store.read_log(0, UnixSeconds::new(0)).await.unwrap();
    store.close().await;
    log.epoch
}

/// MariaDB shows what it may yet forget if it is killed: nobody is told of it before a commit of our
/// own, which locks the head, has brought it to disk.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_wrote_to_mariadb_is_on_disk_before_anybody_is_told() {
    let (one, other) = two(Database::Mariadb).await;
    let locked = async || {
        let mut connection = one.sql().await;
        let counted = sqlx::query("SELECT locked FROM head").fetch_one(&mut connection);
        counted.await.unwrap().get::<i64, _>("locked")
    };
    let (ada, bob) = (one.create("ada").await, one.create("bob").await);
    let path = format!("/v1/sessions/{}", ada.session.sid);
    let before = locked().await;
    one.delete(&path, &one.app)
        .await
        .json::<Revoked>(StatusCode::OK);
    let told = other.poll("after=0").await.list_header().position;
    assert_eq!(locked().await, before + 2, "once by each process");

    other
        .poll(&format!("epoch={}&after={}", told.epoch, told.to))
        .await;
    one.poll("after=0").await;
    assert_eq!(locked().await, before + 2, "once is enough");

    // Confirmed beside the lane; the second answer rests on what the first has written.
    let next = one.renewed(&bob.renewal_token).await.renewal_token;
    one.renewed(&next).await;
    assert_eq!(locked().await, before + 2);
    other.renewed(&next).await;
    assert_eq!(locked().await, before + 3);
}

fn renewal(token: &str) -> RenewRequest {
    RenewRequest {
        renewal_token: token.to_owned(),
        client: Client {
            user_agent: Some(FIREFOX.to_owned()),
            ..Client::default()
        },
        request_id: String::new(),
    }
}

fn issued_at(token: &str) -> u64 {
    let claims = token.split('.').nth(1).unwrap();
    let claims = hallpass_session::base64url::decode(claims).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    claims["iat"].as_u64().unwrap()
}

on_each_database![
    revocation_ends_a_wait_at_another_process,
    numbers_are_commit_order_in_every_process,
    child_presented_to_two_processes_at_once_is_confirmed_once,
    mass_sign_out_leaves_no_token_that_is_not_revoked,
    removed_key_is_trusted_by_no_process_once_it_is_noticed,
    several_processes_may_start_at_once,
];
