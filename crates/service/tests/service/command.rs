//! The real binary, as an operator and a supervisor meet it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::database::{Database, Table, on_each_database};
use crate::running::creation;
use hallpass_session::wire::{Created, Renewed};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const HALLPASS: &str = env!("CARGO_BIN_EXE_hallpass");

const SERVE: [&str; 3] = ["serve", "--listen", "127.0.0.1:0"];
/// In the folder of a [`Place`]: where its database is.
const DATABASE_URL: &str = "database_url";

/// A folder whose commands use one of the databases.
struct Place {
    folder: TempDir,
    _table: Option<Table>,
}

impl Place {
    fn on(database: Database) -> Self {
        let folder = folder();
        let table = (database != Database::Sqlite).then(|| Table::new(database));
        if let Some(table) = &table {
            std::fs::write(folder.path().join(DATABASE_URL), table.url()).unwrap();
        }
        Self {
            folder,
            _table: table,
        }
    }
}

/// A served database; killed when dropped.
pub(crate) struct Served {
    pub(crate) child: Child,
    pub(crate) url: String,
}

impl Served {
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut serve = command(folder);
        serve.args(SERVE).args(arguments);
        Self::spawn(serve, folder)
    }

    /// Starts where a file that grows further is an error, as on a full disk, and not a signal.
    pub(crate) fn start_within_limits(folder: &Path) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", HALLPASS]);
        shell.args(SERVE).current_dir(folder).env_clear();
        Self::spawn(shell, folder)
    }

    pub(crate) fn spawn(mut serve: Command, folder: &Path) -> Self {
        let mut child = serve
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line
            .trim_end()
            .strip_prefix("ready ")
            .unwrap_or_else(|| panic!("{line:?}"));
        Self {
            url: url.to_owned(),
            child,
        }
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        credential: &str,
        body: &Value,
    ) -> reqwest::Response {
        let request = reqwest::Client::new().post(format!("{}{path}", self.url));
        request
            .bearer_auth(credential)
            .json(body)
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn create(&self, app: &str) -> Created {
        self.post("/v1/sessions", app, &creation("ada"))
            .await
            .json()
            .await
            .unwrap()
    }

    pub(crate) async fn renew(&self, edge: &str, token: &str) -> Renewed {
        let answer = self
            .post("/v1/edge/renew", edge, &json!({"renewal_token": token}))
            .await;
        answer.json().await.unwrap()
    }

    pub(crate) fn terminate(mut self) -> i32 {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Gone already, if the test ended it itself.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// Runs in a folder, on the database of its [`Place`] or else on a file in it.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(HALLPASS);
    command.current_dir(folder).env_clear();
    if let Ok(url) = std::fs::read_to_string(folder.join(DATABASE_URL)) {
        command.env("HALLPASS_DATABASE_URL", url);
    }
    command
}

pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder).args(arguments).output().unwrap()
}

pub(crate) fn said(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

/// Exit code and complaint of a command that fails.
pub(crate) fn failed(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output = run(folder, arguments);
    assert!(output.stdout.is_empty(), "reports belong to success");
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

pub(crate) fn credential(folder: &Path, scope: &str) -> String {
    said(folder, &["credentials", "create", "--scope", scope])
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

async fn killed_service_loses_nothing_it_acknowledged(database: Database) {
    let place = Place::on(database);
    let folder = &place.folder;
    let (edge, app) = (
        credential(folder.path(), "edge"),
        credential(folder.path(), "app"),
    );
    let mut token = String::new();
    let mut ended = String::new();
    for round in 0..3 {
        let mut served = Served::start(folder.path(), &[]);
        if round == 0 {
            token = served.create(&app).await.renewal_token;
            let other = served.create(&app).await;
            ended = other.renewal_token;
            let path = format!("{}/v1/sessions/{}", served.url, other.session.sid);
            let revoked = reqwest::Client::new()
                .delete(path)
                .bearer_auth(&app)
                .send()
                .await
                .unwrap();
            assert_eq!(revoked.status(), 200);
        }
        token = served.renew(&edge, &token).await.renewal_token;
        served.child.kill().unwrap();
        served.child.wait().unwrap();
    }

    let served = Served::start(folder.path(), &[]);
    served.renew(&edge, &token).await;
    let refused = served
        .post("/v1/edge/renew", &edge, &json!({"renewal_token": ended}))
        .await;
    assert_eq!(refused.status(), 401);
    let listed: Value =
        serde_json::from_str(&said(folder.path(), &["sessions", "list", "--json"])).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn terminated_service_ends_cleanly_and_frees_its_port() {
    let folder = folder();
    let served = Served::start(folder.path(), &[]);
    let address = served.url.strip_prefix("http://").unwrap().to_owned();

    assert_eq!(served.terminate(), 0);

    std::net::TcpListener::bind(address).unwrap();
}

async fn revocation_by_command_is_served_by_the_running_service(database: Database) {
    let place = Place::on(database);
    let folder = &place.folder;
    let (edge, app) = (
        credential(folder.path(), "edge"),
        credential(folder.path(), "app"),
    );
    let served = Served::start(folder.path(), &[]);
    let created = served.create(&app).await;

    said(folder.path(), &["sessions", "revoke", &created.session.sid]);

    let renew = json!({"renewal_token": created.renewal_token});
    assert_eq!(
        served.post("/v1/edge/renew", &edge, &renew).await.status(),
        401
    );
    let shown = said(
        folder.path(),
        &["sessions", "show", &created.session.sid, "--json"],
    );
    assert_eq!(
        serde_json::from_str::<Value>(&shown).unwrap()["ended"]["by"],
        "admin"
    );
}

async fn log_has_a_line_per_request_and_no_secret(database: Database) {
    let place = Place::on(database);
    let folder = &place.folder;
    let (edge, app) = (
        credential(folder.path(), "edge"),
        credential(folder.path(), "app"),
    );
    let served = Served::start(folder.path(), &["--log-format", "json"]);
    let created = served.create(&app).await;
    let renewed = served.renew(&edge, &created.renewal_token).await;
    served
        .post(
            "/v1/edge/renew",
            &app,
            &json!({"renewal_token": "hp1.SECRET"}),
        )
        .await;
    served
        .post(
            "/v1/edge/renew?SECRET=1",
            &edge,
            &json!({"renewal_token": "hp1.SECRET"}),
        )
        .await;
    served
        .post("/SECRET", "SECRET", &json!({"SECRET": "SECRET"}))
        .await;
    assert_eq!(served.terminate(), 0);

    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let requests: Vec<&Value> = lines
        .iter()
        .filter(|line| line["message"] == "request")
        .collect();
    assert_eq!(requests.len(), 5);
    assert_eq!(requests[0]["route"], "/v1/sessions");
    assert_eq!(
        (&requests[3]["status"], &requests[3]["code"]),
        (&json!(401), &json!("renewal_malformed"))
    );
    let secrets = [
        &edge,
        &app,
        &created.session_token,
        &created.renewal_token,
        &renewed.session_token,
        &renewed.renewal_token,
        "SECRET",
        "throw-away", // the database's password
    ];
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[test]
fn port_in_use_is_named() {
    let folder = folder();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();

    let (code, text) = failed(folder.path(), &["serve", "--listen", &address]);

    assert_eq!(code, 1);
    assert!(
        text.contains(&format!("port {}", taken.local_addr().unwrap().port())),
        "{text}"
    );
}

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    let folder = folder();
    let file = folder.path().join("hallpass.toml");
    std::fs::write(&file, "token_lifetime = 5\n").unwrap();
    let config = file.to_str().unwrap();

    let cases: [(&[&str], &str); 5] = [
        (&["serve", "--config", config], "token_lifetime"),
        (&["serve", "--config", "nowhere.toml"], "nowhere.toml"),
        (
            &["serve", "--token-lifetime-secs", "1"],
            "token_lifetime_secs",
        ),
        (&["serve", "--environment", "production"], "issuer"),
        (&["serve", "--colour"], "--colour"),
    ];
    for (arguments, name) in cases {
        let (code, text) = failed(folder.path(), arguments);
        assert_eq!(code, 2, "{text}");
        assert!(text.contains(name), "{text}");
    }
}

/// Every setting, and a value of it for the file, for the environment and for the flag.
const LAYERS: [(&str, [&str; 3]); 27] = [
    ("listen", ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]),
    (
        "database_url",
        ["sqlite://a.db", "sqlite://b.db", "sqlite://c.db"],
    ),
    ("journal_file", ["a.jsonl", "b.jsonl", "off"]),
    ("issuer", ["a", "b", "c"]),
    ("audience", ["a", "b", "c"]),
    ("token_lifetime_secs", ["61", "62", "63"]),
    ("token_jitter_percent", ["1", "2", "3"]),
    ("session_absolute_secs", ["1001", "1002", "1003"]),
    ("session_idle_secs", ["901", "902", "903"]),
    ("renewal_grace_secs", ["1", "2", "3"]),
    ("sessions_per_subject_max", ["1", "2", "3"]),
    ("ended_retain_days", ["1", "2", "3"]),
    ("address_retain_days", ["1", "2", "3"]),
    ("address_precision", ["network", "full", "network"]),
    ("list_retain_secs", ["1", "2", "3"]),
    ("master_key_file", ["a.key", "b.key", "c.key"]),
    ("pool_connections_max", ["1", "2", "3"]),
    ("request_body_max_bytes", ["10001", "10002", "10003"]),
    ("request_timeout_ms", ["1001", "1002", "1003"]),
    ("tls_certificate", ["a.pem", "b.pem", "c.pem"]),
    ("tls_key", ["a.pem", "b.pem", "c.pem"]),
    ("webhook_url", ["https://a/", "https://b/", "https://c/"]),
    ("webhook_secret_file", ["a", "b", "c"]),
    (
        "metrics_listen",
        ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"],
    ),
    ("stop_delay_secs", ["1", "2", "3"]),
    ("log_format", ["json", "human", "json"]),
    ("environment", ["production", "development", "production"]),
];

/// Every setting in force: key, value as text, source.
fn printed(print: &mut Command, more: &[String]) -> Vec<(String, String, String)> {
    let print = print.args(["config", "print", "--json"]).args(more);
    let output = print.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let settings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let parts = |setting: Value| {
        (
            text(&setting["key"]),
            text(&setting["value"]),
            text(&setting["source"]),
        )
    };
    settings.into_iter().map(parts).collect()
}

#[test]
fn each_setting_is_taken_from_flag_then_environment_then_file() {
    let folder = folder();
    let file: String = LAYERS
        .iter()
        .flat_map(|(key, [value, ..])| {
            let number = value.parse::<u64>().is_ok();
            let quote = if number { "" } else { "\"" };
            [*key, " = ", quote, value, quote, "\n"]
        })
        .collect();
    std::fs::write(folder.path().join("hallpass.toml"), file).unwrap();
    let print = |layers: usize, key: &str, values: [&str; 3]| {
        let mut print = command(folder.path());
        if layers > 0 {
            print.args(["--config", "hallpass.toml"]);
        }
        if layers > 1 {
            print.env(format!("HALLPASS_{}", key.to_uppercase()), values[1]);
        }
        let flag = [format!("--{}", key.replace('_', "-")), values[2].to_owned()];
        let more = if layers > 2 { &flag[..] } else { &[] };
        let settings = printed(&mut print, more);
        let setting = settings.into_iter().find(|(name, ..)| name == key);
        setting.map(|(_, value, source)| (value, source)).unwrap()
    };
    for (key, values) in LAYERS {
        assert_eq!(print(0, key, values).1, "default", "{key}");
        for (layers, source) in [(1, "file"), (2, "environment"), (3, "flag")] {
            let wanted = (values[layers - 1].to_owned(), source.to_owned());
            assert_eq!(print(layers, key, values), wanted, "{key}");
        }
    }
}

#[test]
fn config_print_has_every_documented_setting_and_no_password() {
    let folder = folder();
    let document = include_str!("../../../../docs/settings.md");
    let service = document.split("\n## Service").nth(1).unwrap();
    let table = service.split("\n## ").next().unwrap();
    let mut documented: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| line.split('|').nth(1))
        .flat_map(|keys| keys.split(',').map(|key| key.trim().trim_matches('`')))
        .collect();
    documented.sort_unstable();

    let printed = printed(
        command(folder.path()).env("HALLPASS_DATABASE_URL", "postgres://u:hushhush@127.0.0.1/x"),
        &[],
    );

    let keys: Vec<&str> = printed.iter().map(|(key, ..)| key.as_str()).collect();
    assert_eq!(keys, documented);
    let mut layers = LAYERS.map(|(key, _)| key);
    layers.sort_unstable();
    assert_eq!(keys, layers);
    assert!(
        printed
            .iter()
            .all(|(_, value, _)| !value.contains("hushhush"))
    );
}

#[test]
fn completions_know_the_commands_of_each_shell() {
    let folder = folder();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = said(folder.path(), &["completions", shell]);
        for word in ["credentials", "revoke-subject", "database-url"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let script = folder.path().join("hallpass.bash");
    std::fs::write(&script, said(folder.path(), &["completions", "bash"])).unwrap();
    let asked = "source hallpass.bash; COMP_WORDS=(hallpass sess); COMP_CWORD=1; \
                 _hallpass hallpass sess hallpass; echo \"${COMPREPLY[@]}\"";
    let output = Command::new("bash")
        .args(["-c", asked])
        .current_dir(folder.path())
        .output();
    assert_eq!(
        String::from_utf8(output.unwrap().stdout).unwrap().trim(),
        "sessions"
    );
}

/// Exit code and output of a pipe of two commands.
fn explained(folder: &Path, mint: &[&str]) -> (i32, String) {
    let token = said(folder, &[["token", "mint"].as_slice(), mint].concat());
    std::fs::write(folder.join("token"), token).unwrap();
    let output = run(folder, &["explain", "token", "--json"]);
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

#[test]
fn minted_token_is_what_the_flags_say_and_passes_the_rules() {
    let folder = folder();
    let (code, text) = failed(folder.path(), &["token", "mint", "ada"]);
    assert!(code == 1 && text.contains("session key"), "{text}");
    Served::start(folder.path(), &[]).terminate();

    let (code, verdict) = explained(folder.path(), &["ada"]);
    assert_eq!(code, 0, "{verdict}");
    let sid = "-_-_-_-_-_-_-_-_-_-_-A";
    let all = "ada --lifetime 90s --issued-ago 30s --authenticated-ago 1h --amr pwd --amr otp \
               --ext {\"role\":\"editor\"} --idx 7 --sid";
    let all: Vec<&str> = all.split_whitespace().chain([sid]).collect();
    assert_eq!(explained(folder.path(), &all).0, 0);
    let inspected = said(folder.path(), &["token", "inspect", "token", "--json"]);
    let claims: Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(claims["sub"], "ada");
    assert_eq!(claims["sid"], sid);
    assert_eq!(claims["idx"], 7);
    assert_eq!(claims["amr"], json!(["pwd", "otp"]));
    assert_eq!(claims["ext"], json!({"role": "editor"}));
    let second = |claim: &str| claims[claim].as_u64().unwrap();
    assert_eq!(second("exp") - second("iat"), 90);
    assert_eq!(second("iat") - second("auth_time"), 3570);

    let over = explained(folder.path(), &["ada", "--issued-ago", "1h"]);
    assert_eq!(over.0, 1);
    assert!(over.1.contains("token_expired"), "{}", over.1);
}

#[test]
fn mint_refuses_what_no_edge_would_take_and_production() {
    let folder = folder();
    Served::start(folder.path(), &[]).terminate();
    for (arguments, named) in [
        (&["a b"][..], "section 1"),
        (&["ada", "--lifetime", "2h"], "--lifetime"),
        (&["ada", "--lifetime", "0s"], "--lifetime"),
        (&["ada", "--ext", "[]"], "--ext"),
        (&["ada", "--ext", "{\"a\":1,\"a\":2}"], "--ext"),
        (&["ada", "--sid", "short"], "--sid"),
    ] {
        let (code, text) = failed(
            folder.path(),
            &[["token", "mint"].as_slice(), arguments].concat(),
        );
        assert!(code == 2 && text.contains(named), "{text}");
    }
    let production = ["token", "mint", "ada", "--environment", "production"];
    let (code, text) = failed(folder.path(), &production);
    assert!(code == 1 && text.contains("--in-production"), "{text}");
    let meant = [production.as_slice(), &["--in-production"]].concat();
    assert!(said(folder.path(), &meant).starts_with("eyJ"));
}

#[test]
fn version_is_told() {
    let version = said(folder().path(), &["--version"]);
    assert_eq!(version, concat!("hallpass ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn another_issuer_or_master_key_is_refused_before_anybody_is_signed_out() {
    let folder = folder();
    let key = folder.path().join("master.key");
    std::fs::write(&key, hallpass_session::base64url::encode(&[7; 32])).unwrap();
    let sealed = ["--master-key-file", key.to_str().unwrap()];
    Served::start(folder.path(), &sealed).terminate();

    let (code, text) = failed(folder.path(), &["serve", "--listen", "127.0.0.1:0"]);
    assert!(code == 1 && text.contains("master_key_file"), "{text}");
    let other: Vec<&str> = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--issuer",
        "https://other",
    ]
    .into_iter()
    .chain(sealed)
    .collect();
    let (code, text) = failed(folder.path(), &other);
    assert!(code == 1 && text.contains("https://other"), "{text}");
    let database = std::fs::read(folder.path().join("hallpass.db")).unwrap();
    assert!(!database.is_empty());
}

#[test]
fn credentials_are_listed_without_their_secret_and_can_be_revoked() {
    let folder = folder();
    let secret = credential(folder.path(), "app");
    let listed = said(folder.path(), &["credentials", "list", "--json"]);
    assert!(!listed.contains(&secret));
    let id = serde_json::from_str::<Value>(&listed).unwrap()[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();

    said(folder.path(), &["credentials", "revoke", &id]);

    let (code, text) = failed(folder.path(), &["credentials", "revoke", &id]);
    assert!(code == 1 && text.contains(&id), "{text}");
}

#[test]
fn revoking_many_asks_first() {
    let folder = folder();

    let (code, text) = failed(folder.path(), &["sessions", "revoke-subject", "ada"]);
    assert!(code == 1 && text.contains("--yes"), "{text}");
    assert_eq!(
        said(
            folder.path(),
            &["sessions", "revoke-subject", "ada", "--yes"]
        ),
        "nothing was live"
    );
}

#[test]
fn unusable_database_is_unreachable() {
    let folder = folder();
    std::fs::write(
        folder.path().join("text.db"),
        "this is no database, but long enough to be read as one".repeat(50),
    )
    .unwrap();
    for url in [
        "sqlite:///nowhere/at/all.db",
        "sqlite://text.db",
        "postgres://localhost/x",
    ] {
        let (code, text) = failed(folder.path(), &["sessions", "list", "--database-url", url]);
        assert_eq!(code, 3, "{url}: {text}");
        assert!(
            text.starts_with("hallpass: the database cannot be used"),
            "{text}"
        );
    }
}

async fn migrate_tells_then_does_then_has_nothing_to_do(database: Database) {
    let place = Place::on(database);
    let folder = &place.folder;
    let statements = said(folder.path(), &["migrate", "--dry-run"]);
    assert!(statements.contains("CREATE TABLE sessions"));
    assert!(!folder.path().join("hallpass.db").exists());

    assert!(said(folder.path(), &["migrate"]).contains("applied 1"));
    assert_eq!(
        said(folder.path(), &["migrate"]),
        "the schema is up to date"
    );
    let file = folder.path().join("hallpass.db");
    assert_eq!(file.exists(), database == Database::Sqlite);
}

on_each_database![
    killed_service_loses_nothing_it_acknowledged,
    revocation_by_command_is_served_by_the_running_service,
    log_has_a_line_per_request_and_no_secret,
    migrate_tells_then_does_then_has_nothing_to_do,
];
