//! What signals make of the running binary: SIGHUP reads files anew, SIGTERM stops in order.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use ct_codecs::{Base64, Encoder};
use hmac_sha256::HMAC;
use tokio::sync::mpsc;

use crate::command::{Served, credential, folder};
use crate::tls::{OK, certified, health, renew_certificate};

/// How long anybody waits for what must come at once.
const SOON: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

async fn until<F: Future<Output = bool>>(wanted: impl Fn() -> F) {
    let wait = async {
        while !wanted().await {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(SOON, wait).await.expect("it comes");
}

impl Served {
    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let kill = Command::new("kill").args([name, &pid]).status();
        assert!(kill.unwrap().success());
    }

    async fn status(&self, path: &str) -> Option<StatusCode> {
        let answer = reqwest::get(format!("{}{path}", self.url)).await;
        answer.ok().map(|answer| answer.status())
    }
}

/// Waits until the log in `folder` has `wanted` so many times.
async fn until_logged(folder: &std::path::Path, wanted: &str, times: usize) {
    until(async || {
        let log = std::fs::read_to_string(folder.join("log")).unwrap();
        log.matches(wanted).count() >= times
    })
    .await;
}

#[tokio::test]
async fn hangup_with_nothing_to_read_ends_nothing() {
    let folder = folder();
    let served = Served::start(folder.path(), &[]);

    served.signal("-HUP");
    until_logged(folder.path(), "no file to read anew", 1).await;

    assert_eq!(served.status("/healthz").await, Some(StatusCode::OK));
    assert_eq!(served.terminate(), 0);
}

#[tokio::test]
async fn hangup_takes_a_new_certificate_and_keeps_the_old_one_if_it_is_bad() {
    let (files_folder, files) = certified();
    let folder = folder();
    let path = |file: &std::path::Path| file.to_str().unwrap().to_owned();
    let (certificate, key) = (path(&files.certificate), path(&files.key));
    let served = Served::start(
        folder.path(),
        &["--tls-certificate", &certificate, "--tls-key", &key],
    );
    let port: u16 = served.url.rsplit(':').next().unwrap().parse().unwrap();
    assert_eq!(health(port, &files.certificate).await.unwrap(), OK);

    let old = files_folder.path().join("old.pem");
    std::fs::copy(&files.certificate, &old).unwrap();
    renew_certificate(&files);
    served.signal("-HUP");
    until_logged(folder.path(), "tls_key read anew", 1).await;
    assert_eq!(health(port, &files.certificate).await.unwrap(), OK);
    assert!(health(port, &old).await.is_err(), "the old one is gone");

    std::fs::write(&files.key, "spoiled").unwrap();
    served.signal("-HUP");
    until_logged(folder.path(), "tls_key stays as it was", 1).await;
    assert_eq!(health(port, &files.certificate).await.unwrap(), OK);
}

#[tokio::test]
async fn hangup_takes_a_new_webhook_secret() {
    let (sender, mut received) = mpsc::unbounded_channel();
    let app = Router::new().route(
        "/hook",
        post(async move |headers: HeaderMap, body: String| {
            sender.send((headers, body)).unwrap();
            StatusCode::NO_CONTENT
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hook = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(hallpass_service::http::serve(
        listener,
        app,
        std::future::pending(),
    ));
    let folder = folder();
    let file = folder.path().join("secret");
    let set_secret =
        |byte: u8| std::fs::write(&file, Base64::encode_to_string([byte; 32]).unwrap());
    set_secret(b'k').unwrap();
    let credential = credential(folder.path(), "app");
    let served = Arc::new(Served::start(
        folder.path(),
        &[
            "--webhook-url",
            &hook,
            "--webhook-secret-file",
            file.to_str().unwrap(),
        ],
    ));
    let mut signed_with = async || {
        let sid = served.create(&credential).await.session.sid;
        let end = reqwest::Client::new().delete(format!("{}/v1/sessions/{sid}", served.url));
        end.bearer_auth(&credential).send().await.unwrap();
        // Each session tells of a device and of its end.
        let mut signers = Vec::new();
        loop {
            let (headers, body): (HeaderMap, String) = received.recv().await.unwrap();
            let header = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
            let text = format!(
                "{}.{}.{body}",
                header("webhook-id"),
                header("webhook-timestamp")
            );
            let made_by = |byte: u8| {
                let mac = HMAC::mac(text.as_bytes(), [byte; 32]);
                header("webhook-signature")
                    == format!("v1,{}", Base64::encode_to_string(mac).unwrap())
            };
            signers.push(
                [b'k', b'n']
                    .into_iter()
                    .find(|byte| made_by(*byte))
                    .unwrap(),
            );
            if body.contains("\"ended\"") && body.contains(&sid) {
                signers.dedup();
                return signers;
            }
        }
    };
    assert_eq!(signed_with().await, [b'k']);

    set_secret(b'n').unwrap();
    served.signal("-HUP");
    until_logged(folder.path(), "webhook_secret_file read anew", 1).await;
    assert_eq!(signed_with().await, [b'n']);

    std::fs::write(&file, "short").unwrap();
    served.signal("-HUP");
    until_logged(folder.path(), "webhook_secret_file stays as it was", 1).await;
    assert_eq!(signed_with().await, [b'n']);
}

#[tokio::test]
async fn stopping_service_says_no_to_readiness_and_serves_on_for_its_delay() {
    let folder = folder();
    let mut served = Served::start(folder.path(), &["--stop-delay-secs", "2"]);
    assert_eq!(served.status("/readyz").await, Some(StatusCode::OK));

    served.signal("-TERM");
    until(async || served.status("/readyz").await == Some(StatusCode::SERVICE_UNAVAILABLE)).await;
    // It said so, hence it answers: nobody is turned away before the balancer has noticed.
    assert_eq!(served.status("/healthz").await, Some(StatusCode::OK));

    until(async || served.status("/healthz").await.is_none()).await;
    assert!(served.child.wait().unwrap().success());
}
