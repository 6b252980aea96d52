//! Edges that all wait for the revocation list at once, and the memory that takes.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use hallpass_service::clock::{Clock, SystemClock};
use hallpass_session::revocation::ListHeader;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{Client, Outcome};
use crate::database::{Database, Kind};
use crate::measure::{Round, us_per};
use crate::program::{Program, Running};
use crate::seed;

/// As long as an edge may wait.
const WAIT_SECS: u64 = 5;
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A real service on an `SQLite` file, with edges that poll it.
pub(crate) struct Edges {
    client: Client,
    waiting: usize,
    service: Running,
    _database: Database,
    _folder: TempDir,
}

impl Edges {
    /// Starts a service with so many sessions in its table.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) async fn connect(hallpass: &Path, sessions: u32, waiting: usize) -> Result<Self> {
        let database = Database::start(Kind::Sqlite)?;
        let folder = tempfile::tempdir()?;
        let program = Program::new(hallpass, folder.path(), &database.url())?;
        let service = program.start().await?;
        seed::fill(&database, sessions, SystemClock::default().now()).await?;
        let client = program.client().await?;
        Ok(Self {
            client,
            waiting,
            service,
            _database: database,
            _folder: folder,
        })
    }

    /// Microseconds per edge from a revocation's request until every waiting edge has its news, and
    /// the memory of the service while they wait.
    ///
    /// # Errors
    /// When the service does not serve.
    pub(crate) async fn measure(&self, size: &str, round: &mut Round) -> Result<()> {
        let Outcome::Done(created) = self.client.create("watched").await else {
            bail!("no session to revoke");
        };
        let mut polls = self.wait_all().await?;
        let memory = self.service.memory_mib()?;
        let began = Instant::now();
        let Outcome::Done(revoked) = self.client.end(&created.session.sid).await else {
            bail!("not revoked");
        };
        let mut told = 0;
        while let Some(poll) = polls.join_next().await {
            let (header, list) = poll??;
            ensure!(
                header.position.to >= revoked.list.to,
                "answered without the news"
            );
            told += usize::from(list.is_some());
        }
        ensure!(told == self.waiting, "{told} of {} were told", self.waiting);
        let us = us_per(began.elapsed(), self.waiting);
        round.insert(format!("sqlite_list_{size}"), Some(us));
        round.insert(format!("memory_{size}"), Some(memory));
        Ok(())
    }

    /// MiB of the service's memory while its edges wait.
    ///
    /// # Errors
    /// When the service does not serve.
    pub(crate) async fn memory(&self) -> Result<f64> {
        let _polls = self.wait_all().await?;
        self.service.memory_mib()
    }

    /// The polls of all edges, once every one waits.
    async fn wait_all(&self) -> Result<JoinSet<Result<(ListHeader, Option<String>)>>> {
        let (header, _) = self.client.poll(None, 0).await?;
        let mut polls = JoinSet::new();
        for number in 0..self.waiting {
            let client = self.client.as_edge(format!("edge-{number}"));
            let held = header.position.clone();
            polls.spawn(async move { client.poll(Some(&held), WAIT_SECS).await });
        }
        while self.client.open_polls().await? < self.waiting {
            ensure!(polls.try_join_next().is_none(), "an edge did not wait");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(polls)
    }
}
