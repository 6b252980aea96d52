//! `hallpass serve`.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::CommandError;
use crate::clock::{Clock, SystemClock};
use crate::config::{Environment, LogFormat, Settings};
use crate::http::{router, serve};
use crate::master_key::MasterKey;
use crate::service::Service;
use crate::store::sql::SqlStore;

pub(super) async fn run(settings: Settings) -> Result<(), CommandError> {
    start_log(&settings);
    warn_of_throw_away(&settings);
    let listener = listen(&settings).await?;
    let address = listener
        .local_addr()
        .map_err(|error| CommandError::No(error.to_string()))?;
    let service = Arc::new(start(settings).await?);
    // Handlers are in place before anybody is told that we are ready.
    let stop = stop_signal(Arc::clone(&service))?;
    // Whoever started us may not read on; that is no reason to end.
    let _closed = writeln!(std::io::stdout(), "ready http://{address}");
    tracing::info!(%address, "ready");
    serve(listener, router(Arc::clone(&service)), stop).await;
    service.close().await;
    tracing::info!("stopped");
    Ok(())
}

async fn listen(settings: &Settings) -> Result<TcpListener, CommandError> {
    TcpListener::bind(settings.listen).await.map_err(|error| {
        let address = settings.listen;
        CommandError::No(match error.kind() {
            std::io::ErrorKind::AddrInUse => format!(
                "port {} is in use on {}: stop what listens there, or choose another with --listen",
                address.port(),
                address.ip()
            ),
            _ => format!("cannot listen on {address}: {error}"),
        })
    })
}

async fn start(settings: Settings) -> Result<Service, CommandError> {
    let master = settings.master_key_file.as_deref().map(MasterKey::read);
    let master = master.transpose().map_err(CommandError::Usage)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let readers = settings.pool_connections_max;
    let store = SqlStore::open(&settings.database_url, readers, Arc::clone(&clock)).await?;
    Ok(Service::start(settings, master, Arc::new(store), clock).await?)
}

/// Done once SIGTERM or SIGINT came and the service knows that it stops.
fn stop_signal(service: Arc<Service>) -> Result<impl Future<Output = ()>, CommandError> {
    let listen = |kind| signal(kind).map_err(|error| CommandError::No(error.to_string()));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        service.stop();
    })
}

fn start_log(settings: &Settings) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Human => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

fn warn_of_throw_away(settings: &Settings) {
    if settings.environment == Environment::Production {
        return;
    }
    if settings.master_key_file.is_none() {
        tracing::warn!(
            "keys rest in the database in clear: fine for trying out, set master_key_file for more"
        );
    }
    if !settings.listen.ip().is_loopback() {
        tracing::warn!(listen = %settings.listen, "listening beyond this machine without TLS");
    }
}
