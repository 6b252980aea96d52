//! What a fault of the database does: a clear 503, nothing lost, and service again by itself.
//!
//! Servers that are stopped are servers of these tests alone. What kills at random moments is
//! `cargo xtask crash`.

use std::future::Future;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::batches;
use crate::command::{self, Served};
use crate::database::{Database, Table, on_each_database, on_each_server};
use crate::running::{Answer, Running, creation};
use hallpass_databases::{Durability, Kind, Server};
use hallpass_service::clock::SystemClock;
use hallpass_service::journal::Journal;
use hallpass_service::store::sql::SqlStore;
use hallpass_service::store::{Selection, Store};
use hallpass_session::wire::{Created, Problem, Renewed, Revoked};
use reqwest::StatusCode;
use serde_json::json;
use sqlx::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

/// As quick as a request may be given up.
const QUICK: &str = "request_timeout_ms = 500";
/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_millis(20);

/// A server that may be stopped, for one test at a time.
struct Own {
    server: &'static Server,
    _turn: MutexGuard<'static, ()>,
}

impl Own {
    async fn take(kind: Kind) -> Self {
        static SERVERS: [OnceLock<Server>; 2] = [OnceLock::new(), OnceLock::new()];
        static TURNS: [Mutex<()>; 2] = [Mutex::const_new(()), Mutex::const_new(())];
        let place = usize::from(kind == Kind::Mariadb);
        let turn = TURNS[place].lock().await;
        let server = SERVERS[place]
            .get_or_init(|| Server::create(kind, Durability::Full).expect("a server starts"));
        if server.ask("SELECT 1").is_err() {
            // The test before failed.
            server.start().unwrap();
        }
        Self {
            server,
            _turn: turn,
        }
    }

    async fn start(&self, settings: &str) -> Running {
        Running::start_in(Table::served(self.server), settings).await
    }
}

/// Nothing is known, and nobody is signed out.
fn assert_outage(answer: &Answer) {
    let problem: Problem = answer.json(StatusCode::SERVICE_UNAVAILABLE);
    let outages = ["service_unavailable", "request_timed_out"];
    assert!(outages.contains(&problem.code.as_str()), "{}", answer.body);
}

/// Asks until the answer is as wanted.
async fn until<F: Future<Output = bool>>(mut wanted: impl FnMut() -> F) {
    let wait = async {
        while !wanted().await {
            tokio::time::sleep(RETRY).await;
        }
    };
    tokio::time::timeout(SOON, wait)
        .await
        .expect("it recovers by itself");
}

async fn server_that_is_down_is_an_outage_that_ends_nobody(kind: Kind) {
    let own = Own::take(kind).await;
    let service = own.start(QUICK).await;
    let (kept, ended) = (service.create("ada").await, service.create("eve").await);
    let renewed: Renewed = service.renewed(&kept.renewal_token).await;
    let end = format!("/v1/sessions/{}", ended.session.sid);
    let revoked: Revoked = service
        .delete(&end, &service.app)
        .await
        .json(StatusCode::OK);
    own.server.stop().unwrap();

    for answer in [
        service.renew(&renewed.renewal_token).await,
        service.renew(&ended.renewal_token).await,
        service.delete(&end, &service.app).await,
        service.poll("after=0&wait=0").await,
    ] {
        assert_outage(&answer);
    }
    assert_eq!(
        service.get("/readyz", "").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );

    own.server.start().unwrap();
    until(async || service.renew(&renewed.renewal_token).await.status == StatusCode::OK).await;
    service
        .renew(&ended.renewal_token)
        .await
        .refused(401, "session_revoked");
    let list = service.poll("after=0&wait=0").await;
    assert!(list.list_header().position.to >= revoked.list.to);
    assert_eq!(list.list_header().position.epoch, revoked.list.epoch);
    until(async || service.get("/readyz", "").await.status == StatusCode::OK).await;
}

async fn server_that_is_down_is_told_of_soon(kind: Kind) {
    let own = Own::take(kind).await;
    let service = own.start("").await;
    let created = service.create("ada").await;
    let show = format!("/v1/sessions/{}", created.session.sid);
    own.server.stop().unwrap();

    for _ in 0..2 {
        let asked = Instant::now();
        let answer = service.get(&show, &service.app).await;
        answer.refused(503, "service_unavailable");
        // Half a second in which one might come back, and a busy machine.
        assert!(asked.elapsed() < Duration::from_secs(3));
    }

    own.server.start().unwrap();
    until(async || service.get(&show, &service.app).await.status == StatusCode::OK).await;
}

async fn server_killed_amid_renewals_signs_nobody_out(kind: Kind) {
    let own = Own::take(kind).await;
    let service = Arc::new(own.start("").await);
    let mut sessions = Vec::new();
    for number in 0..8 {
        sessions.push(service.create(&format!("user-{number}")).await);
    }
    let renew = |session: &Created| {
        let (service, token) = (Arc::clone(&service), session.renewal_token.clone());
        tokio::spawn(async move {
            // The same token again and again, as a browser that never hears an answer.
            loop {
                let answer = service.renew(&token).await;
                match answer.status {
                    StatusCode::OK => {}
                    StatusCode::SERVICE_UNAVAILABLE => return answer,
                    _ => panic!("{}", answer.body),
                }
            }
        })
    };
    let renewing: Vec<_> = sessions.iter().map(renew).collect();
    until(async || {
        let written = "SELECT 1 FROM renewals WHERE generation > 0 LIMIT 1";
        service.table.ask(written).is_some()
    })
    .await;
    own.server.kill().unwrap();
    for renewing in renewing {
        assert_outage(&renewing.await.unwrap());
    }

    own.server.start().unwrap();
    for session in &sessions {
        until(async || service.renew(&session.renewal_token).await.status == StatusCode::OK).await;
    }
}

async fn server_that_takes_no_writes_is_an_outage_of_writes_alone(kind: Kind) {
    let own = Own::take(kind).await;
    let service = own.start("").await;
    let created = service.create("ada").await;
    let renewed: Renewed = service.renewed(&created.renewal_token).await;
    let read_only = |on: bool| match kind {
        Kind::Postgresql => {
            let on = if on { "on" } else { "off" };
            let set = format!("ALTER SYSTEM SET default_transaction_read_only = {on}");
            own.server.ask(&set).unwrap();
            own.server.ask("SELECT pg_reload_conf()").unwrap();
        }
        Kind::Mariadb => {
            let set = format!("SET GLOBAL read_only = {}", u8::from(on));
            own.server.ask(&set).unwrap();
        }
    };
    read_only(true);
    until(async || service.get("/readyz", "").await.status == StatusCode::SERVICE_UNAVAILABLE)
        .await;

    let body = creation("eve");
    let refused = service.post("/v1/sessions", &service.app, &body).await;
    refused.refused(503, "service_unavailable");
    let show = format!("/v1/sessions/{}", created.session.sid);
    let shown = service.get(&show, &service.app).await;
    assert_eq!(shown.status, StatusCode::OK, "{}", shown.body);
    assert_eq!(
        service.poll("after=0&wait=0").await.status,
        StatusCode::OK,
        "the list is read"
    );

    read_only(false);
    until(async || service.get("/readyz", "").await.status == StatusCode::OK).await;
    service.renewed(&renewed.renewal_token).await;
    service.create("eve").await;
}

async fn answer_of_a_commit_that_is_lost_loses_nothing(kind: Kind) {
    let (proxy, table) = Proxy::before_a_table(kind).await;
    let service = Running::start_in(table, "").await;
    let (kept, ended) = (service.create("ada").await, service.create("ada").await);

    proxy.cut_after_the_next_commit();
    let renewed: Renewed = service.renewed(&kept.renewal_token).await;
    assert!(proxy.has_cut());
    proxy.cut_after_the_next_commit();
    service.renewed(&renewed.renewal_token).await;
    assert!(proxy.has_cut());

    proxy.cut_after_the_next_commit();
    let end = format!("/v1/sessions/{}", ended.session.sid);
    let revoked: Revoked = service
        .delete(&end, &service.app)
        .await
        .json(StatusCode::OK);
    assert!(proxy.has_cut());
    assert_eq!(
        revoked.list.to,
        service.poll("after=0").await.list_header().position.to
    );
    service
        .renew(&ended.renewal_token)
        .await
        .refused(401, "session_revoked");

    // To write it again would make a second session: who asks must decide.
    proxy.cut_after_the_next_commit();
    let body = creation("eve");
    let unknown = service.post("/v1/sessions", &service.app, &body).await;
    unknown.refused(503, "service_unavailable");
    assert!(proxy.has_cut());
    service.create("eve").await;
}

async fn revocation_is_in_the_journal_though_the_answer_of_its_commit_is_lost(kind: Kind) {
    let (proxy, table) = Proxy::before_a_table(kind).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal");
    let (clock, journal) = (Arc::new(SystemClock::default()), Journal::at(&file));
    let url = table.url();
    let store = SqlStore::open_with_journal(&url, 2, clock, Some(journal));
    let store = store.await.unwrap();
    store.create(batches::session(1)).await.unwrap();

    proxy.cut_after_the_next_commit();
    let ended = Selection::Session(batches::sid(1));
    store.revoke(ended, batches::SIGNED_OUT).await.unwrap();

    assert!(proxy.has_cut());
    let journalled = batches::journalled(&file);
    assert_eq!(journalled.len(), 1, "{journalled:?}");
    assert_eq!(journalled[0].1, [batches::text(1)]);
    store.close().await;
}

async fn lock_held_by_somebody_else_is_waited_for_and_harms_nothing(database: Database) {
    let service = Running::start_with(database, QUICK).await;
    let created = service.create("ada").await;
    let mut other = service.sql().await;
    let begin = match database {
        Database::Sqlite => "BEGIN IMMEDIATE",
        Database::Postgresql | Database::Mariadb => "BEGIN",
    };
    let mut holding = other.begin_with(begin).await.unwrap();
    if database != Database::Sqlite {
        let lock = "SELECT seq FROM head WHERE id = 1 FOR UPDATE";
        sqlx::query(lock).fetch_one(&mut *holding).await.unwrap();
    }

    let end = format!("/v1/sessions/{}", created.session.sid);
    let answer = service.delete(&end, &service.app).await;
    answer.refused(503, "request_timed_out");
    let shown = service.get(&end, &service.app).await;
    assert_eq!(shown.status, StatusCode::OK, "{}", shown.body);

    holding.rollback().await.unwrap();
    until(async || service.delete(&end, &service.app).await.status == StatusCode::OK).await;
    service
        .renew(&created.renewal_token)
        .await
        .refused(401, "session_revoked");
}

#[tokio::test]
async fn file_that_cannot_grow_is_an_outage_that_loses_nothing() {
    let folder = command::folder();
    let app = command::credential(folder.path(), "app");
    let edge = command::credential(folder.path(), "edge");
    let service = Served::start_within_limits(folder.path());
    let created = service.create(&app).await;
    let limit = |bytes: &str| {
        let (process, size) = (service.child.id().to_string(), format!("--fsize={bytes}:"));
        let mut prlimit = Command::new("prlimit");
        let done = prlimit.args(["--pid", &process, &size]).status().unwrap();
        assert!(done.success());
    };
    limit("4096");

    let renewal = json!({"renewal_token": created.renewal_token});
    for (path, credential, body) in [
        ("/v1/edge/renew", &edge, &renewal),
        ("/v1/sessions", &app, &creation("eve")),
    ] {
        let answer = service.post(path, credential, body).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        let problem: Problem = answer.json().await.unwrap();
        assert_eq!(problem.code, "service_unavailable");
    }

    limit("unlimited");
    service.renew(&edge, &created.renewal_token).await;
    service.create(&app).await;
}

on_each_server! {
    server_that_is_down_is_an_outage_that_ends_nobody,
    server_that_is_down_is_told_of_soon,
    server_killed_amid_renewals_signs_nobody_out,
    server_that_takes_no_writes_is_an_outage_of_writes_alone,
    answer_of_a_commit_that_is_lost_loses_nothing,
    revocation_is_in_the_journal_though_the_answer_of_its_commit_is_lost,
}

on_each_database! {
    lock_held_by_somebody_else_is_waited_for_and_harms_nothing,
}

/// Stands between service and server, and can lose the answer to a commit.
struct Proxy {
    port: u16,
    armed: Arc<AtomicBool>,
}

impl Proxy {
    /// Before a new table of the server that all tests share, which then leads through it.
    async fn before_a_table(kind: Kind) -> (Self, Table) {
        let database: hallpass_databases::Database<'static> =
            Server::shared(kind).and_then(Server::new_database).unwrap();
        let port = database.server().port();
        let proxy = Self::to(port).await;
        let (direct, through) = (format!(":{port}/"), format!(":{}/", proxy.port));
        let url = database.url().replace(&direct, &through);
        (proxy, Table::Served(database, url))
    }

    async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let armed = Arc::new(AtomicBool::new(false));
        let cut = Arc::clone(&armed);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                tokio::spawn(pass(client, server, Arc::clone(&cut)));
            }
        });
        Self { port, armed }
    }

    fn cut_after_the_next_commit(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    fn has_cut(&self) -> bool {
        !self.armed.load(Ordering::SeqCst)
    }
}

/// Passes bytes both ways until either end closes, or the answer to a commit is to be lost.
async fn pass(mut client: TcpStream, mut server: TcpStream, armed: Arc<AtomicBool>) {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let (mut asked, mut answered) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut cutting = false;
    loop {
        tokio::select! {
            read = from_client.read(&mut asked) => {
                let Ok(bytes @ 1..) = read else { return };
                let commits = asked[..bytes].windows(6).any(|word| word == b"COMMIT");
                cutting = cutting || commits && armed.swap(false, Ordering::SeqCst);
                if to_server.write_all(&asked[..bytes]).await.is_err() { return }
            }
            read = from_server.read(&mut answered) => {
                let Ok(bytes @ 1..) = read else { return };
                if cutting || to_client.write_all(&answered[..bytes]).await.is_err() { return }
            }
        }
    }
}
