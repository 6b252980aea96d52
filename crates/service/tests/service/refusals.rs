//! What callers get wrong, on every route.

use crate::running::{Running, answer, creation};
use reqwest::Method;
use serde_json::{Value, json};

/// Every route that demands a credential, and the scope it demands.
const ROUTES: [(&str, &str, &str); 13] = [
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
    ("POST", "/v1/revoked-before", "admin"),
];

fn method(name: &str) -> Method {
    name.parse().unwrap()
}

#[tokio::test]
async fn every_route_demands_a_known_credential() {
    let service = Running::start().await;
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

#[tokio::test]
async fn every_route_refuses_credentials_of_other_scopes() {
    let service = Running::start().await;
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

#[tokio::test]
async fn revoked_credential_is_refused_at_once() {
    let service = Running::start().await;
    let mut sql = service.sql().await;
    sqlx::query("UPDATE credentials SET revoked_at = 1 WHERE scope = 'edge'")
        .execute(&mut sql)
        .await
        .unwrap();

    service
        .get("/v1/edge/keys", &service.edge)
        .await
        .refused(401, "credential_invalid");
}

#[tokio::test]
async fn bodies_with_unknown_missing_or_wrong_members_are_refused() {
    let service = Running::start().await;
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
}

#[tokio::test]
async fn wrong_members_are_named_and_no_value_is_repeated() {
    let service = Running::start().await;
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

#[tokio::test]
async fn bodies_that_are_not_strict_json_are_refused() {
    let service = Running::start().await;
    let good = creation("ada").to_string();
    let duplicate = good.replacen('{', r#"{"subject":"eve","#, 1);
    for body in [
        "",
        "{",
        "null",
        "{}{}",
        &duplicate,
        "\u{feff}{}",
        &"[".repeat(10_000),
    ] {
        let request = service.request(Method::POST, "/v1/sessions", &service.app);
        let request = request
            .header("content-type", "application/json")
            .body(body.to_owned());
        answer(request).await.refused(400, "request_malformed");
    }
    let not_utf8 = service.request(Method::POST, "/v1/sessions", &service.app);
    let not_utf8 = not_utf8
        .header("content-type", "application/json")
        .body(vec![0xff, 0xfe]);
    answer(not_utf8).await.refused(400, "request_malformed");
    let form = service.request(Method::POST, "/v1/sessions", &service.app);
    let form = form
        .header("content-type", "application/x-www-form-urlencoded")
        .body(good);
    answer(form).await.refused(400, "request_malformed");
}

#[tokio::test]
async fn body_over_the_limit_is_refused_at_the_byte() {
    let service = Running::start().await;
    let mut body = creation("ada").to_string();
    for (length, accepted) in [(65_535, true), (65_536, true), (65_537, false)] {
        body.push_str(&" ".repeat(length - body.len()));
        let request = service.request(Method::POST, "/v1/sessions", &service.app);
        let request = request
            .header("content-type", "application/json")
            .body(body.clone());
        let got = answer(request).await;
        if accepted {
            assert_eq!(got.status, 201, "{}", got.body);
        } else {
            got.refused(413, "request_too_large");
        }
    }
}

#[tokio::test]
async fn head_over_the_limit_is_refused() {
    let service = Running::start().await;
    let request = service.request(Method::GET, "/v1/edge/keys", &service.edge);

    let got = answer(request.header("x-filler", "x".repeat(200_000))).await;

    assert_eq!(got.status, 431);
}

#[tokio::test]
async fn unknown_paths_methods_and_ids_are_refused_alike() {
    let service = Running::start().await;
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

#[tokio::test]
async fn database_that_cannot_be_used_is_an_outage() {
    let service = Running::start().await;
    let created = service.create("ada").await;
    let mut sql = service.sql().await;
    sqlx::query("DROP TABLE renewals")
        .execute(&mut sql)
        .await
        .unwrap();

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

#[tokio::test]
async fn locked_database_is_an_outage_and_heals_by_itself() {
    let service = Running::start_with("request_timeout_ms = 100").await;
    let created = service.create("ada").await;
    let mut other = service.sql().await;
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .unwrap();

    service
        .renew(&created.renewal_token)
        .await
        .refused(503, "request_timed_out");
    service
        .get("/v1/edge/keys", &service.edge)
        .await
        .json::<Value>(reqwest::StatusCode::OK);

    sqlx::query("COMMIT").execute(&mut other).await.unwrap();
    let mut answer = service.renew(&created.renewal_token).await;
    while answer.status == 503 {
        answer = service.renew(&created.renewal_token).await;
    }
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn answers_are_never_stored() {
    let service = Running::start().await;
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
