//! What the session table costs: the store in this process, each database on the same disk.
//!
//! A bed is one database with so many sessions in it. Operations go to its store from as many tasks
//! at once as a busy service has requests, save where one at a time is the point. A round measures
//! every case once; `cargo xtask bench service` asks for rounds by lines on standard input and gets
//! one line of JSON for each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use hallpass_service::clock::{Clock, SystemClock};
use hallpass_service::record::{Origin, Sid};
use hallpass_service::store::sql::SqlStore;
use hallpass_service::store::{
    Cause, Creation, NewSession, Renewal, RenewalAttempt, Selection, Store,
};
use hallpass_session::renewal::Branch;
use hallpass_session::time::Seconds;
use hallpass_session::wire::{Device, EndedBy};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::database::{Database, Kind};
use crate::edges::Edges;
use crate::seed;

/// Requests in flight at once.
const TASKS: usize = 64;
/// Connections of a store to a server.
const CONNECTIONS: u32 = 32;
/// One after the other: far fewer, each waits for the disk.
const ALONE_SHARE: usize = 8;
/// What every session of the beds has.
const DAY: Seconds = Seconds::new(86_400);

/// Measure the session table; a round for every line on standard input
#[derive(Args)]
pub(crate) struct Measure {
    /// The `hallpass` program
    #[arg(long)]
    hallpass: PathBuf,
    /// Operations of one case in one round
    #[arg(long, default_value_t = 4096)]
    operations: usize,
    /// Sessions in the small beds
    #[arg(long, default_value_t = 10_000)]
    few: u32,
    /// Sessions in the large beds
    #[arg(long, default_value_t = 1_000_000)]
    many: u32,
    /// Edges that wait for news of the list at once
    #[arg(long, default_value_t = 1_000)]
    edges: usize,
}

/// Samples of one round; `null` was lost.
pub(crate) type Round = BTreeMap<String, Option<f64>>;

impl Measure {
    /// Prepares the beds, says `ready`, and measures as often as it is asked to.
    ///
    /// # Errors
    /// When a bed cannot be made.
    pub(crate) async fn run(&self) -> Result<()> {
        let mut beds = Vec::new();
        for kind in [Kind::Sqlite, Kind::Postgresql, Kind::Mariadb] {
            for sessions in [self.few, self.many] {
                eprintln!("… {kind}: {sessions} sessions");
                beds.push(Bed::make(kind, sessions, self.operations).await?);
            }
        }
        eprintln!("… {} waiting edges", self.edges);
        let few = Edges::connect(&self.hallpass, self.few, self.edges).await?;
        let many = Edges::connect(&self.hallpass, self.many, self.edges).await?;
        println!("ready");
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        let mut number = 0;
        while lines.next_line().await?.is_some() {
            let mut round = Round::new();
            let forwards: Vec<usize> = (0..beds.len()).collect();
            let order: Vec<usize> = if number % 2 == 0 {
                forwards
            } else {
                forwards.into_iter().rev().collect()
            };
            for bed in order {
                let size = if bed % 2 == 0 { "few" } else { "many" };
                let bed = beds.get_mut(bed).context("there is such a bed")?;
                bed.measure(size, self.operations, &mut round).await?;
            }
            few.measure("few", &mut round).await?;
            many.measure("many", &mut round).await?;
            println!("{}", serde_json::to_string(&round)?);
            number += 1;
        }
        Ok(())
    }
}

/// A database, its store, and sessions of it that can be renewed.
struct Bed {
    kind: Kind,
    store: Arc<SqlStore>,
    sessions: Vec<(Sid, u32)>,
    created: u64,
    /// Dropped last: the store is still connected to it.
    _database: Database,
}

impl Bed {
    async fn make(kind: Kind, sessions: u32, operations: usize) -> Result<Self> {
        let database = Database::start(kind)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let store = SqlStore::open(&database.url(), CONNECTIONS, Arc::clone(&clock)).await?;
        seed::fill(&database, sessions, clock.now()).await?;
        let sids = seed::sample(&database, sessions, operations).await?;
        ensure!(sids.len() == operations, "a bed without enough sessions");
        Ok(Self {
            kind,
            store: Arc::new(store),
            sessions: sids.into_iter().map(|sid| (sid, 0)).collect(),
            created: 0,
            _database: database,
        })
    }

    async fn measure(&mut self, size: &str, operations: usize, round: &mut Round) -> Result<()> {
        let kind = self.kind.id();
        let name = |case: &str| format!("{kind}_{case}_{size}");
        round.insert(name("renewal"), self.renewals(operations, TASKS).await);
        round.insert(name("find"), self.finds(operations).await);
        let (creation, created) = self.creations(operations / 4).await;
        round.insert(name("creation"), creation);
        round.insert(name("revocation"), self.revocations(created).await);
        if size == "few" {
            let again = name("renewal_again");
            let alone = name("renewal_alone");
            round.insert(again, self.renewals(operations, TASKS).await);
            let alone_each = self.renewals(operations / ALONE_SHARE, 1).await;
            round.insert(alone, alone_each);
        }
        Ok(())
    }

    /// Confirms a child of each session's confirmed token.
    async fn renewals(&mut self, operations: usize, tasks: usize) -> Option<f64> {
        let chosen = self.sessions.get_mut(..operations)?;
        let attempts: Vec<RenewalAttempt> = chosen
            .iter_mut()
            .map(|(sid, generation)| {
                *generation += 1;
                attempt(*sid, *generation)
            })
            .collect();
        self.timed(attempts, tasks, |store, attempt| async move {
            let renewal = store.renew(attempt).await.ok()?;
            matches!(
                renewal,
                Renewal::Answer {
                    confirmed: true,
                    ..
                }
            )
            .then_some(())
        })
        .await
        .map(|(us, _)| us)
    }

    async fn finds(&self, operations: usize) -> Option<f64> {
        let sids = self.sessions.iter().take(operations).map(|(sid, _)| *sid);
        self.timed(sids.collect(), TASKS, |store, sid| async move {
            store.find(sid).await.ok()?.map(drop)
        })
        .await
        .map(|(us, _)| us)
    }

    async fn creations(&mut self, operations: usize) -> (Option<f64>, Vec<Sid>) {
        let first = self.created;
        self.created += operations as u64;
        let new: Vec<NewSession> = (first..self.created).map(new_session).collect();
        let timed = self
            .timed(new, TASKS, |store, new| async move {
                match store.create(new).await.ok()? {
                    Creation::Made(issued) => Some(issued.record.sid),
                    Creation::Repeated(_) | Creation::KeyReused => None,
                }
            })
            .await;
        timed.map_or((None, Vec::new()), |(us, sids)| (Some(us), sids))
    }

    async fn revocations(&self, sids: Vec<Sid>) -> Option<f64> {
        let cause = Cause {
            by: EndedBy::App,
            reason: "ended_by_app",
        };
        self.timed(sids, TASKS, move |store, sid| async move {
            let revoked = store.revoke(Selection::Session(sid), cause).await.ok()?;
            (revoked.revoked == 1).then_some(())
        })
        .await
        .map(|(us, _)| us)
    }

    /// Microseconds per operation, and what each brought; `None` if any failed.
    async fn timed<A, T, F>(
        &self,
        arguments: Vec<A>,
        tasks: usize,
        operate: impl Fn(Arc<SqlStore>, A) -> F + Clone + Send + 'static,
    ) -> Option<(f64, Vec<T>)>
    where
        A: Send + 'static,
        T: Send + 'static,
        F: Future<Output = Option<T>> + Send,
    {
        let operations = arguments.len();
        let mut shares: Vec<Vec<A>> = (0..tasks).map(|_| Vec::new()).collect();
        for (place, argument) in arguments.into_iter().enumerate() {
            shares.get_mut(place % tasks)?.push(argument);
        }
        let began = Instant::now();
        let mut running = JoinSet::new();
        for share in shares {
            let (store, operate) = (Arc::clone(&self.store), operate.clone());
            running.spawn(async move {
                let mut brought = Vec::with_capacity(share.len());
                for argument in share {
                    brought.push(operate(Arc::clone(&store), argument).await?);
                }
                Some(brought)
            });
        }
        let mut brought = Vec::with_capacity(operations);
        while let Some(share) = running.join_next().await {
            brought.extend(share.ok()??);
        }
        Some((us_per(began.elapsed(), operations), brought))
    }
}

fn attempt(sid: Sid, generation: u32) -> RenewalAttempt {
    RenewalAttempt {
        sid,
        presented: Branch {
            generation,
            branch: u64::from(generation).to_be_bytes(),
        },
        agent: [0; 32],
        grace: Seconds::new(10),
        origin: Origin {
            ip: Some("203.0.113.7".to_owned()),
            ..Origin::default()
        },
    }
}

fn new_session(number: u64) -> NewSession {
    let mut sid = [0; 16];
    fastrand::fill(&mut sid);
    NewSession {
        sid,
        branch: [0; 8],
        agent: [0; 32],
        subject: format!("new-{number}"),
        auth_time: None,
        absolute: DAY,
        idle: DAY,
        persistent: true,
        origin: Origin::default(),
        user_agent: None,
        device: Device {
            label: "Firefox on Linux".to_owned(),
            kind: "desktop".to_owned(),
            browser: None,
            os: None,
        },
        amr: Vec::new(),
        ext: None,
        subject_limit: None,
        idempotency: None,
    }
}

/// Microseconds each of so many operations took.
#[expect(clippy::cast_precision_loss, reason = "a few thousand operations")]
pub(crate) fn us_per(elapsed: Duration, operations: usize) -> f64 {
    elapsed.as_secs_f64() * 1e6 / operations as f64
}
