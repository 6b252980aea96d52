//! Two services on one PostgreSQL behind a round-robin, one of them killed at random under load.
//!
//! Besides what `crash` looks for: no request is lost but those that were open at the process that
//! was killed, no edge learns of a revocation later than its bound, and nobody is told "in force
//! everywhere" while an edge lacks it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use fastrand::Rng;
use hallpass_session::wire::{Created, Position};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::balancer::Balancer;
use crate::client::{Client, Loss, Outcome};
use crate::database::{Database, Kind};
use crate::history::{Counts, History};
use crate::holder::Holder;
use crate::program::{Program, Running};
use crate::watcher::Watcher;

/// `list_max_age_secs` of an edge, by default.
const BOUND: Duration = Duration::from_secs(10);
/// How long the load runs before something is killed, in milliseconds.
const UNDER_LOAD_MS: std::ops::Range<u64> = 200..1500;
/// How often "everywhere" is timed before the first kill.
const IN_PEACE: usize = 10;
/// Longest an edge waits for news.
const WAIT_SECS: u64 = 5;
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Kill one of two services behind a round-robin, again and again
#[derive(Args)]
pub(crate) struct Pair {
    /// The `hallpass` program
    #[arg(long)]
    hallpass: PathBuf,
    /// How often
    #[arg(long)]
    kills: u32,
    /// How many users at once
    #[arg(long, default_value_t = 16)]
    users: u32,
    /// How many edges
    #[arg(long, default_value_t = 8)]
    edges: u32,
    /// Another seed is another load
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What the run came to.
#[derive(Serialize)]
pub(crate) struct Tally {
    version: String,
    kills: u32,
    users: u32,
    edges: u32,
    seconds: f64,
    /// What clients were told.
    acknowledged: Counts,
    /// Requests that were not answered, all of them open at a process when it was killed.
    lost_in_flight: usize,
    /// Connections that were open at the processes when they were killed, polls included.
    open_when_killed: usize,
    /// From the acknowledgement of a revocation until an edge had it.
    revocation_at_edges_ms: Spread,
    /// From the acknowledgement until it was told to be in force everywhere, before the first kill.
    everywhere_in_peace_ms: Spread,
    /// The same once processes had been killed.
    everywhere_after_kills_ms: Spread,
    violations: Vec<String>,
}

#[derive(Default, Serialize)]
struct Spread {
    count: usize,
    median: u64,
    greatest: u64,
}

/// A process that was killed.
struct Kill {
    began: Instant,
    ended: Instant,
    open: usize,
}

/// Ends sessions of its own and asks until that is in force everywhere.
struct Asker {
    client: Client,
    history: Arc<History>,
    edges: Vec<Watcher>,
}

impl Pair {
    /// Runs it.
    ///
    /// # Errors
    /// When something cannot be started. Violations are in the tally.
    pub(crate) async fn run(&self) -> Result<Tally> {
        let database = Database::start(Kind::Postgresql)?;
        let folder = tempfile::tempdir()?;
        let program = || -> Result<Program> {
            // The two children of one token may be presented on either side of a kill.
            Ok(
                Program::new(&self.hallpass, folder.path(), &database.url())?
                    .with("--renewal-grace-secs", "300"),
            )
        };
        let programs = [program()?, program()?];
        let mut running = [programs[0].start().await?, programs[1].start().await?];
        let balancer = Balancer::start(programs.iter().map(Program::port)).await?;
        let client = programs[0].client().await?.behind(balancer.url())?;

        let history = Arc::new(History::default());
        let edges: Vec<_> = (0..self.edges).map(|_| Watcher::default()).collect();
        let began = Instant::now();
        let mut load = self.start_load(&client, &history, &edges);
        let asker = Asker {
            client: client.clone(),
            history: Arc::clone(&history),
            edges: edges.clone(),
        };
        let in_peace = asker.ask_in_peace().await;
        let (done, kills_done) = tokio::sync::oneshot::channel();
        let asking = tokio::spawn(asker.ask_until_told(kills_done));
        let kills = self.kill(&programs, &mut running, &balancer).await?;
        // Every revocation so far gets its time to reach the edges.
        load.abort_users();
        let _gone = done.send(());
        let after_kills = asking.await?;
        let late = self.wait_for_edges(&history, &edges).await;
        drop(load);

        let lost = client.losses();
        let open_when_killed = kills.iter().map(|kill| kill.open).sum();
        note_losses(&history, &lost, &kills);
        for (milliseconds, sid) in late
            .iter()
            .filter(|(ms, _)| Duration::from_millis(*ms) > BOUND)
        {
            history.note_violation(format!("{sid} reached an edge after {milliseconds} ms"));
        }
        let (acknowledged, violations) = history.sum();
        Ok(Tally {
            version: database.version().await?,
            kills: self.kills,
            users: self.users,
            edges: self.edges,
            seconds: began.elapsed().as_secs_f64(),
            acknowledged,
            lost_in_flight: lost.len(),
            open_when_killed,
            revocation_at_edges_ms: Spread::of(late.into_iter().map(|(ms, _)| ms).collect()),
            everywhere_in_peace_ms: Spread::of(in_peace),
            everywhere_after_kills_ms: Spread::of(after_kills),
            violations,
        })
    }

    fn start_load(&self, client: &Client, history: &Arc<History>, edges: &[Watcher]) -> Load {
        let mut load = Load::default();
        for user in 0..self.users {
            let holder = Holder::new(client, history, user, self.seed);
            load.users.spawn(holder.live());
        }
        for (number, edge) in edges.iter().enumerate() {
            let client = client.as_edge(format!("edge-{number}"));
            let watching = edge.clone().watch(client, Arc::clone(history), WAIT_SECS);
            load.edges.spawn(watching);
        }
        load
    }

    async fn kill(
        &self,
        programs: &[Program; 2],
        running: &mut [Running; 2],
        balancer: &Balancer,
    ) -> Result<Vec<Kill>> {
        let mut rng = Rng::with_seed(self.seed);
        let mut kills = Vec::new();
        for number in 0..self.kills {
            tokio::time::sleep(Duration::from_millis(rng.u64(UNDER_LOAD_MS))).await;
            let victim = rng.usize(0..running.len());
            let began = Instant::now();
            let before = balancer.opened(victim);
            let open = balancer.open(victim);
            running[victim].kill().await?;
            kills.push(Kill {
                began,
                ended: Instant::now(),
                // And what was opened until it was dead.
                open: open + balancer.opened(victim) - before,
            });
            tokio::time::sleep(Duration::from_millis(rng.u64(UNDER_LOAD_MS))).await;
            running[victim] = programs[victim].start().await?;
            if (number + 1) % 10 == 0 {
                eprintln!("… {} of {} kills", number + 1, self.kills);
            }
        }
        Ok(kills)
    }

    /// How long each revocation took to each edge, in milliseconds, and its session.
    async fn wait_for_edges(&self, history: &History, edges: &[Watcher]) -> Vec<(u64, String)> {
        let deadline = Instant::now() + BOUND;
        let acknowledged = history.revocations();
        let mut late = Vec::new();
        for edge in edges {
            for revocation in &acknowledged {
                let reached = edge.reached(&revocation.position, deadline).await;
                let Some(reached) = reached else {
                    let text = format!("{} never reached an edge", revocation.sid);
                    history.note_violation(text);
                    continue;
                };
                let took = reached.saturating_duration_since(revocation.acknowledged_at);
                late.push((milliseconds(took), revocation.sid.clone()));
            }
            match edge.check(&acknowledged) {
                Ok(true) => {}
                Ok(false) => history.note_violation("an edge did not come up to the list".into()),
                Err(error) => history.note_violation(error.to_string()),
            }
        }
        late
    }
}

/// Users and edges at work, until dropped.
#[derive(Default)]
struct Load {
    users: JoinSet<()>,
    edges: JoinSet<()>,
}

impl Load {
    fn abort_users(&mut self) {
        self.users.abort_all();
    }
}

impl Asker {
    async fn ask_in_peace(&self) -> Vec<u64> {
        let mut took = Vec::new();
        while took.len() < IN_PEACE {
            took.extend(self.end_and_ask().await);
        }
        took
    }

    async fn ask_until_told(self, mut end: tokio::sync::oneshot::Receiver<()>) -> Vec<u64> {
        let mut took = Vec::new();
        while end.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
            took.extend(self.end_and_ask().await);
        }
        took
    }

    /// Milliseconds until a revocation is told to be in force; none if its requests were lost.
    async fn end_and_ask(&self) -> Option<u64> {
        let asking = self.client.create("asker").await.done()?;
        let ended = self.client.create("asked-about").await.done()?;
        let entry = self.client.end(&ended.session.sid).await.done()?;
        let acknowledged_at = Instant::now();
        loop {
            let told = self.client.in_force(&asking.session_token, &entry.list);
            if let Outcome::Done(told) = told.await
                && told.everywhere
            {
                let took = acknowledged_at.elapsed();
                // From the bound on an edge that lacks it no longer decides.
                if took < BOUND.saturating_sub(ASK_EVERY) {
                    self.check(&asking, &entry.list);
                }
                return Some(milliseconds(took));
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    fn check(&self, asking: &Created, entry: &Position) {
        let lacks = |edge: &&Watcher| !edge.has(entry);
        let lacking = self.edges.iter().filter(lacks).count();
        if lacking > 0 {
            self.history.note_violation(format!(
                "{}: {} was told to be in force everywhere, {lacking} edges lacked it",
                asking.session.sid, entry.to
            ));
        }
    }
}

impl Tally {
    /// Whether everything held, and there was something to hold.
    pub(crate) fn is_clean(&self) -> bool {
        self.violations.is_empty()
            && self.acknowledged.revocations > 0
            && self.everywhere_in_peace_ms.count > 0
    }
}

impl Spread {
    fn of(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        Self {
            count: values.len(),
            median: values.get(values.len() / 2).copied().unwrap_or(0),
            greatest: values.last().copied().unwrap_or(0),
        }
    }
}

/// Whatever was lost without being open at a process that was killed is a violation.
fn note_losses(history: &History, lost: &[Loss], kills: &[Kill]) {
    let mut of_kill = vec![0; kills.len()];
    for loss in lost {
        // The latest: whoever is cut off learns it at once, and may have outlived a kill before.
        let cause = kills
            .iter()
            .rposition(|kill| loss.began <= kill.ended && loss.ended >= kill.began);
        match cause.and_then(|kill| of_kill.get_mut(kill)) {
            Some(count) if !loss.is_answer => *count += 1,
            _ => history.note_violation(format!("a request was lost: {}", loss.words)),
        }
    }
    for (kill, count) in kills.iter().zip(of_kill) {
        if count > kill.open {
            history.note_violation(format!(
                "{count} requests were lost by a kill, {} were open at the process",
                kill.open
            ));
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
