//! What callers get wrong, on every route.

use crate::database::{Database, on_each_database};
use crate::running::{Answer, Running, answer, creation};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Executor;

/// Every route that demands a credential, and the scope it demands.
const ROUTES: [(&str, &str, &str); 14] = [
    ("GET", "/v1/edge/keys", "edge"),
    ("GET", "/v1/edge/revocations?after=0", "edge"),
    ("POST", "/v1/edge/renew", "edge"),
    ("GET", "/v1/edge/sessions/AAAAAAAAAAAAAAAAAAAAAA", "edge"),
    ("GET", "/v1/edge/me/sessions", "edge"),
    ("POST", "/v1/edge/me/revoke", "edge"),
    ("GET", "/v1/edge/me/in-force?epoch=e&to=1", "edge"),
    ("POST", "/v1/sessions", "app"),
    ("GET", "/v1/sessions/AAAAAAAAAAAAAAAAAAAAAA", "app"),
    ("DELETE", "/v1/sessions/AAAAAAAAAAAAAAAAAAAAAA", "app"),
    ("GET", "/v1/subjects/YWRh/sessions", "app"),
    ("DELETE", "/v1/subjects/YWRh/sessions", "app"),
    ("GET", "/v1/in-force?epoch=e&to=1", "app"),
    ("POST", "/v1/revoked-before", "admin"),
];

const JSON: &str = "application/json";

impl Running {
    /// A creation whose body is these bytes.
    async fn create_from(&self, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
        let request = self.request(Method::POST, "/v1/sessions", &self.app);
        answer(
            request
                .header("content-type", content_type)
                .body(body.into()),
        )
        .await
    }
}

fn method(name: &str) -> Method {
    name.parse().unwrap()
}

async fn every_route_demands_a_known_credential(database: Database) {
    let service = Running::start(database).await;
    let no_scheme = service.edge.clone();
    for (name, path, _) in ROUTES {
        for credential in [
            "",
            "hpc_edge_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "'; --",
        ] {
            let request = service.request(method(name), path, credential);
            let refused = answer(request).await;
            refused.refused(401, "credential_invalid");
            assert_eq!(refused.header("www-authenticate"), "Bearer");
        }
        let client = reqwest::Client::new();
        let url = format!("{}{path}", service.url);
        let bare = client.request(method(name), &url);
        answer(bare).await.refused(401, "credential_invalid");
        let basic = client
            .request(method(name), &url)
            .header("authorization", &no_scheme);
        answer(basic).await.refused(401, "credential_invalid");
        let twice = service
            .request(method(name), path, &service.edge)
            .header("authorization", "Bearer x");
        answer(twice).await.refused(401, "credential_invalid");
    }
}

async fn every_route_refuses_credentials_of_other_scopes(database: Database) {
    let service = Running::start(database).await;
    for (name, path, needed) in ROUTES {
        let held = [
            ("edge", &service.edge),
            ("app", &service.app),
            ("admin", &service.admin),
        ];
        for (scope, credential) in held {
            if scope == needed || (scope, needed) == ("admin", "app") {
                continue;
            }
            answer(service.request(method(name), path, credential))
                .await
                .refused(403, "scope_insufficient");
        }
    }
}

async fn revoked_credential_is_refused_at_once(database: Database) {
    let service = Running::start(database).await;
    let revoke = "UPDATE credentials SET revoked_at = 1 WHERE scope = 'edge'";
    service.execute(revoke).await;

    service
        .get("/v1/edge/keys", &service.edge)
        .await
        .refused(401, "credential_invalid");
}

async fn bodies_with_unknown_missing_or_wrong_members_are_refused(database: Database) {
    let service = Running::start(database).await;
    let with = |member: &str, value: Value| {
        let mut body = creation("ada");
        body[member] = value;
        body
    };
    let bodies = [
        json!({}),
        json!([]),
        json!("text"),
        json!({"subject": "ada"}),
        with("surprise", json!(1)),
        with("subject", json!(7)),
        with("subject", json!(null)),
        with("auth_time", json!("yesterday")),
        with("auth_time", json!(-1)),
        with("auth_time", json!(1.5)),
        with("amr", json!("pwd")),
        with("amr", json!([1])),
        with("ext", json!([])),
        with("persistent", json!("no")),
        with("client", json!({"surprise": 1})),
        with("client", json!({"asn": -1})),
    ];
    for body in &bodies {
        service
            .post("/v1/sessions", &service.app, body)
            .await
            .refused(400, "request_malformed");
    }
    for body in [
        json!({}),
        json!({"renewal_token": 1}),
        json!({"renewal_token": "x", "y": 1}),
    ] {
        service
            .post("/v1/edge/renew", &service.edge, &body)
            .await
            .refused(400, "request_malformed");
    }
    service
        .post("/v1/revoked-before", &service.admin, &json!({"at": 1}))
        .await
        .refused(400, "request_malformed");
    // Members in order are no object either: serde alone would take this one.
    service
        .post("/v1/revoked-before", &service.admin, &json!([]))
        .await
        .refused(400, "request_malformed");
}

async fn wrong_members_are_named_and_no_value_is_repeated(database: Database) {
    let service = Running::start(database).await;
    let complaint = async |path: &str, body: Value| {
        let credential = if path == "/v1/sessions" {
            &service.app
        } else {
            &service.edge
        };
        let answer = service.post(path, credential, &body).await;
        serde_json::from_str::<Value>(&answer.body).unwrap()["detail"]
            .as_str()
            .unwrap()
            .to_owned()
    };

    let unknown = complaint("/v1/sessions", json!({"subjekt": "ada"})).await;
    assert_eq!(unknown, "unknown field `subjekt`");
    let missing = complaint("/v1/sessions", json!({"subject": "ada"})).await;
    assert_eq!(missing, "missing field `request`");
    let wrong = json!({"renewal_token": "secret", "client": {"asn": "secret"}});
    assert_eq!(
        complaint("/v1/edge/renew", wrong).await,
        "wrong type or range at `client.asn`"
    );
}

async fn bodies_that_are_not_strict_json_are_refused(database: Database) {
    let service = Running::start(database).await;
    let good = creation("ada").to_string();
    let duplicate = good.replacen('{', r#"{"subject":"eve","#, 1);
    for body in [
        "",
        "{",
        "null",
        "{}{}",
        duplicate.as_str(),
        "\u{feff}{}",
        &"[".repeat(10_000),
    ] {
        let refused = service.create_from(JSON, body).await;
        refused.refused(400, "request_malformed");
    }
    let not_utf8 = service.create_from(JSON, [0xff, 0xfe]).await;
    not_utf8.refused(400, "request_malformed");
    let form = "application/x-www-form-urlencoded";
    let form = service.create_from(form, good).await;
    form.refused(400, "request_malformed");
}

async fn body_over_the_limit_is_refused_at_the_byte(database: Database) {
    let service = Running::start(database).await;
    let mut body = creation("ada").to_string();
    for (length, accepted) in [(65_535, true), (65_536, true), (65_537, false)] {
        body.push_str(&" ".repeat(length - body.len()));
        let got = service.create_from(JSON, body.clone()).await;
        if accepted {
            assert_eq!(got.status, 201, "{}", got.body);
        } else {
            got.refused(413, "request_too_large");
        }
    }
}

async fn head_over_the_limit_is_refused(database: Database) {
    let service = Running::start(database).await;
    let request = service.request(Method::GET, "/v1/edge/keys", &service.edge);

    let got = answer(request.header("x-filler", "x".repeat(200_000))).await;

    assert_eq!(got.status, 431);
}

async fn unknown_paths_methods_and_ids_are_refused_alike(database: Database) {
    let service = Running::start(database).await;
    service.get("/", "").await.refused(404, "path_unknown");
    service
        .get("/v1/edge/keys/", &service.edge)
        .await
        .refused(404, "path_unknown");
    service
        .get("/v1//edge/keys", &service.edge)
        .await
        .refused(404, "path_unknown");
    answer(service.request(Method::PUT, "/healthz", ""))
        .await
        .refused(405, "method_refused");
    for sid in [
        "AAAAAAAAAAAAAAAAAAAAAA",
        "x",
        "%00",
        "..%2f..",
        "AAAAAAAAAAAAAAAAAAAAAB",
    ] {
        let path = format!("/v1/sessions/{sid}");
        service
            .get(&path, &service.app)
            .await
            .refused(404, "session_unknown");
        service
            .delete(&path, &service.app)
            .await
            .refused(404, "session_unknown");
    }
    for subject in ["a", "YWRh=", "%ff", "IA", "w7w"] {
        let path = format!("/v1/subjects/{subject}/sessions");
        service
            .get(&path, &service.app)
            .await
            .refused(400, "request_malformed");
    }
    service
        .delete("/v1/subjects/YWRh/sessions?except=x", &service.app)
        .await
        .refused(400, "request_malformed");
}

async fn database_that_cannot_be_used_is_an_outage(database: Database) {
    let service = Running::start(database).await;
    let created = service.create("ada").await;
    service.execute("DROP TABLE renewals").await;

    service
        .renew(&created.renewal_token)
        .await
        .refused(503, "service_unavailable");
    let session = format!("/v1/edge/sessions/{}", created.session.sid);
    let answer = service.get(&session, &service.edge).await;
    answer.refused(503, "service_unavailable");
    assert!(
        !answer.body.contains("renewals"),
        "inner words stay in the log: {}",
        answer.body
    );
}

async fn locked_database_is_an_outage_and_heals_by_itself(database: Database) {
    let service = Running::start_with(database, "request_timeout_ms = 500").await;
    let created = service.create("ada").await;
    let locks: &[&'static str] = match database {
        Database::Sqlite => &["BEGIN IMMEDIATE"],
        Database::Postgresql | Database::Mariadb => &[
            "BEGIN",
            "SELECT seq FROM head FOR UPDATE",
            "SELECT generation FROM renewals FOR UPDATE",
        ],
    };
    let mut other = service.sql().await;
    for lock in locks {
        other.execute(*lock).await.unwrap();
    }

    service
        .renew(&created.renewal_token)
        .await
        .refused(503, "request_timed_out");
    service
        .get("/v1/edge/keys", &service.edge)
        .await
        .json::<Value>(reqwest::StatusCode::OK);

    other.execute("COMMIT").await.unwrap();
    let mut answer = service.renew(&created.renewal_token).await;
    while answer.status == 503 {
        answer = service.renew(&created.renewal_token).await;
    }
    assert_eq!(answer.status, 200, "{}", answer.body);
}

async fn answers_are_never_stored(database: Database) {
    let service = Running::start(database).await;
    service.create("ada").await;
    for (path, credential) in [
        ("/v1/edge/keys", &service.edge),
        ("/v1/edge/revocations", &service.edge),
        ("/v1/subjects/YWRh/sessions", &service.app),
        ("/healthz", &service.edge),
        ("/nowhere", &service.edge),
    ] {
        assert_eq!(
            service.get(path, credential).await.header("cache-control"),
            "no-store",
            "{path}"
        );
    }
}

on_each_database![
    every_route_demands_a_known_credential,
    every_route_refuses_credentials_of_other_scopes,
    revoked_credential_is_refused_at_once,
    bodies_with_unknown_missing_or_wrong_members_are_refused,
    wrong_members_are_named_and_no_value_is_repeated,
    bodies_that_are_not_strict_json_are_refused,
    body_over_the_limit_is_refused_at_the_byte,
    head_over_the_limit_is_refused,
    unknown_paths_methods_and_ids_are_refused_alike,
    database_that_cannot_be_used_is_an_outage,
    locked_database_is_an_outage_and_heals_by_itself,
    answers_are_never_stored,
];
