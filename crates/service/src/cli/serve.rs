//! `hallpass serve`.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::CommandError;
use crate::clock::{Clock, SystemClock};
use crate::config::{Environment, LogFormat, Settings};
use crate::http::{Listening, Tls, metrics_router, router, serve};
use crate::in_force::keep_reporting;
use crate::journal::{self, Journal};
use crate::master_key::MasterKey;
use crate::service::Service;
use crate::store::Store;
use crate::store::sql::SqlStore;
use crate::upkeep::keep_up;
use crate::webhook::Webhook;

pub(super) async fn run(settings: Settings) -> Result<(), CommandError> {
    start_log(&settings);
    warn_of_throw_away(&settings);
    let tls = tls(&settings)?;
    let webhook = settings.webhook.as_ref().map(Webhook::configure);
    let webhook = webhook.transpose().map_err(CommandError::Usage)?;
    let webhook = webhook.map(Arc::new);
    let listener = listen(settings.listen, "--listen").await?;
    let metrics_listener = match settings.metrics_listen {
        Some(address) => Some(listen(address, "--metrics-listen").await?),
        None => None,
    };
    let address = address_of(&listener)?;
    let service = Arc::new(start(settings).await?);
    // Handlers are in place before anybody is told that we are ready.
    let stop = stop_signal(Arc::clone(&service))?;
    reread_on_hangup(tls.clone(), webhook.clone())?;
    let webhook = webhook.map(|webhook| tokio::spawn(webhook.run(Arc::clone(&service))));
    let scheme = if tls.is_some() { "https" } else { "http" };
    let metrics = metrics_listener.map(|listener| serve_metrics(listener, &service));
    // Whoever started us may not read on; that is no reason to end.
    let _closed = writeln!(std::io::stdout(), "ready {scheme}://{address}");
    tracing::info!(%address, scheme, "ready");
    let upkeep = tokio::spawn(keep_up(Arc::clone(&service)));
    let reporting = tokio::spawn(keep_reporting(Arc::clone(&service)));
    let routes = router(Arc::clone(&service));
    serve(Listening::new(listener, tls), routes, stop).await;
    if let Some(metrics) = metrics {
        metrics.await.map_err(no)?;
    }
    if let Some(webhook) = webhook {
        webhook.await.map_err(no)?;
    }
    upkeep.await.map_err(no)?;
    reporting.await.map_err(no)?;
    service.close().await;
    tracing::info!("stopped");
    Ok(())
}

async fn listen(address: SocketAddr, flag: &str) -> Result<TcpListener, CommandError> {
    TcpListener::bind(address).await.map_err(|error| {
        CommandError::No(match error.kind() {
            std::io::ErrorKind::AddrInUse => format!(
                "port {} is in use on {}: stop what listens there, or choose another with {flag}",
                address.port(),
                address.ip()
            ),
            _ => format!("cannot listen on {address}: {error}"),
        })
    })
}

fn address_of(listener: &TcpListener) -> Result<SocketAddr, CommandError> {
    let address = listener.local_addr();
    address.map_err(|error| CommandError::No(error.to_string()))
}

async fn start(settings: Settings) -> Result<Service, CommandError> {
    let master = settings.master_key_file.as_deref().map(MasterKey::read);
    let master = master.transpose().map_err(CommandError::Usage)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let readers = settings.pool_connections_max;
    let journal = settings.journal_file.as_deref().map(Journal::at);
    if let Some(journal) = &journal {
        journal
            .open()
            .map_err(|error| CommandError::Usage(error.to_string()))?;
    }
    let url = &settings.database_url;
    let store = SqlStore::open_with_journal(url, readers, Arc::clone(&clock), journal).await?;
    warn_of_lost_history(&settings, &store).await?;
    Ok(Service::start(settings, master, Arc::new(store), clock).await?)
}

/// Certificate and key, if there are any.
fn tls(settings: &Settings) -> Result<Option<Arc<Tls>>, CommandError> {
    let tls = settings.tls.as_ref().map(Tls::read).transpose();
    Ok(tls.map_err(CommandError::Usage)?.map(Arc::new))
}

/// Reads files anew whenever SIGHUP comes; settings change with a restart only.
fn reread_on_hangup(
    tls: Option<Arc<Tls>>,
    webhook: Option<Arc<Webhook>>,
) -> Result<(), CommandError> {
    let mut hangup = signal(SignalKind::hangup()).map_err(no)?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            if let Some(tls) = &tls {
                note_reread("tls_certificate and tls_key", &tls.reload());
            }
            if let Some(webhook) = &webhook {
                note_reread("webhook_secret_file", &webhook.reload());
            }
            if tls.is_none() && webhook.is_none() {
                tracing::info!("no file to read anew: settings change with a restart");
            }
        }
    });
    Ok(())
}

fn note_reread(what: &str, read: &Result<(), String>) {
    match read {
        Ok(()) => tracing::info!("{what} read anew"),
        Err(error) => tracing::error!(error, "{what} stays as it was"),
    }
}

/// Done once SIGTERM or SIGINT came, `stop_delay_secs` passed, and the service knows that it stops.
fn stop_signal(service: Arc<Service>) -> Result<impl Future<Output = ()>, CommandError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(no)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        service.leave();
        tokio::time::sleep(service.settings.stop_delay).await;
        service.stop();
    })
}

fn serve_metrics(listener: TcpListener, service: &Arc<Service>) -> tokio::task::JoinHandle<()> {
    let mut stopping = service.stopping();
    let stop = async move {
        // Fails only when the service is gone, which is a reason to stop as well.
        let _gone = stopping.wait_for(|stop| *stop).await;
    };
    tokio::spawn(serve(listener, metrics_router(Arc::clone(service)), stop))
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
        LogFormat::Json => log.json().flatten_event(true).with_span_list(false).init(),
    }
}

/// A file put in place of the database says nothing of it, but the journal may.
async fn warn_of_lost_history(settings: &Settings, store: &SqlStore) -> Result<(), CommandError> {
    let Some(journal) = &settings.journal_file else {
        return Ok(());
    };
    let end = journal::read_end(journal);
    let end = end.map_err(|error| CommandError::Usage(format!("journal_file: {error}")))?;
    let state = store.recovery_state().await?;
    if end.is_ahead(&state.epoch, state.seq) {
        tracing::error!(
            journal = %journal.display(),
            "the journal has what the session table has not: if a backup was put in its place, stop \
             and run `hallpass recover`, else what was ended since lives again"
        );
    }
    Ok(())
}

fn warn_of_throw_away(settings: &Settings) {
    let is_development = settings.environment == Environment::Development;
    if is_development && settings.master_key_file.is_none() {
        tracing::warn!(
            "keys rest in the database in clear: fine for trying out, set master_key_file for more"
        );
    }
    if settings.journal_file.is_none() && !is_development {
        tracing::warn!(
            "no revocation journal is kept: should a backup be restored, what was ended since lives \
             again; set journal_file"
        );
    }
    if settings.tls.is_none() && !settings.listen.ip().is_loopback() {
        tracing::warn!(
            listen = %settings.listen,
            "listening beyond this machine without TLS: credentials and tokens can be read on the \
             way; set tls_certificate and tls_key, or end TLS in front"
        );
    }
}

fn no(error: impl std::fmt::Display) -> CommandError {
    CommandError::No(error.to_string())
}
