//! The routes, and what happens to every request on all of them: admit, answer, log.
//!
//! No route is left out of the check, not even the public ones: an app that answers without an
//! assertion answers whoever finds its port. One line per request goes to standard error: method,
//! path, status, milliseconds, subject or `-`, and the code of a refusal. Queries, header values
//! and tokens are never logged.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{any, get, post};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::assertion::{AssertionVerifier, Caller, VerifiedAssertion};
use crate::config::Config;
use crate::refusal::{Refusal, RefusalCode, Representation};
use crate::session_client::SessionClient;
use crate::{clock, echo, live, public, refusal, sign_in, who};

/// Largest form, in bytes: a user, a password and a return path of 2 KiB, each byte percent-encoded.
const MAX_FORM_BYTES: usize = 16 * 1024;
/// Most bytes of header names and values together: a URL, an assertion and a browser's own.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// Most event streams and sockets open at once.
const MAX_STREAMS: u32 = 512;
/// How long an answer under way may take once the app has been told to stop.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Pages run no script but ours, send nothing elsewhere and stand in nobody's frame.
const CONTENT_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

/// What the handlers share.
pub(crate) struct App {
    verifier: AssertionVerifier,
    pub(crate) sessions: SessionClient,
    streams: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
}

/// A place among the open streams, and the word when to leave it.
pub(crate) struct OpenStream {
    stopping: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

impl App {
    /// A place for one more event stream or socket; `None` when there are too many.
    pub(crate) fn open_stream(&self) -> Option<OpenStream> {
        let place = Arc::clone(&self.streams).try_acquire_owned().ok()?;
        Some(OpenStream {
            stopping: self.stopping.clone(),
            _place: place,
        })
    }
}

impl OpenStream {
    /// Returns once the app stops.
    pub(crate) async fn stopped(&mut self) {
        // An error means that the sender is gone, and so is the app.
        let _ = self.stopping.wait_for(|stopping| *stopping).await;
    }
}

/// Answers requests on `listener` until `stop` is ready. Open streams and sockets end then at once,
/// answers under way have two more seconds.
///
/// # Errors
/// When the HTTP client for the session service cannot be built, or the listener fails.
pub async fn serve(
    listener: TcpListener,
    config: Config,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (stopping_sender, stopping) = watch::channel(false);
    let app = Arc::new(App {
        verifier: config.verifier,
        sessions: SessionClient::new(&config.service_url, config.authorization)
            .map_err(io::Error::other)?,
        streams: Arc::new(Semaphore::new(MAX_STREAMS as usize)),
        stopping: stopping.clone(),
    });
    let service = routes(Arc::clone(&app)).into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, service).with_graceful_shutdown(async move {
        stop.await;
        let _ = stopping_sender.send(true);
    });
    tokio::select! {
        outcome = async {
            server.await?;
            // Sockets live on as tasks of their own: all places free means all have said goodbye.
            let _ = app.streams.acquire_many(MAX_STREAMS).await;
            Ok(())
        } => outcome,
        () = grace_over(stopping) => Ok(()),
    }
}

async fn grace_over(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
    tokio::time::sleep(STOP_GRACE).await;
}

fn routes(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(who::show))
        .route("/whoami", get(who::tell))
        .route("/sign-in", get(sign_in::show).post(sign_in::submit))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/public", get(public::show))
        .route("/public/", get(public::show))
        .route("/public/{*path}", get(public::show))
        .route("/public/signed-out", get(public::show_signed_out))
        .route("/public/demo.css", get(public::style))
        .route("/public/live.js", get(public::script))
        .route("/public/icon.svg", get(public::icon))
        .route("/echo", any(echo::answer))
        .route("/ws", get(live::open_socket))
        .route("/events", get(live::open_events))
        .fallback(refusal::not_found)
        .method_not_allowed_fallback(refusal::method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), admit))
        .with_state(app)
}

/// Lets a request in if its assertion is good, refuses it if not, and logs either.
async fn admit(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    #[expect(
        clippy::disallowed_methods,
        reason = "the log says how long an answer took"
    )]
    let started = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let mut subject = None;
    let mut response = match judge(&app.verifier, &request) {
        Ok(assertion) => {
            subject = assertion
                .caller()
                .map(|caller: &Caller| caller.subject.clone());
            request.extensions_mut().insert(assertion);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(Representation::wanted_by(request.headers())),
    };
    complete_headers(response.headers_mut());
    let code = response.extensions().get::<RefusalCode>();
    log(&format!(
        "{method} {path} {} {}ms {}{}\n",
        response.status().as_u16(),
        started.elapsed().as_millis(),
        subject.as_deref().unwrap_or("-"),
        code.map_or_else(String::new, |code| format!(" {}", code.0)),
    ));
    response
}

fn judge(verifier: &AssertionVerifier, request: &Request) -> Result<VerifiedAssertion, Refusal> {
    if header_bytes(request.headers()) > MAX_HEADER_BYTES {
        return Err(Refusal::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers_too_large",
            "Too many headers",
            "The headers of this request are larger than this app reads.",
        ));
    }
    verifier
        .verify(
            request.method(),
            request.uri(),
            request.headers(),
            clock::now_secs(),
        )
        .map_err(Refusal::from)
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum()
}

/// What every answer says unless its handler has said something else.
fn complete_headers(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        // Not `no-referrer`: with it, browsers send `Origin: null` with our own forms.
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("same-origin"),
        ),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ] {
        headers.entry(name).or_insert(value);
    }
}

/// One line to standard error, in one piece; a closed one is no reason to fail a request.
fn log(line: &str) {
    let _ = io::stderr().write_all(line.as_bytes());
}
