//! Nothing the service says has a secret in it: log at its wordiest, metrics, refusals, reports.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hallpass_session::base64url;
use hallpass_session::wire::{Created, Renewed};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{Connection, Row};

use crate::running::creation;
use crate::tls::certified;
use crate::webhook::{App, SECRET};
use hallpass_service::config::WebhookSettings;

const HALLPASS: &str = env!("CARGO_BIN_EXE_hallpass");

/// A journey through the real binary: what must stay secret, and all that was said.
#[derive(Default)]
struct Journey {
    secrets: Vec<String>,
    said: String,
}

impl Journey {
    fn run(&mut self, folder: &Path, arguments: &[&str]) -> String {
        let output = command(folder).args(arguments).output().unwrap();
        self.said += &String::from_utf8_lossy(&output.stdout);
        self.said += &String::from_utf8_lossy(&output.stderr);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes a credential; the one place that prints a secret, once.
    fn credential(&mut self, folder: &Path, scope: &str) -> String {
        let make = ["credentials", "create", "--scope", scope];
        let output = command(folder).args(make).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let prefix = format!("hpc_{scope}_");
        let mut words = printed.split_whitespace();
        let secret = words.find(|word| word.starts_with(&prefix)).unwrap();
        self.said += &printed.replacen(secret, "", 1);
        self.said += &String::from_utf8_lossy(&output.stderr);
        self.keep(secret);
        secret.to_owned()
    }

    /// Remembers a secret, and the part of it that proves it.
    fn keep(&mut self, secret: &str) {
        self.secrets.push(secret.to_owned());
        let proof = &secret[secret.len() - 40..];
        self.secrets.push(proof.to_owned());
    }

    fn keep_bytes(&mut self, bytes: &[u8]) {
        let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let hex = hex.concat();
        self.secrets.push(hex.to_uppercase());
        self.secrets.push(hex);
        self.secrets.push(base64url::encode(bytes));
        self.secrets.push(format!("{bytes:?}"));
    }

    fn keep_created(&mut self, created: &Created) {
        self.keep(&created.session_token);
        self.keep(&created.renewal_token);
        self.keep(&created.headers.set_session);
    }
}

/// Ends the process if the test does not.
pub(crate) struct Served {
    child: Child,
    url: String,
    client: Client,
    log: PathBuf,
}

impl Served {
    /// Serves in `folder` and posts events to an app whose certificate this is, or not.
    pub(crate) fn start_hooked(folder: &Path, hook: &WebhookSettings, trusted: &Path) -> Self {
        Self::start(command(folder), folder, hook, trusted)
    }

    /// A credential of this scope, as `hallpass credentials create` prints it.
    pub(crate) fn credential(folder: &Path, scope: &str) -> String {
        Journey::default().credential(folder, scope)
    }

    fn start(mut command: Command, folder: &Path, hook: &WebhookSettings, trusted: &Path) -> Self {
        let log = folder.join("log");
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(["--webhook-url", &hook.url, "--webhook-secret-file"])
            .arg(&hook.secret_file)
            .env("SSL_CERT_FILE", trusted)
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut ready).unwrap();
        let url = ready.trim_end().strip_prefix("ready ").unwrap();
        Self {
            url: url.to_owned(),
            client: Client::new(),
            child,
            log,
        }
    }

    /// Posts an empty object to the path, with the credential.
    pub(crate) async fn post_nothing(&self, (path, credential): (&str, &str)) {
        let body = Some(json!({}));
        let (status, said) = self.ask(Method::POST, path, credential, &[], body).await;
        assert_eq!(status, StatusCode::OK, "{said}");
    }

    /// The log, once it says this.
    pub(crate) async fn log_with(&self, words: &str) -> String {
        let said = async {
            loop {
                let log = fs::read_to_string(&self.log).unwrap();
                if log.contains(words) {
                    return log;
                }
                tokio::task::yield_now().await;
            }
        };
        let said = tokio::time::timeout(Duration::from_secs(30), said);
        said.await.expect("it is not said")
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        credential: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> (StatusCode, String) {
        let request = self.client.request(method, format!("{}{path}", self.url));
        let request = request.bearer_auth(credential);
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), format!("{:?}", response.headers()));
        (status, headers + &response.text().await.unwrap())
    }

    pub(crate) fn terminate(mut self) {
        let pid = self.child.id().to_string();
        let kill = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(kill.unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Gone already, if the test ended it itself.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(HALLPASS);
    command.current_dir(folder).env_clear();
    command
}

/// Method, path, credential, headers, body.
type Asked<'a> = (
    Method,
    &'a str,
    &'a str,
    &'a [(&'a str, &'a str)],
    Option<Value>,
);

/// Everything a secret may be in: good and bad requests of each kind.
#[expect(clippy::too_many_lines, reason = "one journey, told in order")]
async fn travel(format: &str) -> Journey {
    let folder = tempfile::tempdir().unwrap();
    let mut journey = Journey::default();
    let edge = journey.credential(folder.path(), "edge");
    let app = journey.credential(folder.path(), "app");
    let admin = journey.credential(folder.path(), "admin");
    let (_certified, files) = certified();
    let mut hooked = App::start_certified(&files).await;
    journey.secrets.push(SECRET.to_owned());
    journey.secrets.push(SECRET["whsec_".len()..].to_owned());
    journey.secrets.push("k".repeat(32));
    let mut serve = command(folder.path());
    serve.env("RUST_LOG", "trace");
    serve.env("HALLPASS_LOG_FORMAT", format);
    let hook = &hooked.settings;
    let served = Served::start(serve, folder.path(), hook, &files.certificate);
    let client = json!({"user_agent": "Firefox", "ip": "203.0.113.7"});

    let make = async |headers: &[(&str, &str)]| {
        let body = Some(creation("ada"));
        let answer = served
            .ask(Method::POST, "/v1/sessions", &app, headers, body)
            .await;
        let json = answer
            .1
            .split_once("}{")
            .map(|(_, json)| format!("{{{json}"));
        serde_json::from_str::<Created>(&json.unwrap()).unwrap()
    };
    let created = make(&[("Idempotency-Key", "k")]).await;
    journey.keep_created(&created);
    let repeated = make(&[("Idempotency-Key", "k")]).await;
    journey.keep_created(&repeated);
    let other = make(&[]).await;
    journey.keep_created(&other);

    let renewal = |token: &str| Some(json!({"renewal_token": token, "client": client}));
    let renew = async |token: &str| {
        let answer = served
            .ask(Method::POST, "/v1/edge/renew", &edge, &[], renewal(token))
            .await;
        let json = answer
            .1
            .split_once("}{")
            .map(|(_, json)| format!("{{{json}"));
        serde_json::from_str::<Renewed>(&json.unwrap()).unwrap()
    };
    let renewed = renew(&created.renewal_token).await;
    journey.keep(&renewed.session_token);
    journey.keep(&renewed.renewal_token);
    let child = renew(&renewed.renewal_token).await;
    journey.keep(&child.session_token);
    journey.keep(&child.renewal_token);

    // What goes wrong has the secret in the request: in the right place and in wrong ones.
    let mangled = format!("{}x", other.renewal_token);
    let own_token = [("Hallpass-Session-Token", child.session_token.as_str())];
    let both = [own_token[0], own_token[0]];
    let by_path = format!("/v1/sessions/{}", child.session_token);
    let by_query = format!("/v1/edge/revocations?epoch={}&wait=9", child.session_token);
    let unknown_path = format!("/{app}/{edge}");
    let member = json!({ child.session_token.as_str(): 1, "renewal_token": 1 });
    let wrong_type = json!({"sid": 1, "renewal_token": [child.renewal_token]});
    let cookie = format!("__Host-session={}", child.session_token);
    let cookies = [("Cookie", cookie.as_str()), ("X-Request-Id", app.as_str())];
    let odd_header = [("Hallpass-Session-Token", mangled.as_str())];
    let asked: [Asked; 20] = [
        (
            Method::POST,
            "/v1/edge/renew",
            &edge,
            &[],
            renewal(&mangled),
        ),
        (
            Method::POST,
            "/v1/edge/renew",
            &edge,
            &[],
            renewal(&created.session_token),
        ),
        (Method::POST, "/v1/edge/renew", &edge, &[], Some(member)),
        (
            Method::POST,
            "/v1/edge/renew",
            &app,
            &[],
            renewal(&created.renewal_token),
        ),
        (
            Method::POST,
            "/v1/edge/me/revoke",
            &edge,
            &[],
            Some(wrong_type),
        ),
        (
            Method::POST,
            "/v1/edge/me/revoke",
            &edge,
            &odd_header,
            Some(json!({"others": true})),
        ),
        (
            Method::POST,
            "/v1/edge/me/revoke",
            &edge,
            &own_token,
            Some(json!({"others": true})),
        ),
        (Method::GET, "/v1/edge/me/sessions", &edge, &own_token, None),
        (Method::GET, "/v1/edge/me/sessions", &edge, &both, None),
        (Method::GET, "/v1/edge/me/sessions", &edge, &cookies, None),
        (Method::GET, "/v1/edge/keys", &edge, &[], None),
        (Method::GET, "/v1/edge/revocations", &edge, &[], None),
        (Method::GET, &by_query, &edge, &[], None),
        (Method::GET, &by_path, &app, &[], None),
        (Method::GET, &unknown_path, &app, &[], None),
        (Method::GET, "/v1/sessions/x", &mangled, &[], None),
        (Method::GET, "/readyz", &edge, &[], None),
        (
            Method::POST,
            "/v1/revoked-before",
            &app,
            &[],
            Some(json!({})),
        ),
        (Method::GET, "/metrics", &admin, &[], None),
        (Method::GET, "/v1/events", &app, &[], None),
    ];
    for (method, path, credential, headers, body) in asked {
        let (status, said) = served.ask(method, path, credential, headers, body).await;
        journey.said.extend([status.as_str(), " ", &said, "\n"]);
    }
    let (headers, event) = hooked.received.recv().await.unwrap();
    journey
        .said
        .extend([&format!("{headers:?} "), event.as_str(), "\n"]);
    assert!(event.contains(&other.session.sid), "{event}");
    served.terminate();
    journey.said += &fs::read_to_string(folder.path().join("log")).unwrap();
    for report in [
        &["credentials", "list"][..],
        &["audit", "list", "--json"],
        &["keys", "list", "--json"],
        &["sessions", "list", "--ended"],
        &["config", "print"],
        &["doctor"],
    ] {
        journey.run(folder.path(), report);
    }
    keep_keys(&mut journey, folder.path()).await;
    journey
}

/// The secrets that rest in the table.
async fn keep_keys(journey: &mut Journey, folder: &Path) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.join("hallpass.db"));
    let mut sql = sqlx::SqliteConnection::connect_with(&options)
        .await
        .unwrap();
    let keys = sqlx::query("SELECT secret FROM keyring")
        .fetch_all(&mut sql)
        .await
        .unwrap();
    assert_eq!(keys.len(), 3);
    for key in keys {
        journey.keep_bytes(&key.get::<Vec<u8>, _>(0));
    }
    let digests = sqlx::query("SELECT digest FROM credentials")
        .fetch_all(&mut sql)
        .await
        .unwrap();
    for digest in digests {
        journey.keep_bytes(&digest.get::<Vec<u8>, _>(0));
    }
}

fn assert_nothing_leaked(journey: &Journey) {
    assert!(journey.secrets.len() > 40, "{}", journey.secrets.len());
    for secret in &journey.secrets {
        assert!(secret.len() >= 16, "{secret}");
        let found = journey.said.find(secret.as_str());
        let around = found.map(|at| {
            let start = journey.said[..at].rfind('\n').unwrap_or(0);
            &journey.said[start..at]
        });
        assert!(around.is_none(), "a secret follows: {}", around.unwrap());
    }
}

#[tokio::test]
async fn log_for_people_has_no_secret_at_its_wordiest() {
    let journey = travel("human").await;

    assert!(journey.said.contains("request_id="), "it was logged");
    assert!(journey.said.contains("TRACE") || journey.said.contains("DEBUG"));
    assert_nothing_leaked(&journey);
}

#[tokio::test]
async fn log_for_programs_has_no_secret_at_its_wordiest() {
    let journey = travel("json").await;

    let lines = journey.said.lines().filter(|line| line.starts_with('{'));
    let requests = lines.filter(|line| line.contains("\"message\":\"request\""));
    assert_eq!(requests.count(), 25);
    assert_nothing_leaked(&journey);
}

#[test]
fn canary_finds_what_leaked() {
    let mut journey = Journey::default();
    for number in 0..50 {
        journey.keep(&format!("hpc_app_{number:043}"));
    }
    journey.said = format!("some line\nand here {:043}", 7);

    let caught = std::panic::catch_unwind(|| assert_nothing_leaked(&journey));

    assert!(caught.is_err());
}
