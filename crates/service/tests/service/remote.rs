//! `hallpass sessions` at a session service, and waiting until what was ended is so everywhere.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::command::{Served, command, credential, folder, said};
use crate::database::{Database, Table, on_each_database};

/// A command at a service, with a credential in the environment.
fn at(folder: &Path, url: &str, credential: &str, arguments: &[&str]) -> Command {
    let mut command = command(folder);
    command.args(arguments).args(["--url", url]);
    command.env("HALLPASS_CREDENTIAL", credential);
    // Nothing but the service is asked.
    command.env("HALLPASS_DATABASE_URL", "sqlite:///nowhere/at/all.db");
    command
}

fn report(mut command: Command) -> Value {
    let output = command.arg("--json").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refused(mut command: Command) -> (i32, String) {
    let output = command.output().unwrap();
    assert!(output.stdout.is_empty(), "reports belong to success");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.chars().all(|c| c == '\n' || !c.is_control()),
        "{said:?}"
    );
    (output.status.code().unwrap(), said)
}

#[tokio::test]
async fn sessions_are_the_same_over_http_as_in_the_database() {
    let folder = folder();
    let folder = folder.path();
    let (app, admin) = (credential(folder, "app"), credential(folder, "admin"));
    let served = Served::start(folder, &[]);
    let one = served.create(&app).await.session.sid;
    let two = served.create(&app).await.session.sid;
    let three = served.create(&app).await.session.sid;
    let here = |arguments: &[&str]| -> Value {
        let arguments = [arguments, &["--json"]].concat();
        serde_json::from_str(&said(folder, &arguments)).unwrap()
    };
    let there = |arguments: &[&str]| report(at(folder, &served.url, &app, arguments));

    let ended = there(&["sessions", "revoke", &one]);
    assert_eq!(ended["revoked"], 1);
    for list in [
        &["sessions", "list", "--subject", "ada"][..],
        &["sessions", "list", "--subject", "ada", "--ended"],
        &["sessions", "list", "--subject", "nobody"],
    ] {
        let sorted = |list: Value| {
            let mut list = list.as_array().unwrap().clone();
            list.sort_by_key(|session| session["sid"].to_string());
            list
        };
        assert_eq!(sorted(there(list)), sorted(here(list)));
    }
    let shown = here(&["sessions", "show", &two]);
    let mut nameless = shown.as_object().unwrap().clone();
    nameless.remove("subject");
    assert_eq!(there(&["sessions", "show", &two]), Value::Object(nameless));
    let ended = there(&["sessions", "revoke-subject", "ada", "--yes"]);
    assert_eq!(ended["revoked"], 2);
    assert_eq!(here(&["sessions", "show", &three])["ended"]["by"], "app");

    let all = ["sessions", "revoke-all", "--yes"];
    let (code, text) = refused(at(folder, &served.url, &app, &all));
    assert!(code == 1 && text.contains("scope_insufficient"), "{text}");
    served.create(&app).await;
    let ended = report(at(folder, &served.url, &admin, &all));
    assert_eq!(ended["revoked"], 1);
    let (code, text) = refused(at(folder, &served.url, &admin, &all[..2]));
    assert!(code == 1 && text.contains("--yes"), "{text}");
}

#[tokio::test]
async fn what_the_service_refuses_is_one_line() {
    let folder = folder();
    let folder = folder.path();
    let app = credential(folder, "app");
    let served = Served::start(folder, &[]);
    let unknown = ["sessions", "revoke", "AAAAAAAAAAAAAAAAAAAAAA"];

    let (code, text) = refused(at(folder, &served.url, &app, &unknown));
    assert!(code == 1 && text.contains("no such session"), "{text}");
    let (code, text) = refused(at(folder, &served.url, "hpc_app_wrong", &unknown));
    assert!(code == 1 && text.contains("credential_invalid"), "{text}");
    assert!(!text.contains("hpc_app_wrong"), "{text}");
    let (code, text) = refused(at(folder, &served.url, &app, &["sessions", "list"]));
    assert!(code == 2 && text.contains("--subject"), "{text}");
    for (url, credential, wanted) in [
        ("http://sessions.example", app.as_str(), "--allow-http"),
        ("https://user:pw@sessions.example", &app, "--url must be"),
        (&served.url, "", "credential"),
        (&served.url, "two words", "credential"),
    ] {
        let (code, text) = refused(at(folder, url, credential, &unknown));
        assert!(code == 2 && text.contains(wanted), "{text}");
    }
    std::fs::write(folder.join("credential"), format!("{app}\n")).unwrap();
    let mut by_file = at(folder, &served.url, "wrong", &unknown);
    by_file.args(["--credential-file", "credential"]);
    let (code, text) = refused(by_file);
    assert!(code == 1 && text.contains("no such session"), "{text}");

    let url = served.url.clone();
    assert_eq!(served.terminate(), 0);
    let (code, text) = refused(at(folder, &url, &app, &unknown));
    assert!(code == 3 && text.contains(&url), "{text}");
}

#[test]
fn what_is_no_session_service_is_named() {
    let folder = folder();
    for (status, body) in [
        ("502 Bad Gateway", "<html>\u{1b}[2J"),
        ("301 Moved", ""),
        ("200 OK", "{}"),
        (
            "403 Forbidden",
            "{\"type\":\"\",\"title\":\"\\u001b[2J\",\"status\":403,\"code\":\"x\"}",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            stream.write_all(answer.as_bytes()).unwrap();
        });

        let show = ["sessions", "show", "AAAAAAAAAAAAAAAAAAAAAA"];
        let (code, text) = refused(at(folder.path(), &url, "hpc_app_x", &show));

        answering.join().unwrap();
        let wanted = if status.starts_with("403") { 1 } else { 3 };
        assert!(code == wanted && text.contains(&url), "{text}");
    }
}

#[test]
fn ending_all_asks_and_says_how_many() {
    let folder = folder();
    let (code, text) = crate::command::failed(folder.path(), &["sessions", "revoke-all"]);
    assert!(code == 1 && text.contains("--yes"), "{text}");
    let ended = said(
        folder.path(),
        &["sessions", "revoke-all", "--yes", "--wait"],
    );
    assert_eq!(
        ended,
        "nothing was live; in force at every edge that reaches the service"
    );
}

/// The edge says which number it has, and gets the newest.
async fn poll(served: &Served, edge: &str, epoch: &str, after: u64) -> (String, u64) {
    let query = format!("epoch={epoch}&after={after}&wait=0&edge=e1&bound=60");
    let url = format!("{}/v1/edge/revocations?{query}", served.url);
    let request = reqwest::Client::new().get(url).bearer_auth(edge);
    let answer = request.send().await.unwrap();
    let header = answer.headers()["hallpass-list"].to_str().unwrap();
    let header = hallpass_session::revocation::ListHeader::parse(header).unwrap();
    (header.position.epoch, header.position.to)
}

async fn wait_ends_once_every_edge_has_it(database: Database) {
    let (folder, table) = (folder(), Table::new(database));
    let folder = folder.path();
    std::fs::write(folder.join("database_url"), table.url()).unwrap();
    let (edge, app) = (credential(folder, "edge"), credential(folder, "app"));
    let served = Served::start(folder, &[]);
    let (epoch, _) = poll(&served, &edge, "", 0).await;
    for by_url in [false, true] {
        let created = served.create(&app).await;
        let (_, before) = poll(&served, &edge, &epoch, 0).await;
        poll(&served, &edge, &epoch, before).await;
        let revoke = [
            "sessions",
            "revoke",
            &created.session.sid,
            "--wait",
            "--json",
        ];
        let mut waiting = if by_url {
            at(folder, &served.url, &app, &revoke)
        } else {
            let mut command = command(folder);
            command.args(revoke);
            command
        };
        let waiting = waiting.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut waiting = waiting.spawn().unwrap();
        let mut to = before;
        while to == before {
            assert!(waiting.try_wait().unwrap().is_none(), "it did not wait");
            (_, to) = poll(&served, &edge, &epoch, before).await;
        }
        // The edge has been told, and not yet said that it has it; its bound is a minute.
        let ended = waiting.try_wait().unwrap();
        assert!(ended.is_none(), "{ended:?}");

        poll(&served, &edge, &epoch, to).await;

        let output = waiting.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["in_force"]["everywhere"], json!(true));
        assert_eq!(
            (&report["epoch"], &report["to"]),
            (&json!(epoch), &json!(to))
        );
    }
}

on_each_database![wait_ends_once_every_edge_has_it];
