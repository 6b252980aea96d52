//! How each database does what requests ask of it: by its indexes, however many sessions there are.
//!
//! The statements looked at are those that really ran, as the driver logs them. Each database is then
//! asked for its plan, on tables with enough rows that it has a choice.

use std::collections::BTreeSet;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hallpass_databases::{Kind, Server};
use hallpass_session::renewal::Branch;
use hallpass_session::time::{Seconds, UnixSeconds};
use hallpass_session::wire::{Device, EndedBy};
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Row};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::SqlStore;
use super::dialect::Dialect;
use crate::clock::ManualClock;
use crate::record::{Origin, Sid};
use crate::store::{
    AuditFilter, Cause, CredentialRow, Idempotency, NewSession, RenewalAttempt, Selection, Store,
};

/// The tables that grow, and what statements call them.
const GROWING: [&str; 9] = [
    "sessions",
    "s",
    "renewals",
    "n",
    "revocations",
    "r",
    "idempotency",
    "audit",
    "events",
];
/// Sessions there are, a power of two.
const SESSIONS: u32 = 16_384;
const NOW: u64 = 1_800_000_000;
/// An id, a subject and a number in one, so that every mark of a statement can be given it: a
/// database that looks up rows while it plans finds some.
const FOUND: &str = "1111111111111111";
const CAUSE: Cause = Cause {
    by: EndedBy::User,
    reason: "signed_out",
};

#[tokio::test]
async fn sqlite_scans_no_table_that_grows() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("table.db").display());
    let statements = statements_of(&url).await;
    let mut connection = AnyConnection::connect(&url).await.unwrap();

    let mut scans = String::new();
    for statement in &statements {
        let explain = format!("EXPLAIN QUERY PLAN {statement}");
        let plan = sqlx::raw_sql(AssertSqlSafe(explain));
        for step in plan.fetch_all(&mut connection).await.unwrap() {
            let step: String = step.get("detail");
            let is_in_order = step.starts_with("SCAN s USING INDEX sessions_by_creation");
            let table = step
                .strip_prefix("SCAN ")
                .and_then(|rest| rest.split(' ').next());
            let is_scan = table.is_some_and(|table| GROWING.contains(&table)) && !is_in_order;
            if is_scan || step.contains("TEMP B-TREE") && is_bounded(statement) {
                writeln!(scans, "{step}: {statement}").unwrap();
            }
        }
    }
    assert_eq!(scans, "");
}

#[tokio::test]
async fn postgresql_scans_no_table_that_grows() {
    let server = Server::shared(Kind::Postgresql).unwrap();
    let database = server.new_database().unwrap();

    let mut scans = String::new();
    for statement in statements_of(&database.url()).await {
        let (statement, values) = with_values(&statement);
        let values = values.join(", ");
        let values = if values.is_empty() {
            values
        } else {
            format!("({values})")
        };
        let explain = format!("PREPARE it AS {statement}; EXPLAIN EXECUTE it{values}");
        for step in database.ask(&explain).unwrap().lines() {
            let table = step.split("Seq Scan on ").nth(1);
            let table = table.and_then(|rest| rest.split(' ').next());
            let is_scan = table.is_some_and(|table| GROWING.contains(&table));
            if is_scan || step.contains("Sort") && is_bounded(&statement) {
                writeln!(scans, "{step}: {statement}").unwrap();
            }
        }
    }
    assert_eq!(scans, "");
}

#[tokio::test]
async fn mariadb_scans_no_table_that_grows() {
    let server = Server::shared(Kind::Mariadb).unwrap();
    let database = server.new_database().unwrap();

    let mut scans = String::new();
    for statement in statements_of(&database.url()).await {
        let (statement, _) = with_values(&statement);
        for step in database
            .ask(&format!("EXPLAIN {statement}"))
            .unwrap()
            .lines()
        {
            let [_, _, table, access, _, key, ..] = step.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{step}");
            };
            let is_in_order = access == "index" && key == "sessions_by_creation";
            let is_scan = ["ALL", "index"].contains(&access) && GROWING.contains(&table);
            if is_scan && !is_in_order || step.contains("filesort") && is_bounded(&statement) {
                writeln!(scans, "{step}: {statement}").unwrap();
            }
        }
    }
    assert_eq!(scans, "");
}

/// Whether it asks for the first of something, and so should not sort the rest.
fn is_bounded(statement: &str) -> bool {
    statement.contains("ORDER BY") && statement.contains("LIMIT")
}

/// A statement with a likely limit and, of MySQL's marks, values; of the others' marks, those values.
fn with_values(statement: &str) -> (String, Vec<String>) {
    let mut text = String::new();
    let mut values = Vec::new();
    let mut rest = statement;
    while let Some(at) = rest.find(['$', '?']) {
        let before = rest[..at].trim_end();
        let mark = &rest[at..];
        let length = mark[1..]
            .find(|c: char| !c.is_ascii_digit())
            .map_or(mark.len(), |end| end + 1);
        text.push_str(&rest[..at]);
        rest = &mark[length..];
        if before.ends_with("LIMIT") {
            text.push_str("10");
            continue;
        }
        // What is over by some second: nothing yet.
        let is_before = before.ends_with('<') || before.ends_with("<=");
        let value = if is_before {
            "'0'".to_owned()
        } else {
            format!("'{FOUND}'")
        };
        text.push_str(if mark.starts_with('?') {
            &value
        } else {
            &mark[..length]
        });
        values.push(value);
    }
    text.push_str(rest);
    (text, values)
}

/// What a store on a full database runs for each thing that a request may ask of it.
async fn statements_of(url: &str) -> BTreeSet<String> {
    // One at a time: what is logged does not say for whom it ran.
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn = TURN.lock().await;
    let clock = Arc::new(ManualClock::at(UnixSeconds::new(NOW)));
    let store = SqlStore::open(url, 2, clock).await.unwrap();
    fill(url).await;

    let logged = logged();
    let take = || std::mem::take(&mut *logged.lock().unwrap_or_else(PoisonError::into_inner));
    take();
    ask_everything(&store).await;
    store.close().await;
    let growing = |statement: &String| {
        let words = statement.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let does = ["SELECT", "UPDATE", "DELETE", "INSERT"];
        words
            .clone()
            .next()
            .is_some_and(|word| does.contains(&word))
            && words.clone().any(|word| GROWING.contains(&word))
            && !(statement.starts_with("INSERT") && statement.contains("VALUES ("))
    };
    let statements: BTreeSet<String> = take().into_iter().filter(growing).collect();
    assert!(statements.len() > 25, "{statements:#?}");
    statements
}

async fn ask_everything(store: &SqlStore) {
    for number in [1, 2, 3, 3, 4, 5] {
        store.create(session(number)).await.unwrap();
    }
    store.renew(attempt(1, 1)).await.unwrap();
    let (one, two) = tokio::join!(store.renew(attempt(2, 1)), store.renew(attempt(3, 1)));
    one.and(two).unwrap();
    store.renew(attempt(1, 0)).await.unwrap(); // a thief's
    store
        .revoke(Selection::Session(sid(2)), CAUSE)
        .await
        .unwrap();
    let subject = "user-1".to_owned();
    let except = Some(sid(4));
    store
        .revoke(Selection::Subject { subject, except }, CAUSE)
        .await
        .unwrap();
    store.find(sid(3)).await.unwrap();
    store.sessions_of("user-1", 10).await.unwrap();
    assert_eq!(store.newest_sessions(10).await.unwrap().len(), 10);
    let log = store
        .read_log(u64::from(SESSIONS), UnixSeconds::new(0))
        .await
        .unwrap();
    assert_eq!(log.entries.len(), 4);
    store.keys_seq().await.unwrap();
    let credential = credential();
    store.add_credential(credential.clone()).await.unwrap();
    store.find_credential(&credential.digest).await.unwrap();
    store.revoke_credential(&credential.id).await.unwrap();
    for action in [None, Some("revoke_session".to_owned())] {
        let filter = AuditFilter {
            since: UnixSeconds::new(NOW),
            action,
            limit: 10,
        };
        store.audit(&filter).await.unwrap();
    }
    let events = store.events(u64::from(SESSIONS), 10).await.unwrap();
    assert!(!events.is_empty());
    let until = UnixSeconds::new(NOW + 60);
    assert!(store.advance_webhook("me", 0, 1, until).await.unwrap());
    store.webhook_position().await.unwrap();
    store.held_on("user-1").await.unwrap();
    store.erase("user-1").await.unwrap();
    store.check_writable().await.unwrap();
}

/// Sessions as a service of some months has them, half of them ended.
async fn fill(url: &str) {
    let random = |bytes: usize| match Dialect::of(url) {
        Some(Dialect::Sqlite) => format!("randomblob({bytes})"),
        Some(Dialect::Postgres) => format!("substr(sha256(random()::text::bytea), 1, {bytes})"),
        _ => format!("LEFT(UNHEX(SHA2(UUID(), 256)), {bytes})"),
    };
    let first = match Dialect::of(url) {
        Some(Dialect::Sqlite) => format!("CAST('{FOUND}' AS BLOB)"),
        _ => format!("'{FOUND}'"),
    };
    let sessions = "INSERT INTO sessions (sid, idx, subject, created_at, auth_time, ends_at, \
                    idle_secs, persistent, device_label, device_kind, amr)";
    let mut statements = vec![format!(
        "{sessions} VALUES ({first}, 1, '{FOUND}', 1790000001, 1790000001, 1900000001, 86400, 0, \
         'Firefox on Linux', 'desktop', '[]')"
    )];
    let mut count = 1;
    while count < SESSIONS {
        statements.push(format!(
            "{sessions} SELECT {}, idx + {count}, concat('someone-', idx + {count}), \
             created_at + {count}, auth_time, ends_at + {count}, idle_secs, 0, device_label, \
             device_kind, amr FROM sessions",
            random(16)
        ));
        count *= 2;
    }
    let (branch, agent, id) = (random(8), random(32), random(32));
    statements.extend([
        format!(
            "INSERT INTO renewals (sid, generation, branch, confirmed_at, agent) \
             SELECT sid, 0, {branch}, created_at, {agent} FROM sessions"
        ),
        "INSERT INTO revocations (sid, seq, idx, revoked_at, ended_by, reason, list_exp) \
         SELECT sid, idx, idx, created_at, 'user', 'signed_out', 1800000000 + 60 * idx \
         FROM sessions WHERE idx % 2 = 0"
            .to_owned(),
        format!(
            "INSERT INTO idempotency (id, request_digest, sid, expires_at) \
             SELECT {id}, {agent}, sid, ends_at FROM sessions"
        ),
        "INSERT INTO audit (id, at, actor, action, target) \
         SELECT idx, created_at, 'app', 'revoke_subject', subject FROM sessions"
            .to_owned(),
        "INSERT INTO events (id, at, kind, sid, subject) \
         SELECT idx, created_at, 'session_ended', sid, subject FROM sessions"
            .to_owned(),
        format!("UPDATE head SET seq = {SESSIONS}, audit_id = {SESSIONS}, event_id = {SESSIONS}"),
        format!("UPDATE issuance SET next_idx = {SESSIONS}"),
        match Dialect::of(url) {
            Some(Dialect::MySql) => {
                "ANALYZE TABLE sessions, renewals, revocations, idempotency, audit, events"
            }
            Some(Dialect::Postgres) => "ANALYZE",
            // Nobody has a file analyzed.
            _ => "SELECT 1",
        }
        .to_owned(),
    ]);
    let mut connection = AnyConnection::connect(url).await.unwrap();
    for statement in statements {
        let run = sqlx::raw_sql(AssertSqlSafe(statement.clone()));
        let done = run.execute(&mut connection).await;
        assert!(done.is_ok(), "{statement}: {done:?}");
    }
}

/// The statements that drivers have logged since somebody took them.
fn logged() -> &'static Mutex<BTreeSet<String>> {
    static LOGGED: OnceLock<Log> = OnceLock::new();
    let log = LOGGED.get_or_init(|| {
        let log = Log::default();
        let subscriber = tracing_subscriber::registry().with(log.clone());
        tracing::subscriber::set_global_default(subscriber).unwrap();
        log
    });
    &log.0
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<BTreeSet<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            let mut statement = Logged::default();
            event.record(&mut statement);
            let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            log.insert(statement.0.trim().to_owned());
        }
    }
}

/// The statement of an event: whole, or its summary if that is whole.
#[derive(Default)]
struct Logged(String);

impl Visit for Logged {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "db.statement" && !value.is_empty() || self.0.is_empty() {
            value.clone_into(&mut self.0);
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn Debug) {}
}

fn sid(number: u8) -> Sid {
    [number; 16]
}

fn session(number: u8) -> NewSession {
    NewSession {
        sid: sid(number),
        branch: [0; 8],
        agent: [1; 32],
        subject: "user-1".to_owned(),
        auth_time: None,
        absolute: Seconds::new(86_400),
        idle: Seconds::new(86_400),
        persistent: false,
        origin: Origin::default(),
        user_agent: None,
        device: Device {
            label: format!("Browser {number}"),
            kind: "desktop".to_owned(),
            browser: None,
            os: None,
        },
        amr: Vec::new(),
        ext: None,
        subject_limit: Some(10),
        idempotency: Some(Idempotency {
            id: [number; 32],
            request_digest: [number; 32],
            keep: Seconds::new(600),
        }),
    }
}

fn attempt(number: u8, generation: u32) -> RenewalAttempt {
    RenewalAttempt {
        sid: sid(number),
        presented: Branch {
            generation,
            branch: [9; 8],
        },
        agent: [2; 32],
        grace: Seconds::new(0),
        origin: Origin::default(),
    }
}

fn credential() -> CredentialRow {
    CredentialRow {
        id: "app-1".to_owned(),
        scope: "app".to_owned(),
        name: String::new(),
        digest: [1; 32],
        created_at: UnixSeconds::new(NOW),
        revoked_at: None,
    }
}
