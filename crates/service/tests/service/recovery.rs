//! A restored backup: noticed, and recovered from with the journal.

use std::path::Path;

use hallpass_session::revocation::ListHeader;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::command::{Served, credential, failed, folder, said};
use crate::database::{Database, Table, on_each_database};

const SETTINGS: &str = "hallpass.toml";

async fn answer(served: &Served, edge: &str, token: &str) -> (u16, String) {
    let body = json!({"renewal_token": token});
    let answer = served.post("/v1/edge/renew", edge, &body).await;
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

fn end(folder: &Path, sid: &str) {
    said(folder, &["sessions", "revoke", sid, "--config", SETTINGS]);
}

async fn list_head(served: &Served, edge: &str) -> ListHeader {
    let url = format!("{}/v1/edge/revocations?after=0", served.url);
    let request = reqwest::Client::new().get(url).bearer_auth(edge);
    let answer = request.send().await.unwrap();
    let header = answer.headers()["hallpass-list"].to_str().unwrap();
    ListHeader::parse(header).unwrap()
}

/// A folder with settings for a table in `database`.
fn place(database: Database) -> (TempDir, Table) {
    let (folder, table) = (folder(), Table::new(database));
    let settings = format!(
        "database_url = \"{}\"\njournal_file = \"journal\"\n",
        table.url()
    );
    std::fs::write(folder.path().join(SETTINGS), settings).unwrap();
    (folder, table)
}

async fn restored_table_goes_on_without_its_forgotten_revocations_living_again(database: Database) {
    let (folder, table) = place(database);
    let folder = folder.path();
    let (edge, app) = (credential_of(folder, "edge"), credential_of(folder, "app"));
    let served = Served::start(folder, &["--config", SETTINGS]);
    let untouched = served.create(&app).await;
    let renewed = served.create(&app).await;
    let ended = served.create(&app).await;
    let ended_before = served.create(&app).await;
    end(folder, &ended_before.session.sid);
    assert_eq!(served.terminate(), 0);
    let backup = table.back_up();
    let served = Served::start(folder, &["--config", SETTINGS]);
    let mut latest = served.renew(&edge, &renewed.renewal_token).await;
    for _ in 0..3 {
        latest = served.renew(&edge, &latest.renewal_token).await;
    }
    end(folder, &ended.session.sid);
    let lost = served.create(&app).await;
    let lost_and_ended = served.create(&app).await;
    end(folder, &lost_and_ended.session.sid);
    let before = list_head(&served, &edge).await.position;
    let rotate = ["keys", "rotate", "--kind", "renewal", "--now"];
    said(folder, &[&rotate[..], &["--config", SETTINGS]].concat());
    assert_eq!(served.terminate(), 0);
    table.restore(&backup);

    // The restored table notices by itself, and ends nobody.
    let served = Served::start(folder, &["--config", SETTINGS]);
    let rolled_back = answer(&served, &edge, &latest.renewal_token).await;
    assert_eq!(rolled_back, (503, "table_rolled_back".to_owned()));
    let log = std::fs::read_to_string(folder.join("log")).unwrap();
    assert!(log.contains("hallpass recover"), "{log}");
    served.terminate();

    let dry: Value = report(folder, &["--dry-run"]);
    assert_eq!(dry["done"], false);
    assert_eq!(dry["revocations_reapplied"], 1);
    let done = report(folder, &["--yes"]);
    assert_eq!(done["done"], true);
    assert_eq!(done["revocations_reapplied"], 1);
    assert_eq!(done["revocations_of_lost_sessions"], 1);
    assert_eq!(done["revocations_known"], 1);
    assert_eq!(done["lost_sessions_at_least"], 2);
    assert_eq!(done["renewal_keys_lost"], json!(["2"]));

    let served = Served::start(folder, &["--config", SETTINGS]);
    let log = std::fs::read_to_string(folder.join("log")).unwrap();
    assert!(!log.contains("hallpass recover"), "{log}");
    let after = list_head(&served, &edge).await.position;
    assert_ne!(after.epoch, before.epoch);
    served.renew(&edge, &untouched.renewal_token).await;
    latest = served.renew(&edge, &latest.renewal_token).await;
    served.renew(&edge, &latest.renewal_token).await;
    for token in [&ended.renewal_token, &ended_before.renewal_token] {
        let refused = answer(&served, &edge, token).await;
        assert_eq!(refused, (401, "session_revoked".to_owned()));
    }
    let unknown = answer(&served, &edge, &lost.renewal_token).await;
    assert_eq!(unknown, (401, "renewal_unknown".to_owned()));
    let new = served.create(&app).await;
    assert!(index(&new.session_token) > index(&lost.session_token) + 1_000_000);

    // Once more: nobody is ended twice, nobody else is signed out.
    let again = report(folder, &["--yes"]);
    assert_eq!(again["revocations_reapplied"], 0);
    assert_eq!(again["renewal_keys_lost"], json!([]));
    served.renew(&edge, &untouched.renewal_token).await;
    served.renew(&edge, &new.renewal_token).await;
}

on_each_database!(restored_table_goes_on_without_its_forgotten_revocations_living_again);

#[tokio::test]
async fn everybody_can_be_signed_out_instead() {
    let (folder, _table) = place(Database::Sqlite);
    let folder = folder.path();
    let (edge, app) = (credential_of(folder, "edge"), credential_of(folder, "app"));
    let served = Served::start(folder, &["--config", SETTINGS]);
    let created = served.create(&app).await;

    let (code, text) = failed(
        folder,
        &["recover", "--sign-out-everyone", "--config", SETTINGS],
    );
    assert!(code == 1 && text.contains("--yes"), "{text}");
    let done = report(folder, &["--sign-out-everyone", "--yes"]);

    assert_eq!(done["signed_out_everyone"], true);
    let refused = answer(&served, &edge, &created.renewal_token).await;
    assert_eq!(refused, (401, "session_revoked".to_owned()));
}

#[test]
fn recovering_without_a_journal_must_be_said() {
    let folder = folder();
    let off = ["recover", "--yes", "--journal-file", "off"];
    let (code, text) = failed(folder.path(), &off);
    assert!(code == 2 && text.contains("--no-journal"), "{text}");
    let (code, text) = failed(folder.path(), &["recover", "--journal", "nowhere"]);
    assert!(code == 1 && text.contains("nowhere"), "{text}");

    said(folder.path(), &[&off[..], &["--no-journal"]].concat());
}

#[tokio::test]
async fn journal_has_what_every_process_ended_and_no_name() {
    let folder = folder();
    let folder = folder.path();
    std::fs::write(folder.join(SETTINGS), "").unwrap();
    let app = credential(folder, "app");
    let served = Served::start(folder, &[]);
    let (one, two) = (served.create(&app).await, served.create(&app).await);
    end(folder, &one.session.sid);
    let url = format!("{}/v1/sessions/{}", served.url, two.session.sid);
    let request = reqwest::Client::new().delete(url).bearer_auth(&app);
    assert_eq!(request.send().await.unwrap().status(), 200);

    let journal = std::fs::read_to_string(folder.join("hallpass.db.journal.jsonl")).unwrap();

    assert_eq!(journal.lines().count(), 2);
    assert!(journal.contains(&one.session.sid) && journal.contains(&two.session.sid));
    assert!(!journal.contains("ada") && !journal.contains("203.0.113"));
}

#[tokio::test]
async fn revocation_is_in_force_though_the_journal_cannot_be_written() {
    let folder = folder();
    let folder = folder.path();
    let (edge, app) = (credential(folder, "edge"), credential(folder, "app"));
    std::fs::create_dir(folder.join("elsewhere")).unwrap();
    let served = Served::start(folder, &["--journal-file", "elsewhere/journal"]);
    let created = served.create(&app).await;
    std::fs::remove_dir_all(folder.join("elsewhere")).unwrap();

    let url = format!("{}/v1/sessions/{}", served.url, created.session.sid);
    let request = reqwest::Client::new().delete(url).bearer_auth(&app);
    assert_eq!(request.send().await.unwrap().status(), 200);

    let refused = answer(&served, &edge, &created.renewal_token).await;
    assert_eq!(refused, (401, "session_revoked".to_owned()));
    let ready = reqwest::get(format!("{}/readyz", served.url))
        .await
        .unwrap();
    let text = ready.text().await.unwrap();
    assert_eq!(text, "ready\n1 writes of the revocation journal failed\n");
}

#[test]
fn journal_that_cannot_be_opened_is_named_at_the_start() {
    let folder = folder();
    let serve = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--journal-file",
        "no/where",
    ];

    let (code, text) = failed(folder.path(), &serve);

    assert!(
        code == 2 && text.contains("journal_file no/where"),
        "{text}"
    );
}

fn report(folder: &Path, arguments: &[&str]) -> Value {
    let arguments = [&["recover", "--json", "--config", SETTINGS], arguments].concat();
    serde_json::from_str(&said(folder, &arguments)).unwrap()
}

fn index(token: &str) -> u64 {
    let payload = token.split('.').nth(1).unwrap();
    let payload = hallpass_session::base64url::decode(payload).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    claims["idx"].as_u64().unwrap()
}

fn credential_of(folder: &Path, scope: &str) -> String {
    let create = [
        "credentials",
        "create",
        "--scope",
        scope,
        "--config",
        SETTINGS,
    ];
    said(folder, &create)
}
