//! Stands in for the edge: starts the demo app and signs requests for it.

use std::io;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
use hallpass_demo::config::{Config, Flags, Secrets};
use hallpass_demo::server;
use jwt_simple::prelude::{HS256Key, MACLike};
use reqwest::{Client, Method, RequestBuilder, Response, redirect};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// The app's credential at the session service.
pub(crate) const CREDENTIAL: &str = "hpc_app_test";
/// The session's id in signed requests.
pub(crate) const SESSION: &str = "AAAAAAAAAAAAAAAAAAAAAA";
/// The `Hallpass-Request` of signed requests.
pub(crate) const REQUEST: &str = "BBBBBBBBBBBBBBBBBBBBBB";

const KEY: &[u8] = b"an assertion key of 32 bytes....";
const ISSUER: &str = "https://session.example";
const AUDIENCE: &str = "https://app.example";

/// A running demo app.
pub(crate) struct Demo {
    address: SocketAddr,
    http: Client,
    stop: oneshot::Sender<()>,
    running: JoinHandle<io::Result<()>>,
}

/// Claims to be signed for a request.
pub(crate) struct Signed {
    caller: Value,
}

impl Signed {
    /// No session.
    pub(crate) fn anonymous() -> Self {
        Self { caller: json!({}) }
    }

    /// A session of `subject`.
    pub(crate) fn for_subject(subject: &str) -> Self {
        Self {
            caller: json!({ "sub": subject, "sid": SESSION, "auth_time": now_secs() - 90 }),
        }
    }

    /// One claim more, or another value for it.
    pub(crate) fn claim(mut self, name: &str, value: Value) -> Self {
        self.caller[name] = value;
        self
    }

    fn headers(&self, method: &Method, target: &str) -> Vec<(&'static str, String)> {
        let now_secs = now_secs();
        let mut claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "iat": now_secs, "exp": now_secs + 30, "jti": "j",
            "htm": method.as_str(), "htu": target,
        });
        let mut headers = vec![("hallpass-request", REQUEST.to_owned())];
        for (name, value) in self.caller.as_object().expect("an object") {
            claims[name] = value.clone();
            let header = match name.as_str() {
                "sub" => "hallpass-subject",
                "sid" => "hallpass-session",
                "auth_time" => "hallpass-auth-time",
                _ => continue,
            };
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            headers.push((header, text));
        }
        headers.push(("hallpass-assertion", sign(&claims)));
        headers
    }
}

impl Demo {
    /// Starts the app on a free port, for a session service at `service_url`.
    pub(crate) async fn start(service_url: &str) -> Self {
        let flags = Flags::parse_from([
            "hallpass-demo",
            "--issuer",
            ISSUER,
            "--audience",
            AUDIENCE,
            "--service-url",
            service_url,
        ]);
        let secrets = Secrets {
            credential: Some(CREDENTIAL.to_owned()),
            assertion_key: Some(encode(KEY)),
        };
        let config = Config::new(flags, secrets).unwrap_or_else(|error| panic!("{error}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(server::serve(listener, config, async move {
            let _ = stopped.await;
        }));
        let http = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .expect("a client");
        Self {
            address,
            http,
            stop,
            running,
        }
    }

    /// A request around the edge.
    pub(crate) fn bare(&self, method: Method, target: &str) -> RequestBuilder {
        self.http
            .request(method, format!("http://{}{target}", self.address))
    }

    /// A request through the edge. `target` must be as it goes over the wire.
    pub(crate) fn request(&self, method: Method, target: &str, signed: &Signed) -> RequestBuilder {
        signed
            .headers(&method, target)
            .into_iter()
            .fold(self.bare(method, target), |request, (name, value)| {
                request.header(name, value)
            })
    }

    /// The answer to a GET through the edge.
    pub(crate) async fn get(&self, target: &str, signed: &Signed) -> Response {
        self.request(Method::GET, target, signed)
            .send()
            .await
            .expect("answers")
    }

    /// The answer to an anonymous form through the edge.
    pub(crate) async fn post_form(&self, target: &str, form: &str) -> Response {
        self.request(Method::POST, target, &Signed::anonymous())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.to_owned())
            .send()
            .await
            .expect("answers")
    }

    /// A WebSocket through the edge.
    pub(crate) async fn open_socket(
        &self,
        target: &str,
        signed: &Signed,
    ) -> WebSocketStream<TcpStream> {
        let mut request = format!("ws://{}{target}", self.address)
            .into_client_request()
            .expect("a request");
        for (name, value) in signed.headers(&Method::GET, target) {
            request
                .headers_mut()
                .insert(name, value.parse().expect("a value"));
        }
        let stream = TcpStream::connect(self.address).await.expect("connects");
        let (socket, _) = tokio_tungstenite::client_async(request, stream)
            .await
            .expect("upgrades");
        socket
    }

    /// Stops the app and waits for its end.
    pub(crate) async fn stop(self) -> io::Result<()> {
        let _ = self.stop.send(());
        self.running.await.expect("no panic")
    }
}

fn sign(claims: &Value) -> String {
    let signed = format!(
        "{}.{}",
        encode(br#"{"alg":"HS256","typ":"assertion+jwt"}"#),
        encode(claims.to_string().as_bytes())
    );
    let tag = HS256Key::from_bytes(KEY).authentication_tag(signed.as_bytes());
    format!("{signed}.{}", encode(&tag))
}

fn encode(bytes: &[u8]) -> String {
    Base64UrlSafeNoPadding::encode_to_string(bytes).expect("encodes")
}

#[expect(
    clippy::disallowed_methods,
    reason = "assertions are made for the time of the test"
)]
fn now_secs() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}
