//! The command `hallpass-demo`: reads the settings, listens, says so, and ends when it is told to.
//!
//! Exit codes: 0 ended as asked, 1 cannot listen, 2 a setting is missing or wrong.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use hallpass_demo::config::{Config, Flags, Secrets};
use hallpass_demo::server;
use tokio::net::TcpListener;
use tokio::signal;

#[tokio::main]
async fn main() -> ExitCode {
    let config = match Config::new(Flags::parse(), Secrets::from_environment()) {
        Ok(config) => config,
        Err(error) => return fail(2, &format!("{error}; see hallpass-demo --help")),
    };
    match run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(1, &message),
    }
}

async fn run(config: Config) -> Result<(), String> {
    let stop = stop_signal().map_err(|error| format!("cannot wait for signals: {error}"))?;
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| explain_bind(config.listen, &error))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    // Whoever started us may have gone: then nobody reads the line, and that is no reason to stop.
    let _ = writeln!(io::stdout(), "ready http://{address}");
    server::serve(listener, config, stop)
        .await
        .map_err(|error| error.to_string())
}

fn explain_bind(address: SocketAddr, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::AddrInUse {
        let port = address.port();
        format!(
            "port {port} is in use ({address}); end what listens there or choose another with --listen"
        )
    } else {
        format!("cannot listen on {address}: {error}")
    }
}

/// Ends on SIGTERM or Ctrl-C, whichever comes first; both are caught from here on.
#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal::unix::signal(signal::unix::SignalKind::terminate())?;
    let mut interrupt = signal::unix::signal(signal::unix::SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Ends on Ctrl-C.
#[cfg(not(unix))]
fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    Ok(async {
        let _ = signal::ctrl_c().await;
    })
}

fn fail(code: u8, message: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "hallpass-demo: {message}");
    ExitCode::from(code)
}
