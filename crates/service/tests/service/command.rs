//! The real binary, as an operator and a supervisor meet it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::database::{Database, Table, on_each_database};
use crate::running::creation;
use hallpass_session::wire::{Created, Renewed};
use serde_json::{Value, json};
use tempfile::TempDir;

const HALLPASS: &str = env!("CARGO_BIN_EXE_hallpass");

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

    fn spawn(mut serve: Command, folder: &Path) -> Self {
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

#[test]
fn flag_goes_before_environment_before_file() {
    let folder = folder();
    let file = folder.path().join("hallpass.toml");
    std::fs::write(
        &file,
        "token_lifetime_secs = 60\nissuer = \"file\"\naudience = \"file\"\n",
    )
    .unwrap();
    let print = |command: &mut Command| {
        let output = command
            .args(["config", "print", "--json", "--config", "hallpass.toml"])
            .args(["--audience", "flag"])
            .output()
            .unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };

    let printed = print(
        command(folder.path())
            .env("HALLPASS_ISSUER", "environment")
            .env("HALLPASS_AUDIENCE", "environment"),
    );

    let of = |key: &str| {
        let settings = printed.as_array().unwrap();
        let setting = settings
            .iter()
            .find(|setting| setting["key"] == key)
            .unwrap();
        (setting["value"].clone(), setting["source"].clone())
    };
    assert_eq!(of("token_lifetime_secs"), (json!(60), json!("file")));
    assert_eq!(of("issuer"), (json!("environment"), json!("environment")));
    assert_eq!(of("audience"), (json!("flag"), json!("flag")));
    assert_eq!(of("token_jitter_percent"), (json!(5), json!("default")));
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
