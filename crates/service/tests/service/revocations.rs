//! The revocation list, taken in by the rules that the edge uses.

use crate::database::{Database, on_each_database};
use crate::running::{Answer, Running};
use hallpass_session::jws::{SignatureQuestion, Verified};
use hallpass_session::keyring::{JwkSet, Keyring};
use hallpass_session::refusal::Refusal;
use hallpass_session::revocation::{self, RevocationList};
use hallpass_session::time::UnixSeconds;
use hallpass_session::token;
use hallpass_session::wire::{Created, EdgeKeys, ListClaims, Position};
use reqwest::StatusCode;
use serde_json::json;

const ISSUER: &str = "http://127.0.0.1:8788";

impl Running {
    /// Polls the list.
    pub(crate) async fn poll(&self, query: &str) -> Answer {
        self.get(&format!("/v1/edge/revocations?{query}"), &self.edge)
            .await
    }

    async fn poll_after(&self, held: &Position) -> Answer {
        self.poll(&format!("epoch={}&after={}", held.epoch, held.to))
            .await
    }

    async fn keyrings(&self) -> (Keyring, Keyring) {
        let keys: EdgeKeys = self
            .get("/v1/edge/keys", &self.edge)
            .await
            .json(StatusCode::OK);
        let ring = |set| {
            JwkSet::parse(set)
                .unwrap()
                .checked(hallpass_signature::is_sound)
                .unwrap()
        };
        (ring(&keys.session), ring(&keys.list))
    }

    /// The whole list.
    async fn list(&self) -> RevocationList {
        let answer = self.poll("after=0&wait=0").await;
        let list = RevocationList::new(self.read(&answer).await, ISSUER, self.second()).unwrap();
        assert_eq!(list.position(), &answer.list_header().position);
        list
    }

    /// The list in an answer, signed by a key of the service.
    pub(crate) async fn read(&self, answer: &Answer) -> Verified<ListClaims> {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        assert_eq!(answer.header("content-type"), "application/jose");
        let (_, keyring) = self.keyrings().await;
        let question = revocation::parse(&answer.body)
            .unwrap()
            .question(&keyring)
            .unwrap();
        answered(question)
    }

    /// What an edge with this list says to a token.
    async fn judge(&self, list: &RevocationList, created: &Created) -> Result<(), Refusal> {
        let (keyring, _) = self.keyrings().await;
        let question = token::parse(&created.session_token)
            .unwrap()
            .question(&keyring)
            .unwrap();
        let token = answered(question);
        let kid = question_kid(&created.session_token);
        list.judge(&kid, token.content())
    }

    fn second(&self) -> UnixSeconds {
        UnixSeconds::new(self.now())
    }

    async fn end(&self, created: &Created) -> Position {
        let path = format!("/v1/sessions/{}", created.session.sid);
        let revoked: hallpass_session::wire::Revoked =
            self.delete(&path, &self.app).await.json(StatusCode::OK);
        revoked.list
    }
}

fn answered<C>(question: SignatureQuestion<C>) -> Verified<C> {
    let verdict = hallpass_signature::verify(&question);
    question.answered(verdict).unwrap()
}

fn question_kid(token: &str) -> String {
    let header = token.split('.').next().unwrap();
    let header: serde_json::Value =
        serde_json::from_slice(&hallpass_session::base64url::decode(header).unwrap()).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

async fn list_has_a_revocation_as_soon_as_it_was_answered(database: Database) {
    let service = Running::start(database).await;
    let (kept, ended) = (service.create("ada").await, service.create("ada").await);

    let position = service.end(&ended).await;
    let list = service.list().await;

    assert_eq!(list.position(), &position);
    assert_eq!(
        service.judge(&list, &ended).await,
        Err(Refusal::SessionRevoked)
    );
    assert_eq!(service.judge(&list, &kept).await, Ok(()));
}

async fn delta_brings_an_older_list_up_to_date(database: Database) {
    let service = Running::start(database).await;
    let (first, second) = (service.create("ada").await, service.create("ada").await);
    service.end(&first).await;
    let mut list = service.list().await;
    service.end(&second).await;

    let delta = service
        .read(&service.poll_after(list.position()).await)
        .await;
    assert_eq!(delta.content().from, list.position().to);
    assert_eq!(delta.content().sessions.len(), 1);
    list.apply(delta, ISSUER, service.second()).unwrap();

    assert_eq!(list.entries(), 2);
    assert_eq!(
        service.judge(&list, &second).await,
        Err(Refusal::SessionRevoked)
    );
}

async fn poll_answers_204_with_position_when_nothing_is_new(database: Database) {
    let service = Running::start(database).await;
    let held = service.list().await.position().clone();

    let answer = service.poll_after(&held).await;

    assert_eq!(
        (answer.status, answer.body.as_str()),
        (StatusCode::NO_CONTENT, "")
    );
    assert_eq!(answer.list_header().position, held);
    assert_eq!(
        answer.list_header().confirmed_ms,
        0,
        "the clock stands still"
    );
    assert_eq!(answer.header("cache-control"), "no-store");
}

async fn waiting_poll_is_answered_by_the_revocation(database: Database) {
    let service = Running::start(database).await;
    let created = service.create("ada").await;
    let held = service.list().await.position().clone();
    let path = format!("epoch={}&after={}&wait=5", held.epoch, held.to);

    let (answer, position) = tokio::join!(service.poll(&path), service.end(&created));

    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.list_header().position, position);
}

async fn stopping_service_answers_open_polls(database: Database) {
    let service = Running::start(database).await;
    let held = service.list().await.position().clone();
    let path = format!("epoch={}&after={}&wait=5", held.epoch, held.to);
    let request = service.request(
        reqwest::Method::GET,
        &format!("/v1/edge/revocations?{path}"),
        &service.edge,
    );
    let poll = tokio::spawn(crate::running::answer(request));
    while service.service.open_polls() < 1 {
        tokio::task::yield_now().await;
    }

    service.stop().await;

    assert_eq!(poll.await.unwrap().status, StatusCode::NO_CONTENT);
}

async fn bulk_revocation_takes_one_number(database: Database) {
    let service = Running::start(database).await;
    for _ in 0..5 {
        service.create("ada").await;
    }
    let before = service.list().await.position().to;

    let path = format!(
        "/v1/subjects/{}/sessions",
        hallpass_session::base64url::encode(b"ada")
    );
    service.delete(&path, &service.app).await;

    let list = service.list().await;
    assert_eq!((list.position().to, list.entries()), (before + 1, 5));
}

async fn entry_leaves_the_list_once_nobody_can_need_it(database: Database) {
    let service = Running::start_with(database, "list_retain_secs = 600").await;
    let created = service.create("ada").await;
    service.end(&created).await;
    let held = service.list().await.position().clone();
    let entries = async || service.list().await.entries();

    // Bucket: 300 s of token life and 60 s of margin, rounded up to the minute.
    let bucket = (service.now() + 360).next_multiple_of(60);
    service.advance(bucket + 600 - service.now() - 1);
    assert_eq!(entries().await, 1);
    service.advance(1);
    assert_eq!(entries().await, 0);
    let whole = service.poll(&format!("epoch={}&after=1", held.epoch)).await;
    assert_eq!(
        service.read(&whole).await.content().from,
        0,
        "too old for changes"
    );
}

async fn mass_sign_out_is_a_watermark_not_entries(database: Database) {
    let service = Running::start(database).await;
    let before = service.create("ada").await;
    let held = service.list().await.position().clone();

    service
        .post("/v1/revoked-before", &service.admin, &json!({}))
        .await;

    let after = service.create("ada").await;
    let list = service.list().await;
    assert_eq!((list.position().to, list.entries()), (held.to + 1, 0));
    assert_eq!(
        service.judge(&list, &before).await,
        Err(Refusal::SessionRevoked)
    );
    assert_eq!(service.judge(&list, &after).await, Ok(()));
}

async fn poll_of_another_epoch_gets_the_whole_list(database: Database) {
    let service = Running::start(database).await;
    let known = service.list().await.position().epoch.clone();

    let answer = service.poll("epoch=other&after=9000").await;

    assert_eq!(service.read(&answer).await.content().from, 0);
    assert_eq!(
        answer.list_header().position.epoch,
        known,
        "a stranger's epoch proves nothing"
    );
}

async fn restored_backup_is_noticed_and_begins_an_epoch(database: Database) {
    let service = Running::start(database).await;
    let (first, second) = (service.create("ada").await, service.create("ada").await);
    service.end(&first).await;
    let stopped = service.stop().await;
    let backup = stopped.back_up();
    let service = stopped.start().await;
    service.end(&second).await;
    let mut list = service.list().await;
    let stopped = service.stop().await;
    stopped.restore(&backup);
    let service = stopped.start().await;

    let answer = service.poll_after(list.position()).await;
    assert_ne!(answer.list_header().position.epoch, list.position().epoch);
    list.apply(service.read(&answer).await, ISSUER, service.second())
        .unwrap();

    assert_eq!(
        service.judge(&list, &second).await,
        Err(Refusal::SessionRevoked),
        "kept from the lost epoch"
    );
    assert_eq!(
        service.list().await.position(),
        list.position(),
        "one new epoch, not one per poll"
    );
    let later = service.create("ada").await;
    assert_eq!(service.judge(&list, &later).await, Ok(()));
}

async fn poll_refuses_what_makes_no_sense(database: Database) {
    let service = Running::start(database).await;
    for query in [
        "after=5",
        "wait=6",
        "wait=-1",
        "after=x",
        "bound=0",
        "shared=2",
        "surprise=1",
        "epoch=a&epoch=b",
        &format!("edge={}", "x".repeat(65)),
        &format!("epoch={}", "x".repeat(65)),
    ] {
        service.poll(query).await.refused(400, "request_malformed");
    }
}

async fn public_keys_may_be_cached_and_are_those_of_sessions(database: Database) {
    let service = Running::start(database).await;
    let public = service.get("/.well-known/jwks.json", "").await;
    let keys: EdgeKeys = service
        .get("/v1/edge/keys", &service.edge)
        .await
        .json(StatusCode::OK);

    assert_eq!(public.header("cache-control"), "public, max-age=300");
    assert_eq!(
        public.json::<serde_json::Value>(StatusCode::OK),
        keys.session
    );
    assert_ne!(keys.session, keys.list);
}

async fn edge_that_claims_too_much_begins_one_epoch_in_ten_minutes(database: Database) {
    let service = Running::start(database).await;
    let created = service.create("ada").await;
    service.end(&created).await;
    let honest = service.list().await.position().clone();
    let claim = async |held: &Position| {
        let to = held.to + 1_000_000;
        let epoch = held.epoch.clone();
        service.poll_after(&Position { epoch, to }).await
    };

    let first = claim(&honest).await;
    assert_eq!(first.status, StatusCode::OK);
    let second = first.list_header().position;
    assert_ne!(second.epoch, honest.epoch);
    claim(&second).await.refused(503, "table_rolled_back");

    service.advance(599);
    claim(&second).await.refused(503, "table_rolled_back");
    let kept = service.poll_after(&second).await;
    assert_eq!(kept.status, StatusCode::NO_CONTENT, "others go on");
    service.advance(1);
    let third = claim(&second).await.list_header().position;
    assert_ne!(third.epoch, second.epoch);
    let begun = service.audit().await;
    let begun = begun.iter().filter(|entry| entry.action == "begin_epoch");
    let begun: Vec<_> = begun.map(|entry| entry.actor.as_str()).collect();
    assert_eq!(begun.len(), 2);
    assert!(begun.iter().all(|actor| actor.starts_with("credential:")));

    let list = service.list().await;
    assert_eq!(
        service.judge(&list, &created).await,
        Err(Refusal::SessionRevoked)
    );
}

on_each_database![
    edge_that_claims_too_much_begins_one_epoch_in_ten_minutes,
    list_has_a_revocation_as_soon_as_it_was_answered,
    delta_brings_an_older_list_up_to_date,
    poll_answers_204_with_position_when_nothing_is_new,
    waiting_poll_is_answered_by_the_revocation,
    stopping_service_answers_open_polls,
    bulk_revocation_takes_one_number,
    entry_leaves_the_list_once_nobody_can_need_it,
    mass_sign_out_is_a_watermark_not_entries,
    poll_of_another_epoch_gets_the_whole_list,
    restored_backup_is_noticed_and_begins_an_epoch,
    poll_refuses_what_makes_no_sense,
    public_keys_may_be_cached_and_are_those_of_sessions,
];
