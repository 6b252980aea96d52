//! `kill -9` at random moments under load, and after each restart a look at what was acknowledged.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use fastrand::Rng;
use hallpass_session::revocation::ListHeader;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{Client, Outcome};
use crate::database::{Database, Kind};
use crate::history::{Counts, History};
use crate::holder::Holder;
use crate::program::Program;
use crate::watcher::{self, Watcher};

/// How long the load runs before something is killed, in milliseconds.
const UNDER_LOAD_MS: std::ops::Range<u64> = 50..600;
/// How long the service may take to serve again by itself after its database came back.
const RECOVERED_WITHIN: Duration = Duration::from_mins(1);
const RETRY: Duration = Duration::from_millis(10);
/// How long the poll of the edge waits for news.
const WAIT_SECS: u64 = 1;

/// Kill the service, and the database, at random moments under load
#[derive(Args)]
pub(crate) struct Crash {
    /// The `hallpass` program
    #[arg(long)]
    hallpass: PathBuf,
    /// Which database
    #[arg(long)]
    database: Kind,
    /// How often
    #[arg(long)]
    kills: u32,
    /// How many users at once
    #[arg(long, default_value_t = 24)]
    users: u32,
    /// Another seed is another load
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Service,
    Database,
    Both,
}

/// What the run came to.
#[derive(Serialize)]
pub(crate) struct Tally {
    database: Kind,
    version: String,
    kills_of_service: u32,
    kills_of_database: u32,
    /// What clients were told.
    acknowledged: Counts,
    /// From each kill until a renewal was answered again.
    recovery_ms: Recovery,
    violations: Vec<String>,
}

#[derive(Serialize)]
struct Recovery {
    median: u64,
    greatest: u64,
}

impl Crash {
    /// Runs it.
    ///
    /// # Errors
    /// When something cannot be started again. Violations are in the tally.
    pub(crate) async fn run(&self) -> Result<Tally> {
        let database = Database::start(self.database)?;
        let folder = tempfile::tempdir()?;
        // The two children of one token may be presented on either side of a restart.
        let program = Program::new(&self.hallpass, folder.path(), &database.url())?
            .with("--renewal-grace-secs", "300");
        let mut service = program.start().await?;
        let client = program.client().await?;
        let history = Arc::new(History::default());
        let watcher = Watcher::default();
        let load = self.start_load(&client, &history, &watcher);

        let mut rng = Rng::with_seed(self.seed);
        let mut recoveries = Vec::new();
        let mut killed = (0, 0);
        for number in 0..self.kills {
            tokio::time::sleep(Duration::from_millis(rng.u64(UNDER_LOAD_MS))).await;
            let victim = Victim::of(number, self.database);
            let began = Instant::now();
            if victim.is_service() {
                service.kill().await?;
                killed.0 += 1;
            }
            if victim.is_database() {
                database.kill_and_restart()?;
                killed.1 += 1;
            }
            if victim.is_service() {
                service = program.start().await?;
            }
            recoveries.push(recovered(&client, began).await?);
            check(&client, &history, &watcher).await?;
            if (number + 1) % 10 == 0 {
                eprintln!(
                    "… {}: {} of {} kills",
                    self.database,
                    number + 1,
                    self.kills
                );
            }
        }
        drop(load);
        recoveries.sort_unstable();
        let (acknowledged, violations) = history.sum();
        Ok(Tally {
            database: self.database,
            version: database.version().await?,
            kills_of_service: killed.0,
            kills_of_database: killed.1,
            acknowledged,
            recovery_ms: Recovery {
                median: recoveries.get(recoveries.len() / 2).copied().unwrap_or(0),
                greatest: recoveries.last().copied().unwrap_or(0),
            },
            violations,
        })
    }

    fn start_load(
        &self,
        client: &Client,
        history: &Arc<History>,
        watcher: &Watcher,
    ) -> JoinSet<()> {
        let mut load = JoinSet::new();
        for user in 0..self.users {
            let holder = Holder::new(client, history, user, self.seed);
            load.spawn(holder.live());
        }
        let watcher = watcher.clone();
        load.spawn(watcher.watch(client.clone(), Arc::clone(history), WAIT_SECS));
        load
    }
}

impl Tally {
    /// Whether everything that was acknowledged held.
    pub(crate) fn is_clean(&self) -> bool {
        self.violations.is_empty() && self.acknowledged.revocations > 0
    }
}

impl Victim {
    /// A database that is a process of its own is killed too, alone and together with the service.
    fn of(number: u32, database: Kind) -> Self {
        match (database, number % 4) {
            (Kind::Sqlite, _) | (_, 0 | 2) => Self::Service,
            (_, 1) => Self::Database,
            _ => Self::Both,
        }
    }

    fn is_service(self) -> bool {
        self != Self::Database
    }

    fn is_database(self) -> bool {
        self != Self::Service
    }
}

/// Waits until somebody can sign in again; milliseconds since `began`.
async fn recovered(client: &Client, began: Instant) -> Result<u64> {
    let mut last = String::new();
    while began.elapsed() < RECOVERED_WITHIN {
        match client.create("probe").await {
            Outcome::Done(_) => return Ok(u64::try_from(began.elapsed().as_millis())?),
            Outcome::Ended(words) | Outcome::Outage(words) => last = words,
        }
        tokio::time::sleep(RETRY).await;
    }
    bail!("the service did not recover: {last}")
}

/// The list and its header. A busy machine may make a request time out, as it may an edge's.
async fn whole_list(client: &Client) -> Result<(ListHeader, String)> {
    let deadline = Instant::now() + RECOVERED_WITHIN;
    loop {
        match client.poll(None, 0).await {
            Ok((header, list)) => {
                let list = list.context("the whole list was answered with 204")?;
                return Ok((header, list));
            }
            Err(_) if Instant::now() < deadline => tokio::time::sleep(RETRY).await,
            Err(error) => return Err(error.context("the whole list")),
        }
    }
}

/// Compares what the service now says with everything it ever acknowledged.
async fn check(client: &Client, history: &History, watcher: &Watcher) -> Result<()> {
    let acknowledged = history.revocations();
    let (header, list) = whole_list(client).await?;
    let claims = watcher::read(&list)?;
    let listed = watcher::indexes(&claims)?;
    for revocation in &acknowledged {
        let told = revocation.position.epoch == header.position.epoch
            && revocation.position.to <= header.position.to
            && listed.contains(&revocation.idx);
        if !told {
            history.note_violation(format!(
                "{} was acknowledged as revoked as number {}, and is not in the list at {}",
                revocation.sid, revocation.position.to, header.position.to
            ));
        }
    }
    let deadline = Instant::now() + RECOVERED_WITHIN;
    loop {
        match watcher.check(&acknowledged) {
            Ok(true) => return Ok(()),
            Ok(false) if Instant::now() < deadline => tokio::time::sleep(RETRY).await,
            Ok(false) => {
                history.note_violation("an edge did not come up to the list".to_owned());
                return Ok(());
            }
            Err(error) => {
                history.note_violation(error.to_string());
                return Ok(());
            }
        }
    }
}
