//! The life of keys: made, rotated, retired, removed, sealed, beside a running service.

use std::path::Path;

use hallpass_session::base64url;
use hallpass_session::claims::SessionClaims;
use hallpass_session::revocation::parse;
use hallpass_session::wire::Created;
use serde_json::{Value, json};

use crate::command::{Served, credential, failed, folder, said};

/// Runs `hallpass keys …` and reads its report.
fn keys(folder: &Path, arguments: &[&str]) -> Value {
    let arguments = [&["keys", "--json"], arguments].concat();
    serde_json::from_str(&said(folder, &arguments)).unwrap()
}

/// Id of the key of a kind that is in a state.
fn kid(folder: &Path, kind: &str, state: &str) -> String {
    let listed = keys(folder, &["list", "--kind", kind]);
    let mut found = listed
        .as_array()
        .unwrap()
        .iter()
        .filter(|key| key["state"] == state);
    found.next().unwrap()["kid"].as_str().unwrap().to_owned()
}

fn header(token: &str) -> Value {
    let header = base64url::decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice(&header).unwrap()
}

fn claims(token: &str) -> SessionClaims {
    let payload = base64url::decode(token.split('.').nth(1).unwrap()).unwrap();
    SessionClaims::parse(serde_json::from_slice(&payload).unwrap()).unwrap()
}

async fn edge_keys(served: &Served, edge: &str) -> Value {
    let request = reqwest::Client::new().get(format!("{}/v1/edge/keys", served.url));
    let answer = request.bearer_auth(edge).send().await.unwrap();
    answer.json().await.unwrap()
}

/// The list's `kids`, and who signed it.
async fn list(served: &Served, edge: &str) -> (Vec<String>, String) {
    let url = format!("{}/v1/edge/revocations?after=0", served.url);
    let request = reqwest::Client::new().get(url).bearer_auth(edge);
    let text = request.send().await.unwrap().text().await.unwrap();
    assert!(parse(&text).is_ok());
    let payload = base64url::decode(text.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    let kids = serde_json::from_value(claims["kids"].clone()).unwrap();
    (kids, header(&text)["kid"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn rotated_key_is_published_by_the_running_service_and_does_not_sign_yet() {
    let folder = folder();
    let (edge, app) = (
        credential(folder.path(), "edge"),
        credential(folder.path(), "app"),
    );
    let served = Served::start(folder.path(), &[]);
    let before = kid(folder.path(), "session", "signing");

    keys(folder.path(), &["rotate", "--kind", "session"]);

    let new = kid(folder.path(), "session", "published");
    let (kids, _) = list(&served, &edge).await;
    assert!(kids.contains(&new) && kids.contains(&before), "{kids:?}");
    let published = edge_keys(&served, &edge).await["session"].to_string();
    assert!(published.contains(&new) && published.contains(&before));
    let created = served.create(&app).await;
    assert_eq!(header(&created.session_token)["kid"], before);
    let listed = keys(folder.path(), &["list", "--kind", "session"]);
    let second = |kid: &str, member: &str| {
        let mut listed = listed.as_array().unwrap().iter();
        listed.find(|key| key["kid"] == kid).unwrap()[member].as_u64()
    };
    let made = second(&before, "created_at").unwrap();
    let signs_from = second(&new, "signs_from").unwrap();
    // Made moments after the first.
    assert!((600..660).contains(&(signs_from - made)), "{listed}");
}

#[tokio::test]
async fn emergency_takes_a_session_key_out_of_the_list_and_signs_with_another() {
    let folder = folder();
    let (edge, app) = (
        credential(folder.path(), "edge"),
        credential(folder.path(), "app"),
    );
    let served = Served::start(folder.path(), &[]);
    let created = served.create(&app).await;
    let old = kid(folder.path(), "session", "signing");
    let remove = ["keys", "remove", "--kind", "session", &old];
    let (code, text) = failed(folder.path(), &remove);
    assert!(code == 1 && text.contains("rotate"), "{text}");

    said(folder.path(), &[&remove[..], &["--replace"]].concat());

    let new = kid(folder.path(), "session", "signing");
    assert_eq!(list(&served, &edge).await.0, std::slice::from_ref(&new));
    let renewed = served.renew(&edge, &created.renewal_token).await;
    assert_eq!(header(&renewed.session_token)["kid"], new);
    assert_eq!(claims(&renewed.session_token).sid, created.session.sid);
    let (code, text) = failed(folder.path(), &remove);
    assert!(code == 1 && text.contains("removed already"), "{text}");
}

#[tokio::test]
async fn key_of_another_algorithm_signs_tokens_and_list() {
    let folder = folder();
    let (edge, app) = (
        credential(folder.path(), "edge"),
        credential(folder.path(), "app"),
    );
    let served = Served::start(folder.path(), &[]);
    for kind in ["session", "list"] {
        let rotate = ["rotate", "--kind", kind, "--alg", "ES256", "--now"];
        keys(folder.path(), &rotate);
    }

    let (_, signer) = list(&served, &edge).await;
    let created: Created = served.create(&app).await;

    assert_eq!(header(&created.session_token)["alg"], "ES256");
    assert_eq!(signer, kid(folder.path(), "list", "signing"));
    served.renew(&edge, &created.renewal_token).await;
}

#[tokio::test]
async fn renewal_tokens_live_through_rotation_and_end_with_their_key() {
    let folder = folder();
    let (edge, app) = (
        credential(folder.path(), "edge"),
        credential(folder.path(), "app"),
    );
    let served = Served::start(folder.path(), &[]);
    let old = served.create(&app).await;
    keys(folder.path(), &["rotate", "--kind", "renewal", "--now"]);
    // The list's number is the running service's news of it.
    list(&served, &edge).await;
    let moved = served.renew(&edge, &old.renewal_token).await;
    keys(folder.path(), &["retire", "--kind", "renewal", "1"]);
    served.renew(&edge, &old.renewal_token).await;

    let remove = ["keys", "remove", "--kind", "renewal", "1"];
    let left_behind = served.create(&app).await;
    served.renew(&edge, &left_behind.renewal_token).await;
    said(folder.path(), &[&remove[..], &["--yes"]].concat());
    list(&served, &edge).await;

    let refused = served
        .post(
            "/v1/edge/renew",
            &edge,
            &json!({"renewal_token": old.renewal_token}),
        )
        .await;
    assert_eq!(refused.status(), 401);
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["code"], "session_revoked");
    served.renew(&edge, &moved.renewal_token).await;
}

#[tokio::test]
async fn removing_a_renewal_key_that_browsers_hold_asks_first() {
    let folder = folder();
    let app = credential(folder.path(), "app");
    let served = Served::start(folder.path(), &[]);
    served.create(&app).await;
    served.create(&app).await;

    let remove = ["keys", "remove", "--kind", "renewal", "1", "--replace"];
    let (code, text) = failed(folder.path(), &remove);

    assert!(code == 1 && text.contains("2 live sessions"), "{text}");
    assert!(text.contains("--yes"), "{text}");
    assert_eq!(kid(folder.path(), "renewal", "signing"), "1");
}

#[tokio::test]
async fn master_key_set_later_seals_what_rested_in_clear() {
    let folder = folder();
    let app = credential(folder.path(), "app");
    let edge = credential(folder.path(), "edge");
    let first = Served::start(folder.path(), &[]);
    let created = first.create(&app).await;
    first.terminate();
    write_key(folder.path(), "master.key", 7);
    write_key(folder.path(), "other.key", 8);

    let served = Served::start(folder.path(), &["--master-key-file", "master.key"]);
    served.renew(&edge, &created.renewal_token).await;

    let listed = keys(folder.path(), &["list"]);
    let sealed = |key: &Value| key["sealed"] == true;
    assert!(listed.as_array().unwrap().iter().all(sealed), "{listed}");
    let rotate = ["keys", "rotate", "--kind", "session"];
    let (code, text) = failed(folder.path(), &rotate);
    assert!(code == 1 && text.contains("master_key_file"), "{text}");
    let other = [&rotate[..], &["--master-key-file", "other.key"]].concat();
    let (code, text) = failed(folder.path(), &other);
    assert!(code == 1 && text.contains("another master key"), "{text}");
}

#[tokio::test]
async fn keys_are_sealed_anew_beside_the_running_service() {
    let folder = folder();
    let (edge, app) = (
        credential(folder.path(), "edge"),
        credential(folder.path(), "app"),
    );
    write_key(folder.path(), "old.key", 1);
    write_key(folder.path(), "new.key", 2);
    let served = Served::start(folder.path(), &["--master-key-file", "old.key"]);
    let created = served.create(&app).await;

    said(
        folder.path(),
        &[
            "keys",
            "reseal",
            "--master-key-file",
            "old.key",
            "--new-master-key-file",
            "new.key",
        ],
    );

    list(&served, &edge).await;
    served.renew(&edge, &created.renewal_token).await;
    served.terminate();
    let old = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--master-key-file",
        "old.key",
    ];
    let (code, text) = failed(folder.path(), &old);
    assert!(code == 1 && text.contains("another master key"), "{text}");
    let served = Served::start(folder.path(), &["--master-key-file", "new.key"]);
    served.renew(&edge, &created.renewal_token).await;
}

fn write_key(folder: &Path, name: &str, byte: u8) {
    std::fs::write(folder.join(name), base64url::encode(&[byte; 32])).unwrap();
}
