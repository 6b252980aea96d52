//! Thousands of hostile requests to every route: none is an error of ours, none panics, none writes.
//!
//! Requests are made from a seed and go straight to the routes. Each is wrong by construction in at
//! least one way, so whatever is answered, the tables must stay as they were.
//! What is refused never comes to the database, so one kind of it is enough.
//! `HALLPASS_HOSTILE_REQUESTS` says how many each route gets.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request, header};
use fastrand::Rng;
use hallpass_service::http::router;
use hallpass_session::base64url;
use hallpass_session::wire::{Created, Problem};
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tower::ServiceExt;

use crate::database::Database;
use crate::running::{Running, creation};

/// Requests per route when nothing else is said: some seconds for all of them together.
const REQUESTS: usize = 1000;

/// A route: its method, its path with `{}` for a hostile segment, the scope that it demands, and
/// whether it takes a body.
struct Route {
    method: Method,
    path: &'static str,
    scope: &'static str,
    body: Option<fn() -> Value>,
}

const fn route(
    method: Method,
    path: &'static str,
    scope: &'static str,
    body: Option<fn() -> Value>,
) -> Route {
    Route {
        method,
        path,
        scope,
        body,
    }
}

fn routes() -> Vec<Route> {
    let renewal = || json!({"renewal_token": "hp1.AAAA", "client": {}, "request_id": "r"});
    vec![
        route(Method::GET, "/v1/edge/keys", "edge", None),
        route(Method::GET, "/v1/edge/revocations", "edge", None),
        route(Method::POST, "/v1/edge/renew", "edge", Some(renewal)),
        route(Method::GET, "/v1/edge/sessions/{}", "edge", None),
        route(Method::GET, "/v1/edge/me/sessions", "edge", None),
        route(
            Method::POST,
            "/v1/edge/me/revoke",
            "edge",
            Some(|| json!({"others": true})),
        ),
        route(Method::GET, "/v1/edge/me/in-force", "edge", None),
        route(Method::GET, "/v1/events", "app", None),
        route(Method::GET, "/v1/in-force", "app", None),
        route(
            Method::POST,
            "/v1/sessions",
            "app",
            Some(|| creation("eve")),
        ),
        route(Method::GET, "/v1/sessions/{}", "app", None),
        route(Method::DELETE, "/v1/sessions/{}", "app", None),
        route(Method::GET, "/v1/subjects/{}/sessions", "app", None),
        route(Method::DELETE, "/v1/subjects/{}/sessions", "app", None),
        route(
            Method::POST,
            "/v1/revoked-before",
            "admin",
            Some(|| json!({})),
        ),
        route(Method::GET, "/metrics", "admin", None),
        route(Method::GET, "/.well-known/jwks.json", "", None),
        route(Method::GET, "/openapi.json", "", None),
        route(Method::GET, "/healthz", "", None),
        route(Method::GET, "/readyz", "", None),
        route(Method::GET, "/{}", "", None),
    ]
}

/// A source of hostile requests.
struct Attacker<'a> {
    rng: Rng,
    service: &'a Running,
    victim: Created,
}

impl Attacker<'_> {
    /// What can be sent at all: no header has bytes that HTTP forbids.
    fn request(&mut self, route: &Route) -> Request<Body> {
        std::iter::repeat_with(|| self.try_request(route))
            .flatten()
            .next()
            .unwrap()
    }

    fn try_request(&mut self, route: &Route) -> Option<Request<Body>> {
        let path = route.path.replace("{}", &self.segment()) + &self.query();
        let method = match self.rng.u8(0..10) {
            0 => ["PUT", "PATCH", "OPTIONS", "HEAD", "TRACE", "EVIL"][self.rng.usize(0..6)]
                .parse()
                .unwrap(),
            _ => route.method.clone(),
        };
        let mut request = Request::builder().method(method).uri(path);
        for _ in 0..self.rng.usize(0..3) {
            let name = [
                "hallpass-session-token",
                "idempotency-key",
                "cookie",
                "x-request-id",
            ][self.rng.usize(0..4)];
            request = request.header(name, self.header());
        }
        let is_right_scope = self.rng.u8(0..10) < 7;
        if let Some(credential) = self.credential(route.scope, is_right_scope) {
            request = request.header(header::AUTHORIZATION, credential);
        }
        let body = match route.body {
            // The credential is wrong, so the body may be right.
            Some(good) if !is_right_scope => good().to_string().into_bytes(),
            Some(good) => self.body(good()),
            None => self.bytes(),
        };
        if self.rng.u8(0..20) > 0 {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request.body(Body::from(body)).ok()
    }

    fn credential(&mut self, scope: &str, is_right_scope: bool) -> Option<Vec<u8>> {
        let all = [
            ("edge", &self.service.edge),
            ("app", &self.service.app),
            ("admin", &self.service.admin),
        ];
        if is_right_scope {
            let right = all.into_iter().find(|(name, _)| *name == scope);
            return right.map(|(_, credential)| format!("Bearer {credential}").into_bytes());
        }
        let wrong: Vec<_> = all
            .into_iter()
            .filter(|(name, _)| *name != scope && !(*name == "admin" && scope == "app"))
            .map(|(_, credential)| credential.clone())
            .collect();
        match self.rng.u8(0..4) {
            0 => None,
            1 => Some(format!("Bearer {}", self.rng.choice(wrong)?).into_bytes()),
            2 => Some(format!("Basic {}", self.service.admin).into_bytes()),
            _ => Some(self.header()),
        }
    }

    /// A body that is wrong in one way.
    fn body(&mut self, mut good: Value) -> Vec<u8> {
        let members = good.as_object_mut().unwrap();
        match self.rng.u8(0..8) {
            0 => self.bytes(),
            1 => b"[".repeat(self.rng.usize(1..5000)),
            2 => " ".repeat(70_000).into_bytes(),
            3 => {
                let text = good.to_string();
                text.as_bytes()[..self.rng.usize(0..text.len())].to_vec()
            }
            4 => {
                members.insert(format!("unknown_{}", self.rng.u8(..)), self.value(0));
                good.to_string().into_bytes()
            }
            5 => good
                .to_string()
                .replacen('{', "{\"a\":1,\"a\":1,", 1)
                .into_bytes(),
            6 => self.impossible(good).to_string().into_bytes(),
            _ => {
                // Objects are what every route takes.
                let mut wrong = self.value(0);
                if wrong.is_object() {
                    wrong = Value::Array(vec![wrong]);
                }
                wrong.to_string().into_bytes()
            }
        }
    }

    /// Well-formed, and nothing that can be done.
    fn impossible(&mut self, good: Value) -> Value {
        if good.get("subject").is_some() {
            let mut body = good;
            match self.rng.u8(0..6) {
                0 => body["subject"] = json!(self.text() + " "),
                1 => body["subject"] = json!("x".repeat(self.rng.usize(256..4000))),
                2 => body["auth_time"] = json!(self.service.now() + self.rng.u64(6..1 << 50)),
                3 => body["amr"] = json!(vec!["x"; self.rng.usize(9..99)]),
                4 => body["ext"] = json!({"x": "x".repeat(self.rng.usize(1024..9000))}),
                _ => body["request"] = json!("x".repeat(self.rng.usize(65..999))),
            }
            return body;
        }
        if good.get("renewal_token").is_some() {
            return json!({"renewal_token": self.renewal_token(), "client": self.value(3)});
        }
        if good.get("others").is_some() {
            return match self.rng.u8(0..4) {
                0 => json!({"others": false}),
                1 => json!({"others": true, "sid": self.victim.session.sid}),
                2 => json!({"renewal_token": self.renewal_token()}),
                _ => json!({"sid": self.segment(), "renewal_token": self.renewal_token()}),
            };
        }
        json!({"at": self.value(0)})
    }

    /// Never one that the service made.
    fn renewal_token(&mut self) -> String {
        let mut token = self.victim.renewal_token.clone();
        match self.rng.u8(0..3) {
            0 => self.text(),
            1 => {
                let at = self.rng.usize(4..token.len());
                let old = &token[at..=at];
                let new = if old == "A" { "B" } else { "A" };
                token.replace_range(at..=at, new);
                token
            }
            _ => {
                let forged: Vec<u8> = (0..61).map(|_| self.rng.u8(..)).collect();
                format!("hp1.{}", base64url::encode(&forged))
            }
        }
    }

    fn header(&mut self) -> Vec<u8> {
        if self.rng.bool() {
            let count = self.rng.usize(0..200);
            return (0..count).map(|_| self.rng.u8(b' '..)).collect();
        }
        let mut token = self.victim.session_token.clone().into_bytes();
        // Not the last character, whose low bits mean nothing.
        let at = self.rng.usize(0..token.len() - 1);
        token[at] = if token[at] == b'A' { b'B' } else { b'A' };
        token
    }

    /// A segment of a path: no session's id and no subject's name.
    fn segment(&mut self) -> String {
        match self.rng.u8(0..6) {
            0 => base64url::encode(&self.bytes()),
            1 => base64url::encode(&[self.rng.u8(..); 16]),
            2 => "%00%ff%2f..".to_owned(),
            3 => "x".repeat(self.rng.usize(1..9000)),
            4 => self.victim.session_token.clone(),
            _ => {
                let mut escaped = String::new();
                for byte in self.bytes() {
                    let _infallible = write!(escaped, "%{byte:02x}");
                }
                escaped + "-"
            }
        }
    }

    /// Parameters that nobody knows, or with values that cannot be; never one that waits.
    fn query(&mut self) -> String {
        let mut query = String::new();
        for nth in 0..self.rng.usize(0..4) {
            let name = [
                "epoch", "after", "wait", "edge", "bound", "shared", "except", "to", "x",
            ][self.rng.usize(0..9)];
            let value = match self.rng.u8(0..4) {
                0 => "99999999999999999999".to_owned(),
                1 => self.rng.u64(6..).to_string(),
                2 => "%00%ff".to_owned(),
                _ => base64url::encode(&self.bytes()),
            };
            let _infallible = write!(query, "{}{name}={value}", if nth == 0 { '?' } else { '&' });
        }
        query
    }

    fn value(&mut self, depth: u8) -> Value {
        match self.rng.u8(0..if depth < 4 { 8 } else { 6 }) {
            0 => Value::Null,
            1 => json!(self.rng.bool()),
            2 => json!(self.rng.i64(..)),
            3 => json!(self.rng.f64() * 1e300),
            4 => json!("x".repeat(self.rng.usize(0..3000))),
            5 => json!(self.text()),
            6 => (0..self.rng.usize(0..5))
                .map(|_| self.value(depth + 1))
                .collect(),
            _ => {
                let members =
                    (0..self.rng.usize(0..5)).map(|_| (self.text(), self.value(depth + 1)));
                Value::Object(members.collect::<Map<_, _>>())
            }
        }
    }

    fn text(&mut self) -> String {
        (0..self.rng.usize(0..40))
            .map(|_| self.rng.char(..))
            .collect()
    }

    fn bytes(&mut self) -> Vec<u8> {
        (0..self.rng.usize(0..200))
            .map(|_| self.rng.u8(..))
            .collect()
    }
}

impl Running {
    /// Every row of every table, as text.
    async fn contents(&self) -> String {
        let options = SqliteConnectOptions::new().filename(self.table.file());
        let mut sql = SqliteConnection::connect_with(&options).await.unwrap();
        let tables: Vec<String> =
            // What a process says of its edges is written beside requests, whatever they are.
            sqlx::query_scalar(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'processes' \
                 ORDER BY name",
            )
                .fetch_all(&mut sql)
                .await
                .unwrap();
        assert!(tables.len() > 8, "{tables:?}");
        let mut contents = String::new();
        for table in tables {
            let columns: Vec<String> =
                sqlx::query_scalar("SELECT 'quote(\"' || name || '\")' FROM pragma_table_info($1)")
                    .bind(&table)
                    .fetch_all(&mut sql)
                    .await
                    .unwrap();
            let row = columns.join(" || ',' || ");
            let rows = format!("SELECT {row} FROM \"{table}\" ORDER BY 1");
            let rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(rows))
                .fetch_all(&mut sql)
                .await
                .unwrap();
            let _infallible = writeln!(contents, "{table}:\n{}", rows.join("\n"));
        }
        contents
    }
}

#[tokio::test]
async fn hostile_requests_are_refused_and_write_nothing() {
    let requests = std::env::var("HALLPASS_HOSTILE_REQUESTS");
    let requests = requests.map_or(REQUESTS, |count| count.parse().unwrap());
    let service = Running::start(Database::Sqlite).await;
    let victim = service.create("ada").await;
    let before = service.contents().await;
    let app = router(Arc::clone(&service.service));
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut attacker = Attacker {
        rng: Rng::with_seed(seed),
        service: &service,
        victim,
    };
    for route in routes() {
        let mut refused = 0;
        for _ in 0..requests {
            let request = attacker.request(&route);
            let asked = format!("{} {}", request.method(), request.uri());
            let answer = app.clone().oneshot(request).await.unwrap();
            let status = answer.status();
            if status.is_server_error() {
                // A MAC key that this table never issued: the one 5xx that anybody can ask for.
                let body = answer.into_body().collect().await.unwrap().to_bytes();
                let problem: Problem = serde_json::from_slice(&body).unwrap();
                let known =
                    (status.as_u16(), problem.code.as_str()) == (503, "renewal_key_unknown");
                assert!(known, "seed {seed}: {status} {} for {asked}", problem.code);
            }
            refused += usize::from(!status.is_success());
        }
        println!("{} {}: {refused} refused", route.method, route.path);
        // Routes without a body have good requests among these, which only read.
        assert!(
            route.body.is_none() || refused > requests * 9 / 10,
            "{}",
            route.path
        );
        assert_eq!(
            service.contents().await,
            before,
            "seed {seed}: {} wrote",
            route.path
        );
    }
}

#[tokio::test]
async fn openapi_names_every_route_attacked_here_and_no_other() {
    let service = Running::start(Database::Sqlite).await;
    let document: Value = service
        .get("/openapi.json", "")
        .await
        .json(reqwest::StatusCode::OK);
    let mut documented = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let path = path.replace("{sid}", "{}").replace("{b64sub}", "{}");
            documented.push(format!("{} {path}", method.to_uppercase()));
        }
    }
    let attacked = routes().into_iter().filter(|route| route.path != "/{}");
    let mut attacked: Vec<_> = attacked
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    documented.sort();
    attacked.sort();

    assert_eq!(documented, attacked);
    for route in attacked {
        let (method, path) = route.split_once(' ').unwrap();
        let path = path.replace("{}", "AAAAAAAAAAAAAAAAAAAAAA");
        let request = service.request(method.parse().unwrap(), &path, "");
        let answer = crate::running::answer(request).await;
        assert!(!answer.body.contains("path_unknown"), "{route}");
        assert!(!answer.body.contains("method_refused"), "{route}");
    }
}
