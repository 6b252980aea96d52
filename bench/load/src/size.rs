//! What the program takes before it does anything: time to its `ready` line, memory, bytes.
//!
//! `cargo xtask bench size` asks for rounds by lines on standard input, as of `measure`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::Instant;

use crate::database::{Database, Kind};
use crate::edges::Edges;
use crate::measure::Round;
use crate::program::Program;

/// Sessions in the table of the service that edges wait at.
const SESSIONS: u32 = 10_000;

/// Measure what the program takes; a round for every line on standard input
#[derive(Args)]
pub(crate) struct Size {
    /// The `hallpass` program
    #[arg(long)]
    hallpass: PathBuf,
    /// Starts of each kind in one round, of which the median counts
    #[arg(long, default_value_t = 15)]
    starts: usize,
    /// Edges that wait at once
    #[arg(long, default_value_t = 1_000)]
    edges: usize,
}

impl Size {
    /// Says `ready`, and measures as often as it is asked to.
    ///
    /// # Errors
    /// When the service does not start.
    pub(crate) async fn run(&self) -> Result<()> {
        let edges = Edges::connect(&self.hallpass, SESSIONS, self.edges).await?;
        println!("ready");
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while lines.next_line().await?.is_some() {
            let mut round = Round::new();
            self.start_often(&mut round).await?;
            round.insert("memory_waiting".to_owned(), Some(edges.memory().await?));
            let bytes = u32::try_from(std::fs::metadata(&self.hallpass)?.len())?;
            let mib = f64::from(bytes) / f64::from(1 << 20);
            round.insert("bytes".to_owned(), Some(mib));
            println!("{}", serde_json::to_string(&round)?);
        }
        Ok(())
    }

    async fn start_often(&self, round: &mut Round) -> Result<()> {
        let used = Database::start(Kind::Sqlite)?;
        start(&self.hallpass, &used).await?;
        let mut took = [Vec::new(), Vec::new(), Vec::new()];
        let mut memory = Vec::new();
        for _ in 0..self.starts {
            let fresh = Database::start(Kind::Sqlite)?;
            for (took, database) in took.iter_mut().zip([&fresh, &used, &used]) {
                let (time, mib) = start(&self.hallpass, database).await?;
                took.push(time.as_secs_f64() * 1000.0);
                memory.push(mib);
            }
        }
        for (case, took) in ["start_new", "start", "start_again"].into_iter().zip(took) {
            round.insert(case.to_owned(), median(took));
        }
        round.insert("memory_idle".to_owned(), median(memory));
        Ok(())
    }
}

/// Time from the start to the `ready` line, and MiB of memory then.
async fn start(hallpass: &Path, database: &Database) -> Result<(Duration, f64)> {
    let folder = tempfile::tempdir()?;
    let program = Program::new(hallpass, folder.path(), &database.url())?;
    let began = Instant::now();
    let mut running = program.start().await?;
    let took = began.elapsed();
    let mib = running.memory_mib()?;
    running.kill().await?;
    Ok((took, mib))
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
