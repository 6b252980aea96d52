//! Who did what, and what apps are told of it.

use std::process::Command;

use hallpass_session::wire::Created;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::database::{Database, on_each_database};
use crate::running::{Running, creation};
use hallpass_service::store::{AuditEntry, AuditFilter};
use hallpass_session::time::UnixSeconds;

impl Running {
    /// The newest entries, newest first.
    pub(crate) async fn audit(&self) -> Vec<AuditEntry> {
        let filter = AuditFilter {
            since: UnixSeconds::new(0),
            action: None,
            limit: 100,
        };
        self.service.audit(&filter).await.unwrap()
    }

    async fn events(&self, query: &str) -> Value {
        let path = format!("/v1/events{query}");
        self.get(&path, &self.app).await.json(StatusCode::OK)
    }
}

async fn revocations_say_who_asked_and_from_where(database: Database) {
    let service = Running::start(database).await;
    let one = service.create("ada").await.session.sid;
    service.create("ada").await;
    let before = service.audit().await.len();

    let revoked = service
        .delete(&format!("/v1/sessions/{one}"), &service.app)
        .await;
    service
        .delete("/v1/subjects/YWRh/sessions", &service.app)
        .await;
    service
        .post("/v1/revoked-before", &service.admin, &json!({}))
        .await;

    let entries = service.audit().await;
    let [everything, subject, session, ..] = entries.as_slice() else {
        panic!("{entries:?}");
    };
    assert_eq!(entries.len(), before + 3);
    assert_eq!(session.action, "revoke_session");
    assert_eq!(session.target.as_deref(), Some(one.as_str()));
    assert_eq!(
        session.detail,
        json!({"by": "app", "reason": "ended_by_app", "ended": 1})
    );
    assert_eq!(session.ip.as_deref(), Some("127.0.0.1"));
    assert_eq!(session.at, service.now());
    let request_id = revoked.header("x-request-id");
    assert_eq!(session.request_id.as_deref(), Some(request_id));
    assert!(
        session.actor.starts_with("credential:c-"),
        "{}",
        session.actor
    );
    assert_eq!(subject.action, "revoke_subject");
    assert_eq!(subject.target.as_deref(), Some("ada"));
    assert_eq!(everything.action, "revoke_everything");
    assert_ne!(everything.actor, session.actor);
    assert!(session.id < subject.id && subject.id < everything.id);
}

async fn nothing_done_is_nothing_written(database: Database) {
    let service = Running::start(database).await;
    let sid = service.create("ada").await.session.sid;
    let path = format!("/v1/sessions/{sid}");
    service.delete(&path, &service.app).await;
    let (audit, events) = (service.audit().await.len(), service.events("").await);

    service.delete(&path, &service.app).await;
    service
        .delete("/v1/subjects/YWRh/sessions", &service.app)
        .await;
    service.delete(&path, &service.edge).await;

    assert_eq!(service.audit().await.len(), audit);
    assert_eq!(service.events("").await, events);
}

async fn events_tell_apps_what_happened_in_order(database: Database) {
    let service = Running::start(database).await;
    let first = service.create("ada").await;
    let mut body = creation("ada");
    body["client"]["user_agent"] = json!("curl/8.0");
    let second: Created = service
        .post("/v1/sessions", &service.app, &body)
        .await
        .json(StatusCode::CREATED);
    let renewed = service.renewed(&first.renewal_token).await;
    service.renewed(&renewed.renewal_token).await;
    service.advance(11);
    service
        .renew(&first.renewal_token)
        .await
        .refused(401, "renewal_reused");
    service
        .delete("/v1/subjects/YWRh/sessions", &service.app)
        .await;
    service
        .post("/v1/revoked-before", &service.admin, &json!({}))
        .await;

    let told = service.events("").await;

    let told: Vec<_> = told["events"].as_array().unwrap().iter().collect();
    let kinds: Vec<_> = told
        .iter()
        .map(|event| event["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["new_device", "replay", "ended", "all_ended"]);
    let sids: Vec<_> = told.iter().map(|event| event["sid"].as_str()).collect();
    let (first, second) = (first.session.sid.as_str(), second.session.sid.as_str());
    assert_eq!(sids, [Some(second), Some(first), Some(second), None]);
    assert_eq!(told[0]["subject"], "ada");
    assert_eq!(
        told[2]["detail"],
        json!({"by": "app", "reason": "ended_by_app"})
    );
    let after = told[1]["id"].as_u64().unwrap();
    let rest = service.events(&format!("?after={after}&limit=1")).await;
    assert_eq!(rest["events"], json!([told[2]]));
    assert_eq!(rest["next"], told[2]["id"]);
    let newest = told[3]["id"].as_u64().unwrap();
    let none = service.events(&format!("?after={newest}")).await;
    assert_eq!(none, json!({"events": [], "next": newest}));
}

async fn events_wait_for_the_next_one(database: Database) {
    let service = Running::start(database).await;
    let sid = service.create("ada").await.session.sid;
    let waiting = service.events("?wait=5");
    let ending = async {
        let path = format!("/v1/sessions/{sid}");
        service.delete(&path, &service.app).await
    };

    let (told, _) = tokio::join!(waiting, ending);

    assert_eq!(told["events"][0]["kind"], "ended");
    assert_eq!(told["events"][0]["sid"], sid);
}

on_each_database!(
    events_tell_apps_what_happened_in_order,
    events_wait_for_the_next_one,
    nothing_done_is_nothing_written,
    revocations_say_who_asked_and_from_where,
);

#[tokio::test]
async fn events_are_for_apps_and_refuse_what_makes_no_sense() {
    let service = Running::start(Database::Sqlite).await;
    let refused = service.get("/v1/events", &service.edge).await;
    refused.refused(403, "scope_insufficient");
    for query in ["limit=0", "limit=1001", "wait=6", "after=-1", "x=1"] {
        let path = format!("/v1/events?{query}");
        let answer = service.get(&path, &service.app).await;
        answer.refused(400, "request_malformed");
    }
}

#[test]
fn command_lists_what_commands_did() {
    let folder = tempfile::tempdir().unwrap();
    let said = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
        let command = command.current_dir(folder.path()).env_clear();
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    said(&["credentials", "create", "--scope", "app", "--name", "shop"]);

    let listed: Value = serde_json::from_str(&said(&["audit", "list", "--json"])).unwrap();
    assert_eq!(listed[0]["action"], "create_credential");
    assert_eq!(listed[0]["detail"]["scope"], "app");
    assert!(listed[0]["actor"].as_str().unwrap().starts_with("uid:"));
    let table = said(&["audit", "list", "--action", "create_credential"]);
    assert!(table.contains("create_credential"), "{table}");
    let none = said(&["audit", "list", "--since", "2100-01-01T00:00:00Z"]);
    assert_eq!(none.trim(), "nothing done");
}
