//! Accepts connections until told to stop, then answers what is in flight.
//!
//! Every wait has an end: for a place, for the TLS handshake, for a request's head, and for what is
//! in flight when the service stops. What comes after the head is limited by `observe` and `body`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::Service as _;

use super::tls::Tls;

/// Most connections at a time; further ones wait in the machine's queue.
const CONNECTIONS_MAX: usize = 10_000;
/// Room for a request's head, in bytes. Past it hyper answers a bare 431; past the smaller
/// `observe::HEAD_MAX_BYTES` the answer is a problem document.
const HEAD_ROOM_BYTES: usize = 64 << 10;
/// Longest wait for a request's head, on a connection kept alive too: longer than clients keep
/// theirs, so that we never close under a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(90);
/// Longest wait for a TLS handshake: some round trips.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request in flight may take once we stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after the machine refused a connection: out of files, mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where connections come in, and whether they speak TLS.
pub struct Listening {
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
}

impl Listening {
    /// Connections that speak TLS, if there is a certificate.
    #[must_use]
    pub fn new(listener: TcpListener, tls: Option<Arc<Tls>>) -> Self {
        Self { listener, tls }
    }
}

impl From<TcpListener> for Listening {
    fn from(listener: TcpListener) -> Self {
        Self::new(listener, None)
    }
}

/// Address of whoever is at the other end of the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Serves until `stop` is done, then until everything in flight is answered, at most ten seconds.
pub async fn serve(
    listening: impl Into<Listening>,
    router: Router,
    stop: impl Future<Output = ()>,
) {
    let Listening { listener, tls } = listening.into();
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, address, place)) => {
                let (router, watcher) = (router.clone(), graceful.watcher());
                let connection = converse(stream, tls.clone(), router, Peer(address.ip()), watcher);
                tokio::spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let drained = tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await;
    if drained.is_err() {
        tracing::warn!("some requests were not answered in time");
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await;
    let place = place.map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, address, place))
}

async fn converse(
    stream: TcpStream,
    tls: Option<Arc<Tls>>,
    router: Router,
    peer: Peer,
    watcher: Watcher,
) {
    // Answers are small: waiting to fill a packet only delays them.
    let _best_effort = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return answer(TokioIo::new(stream), router, peer, watcher).await;
    };
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.acceptor().accept(stream));
    match handshake.await {
        Ok(Ok(stream)) => answer(TokioIo::new(stream), router, peer, watcher).await,
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

async fn answer<S>(stream: S, router: Router, peer: Peer, watcher: Watcher)
where
    S: Read + Write + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_ROOM_BYTES)
        .serve_connection(stream, service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection broke");
    }
}
