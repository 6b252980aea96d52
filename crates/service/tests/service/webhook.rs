//! Events posted to the app: signed, in order, until each was taken.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use ct_codecs::{Base64, Encoder};
use hallpass_service::config::{TlsFiles, WebhookSettings};
use hallpass_service::http::{Listening, Tls, serve};
use hallpass_service::webhook::Webhook;
use hmac_sha256::HMAC;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::canary::Served;
use crate::database::{Database, on_each_database};
use crate::running::Running;
use crate::tls::certified;

/// 32 bytes `k`, in base64.
pub(crate) const SECRET: &str = "whsec_a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=";

/// An app that answers as it is told, and remembers what it got.
pub(crate) struct App {
    pub(crate) settings: WebhookSettings,
    pub(crate) received: mpsc::UnboundedReceiver<(HeaderMap, String)>,
    _folder: TempDir,
}

#[derive(Clone)]
struct Answers {
    statuses: Arc<Mutex<VecDeque<StatusCode>>>,
    received: mpsc::UnboundedSender<(HeaderMap, String)>,
}

async fn receive(State(app): State<Answers>, headers: HeaderMap, body: String) -> StatusCode {
    app.received.send((headers, body)).unwrap();
    let status = app.statuses.lock().unwrap().pop_front();
    status.unwrap_or(StatusCode::NO_CONTENT)
}

impl App {
    /// One that answers so at first, and takes everything afterwards.
    async fn start(statuses: &[StatusCode]) -> Self {
        Self::start_with(statuses, None).await
    }

    /// The same over TLS, as `localhost`.
    pub(crate) async fn start_certified(files: &TlsFiles) -> Self {
        let tls = Arc::new(Tls::read(files).unwrap());
        Self::start_with(&[], Some(tls)).await
    }

    async fn start_with(statuses: &[StatusCode], tls: Option<Arc<Tls>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let secret_file = folder.path().join("secret");
        std::fs::write(&secret_file, SECRET).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = match tls {
            None => format!("http://{address}/hook?x=1"),
            Some(_) => format!("https://localhost:{}/hook?x=1", address.port()),
        };
        let (sender, received) = mpsc::unbounded_channel();
        let answers = Answers {
            statuses: Arc::new(Mutex::new(statuses.iter().copied().collect())),
            received: sender,
        };
        let routes = Router::new()
            .route("/hook", post(receive))
            .with_state(answers);
        let listening = Listening::new(listener, tls);
        tokio::spawn(serve(listening, routes, std::future::pending()));
        Self {
            settings: WebhookSettings { url, secret_file },
            received,
            _folder: folder,
        }
    }

    /// Lets the service deliver.
    fn hook(&self, service: &Running) -> tokio::task::JoinHandle<()> {
        let webhook = Arc::new(Webhook::configure(&self.settings).unwrap());
        tokio::spawn(webhook.run(Arc::clone(&service.service)))
    }

    /// The next delivery, its signature checked.
    async fn next(&mut self) -> (String, Value) {
        let (headers, body) = self.received.recv().await.unwrap();
        let header = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
        let (id, at) = (header("webhook-id"), header("webhook-timestamp"));
        let mac = HMAC::mac(format!("{id}.{at}.{body}").as_bytes(), [b'k'; 32]);
        let expected = Base64::encode_to_string(mac).unwrap();
        assert_eq!(header("webhook-signature"), format!("v1,{expected}"));
        assert_eq!(header("content-type"), "application/json");
        (id, serde_json::from_str(&body).unwrap())
    }
}

impl Running {
    async fn end_one(&self) -> String {
        let sid = self.create("ada").await.session.sid;
        self.delete(&format!("/v1/sessions/{sid}"), &self.app).await;
        sid
    }
}

async fn events_are_delivered_in_order_until_taken(database: Database) {
    let mut app = App::start(&[StatusCode::INTERNAL_SERVER_ERROR]).await;
    let service = Running::start(database).await;
    let (one, two) = (service.end_one().await, service.end_one().await);

    let hook = app.hook(&service);

    let refused = app.next().await;
    let taken = app.next().await;
    assert_eq!(refused, taken, "the same again, with the same id");
    assert_eq!(taken.1["sid"], one);
    assert_eq!(taken.1["kind"], "ended");
    assert_eq!(app.next().await.1["sid"], two);
    service.service.stop();
    hook.await.unwrap();
}

async fn restart_delivers_what_was_not_taken_and_nothing_else(database: Database) {
    let mut app = App::start(&[]).await;
    let service = Running::start(database).await;
    let hook = app.hook(&service);
    let one = service.end_one().await;
    assert_eq!(app.next().await.1["sid"], one);
    service.service.stop();
    hook.await.unwrap();

    let service = service.restart().await;
    let two = service.end_one().await;
    let hook = app.hook(&service);

    assert_eq!(app.next().await.1["sid"], two);
    service.service.stop();
    hook.await.unwrap();
}

async fn process_that_died_with_its_turn_is_replaced(database: Database) {
    let mut app = App::start(&[]).await;
    let service = Running::start(database).await;
    let hook = app.hook(&service);
    let one = service.end_one().await;
    assert_eq!(app.next().await.1["sid"], one);
    let two = service.end_one().await;
    assert_eq!(app.next().await.1["sid"], two);
    hook.abort();

    let three = service.end_one().await;
    service.advance(61);
    let hook = app.hook(&service);

    // What was taken last may come again.
    let mut next = app.next().await.1;
    if next["sid"] == two {
        next = app.next().await.1;
    }
    assert_eq!(next["sid"], three);
    service.service.stop();
    hook.await.unwrap();
}

async fn one_process_at_a_time_delivers(database: Database) {
    let mut app = App::start(&[]).await;
    let service = Running::start(database).await;
    let hooks = [app.hook(&service), app.hook(&service), app.hook(&service)];
    let mut ended = Vec::new();
    for _ in 0..5 {
        ended.push(service.end_one().await);
    }

    for sid in &ended {
        assert_eq!(app.next().await.1["sid"], *sid);
    }
    service.service.stop();
    for hook in hooks {
        hook.await.unwrap();
    }
    assert!(app.received.try_recv().is_err(), "nothing comes twice");
}

on_each_database!(
    events_are_delivered_in_order_until_taken,
    one_process_at_a_time_delivers,
    restart_delivers_what_was_not_taken_and_nothing_else,
    process_that_died_with_its_turn_is_replaced,
);

#[tokio::test]
async fn webhook_over_tls_trusts_what_ssl_cert_file_names_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (_own, files) = certified();
    let (_foreign, foreign) = certified();
    let mut app = App::start_certified(&files).await;
    let admin = Served::credential(folder.path(), "admin");
    let all_ended = ("/v1/revoked-before", admin.as_str());

    let served = Served::start_hooked(folder.path(), &app.settings, &foreign.certificate);
    served.post_nothing(all_ended).await;
    let log = served.log_with("an event could not be delivered").await;
    assert!(log.contains("certificate"), "{log}");
    served.terminate();
    assert!(app.received.try_recv().is_err(), "nothing was posted");

    let served = Served::start_hooked(folder.path(), &app.settings, &files.certificate);
    let (_, event) = app.next().await;
    assert_eq!(event["kind"], "all_ended");
    served.terminate();
}

#[test]
fn secrets_that_are_none_are_refused_by_setting() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |secret_file: PathBuf| {
        let url = "http://127.0.0.1:1/".to_owned();
        let settings = WebhookSettings { url, secret_file };
        Webhook::configure(&settings).map(drop).unwrap_err()
    };
    let file = folder.path().join("secret");
    for text in [
        "",
        "short",
        "whsec_a2tra2s=",
        "not base64 ************************",
    ] {
        std::fs::write(&file, text).unwrap();
        let error = refused(file.clone());
        assert!(error.starts_with("webhook_secret_file"), "{error}");
        assert!(!error.contains("a2tra2s"), "{error}");
    }
    let absent = refused(folder.path().join("absent"));
    assert!(absent.starts_with("webhook_secret_file"), "{absent}");
}
