//! `hallpass doctor`: each fault is made true, found by its name, and gone once it is mended.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::get;
use hmac_sha256::HMAC;
use serde_json::{Value, json};
use sqlx::{AnyConnection, Connection};
use tempfile::TempDir;

use crate::command::{Served, command, folder, said};
use crate::database::{Database, Table, on_each_server};
use hallpass_databases::Kind;

const CONFIG: [&str; 2] = ["--config", "hallpass.toml"];

/// A folder with what `init` makes: nothing is wrong with it.
fn healthy() -> TempDir {
    let folder = folder();
    let init = "init --service-url https://sessions.example --host app.example";
    said(folder.path(), &init.split(' ').collect::<Vec<_>>());
    folder
}

fn doctor(folder: &Path, more: &[&str]) -> Output {
    let mut doctor = command(folder);
    doctor.arg("doctor").args(CONFIG).arg("--json").args(more);
    doctor.output().unwrap()
}

/// Exit code, and the codes of what was found.
fn found(output: &Output) -> (i32, Vec<String>) {
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let findings = report["findings"].as_array().unwrap();
    let text = |finding: &Value, member: &str| finding[member].as_str().unwrap().to_owned();
    for finding in findings {
        assert!(!text(finding, "what").is_empty() && !text(finding, "advice").is_empty());
    }
    let codes = findings
        .iter()
        .map(|finding| text(finding, "code"))
        .collect();
    (output.status.code().unwrap(), codes)
}

#[track_caller]
fn assert_found(folder: &Path, more: &[&str], wanted: &[&str]) {
    let (code, codes) = found(&doctor(folder, more));
    assert_eq!(codes, wanted, "{more:?}");
    assert_eq!(code, i32::from(!wanted.is_empty()));
}

fn set(folder: &Path, lines: &str) {
    let file = folder.join("hallpass.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let keys: Vec<&str> = lines
        .lines()
        .filter_map(|line| line.split(" = ").next())
        .collect();
    let kept = text.lines().filter(|line| {
        let key = line.split(" = ").next().unwrap_or_default();
        !keys.contains(&key)
    });
    let kept: Vec<&str> = kept.chain([lines]).collect();
    std::fs::write(file, kept.join("\n")).unwrap();
}

fn set_mode(file: &Path, mode: u32) {
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
}

async fn sql(folder: &Path, statement: &str) {
    sqlx::any::install_default_drivers();
    let url = format!("sqlite://{}", folder.join("hallpass.db").display());
    let mut connection = AnyConnection::connect(&url).await.unwrap();
    let statement = sqlx::query(sqlx::AssertSqlSafe(statement.to_owned()));
    assert!(
        statement
            .execute(&mut connection)
            .await
            .unwrap()
            .rows_affected()
            > 0
    );
}

#[test]
fn nothing_is_wrong_with_what_init_made() {
    let folder = healthy();

    assert_found(folder.path(), &[], &[]);
    let text = said(folder.path(), &[["doctor"].as_slice(), &CONFIG].concat());
    assert!(
        text.starts_with("nothing is wrong; looked at settings"),
        "{text}"
    );
}

#[test]
fn settings_that_cannot_be_are_found() {
    let folder = healthy();
    set(folder.path(), "colour = 1");
    assert_found(folder.path(), &[], &["settings_invalid"]);

    let folder = healthy();
    set(folder.path(), "listen = \"0.0.0.0:8788\"");
    assert_found(folder.path(), &[], &["listening_in_clear"]);
    assert_found(
        folder.path(),
        &["--environment", "development"],
        &["environment_development", "listening_in_clear"],
    );

    let folder = healthy();
    set(folder.path(), "audience = \"hallpass-demo\"");
    assert_found(folder.path(), &[], &["demo_name"]);
}

#[test]
fn files_that_others_can_read_or_change_are_found() {
    for (file, mode, is_wrong) in [
        ("master.key", 0o644, true),
        ("master.key", 0o640, false),
        ("master.key", 0o660, true),
        ("hallpass.db", 0o604, true),
        ("hallpass.db.journal.jsonl", 0o644, true),
        ("hallpass.toml", 0o644, false),
        ("hallpass.toml", 0o666, true),
    ] {
        let folder = healthy();
        set_mode(&folder.path().join(file), mode);
        let wanted: &[&str] = if is_wrong { &["file_mode"] } else { &[] };
        assert_found(folder.path(), &[], wanted);
    }
    let folder = healthy();
    set(
        folder.path(),
        "database_url = \"postgres://u:secret@127.0.0.1:1/x\"\njournal_file = \"j\"",
    );
    set_mode(&folder.path().join("hallpass.toml"), 0o644);
    let output = doctor(folder.path(), &[]);
    let (code, codes) = found(&output);
    assert_eq!(code, 3);
    assert_eq!(codes, ["file_mode", "database_unreachable"]);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("secret@"));
}

#[test]
fn files_that_cannot_be_used_are_found() {
    let folder = healthy();
    std::fs::write(folder.path().join("master.key"), "short").unwrap();
    assert_found(folder.path(), &[], &["master_key_unusable"]);

    let folder = healthy();
    let secret = folder.path().join("webhook.secret");
    set(
        folder.path(),
        "webhook_url = \"https://app.example/\"\nwebhook_secret_file = \"webhook.secret\"",
    );
    assert_found(folder.path(), &[], &["webhook_secret_unusable"]);
    std::fs::write(&secret, "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=").unwrap();
    set_mode(&secret, 0o600);
    assert_found(folder.path(), &[], &["key_weak"]);
    set_mode(&secret, 0o644);
    assert_found(folder.path(), &[], &["file_mode", "key_weak"]);

    let folder = healthy();
    set(
        folder.path(),
        "tls_certificate = \"c.pem\"\ntls_key = \"k.pem\"",
    );
    assert_found(folder.path(), &[], &["tls_unusable"]);
}

#[test]
fn keys_that_the_service_could_not_use_are_found() {
    let folder = healthy();
    let other = hallpass_session::base64url::encode(&[7; 32]);
    std::fs::write(folder.path().join("master.key"), other).unwrap();
    assert_found(folder.path(), &[], &["key_weak", "key_unusable"]);

    let folder = healthy();
    set(folder.path(), "issuer = \"https://another.example\"");
    assert_found(folder.path(), &[], &["key_unusable"]);
}

#[tokio::test]
async fn keys_that_are_weak_in_clear_missing_or_overdue_are_found() {
    let folder = healthy();
    let weak = [7; 32];
    let label: &[u8] = b"hallpass-key-check\0renewal:1:HS256\0https://sessions.example";
    let statement = format!(
        "UPDATE keyring SET sealed = FALSE, secret = x'{}', check_value = x'{}' WHERE kind = 'renewal'",
        hexadecimal(&weak),
        hexadecimal(&HMAC::mac(label, weak)),
    );
    sql(folder.path(), &statement).await;
    assert_found(folder.path(), &[], &["keys_in_clear", "key_weak"]);

    let folder = healthy();
    let retire = "UPDATE keyring SET retired_at = 1, removed_at = 1 WHERE kind = 'session'";
    sql(folder.path(), retire).await;
    assert_found(folder.path(), &[], &["key_missing"]);
    said(
        folder.path(),
        &[
            ["keys", "rotate", "--now", "--kind", "session"].as_slice(),
            &CONFIG,
        ]
        .concat(),
    );
    assert_found(folder.path(), &[], &[]);

    let folder = healthy();
    let age = "UPDATE keyring SET created_at = created_at - 200 * 86400, \
               signs_from = signs_from - 200 * 86400 WHERE kind = 'list'";
    sql(folder.path(), age).await;
    assert_found(folder.path(), &[], &[]);
    assert_found(folder.path(), &["--keys-max-age", "100d"], &["key_old"]);
    said(
        folder.path(),
        &[
            ["keys", "rotate", "--now", "--kind", "list"].as_slice(),
            &CONFIG,
        ]
        .concat(),
    );
    assert_found(folder.path(), &["--keys-max-age", "100d"], &[]);
    sql(
        folder.path(),
        "UPDATE keyring SET signs_from = signs_from - 100 * 86400 WHERE kind = 'list'",
    )
    .await;
    assert_found(folder.path(), &[], &["key_overdue"]);
}

#[tokio::test]
async fn table_without_keys_is_found() {
    let folder = folder();
    said(folder.path(), &["migrate"]);
    let mut doctor = command(folder.path());
    let output = doctor.args(["doctor", "--json"]).output().unwrap();
    let missing = "credential_missing";
    assert_eq!(found(&output).1, ["keys_none", missing, missing]);
}

#[tokio::test]
async fn credentials_that_are_old_or_missing_are_found() {
    let folder = healthy();
    sql(
        folder.path(),
        "UPDATE credentials SET created_at = created_at - 400 * 86400 WHERE scope = 'admin'",
    )
    .await;
    assert_found(folder.path(), &[], &["credential_old"]);
    assert_found(
        folder.path(),
        &["--credentials-max-age", "399d"],
        &["credential_old"],
    );
    sql(
        folder.path(),
        "UPDATE credentials SET revoked_at = 1 WHERE scope <> 'app'",
    )
    .await;
    assert_found(folder.path(), &[], &["credential_missing"]);
}

#[test]
fn journal_that_is_off_lost_or_unusable_is_found() {
    let folder = healthy();
    let journal = folder.path().join("hallpass.db.journal.jsonl");
    std::fs::remove_file(&journal).unwrap();
    assert_found(folder.path(), &[], &["journal_absent"]);
    std::fs::create_dir(&journal).unwrap();
    set_mode(&journal, 0o700);
    assert_found(folder.path(), &[], &["journal_unwritable"]);
    set(folder.path(), "journal_file = \"off\"");
    assert_found(folder.path(), &[], &["journal_off"]);
}

#[tokio::test]
async fn schema_of_another_version_and_no_database_are_found() {
    let folder = healthy();
    sql(
        folder.path(),
        "INSERT INTO _sqlx_migrations SELECT 9999, description, installed_on, success, checksum, \
         execution_time FROM _sqlx_migrations LIMIT 1",
    )
    .await;
    assert_found(folder.path(), &[], &["schema_new"]);
    sql(folder.path(), "DELETE FROM _sqlx_migrations").await;
    assert_found(folder.path(), &[], &["schema_old"]);

    let folder = healthy();
    std::fs::remove_file(folder.path().join("hallpass.db")).unwrap();
    assert_found(folder.path(), &[], &["database_absent"]);
    assert!(
        !folder.path().join("hallpass.db").exists(),
        "looking makes nothing"
    );

    let folder = healthy();
    let (code, codes) = found(&doctor(
        folder.path(),
        &[
            "--database-url",
            "postgres://127.0.0.1:1/x",
            "--journal-file",
            "j",
        ],
    ));
    assert_eq!((code, codes), (3, vec!["database_unreachable".to_owned()]));
    let text = "this is no database, but long enough to be read as one".repeat(50);
    std::fs::write(folder.path().join("hallpass.db"), text).unwrap();
    assert_eq!(found(&doctor(folder.path(), &[])).0, 3);
}

#[test]
fn restored_table_that_nobody_recovered_is_found() {
    let folder = healthy();
    let with_config = |arguments: &[&'static str]| [arguments, &CONFIG].concat();
    said(folder.path(), &with_config(&["backup", "backup.jsonl"]));
    std::fs::remove_file(folder.path().join("hallpass.db")).unwrap();
    said(folder.path(), &with_config(&["restore", "backup.jsonl"]));
    assert_found(folder.path(), &[], &["recovery_due"]);
    said(folder.path(), &with_config(&["recover", "--yes"]));
    assert_found(folder.path(), &[], &[]);
}

/// What a server of another place and time would be, as far as a database of it can tell.
async fn database_servers_clock_and_weakness_are_found(kind: Kind) {
    let table = Table::new(match kind {
        Kind::Postgresql => Database::Postgresql,
        Kind::Mariadb => Database::Mariadb,
    });
    let folder = folder();
    let run = |arguments: &[&str]| {
        let mut run = command(folder.path());
        run.args(arguments)
            .env("HALLPASS_DATABASE_URL", table.url());
        run.output().unwrap()
    };
    assert!(
        run(&["init", "--environment", "development"])
            .status
            .success()
    );
    let look = || found(&run(&["doctor", "--json", "--config", "hallpass.toml"]));
    // The servers of the tests may lose what they acknowledged, which makes them fast.
    let weak = "database_may_lose_writes".to_owned();
    assert_eq!(look(), (1, vec![weak.clone()]), "the clock is ours");

    if kind == Kind::Postgresql {
        // A clock_timestamp() of our own, before the server's.
        table.ask("CREATE SCHEMA wrong");
        table.ask(
            "CREATE FUNCTION wrong.clock_timestamp() RETURNS timestamptz LANGUAGE sql \
             AS $$ SELECT pg_catalog.clock_timestamp() - interval '1 minute' $$",
        );
        table.ask("GRANT USAGE ON SCHEMA wrong TO PUBLIC");
        let database = table.ask("SELECT current_database()").unwrap();
        let alter = |what: &str| table.ask(&format!("ALTER DATABASE \"{database}\" {what}"));
        alter("SET search_path = wrong, pg_catalog, public");
        let (code, codes) = look();
        assert_eq!(
            codes.first().map(String::as_str),
            Some("database_clock"),
            "{codes:?}"
        );
        assert_eq!(code, 1);
        alter("RESET search_path");
        alter("SET default_transaction_read_only = on");
        assert_eq!(look(), (1, vec![weak, "database_unwritable".to_owned()]));
    }
}

on_each_server![database_servers_clock_and_weakness_are_found];

/// A server that answers as it is told; its address.
async fn answering(routes: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = hallpass_service::http::serve(listener, routes, std::future::pending());
    tokio::spawn(server);
    url
}

async fn asked(folder: &Path, arguments: &[&str], diagnostic: Option<&str>) -> (i32, Vec<String>) {
    let mut doctor = command(folder);
    doctor.args(["doctor", "--json"]).args(arguments);
    if let Some(credential) = diagnostic {
        doctor.env("DIAGNOSTIC_CREDENTIAL", credential);
    }
    found(
        &tokio::task::spawn_blocking(move || doctor.output().unwrap())
            .await
            .unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn running_service_is_asked_and_compared_with_the_table() {
    let folder = healthy();
    let served = Served::start(folder.path(), &CONFIG);

    assert_eq!(
        asked(folder.path(), &[&served.url], None).await,
        (0, Vec::new())
    );
    let with_table = [&[served.url.as_str()], CONFIG.as_slice()].concat();
    assert_eq!(
        asked(folder.path(), &with_table, None).await,
        (0, Vec::new())
    );
    let other = healthy();
    let differing = asked(other.path(), &with_table, None).await;
    assert_eq!(differing, (1, vec!["service_has_other_keys".to_owned()]));

    let url = served.url.clone();
    served.terminate();
    let gone = asked(folder.path(), &[&url], None).await;
    assert_eq!(gone, (3, vec!["deployment_unreachable".to_owned()]));
    let (code, text) = crate::command::failed(folder.path(), &["doctor", "app.example"]);
    assert!(code == 2 && text.contains("https://app.example"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_what_runs_at_a_url_are_found() {
    let folder = folder();
    let codes = async |routes: Router, diagnostic| {
        let url = answering(routes).await;
        asked(folder.path(), &[&url], diagnostic).await.1
    };
    let health =
        |body: Value| Router::new().route("/.session/health", get(async move || body.to_string()));

    assert_eq!(codes(Router::new(), None).await, ["deployment_unknown"]);
    let edge = || health(json!({"status": "ok"}));
    assert_eq!(codes(edge(), None).await, [""; 0]);
    assert_eq!(codes(edge(), Some("wrong")).await, ["diagnostics_refused"]);
    let counted =
        json!({"status": "ok", "list": null, "counters": {"outages": 1, "lists_refused": 2}});
    assert_eq!(
        codes(health(counted), Some("right")).await,
        ["edge_refuses_lists", "edge_met_outages"]
    );
    let problem = json!({
        "type": "about:blank", "title": "t", "status": 503, "code": "misconfigured", "request_id": "r",
    });
    let misconfigured = Router::new()
        .fallback(async move || (StatusCode::SERVICE_UNAVAILABLE, problem.to_string()));
    assert_eq!(codes(misconfigured, None).await, ["edge_misconfigured"]);
    let late = Router::new().route(
        "/.session/health",
        get(async || {
            let date = [(header::DATE, "Sun, 01 Nov 2020 10:00:00 GMT")];
            (date, json!({"status": "ok"}).to_string())
        }),
    );
    assert_eq!(codes(late, None).await, ["deployment_clock"]);
    let service = |ready: StatusCode, keys: &'static str| {
        Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(async move || ready))
            .route("/.well-known/jwks.json", get(async move || keys))
    };
    let (good, bad) = (StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(codes(service(good, r#"{"keys":[]}"#), None).await, [""; 0]);
    assert_eq!(
        codes(service(bad, "<html>"), None).await,
        ["service_not_ready", "service_without_keys"]
    );
    let huge: &str = Box::leak("x".repeat(100 << 10).into_boxed_str());
    assert_eq!(
        codes(service(good, huge), None).await,
        ["deployment_unreachable"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn credential_is_never_sent_in_clear_to_another_machine() {
    let folder = folder();
    let told = async |headers: HeaderMap| {
        let unlocked = headers.contains_key("hallpass-diagnostics");
        json!({"status": if unlocked { "credential seen" } else { "ok" }}).to_string()
    };
    let routes = Router::new().route("/.session/health", get(told));
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    // Not one of the names that are this machine for sure.
    let url = format!("http://127.0.0.2:{}", listener.local_addr().unwrap().port());
    tokio::spawn(hallpass_service::http::serve(
        listener,
        routes,
        std::future::pending(),
    ));

    let found = asked(folder.path(), &[&url], Some("secret")).await;

    assert_eq!(found, (1, vec!["url_in_clear".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_that_follows_another_table_is_found() {
    let folder = healthy();
    let list = json!({"epoch": "elsewhere", "to": 1, "entries": 0, "age_ms": 1000});
    let health = json!({
        "status": "ok", "list": list, "counters": {"outages": 0, "lists_refused": 0},
    });
    let routes = Router::new().route("/.session/health", get(async move || health.to_string()));
    let url = answering(routes).await;

    let arguments = [&[url.as_str()], CONFIG.as_slice()].concat();
    let (code, codes) = asked(folder.path(), &arguments, Some("right")).await;

    assert_eq!(
        (code, codes),
        (1, vec!["edge_follows_another_table".to_owned()])
    );
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from_digit(digit.into(), 16).unwrap())
        .collect()
}
