//! Many at once: tabs of one session, thieves, and several services on one table.
//!
//! Randomness is seeded; what is asserted holds in whatever order the database serves what is asked
//! at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::database::{Database, on_each_database};
use crate::renewal::claims;
use crate::running::{FIREFOX, Running};
use fastrand::Rng;
use hallpass_service::failure::{Failure, Refusal};
use hallpass_service::service::Service;
use hallpass_session::base64url;
use hallpass_session::renewal::{Branch, RenewalToken};
use hallpass_session::wire::{Client, ListClaims, RenewRequest, Revoked};
use reqwest::StatusCode;
use roaring::RoaringBitmap;
use serde_json::json;
use sqlx::Row;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Sessions of the test of tabs, unless `HALLPASS_TEST_SESSIONS` says otherwise.
const SESSIONS: usize = 100;
/// Tabs of each, which all see the same token near its end.
const TABS: usize = 10;
/// Requests under way at a time: what a busy service has, not what it would refuse.
const UNDER_WAY: usize = 64;
/// From one renewal to the next: a token's life less its last moments, far outside the grace.
const LIFE_SECS: u64 = 270;
/// Confirmations of one session in the test of thieves.
const DEPTH: u32 = 50;

/// Runs these at the same time, at most [`UNDER_WAY`] of them; their results in order.
async fn all<T: Send + 'static>(
    futures: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let permits = Arc::new(Semaphore::new(UNDER_WAY));
    let mut set = JoinSet::new();
    for (index, future) in futures.into_iter().enumerate() {
        let permits = Arc::clone(&permits);
        set.spawn(async move {
            let _permit = permits.acquire().await.unwrap();
            (index, future.await)
        });
    }
    let mut results = set.join_all().await;
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Presents a renewal token; the next one, or why there is none.
async fn present(service: Arc<Service>, token: String) -> Result<String, Refusal> {
    let client = Client {
        user_agent: Some(FIREFOX.to_owned()),
        ..Client::default()
    };
    let request = RenewRequest {
        renewal_token: token,
        client,
        request_id: String::new(),
    };
    match service.renew(&request).await {
        Ok(renewed) => Ok(renewed.renewal_token),
        Err(Failure::Refusal(refusal)) => Err(refusal),
        Err(other) => panic!("{other:?}"),
    }
}

fn branch(token: &str) -> Branch {
    RenewalToken::parse(token).unwrap().branch
}

impl Running {
    async fn create_many(&self, count: usize) -> Vec<String> {
        let mut tokens = Vec::new();
        for number in 0..count {
            let created = self.create(&format!("user-{number}")).await;
            tokens.push(created.renewal_token);
        }
        tokens
    }

    /// One number that the database answers.
    async fn count(&self, sql: &'static str) -> i64 {
        let mut connection = self.sql().await;
        let row = sqlx::query(sql).fetch_one(&mut connection).await;
        row.unwrap().get(0)
    }

    /// What a poll after `from` brings: up to which number, and the indexes of the sessions.
    async fn delta(&self, epoch: &str, from: u64, wait: u32) -> (u64, BTreeSet<u32>) {
        let query = format!("epoch={epoch}&after={from}&wait={wait}");
        let answer = self.poll(&query).await;
        let to = answer.list_header().position.to;
        if answer.status == StatusCode::NO_CONTENT {
            return (to, BTreeSet::new());
        }
        let read = self.read(&answer).await;
        assert_eq!((read.content().from, read.content().to), (from, to));
        (to, indexes(read.content()))
    }
}

fn indexes(list: &ListClaims) -> BTreeSet<u32> {
    let buckets = list.sessions.iter().flat_map(|bucket| {
        let bytes = base64url::decode(&bucket.idx).unwrap();
        RoaringBitmap::deserialize_from(&bytes[..]).unwrap()
    });
    buckets.collect()
}

async fn identical_renewals_at_once_each_get_a_good_answer_and_one_write(database: Database) {
    let running = Running::start(database).await;
    let first = running.create("ada").await.renewal_token;
    let ask = |token: String| present(Arc::clone(&running.service), token);

    let answers = all((0..1000).map(|_| ask(first.clone()))).await;
    let children: Vec<String> = answers.into_iter().map(Result::unwrap).collect();
    let written = running.metric("hallpass_renewals_total{outcome=\"confirmed\"}");
    assert_eq!(written.await, "1");

    // Every child is as good as the others: whichever the browser keeps, it stays signed in.
    let again = all(children.iter().map(|child| ask(child.clone()))).await;
    assert!(again.iter().all(Result::is_ok));
    let confirmed = running.count("SELECT generation FROM renewals").await;
    assert_eq!(confirmed, 2, "siblings within the grace write nothing");
    assert_eq!(running.count("SELECT COUNT(*) FROM revocations").await, 0);
}

/// What a browser has.
struct Jar {
    token: String,
    ends_at: u64,
}

async fn tabs_of_many_sessions_sign_nobody_out_though_answers_are_lost_and_late(
    database: Database,
) {
    let sessions =
        std::env::var("HALLPASS_TEST_SESSIONS").map_or(SESSIONS, |count| count.parse().unwrap());
    let running = Running::start(database).await;
    let tokens = running.create_many(sessions).await;
    let ends_at = running.now();
    let jar = |token| Jar { token, ends_at };
    let mut jars: Vec<Jar> = tokens.into_iter().map(jar).collect();
    let mut rng = Rng::with_seed(1);
    let (mut renewals, mut lost) = (0, 0);
    for _ in 0..4 {
        let now = running.now();
        let due = |jar: &Jar| jar.ends_at <= now;
        let asked: Vec<usize> = (0..sessions).filter(|at| due(&jars[*at])).collect();
        let requests = asked.iter().flat_map(|at| [*at; TABS]);
        let answers = all(requests.map(|at| {
            let (service, token) = (Arc::clone(&running.service), jars[at].token.clone());
            async move { (at, present(service, token).await) }
        }))
        .await;
        let mut arrivals = Vec::new();
        for (at, answer) in answers {
            let token = answer.unwrap_or_else(|refusal| panic!("session {at}: {refusal:?}"));
            renewals += 1;
            if rng.f64() < 0.15 {
                lost += 1;
            } else {
                arrivals.push((at, token));
            }
        }
        // Late and out of order: the last one to arrive is kept.
        rng.shuffle(&mut arrivals);
        for (at, token) in arrivals {
            let ends_at = now + LIFE_SECS;
            jars[at] = Jar { token, ends_at };
        }
        running.advance(LIFE_SECS);
    }

    let signed_out = running.count("SELECT COUNT(*) FROM revocations").await;
    assert_eq!(signed_out, 0);
    let least = "SELECT MIN(generation) FROM renewals";
    assert!(running.count(least).await >= 2, "every session went on");
    // For `cargo xtask tabs`.
    let tally = json!({
        "database": format!("{database:?}"),
        "sessions": sessions,
        "tabs": TABS,
        "renewals_answered": renewals,
        "answers_lost": lost,
        "signed_out": signed_out,
    });
    println!("tally {tally}");
}

/// A session that may have been stolen: `held` is what its user holds, and its thief.
struct Life {
    rng: Rng,
    held: Vec<String>,
    confirmed: Branch,
    stolen_at: Option<u32>,
    found: bool,
}

/// A party of a round: renews so many times at once, and keeps one answer.
struct Renewing {
    party: usize,
    times: usize,
    kept: usize,
}

impl Life {
    fn new(seed: u64, token: String) -> Self {
        let mut rng = Rng::with_seed(seed);
        let stolen_at = (seed % 2 == 1).then(|| rng.u32(1..DEPTH - 4));
        let confirmed = Branch {
            generation: 0,
            ..branch(&token)
        };
        Self {
            rng,
            held: vec![token],
            confirmed,
            stolen_at,
            found: false,
        }
    }

    /// Who renews next. In the end both, in turn.
    fn next(&mut self, depth: u32) -> Vec<Renewing> {
        if self.stolen_at == Some(depth) {
            self.held.push(self.held[0].clone());
        }
        let who: &[usize] = match (self.held.len(), depth) {
            (1, _) => &[0],
            (_, depth) if depth + 4 >= DEPTH => [&[0], &[1]][depth as usize % 2],
            _ => [&[0][..], &[1], &[0, 1]][self.rng.usize(0..3)],
        };
        let renewing = |party: &usize| {
            let times = self.rng.usize(1..6);
            Renewing {
                party: *party,
                times,
                kept: self.rng.usize(0..times),
            }
        };
        who.iter().map(renewing).collect()
    }

    /// Whether the table knows the token as the confirmed one or a child of it.
    fn is_fresh(&self, token: &str) -> bool {
        let branch = branch(token);
        branch == self.confirmed || branch.generation == self.confirmed.generation + 1
    }

    /// One round of renewals, all at once.
    async fn round(&mut self, service: &Arc<Service>, depth: u32) {
        let next = self.next(depth);
        let requests = next.iter().flat_map(|one| vec![one.party; one.times]);
        let answers = all(requests.map(|party| {
            let (service, token) = (Arc::clone(service), self.held[party].clone());
            async move { (party, present(service, token).await) }
        }))
        .await;
        let is_stale = |one: &Renewing| !self.is_fresh(&self.held[one.party]);
        let stale = next.iter().filter(|one| is_stale(one)).count();
        self.found = answers.iter().any(|(_, answer)| answer.is_err());
        if stale == 0 {
            assert!(!self.found, "signed out without a thief to find");
        } else if next.len() == 1 {
            assert!(
                answers.iter().all(|(_, answer)| answer.is_err()),
                "not found"
            );
        } // Else the other's renewal may come first, and is a new confirmation with its own grace.
        if !self.found {
            self.keep(&next, &answers);
        }
    }

    fn keep(&mut self, next: &[Renewing], answers: &[(usize, Result<String, Refusal>)]) {
        for one in next {
            let presented = branch(&self.held[one.party]);
            if presented.generation > self.confirmed.generation {
                self.confirmed = presented; // or its sibling, which nobody presents again
            }
            let mut own = answers.iter().filter(|(party, _)| *party == one.party);
            let (_, kept) = own.nth(one.kept).unwrap();
            self.held[one.party] = kept.clone().unwrap();
        }
    }
}

async fn thieves_are_found_by_whoever_is_second_and_nobody_else_is_signed_out(database: Database) {
    let running = Running::start(database).await;
    let tokens = running.create_many(24).await;
    let mut lives: Vec<Life> = (0..)
        .zip(tokens)
        .map(|(seed, t)| Life::new(seed, t))
        .collect();
    for depth in 0..DEPTH {
        let mut set = JoinSet::new();
        for mut life in lives {
            let service = Arc::clone(&running.service);
            set.spawn(async move {
                if !life.found {
                    life.round(&service, depth).await;
                }
                life
            });
        }
        lives = set.join_all().await;
        running.advance(LIFE_SECS);
    }

    for life in &lives {
        assert_eq!(life.found, life.stolen_at.is_some());
    }
    let reused = "SELECT COUNT(*) FROM revocations WHERE reason = 'renewal_reused'";
    assert_eq!(running.count(reused).await, 12);
    assert_eq!(running.count("SELECT COUNT(*) FROM revocations").await, 12);
}

async fn revocations_of_two_services_are_never_hidden_from_a_third(database: Database) {
    let reader = Running::start(database).await;
    let writers = [reader.start_beside().await, reader.start_beside().await];
    let epoch = reader.poll("").await.list_header().position.epoch;
    let mut sessions = Vec::new();
    for number in 0..80 {
        let created = reader.create(&format!("user-{}", number / 2)).await;
        sessions.push(created);
    }
    let write = |writer: usize| {
        // Even ones singly through one service, odd ones by subject through the other.
        let requests: Vec<_> = sessions
            .iter()
            .skip(writer)
            .step_by(2)
            .map(|created| {
                let running = &writers[writer];
                let path = if writer == 0 {
                    format!("/v1/sessions/{}", created.session.sid)
                } else {
                    let subject = claims(&created.session_token).sub;
                    format!(
                        "/v1/subjects/{}/sessions",
                        base64url::encode(subject.as_bytes())
                    )
                };
                running.request(reqwest::Method::DELETE, &path, &running.app)
            })
            .collect();
        all(requests.into_iter().map(crate::running::answer))
    };
    let read = async {
        let (mut known, mut seen, mut polls) = (0, BTreeSet::new(), Vec::new());
        while seen.len() < sessions.len() {
            let (to, brought) = reader.delta(&epoch, known, 1).await;
            assert!(to >= known, "numbers do not fall");
            assert!(seen.is_disjoint(&brought), "nothing comes twice");
            seen.extend(&brought);
            polls.push((to, brought));
            known = to;
        }
        polls
    };

    let (polls, one, two) = tokio::join!(read, write(0), write(1));

    // Each number as its writer heard it lies in the poll that first reached it.
    let numbers = one.iter().chain(&two);
    let heard: BTreeSet<u64> = numbers
        .map(|answer| answer.json::<Revoked>(StatusCode::OK).list.to)
        .collect();
    let rows = sqlx::query("SELECT idx, seq FROM revocations")
        .fetch_all(&mut reader.sql().await)
        .await
        .unwrap();
    assert_eq!(rows.len(), sessions.len());
    for row in rows {
        let (idx, seq): (i64, i64) = (row.get("idx"), row.get("seq"));
        let (idx, seq) = (u32::try_from(idx).unwrap(), u64::try_from(seq).unwrap());
        assert!(heard.contains(&seq), "{seq} was acknowledged");
        let (_, brought) = polls.iter().find(|(to, _)| *to >= seq).unwrap();
        assert!(brought.contains(&idx), "{seq} was hidden");
    }
}

async fn revocation_that_must_wait_is_not_overtaken_by_a_later_one(database: Database) {
    let running = Running::start(database).await;
    let epoch = running.poll("").await.list_header().position.epoch;
    let (first, second) = (running.create("ada").await, running.create("ada").await);
    let before = running.delta(&epoch, 0, 0).await.0;

    // Somebody has taken a number, and has not committed yet.
    let mut other = running.sql().await;
    let begin = match database {
        Database::Sqlite => "BEGIN IMMEDIATE",
        Database::Postgresql | Database::Mariadb => "BEGIN",
    };
    let take = "UPDATE head SET seq = seq + 1 WHERE id = 1";
    let write = "INSERT INTO revocations (sid, seq, idx, revoked_at, ended_by, reason, list_exp) \
         SELECT s.sid, h.seq, s.idx, s.created_at, 'app', 'test', s.created_at - s.created_at % 60 + 600 \
         FROM sessions s CROSS JOIN head h WHERE s.idx = (SELECT MIN(o.idx) FROM sessions o)";
    for sql in [begin, take, write] {
        sqlx::query(sql).execute(&mut other).await.unwrap();
    }
    let path = format!("/v1/sessions/{}", second.session.sid);
    let later = running.request(reqwest::Method::DELETE, &path, &running.app);
    let later = tokio::spawn(crate::running::answer(later));
    for _ in 0..20 {
        assert_eq!(running.delta(&epoch, before, 0).await.0, before);
    }
    assert!(
        !later.is_finished(),
        "it waits for the number before its own"
    );
    sqlx::query("COMMIT").execute(&mut other).await.unwrap();

    let later: Revoked = later.await.unwrap().json(StatusCode::OK);
    assert_eq!(later.list.to, before + 2);
    let (to, brought) = running.delta(&epoch, before, 0).await;
    let both = [&first, &second].map(|created| claims(&created.session_token).idx);
    assert_eq!((to, brought), (before + 2, BTreeSet::from(both)));
}

async fn revocation_through_one_service_wakes_the_polls_of_every_other(database: Database) {
    let writer = Running::start(database).await;
    let readers = [writer.start_beside().await, writer.start_beside().await];
    let epoch = writer.poll("").await.list_header().position.epoch;
    let mut worst = std::time::Duration::ZERO;
    for _ in 0..5 {
        let created = writer.create("ada").await;
        let idx = claims(&created.session_token).idx;
        let known = writer.delta(&epoch, 0, 0).await.0;
        let waiting = async |reader: &Running| {
            let (to, brought) = reader.delta(&epoch, known, 5).await;
            assert_eq!((to, brought), (known + 1, BTreeSet::from([idx])));
            Instant::now()
        };
        let revoke = async {
            while !readers.iter().all(|reader| reader.service.open_polls() > 0) {
                tokio::task::yield_now().await;
            }
            let path = format!("/v1/sessions/{}", created.session.sid);
            let revoked = writer.delete(&path, &writer.app).await;
            assert_eq!(revoked.status, StatusCode::OK);
            Instant::now()
        };
        let (one, two, committed) =
            tokio::join!(waiting(&readers[0]), waiting(&readers[1]), revoke);
        worst = worst.max(one.max(two).saturating_duration_since(committed));
    }
    println!(
        "{database:?}: served by the others at most {} ms after the answer",
        worst.as_millis()
    );
    // A poll that nobody wakes is answered after 5 s; the databases that are asked are asked every
    // 0.2 s, and this machine may be busy.
    assert!(worst.as_millis() < 2500, "{} ms", worst.as_millis());
}

async fn two_services_never_pass_the_limit_of_a_subject(database: Database) {
    let one = Running::start_with(database, "sessions_per_subject_max = 3").await;
    let two = one.start_beside().await;
    let create = |running: &Running| {
        let requests: Vec<_> = (0..40)
            .map(|_| {
                let request = running.request(reqwest::Method::POST, "/v1/sessions", &running.app);
                request.json(&crate::running::creation("ada"))
            })
            .collect();
        all(requests.into_iter().map(crate::running::answer))
    };
    let live = "SELECT COUNT(*) FROM sessions s \
         WHERE NOT EXISTS (SELECT 1 FROM revocations r WHERE r.sid = s.sid)";
    let creating = async { tokio::join!(create(&one), create(&two)) };
    let mut creating = std::pin::pin!(creating);
    let (by_one, by_two) = loop {
        tokio::select! {
            done = &mut creating => break done,
            live = one.count(live) => assert!(live <= 3, "{live} are live"),
        }
    };

    for answer in by_one.iter().chain(&by_two) {
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    }
    assert_eq!(one.count(live).await, 3);
    let distinct = "SELECT COUNT(DISTINCT idx) FROM sessions";
    assert_eq!(one.count(distinct).await, 80);
}

on_each_database![
    identical_renewals_at_once_each_get_a_good_answer_and_one_write,
    tabs_of_many_sessions_sign_nobody_out_though_answers_are_lost_and_late,
    thieves_are_found_by_whoever_is_second_and_nobody_else_is_signed_out,
    revocations_of_two_services_are_never_hidden_from_a_third,
    revocation_that_must_wait_is_not_overtaken_by_a_later_one,
    revocation_through_one_service_wakes_the_polls_of_every_other,
    two_services_never_pass_the_limit_of_a_subject,
];
