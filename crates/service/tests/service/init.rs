//! `hallpass init`: what it writes is what `serve` starts with and what the edge is told.
//!
//! That the edge takes it is shown in tests/rules/settings.rs, on the sample in docs/deploy.md, which
//! is compared with what `init` writes here.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::command::{Served, command, failed, folder, said};
use crate::database::{Database, Table, on_each_database};
use crate::running::creation;
use hallpass_session::token;
use hallpass_session::wire::Created;
use serde_json::{Value, json};

const PRODUCTION: [&str; 5] = [
    "init",
    "--service-url",
    "https://sessions.example",
    "--host",
    "app.example",
];
const FILES: [&str; 5] = [
    "hallpass.toml",
    "master.key",
    "hallpass.db",
    "wrangler-vars.toml",
    "edge-secrets.json",
];

fn init(folder: &Path) -> Value {
    let arguments: Vec<&str> = PRODUCTION.into_iter().chain(["--json"]).collect();
    serde_json::from_str(&said(folder, &arguments)).unwrap()
}

fn read(folder: &Path, file: &str) -> String {
    std::fs::read_to_string(folder.join(file)).unwrap()
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn serve_starts_with_what_init_wrote_and_takes_its_credentials() {
    let folder = folder();
    let made = init(folder.path());
    let vars: toml::Table = read(folder.path(), "wrangler-vars.toml").parse().unwrap();
    let edge = &vars["vars"]["HALLPASS"];
    let secrets: BTreeMap<String, String> =
        serde_json::from_str(&read(folder.path(), "edge-secrets.json")).unwrap();

    // From anywhere: the settings name whole paths.
    let elsewhere = crate::command::folder();
    let config = folder.path().join("hallpass.toml");
    let served = Served::start(elsewhere.path(), &["--config", config.to_str().unwrap()]);
    let app = made["credentials"]["app"].as_str().unwrap();
    let created: Created = served
        .post("/v1/sessions", app, &creation("ada"))
        .await
        .json()
        .await
        .unwrap();
    let renew = json!({"renewal_token": created.renewal_token});
    let renewed = served
        .post("/v1/edge/renew", &secrets["EDGE_CREDENTIAL"], &renew)
        .await;
    assert_eq!(renewed.status(), 200);
    let admin = made["credentials"]["admin"].as_str().unwrap();
    let metrics = reqwest::Client::new()
        .get(format!("{}/metrics", served.url))
        .bearer_auth(admin)
        .send()
        .await
        .unwrap();
    assert_eq!(metrics.status(), 200);

    let token = token::parse(&created.session_token).unwrap();
    assert_eq!(Some(token.hearsay().iss.as_str()), edge["issuer"].as_str());
    assert_eq!(
        Some(token.hearsay().aud.as_str()),
        edge["audience"].as_str()
    );
    assert_eq!(
        made["assertion_key"].as_str(),
        Some(secrets["ASSERTION_KEY"].as_str())
    );
    let keys = said(
        folder.path(),
        &["keys", "list", "--json", "--config", "hallpass.toml"],
    );
    let keys: Value = serde_json::from_str(&keys).unwrap();
    assert_eq!(keys.as_array().unwrap().len(), 3);
    assert!(
        keys.as_array()
            .unwrap()
            .iter()
            .all(|key| key["sealed"] == true)
    );
}

#[test]
fn files_are_their_owners_only_and_secrets_are_where_they_belong() {
    let folder = folder();
    let deep = folder.path().join("a/b");
    let arguments: Vec<&str> = PRODUCTION.into_iter().chain(["--dir", "a/b"]).collect();
    let output = said(folder.path(), &arguments);

    for name in FILES {
        let mode = std::fs::metadata(deep.join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let secrets: BTreeMap<String, String> =
        serde_json::from_str(&read(&deep, "edge-secrets.json")).unwrap();
    let master = read(&deep, "master.key");
    let readable = [
        read(&deep, "hallpass.toml"),
        read(&deep, "wrangler-vars.toml"),
    ]
    .concat();
    for secret in secrets.values().map(String::as_str).chain([master.trim()]) {
        assert!(!readable.contains(secret));
    }
    assert!(!readable.contains("hpc_"));
    assert!(!output.contains(master.trim()));
    assert!(!output.contains(&secrets["EDGE_CREDENTIAL"]));
    assert!(output.contains("APP_CREDENTIAL=hpc_app_"));
    assert!(output.contains("ADMIN_CREDENTIAL=hpc_admin_"));
    let steps = output.split("Next:").nth(1).unwrap();
    for step in [
        "hallpass serve --config",
        "wrangler secret bulk",
        "wrangler-vars.toml",
    ] {
        assert!(steps.contains(step), "{steps}");
    }
}

#[test]
fn nothing_that_is_there_is_overwritten() {
    for name in FILES {
        let folder = folder();
        std::fs::write(folder.path().join(name), "precious").unwrap();

        let (code, text) = failed(folder.path(), &PRODUCTION);

        assert_eq!(code, 1, "{text}");
        assert!(text.contains(name) && text.contains("--dir"), "{text}");
        assert_eq!(names_in(folder.path()), [name], "the rest is gone again");
        assert_eq!(read(folder.path(), name), "precious");
    }
    let folder = folder();
    init(folder.path());
    let before: Vec<_> = FILES
        .map(|name| std::fs::read(folder.path().join(name)).unwrap())
        .into();
    assert_eq!(failed(folder.path(), &PRODUCTION).0, 1);
    let after: Vec<_> = FILES
        .map(|name| std::fs::read(folder.path().join(name)).unwrap())
        .into();
    assert!(before == after);
}

#[test]
fn what_init_cannot_know_is_demanded_by_the_name_of_its_flag() {
    let folder = folder();
    let url = ["--service-url", "https://s.example"];
    let host = ["--host", "a.example"];
    let cases: [(&[&[&str]], &str); 9] = [
        (&[], "--service-url"),
        (&[&url], "--host"),
        (
            &[&["--service-url", "http://s.example"], &host],
            "--service-url",
        ),
        (&[&["--service-url", "sessions"], &host], "--service-url"),
        (&[&url, &["--host", "https://a.example"]], "--host"),
        (
            &[&url, &host, &["--upstream-url", "https://o.example/app"]],
            "--upstream-url",
        ),
        (
            &[&url, &host, &["--sign-in-path", "sign-in"]],
            "--sign-in-path",
        ),
        (
            &[&url, &host, &["--token-lifetime-secs", "1"]],
            "token_lifetime_secs",
        ),
        (&[&url, &host, &["--config", "x.toml"]], "--config"),
    ];
    for (flags, named) in cases {
        let arguments: Vec<&str> = [["init"].as_slice()]
            .iter()
            .chain(flags)
            .copied()
            .flatten()
            .copied()
            .collect();
        let (code, text) = failed(folder.path(), &arguments);
        assert_eq!(code, 2, "{text}");
        assert!(text.contains(named), "{named}: {text}");
        assert_eq!(names_in(folder.path()), [""; 0]);
    }
}

#[test]
fn development_needs_no_flag_and_given_settings_are_written() {
    let folder = folder();
    said(
        folder.path(),
        &[
            "init",
            "--environment",
            "development",
            "--token-lifetime-secs",
            "60",
        ],
    );

    let printed = said(
        folder.path(),
        &["config", "print", "--json", "--config", "hallpass.toml"],
    );
    let printed: Value = serde_json::from_str(&printed).unwrap();
    let of = |key: &str| {
        let mut settings = printed.as_array().unwrap().iter();
        let setting = settings.find(|setting| setting["key"] == key).unwrap();
        (setting["value"].clone(), setting["source"].clone())
    };
    assert_eq!(of("token_lifetime_secs"), (json!(60), json!("file")));
    assert_eq!(of("environment"), (json!("development"), json!("file")));
    assert_eq!(
        of("issuer"),
        (json!("http://127.0.0.1:8788"), json!("file"))
    );
    assert_eq!(of("listen"), (json!("127.0.0.1:8788"), json!("default")));
}

#[test]
fn sample_in_the_documents_is_what_init_writes() {
    let folder = folder();
    init(folder.path());
    let document = include_str!("../../../../docs/deploy.md");
    let sample = document
        .split("```toml\n")
        .find(|block| block.starts_with("# Settings of the edge"))
        .and_then(|block| block.split("```").next())
        .expect("docs/deploy.md shows wrangler-vars.toml");
    assert_eq!(sample, read(folder.path(), "wrangler-vars.toml"));
}

#[test]
fn failed_run_leaves_nothing_behind() {
    let folder = folder();
    let away: Vec<&str> = PRODUCTION
        .into_iter()
        .chain(["--database-url", "postgres://127.0.0.1:1/x"])
        .collect();

    let (code, text) = failed(folder.path(), &away);

    assert_eq!(code, 3, "{text}");
    assert_eq!(names_in(folder.path()), [""; 0]);
}

async fn database_that_is_in_use_is_left_alone(database: Database) {
    let table = Table::new(database);
    let url = table.url();
    let folder = folder();
    let run = |dir: &str| {
        let mut init = command(folder.path());
        init.args(PRODUCTION)
            .args(["--dir", dir])
            .env("HALLPASS_DATABASE_URL", &url);
        init.output().unwrap()
    };

    assert!(run("first").status.success());
    // A password is not copied from the environment into a file.
    let settings = read(folder.path(), "first/hallpass.toml");
    assert!(!settings.contains(&url), "{settings}");
    let second = run("second");

    assert_eq!(second.status.code(), Some(1));
    let text = String::from_utf8(second.stderr).unwrap();
    assert!(text.contains("overwrites nothing"), "{text}");
    assert_eq!(names_in(&folder.path().join("second")), [""; 0]);
    let listed = command(folder.path())
        .args(["credentials", "list", "--json"])
        .env("HALLPASS_DATABASE_URL", &url)
        .output()
        .unwrap();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 3);
}

on_each_database![database_that_is_in_use_is_left_alone];
