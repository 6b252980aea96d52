//! Accepts connections until told to stop, then answers what is in flight.

use std::io;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};

/// Longest head of a request, in bytes: a session token of 4 KiB, and room.
const HEAD_MAX_BYTES: usize = 32 << 10;
/// Longest wait for a request's head, on a connection kept alive too: longer than clients keep
/// theirs, so that we never close under a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a request in flight may take once we stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after the machine refused a connection: out of files, mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` is done, then until everything in flight is answered, at most ten seconds.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => handle(accepted.map(|(stream, _)| stream), &router, &graceful).await,
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some requests were not answered in time");
    }
}

async fn handle(accepted: io::Result<TcpStream>, router: &Router, graceful: &GracefulShutdown) {
    let stream = match accepted {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            return tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    };
    // Answers are small: waiting to fill a packet only delays them.
    let _best_effort = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router.clone());
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_MAX_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection broke");
        }
    });
}
