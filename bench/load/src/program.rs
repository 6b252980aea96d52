//! The session service as a process of its own, that can be killed and started again.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::client::Client;

/// A start on a busy machine takes seconds, with a database to recover some more.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// How the service is started, every time alike.
pub(crate) struct Program {
    executable: PathBuf,
    folder: PathBuf,
    database_url: String,
    port: u16,
    settings: Vec<(String, String)>,
}

/// A running service; killed when dropped.
pub(crate) struct Running(Child);

#[derive(Deserialize)]
struct Credential {
    credential: String,
}

impl Program {
    /// A service on a port of its own, with its files in `folder`.
    ///
    /// # Errors
    /// When there is no free port.
    pub(crate) fn new(executable: &Path, folder: &Path, database_url: &str) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        Ok(Self {
            executable: executable.to_owned(),
            folder: folder.to_owned(),
            database_url: database_url.to_owned(),
            port,
            settings: Vec::new(),
        })
    }

    /// The same with a setting, as a flag spells it.
    #[must_use]
    pub(crate) fn with(mut self, flag: &str, value: &str) -> Self {
        self.settings.push((flag.to_owned(), value.to_owned()));
        self
    }

    /// The port it listens on.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts it and waits until it says that it is ready.
    ///
    /// # Errors
    /// When it ends before, or takes too long.
    pub(crate) async fn start(&self) -> Result<Running> {
        let mut command = self.command(&["serve"]);
        command.args(["--listen", &format!("127.0.0.1:{}", self.port)]);
        for (flag, value) in &self.settings {
            command.arg(flag).arg(value);
        }
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the session service")?;
        let out = child.stdout.take().context("no standard output")?;
        let mut lines = BufReader::new(out).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await? {
                if line.starts_with("ready ") {
                    return Ok(());
                }
            }
            bail!("the session service ended before it was ready")
        };
        tokio::time::timeout(READY_WITHIN, ready)
            .await
            .context("the session service was not ready in time")??;
        Ok(Running(child))
    }

    /// A client with credentials made for it.
    ///
    /// # Errors
    /// When `hallpass credentials create` fails.
    pub(crate) async fn client(&self) -> Result<Client> {
        let edge = self.credential("edge").await?;
        let app = self.credential("app").await?;
        let admin = self.credential("admin").await?;
        Client::new(self.url(), [edge, app, admin])
    }

    async fn credential(&self, scope: &str) -> Result<String> {
        let mut command = self.command(&["credentials", "create", "--json", "--scope", scope]);
        let output = command.output().await.context("cannot run hallpass")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            bail!("hallpass credentials create: {said}");
        }
        let made: Credential = serde_json::from_slice(&output.stdout)
            .context("hallpass credentials create --json printed something else")?;
        Ok(made.credential)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.executable);
        command
            .args(arguments)
            .args(["--database-url", &self.database_url])
            .env("RUST_LOG", "error")
            .current_dir(&self.folder)
            .kill_on_drop(true);
        command
    }
}

impl Running {
    /// Ends it at once, in the middle of whatever it does.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        self.0.kill().await.context("cannot kill the service")
    }

    /// MiB of memory it holds, by the system's count.
    ///
    /// # Errors
    /// When the system does not say: this is read from /proc.
    pub(crate) fn memory_mib(&self) -> Result<f64> {
        let id = self.0.id().context("the service has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u32>().ok());
        Ok(f64::from(kib.context("no VmRSS")?) / 1024.0)
    }
}
