//! One server: made, started, asked for databases, stopped, killed, started again.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::programs::{self, Programs};
use crate::{Kind, account, guard::Guard};

/// How long a server may take until it answers: recovery on a busy machine takes seconds.
const READY_WITHIN: Duration = Duration::from_mins(1);
/// Distance of two looks at something that is awaited.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often a port that somebody else took meanwhile is replaced by another.
const PORTS_TRIED: usize = 3;

/// What a server does before it says that something is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Waits until the disk has it, as servers do by default.
    Full,
    /// Waits for nothing: quick, and everything is lost with the machine, though not with the
    /// server's process.
    None,
}

/// A throw-away server.
pub struct Server {
    kind: Kind,
    durability: Durability,
    programs: Programs,
    folder: PathBuf,
    port: u16,
    process: Mutex<Process>,
    databases: AtomicU32,
}

/// The server's process, if it runs, and what ends it when we cannot.
struct Process {
    child: Option<Child>,
    guard: Guard,
}

/// An empty database of a server, removed when this is dropped.
pub struct Database<'server> {
    server: &'server Server,
    name: String,
}

impl Server {
    /// Makes a cluster in a new folder and starts it.
    ///
    /// # Errors
    ///
    /// When its programs are missing or fail; the message says what to do, or what the server said.
    pub fn create(kind: Kind, durability: Durability) -> Result<Self> {
        let programs = programs::find(kind)?;
        let folder = new_folder(kind)?;
        let process = Mutex::new(Process {
            child: None,
            guard: Guard::start(&folder)?,
        });
        let mut server = Self {
            kind,
            durability,
            programs,
            folder,
            port: 0,
            process,
            databases: AtomicU32::new(0),
        };
        account::hand_over(&server.folder)?;
        let install = kind.install(&server.programs, &server.folder);
        server.finish(install).context("cannot make a cluster")?;
        server.start_on_a_free_port()?;
        server.ask(&kind.account_sql())?;
        Ok(server)
    }

    /// The one server of its kind that this process's tests share, without durability.
    ///
    /// # Errors
    ///
    /// As [`Server::create`], again for everybody who asks.
    pub fn shared(kind: Kind) -> Result<&'static Self> {
        static SHARED: [OnceLock<Result<Server, String>>; 2] = [OnceLock::new(), OnceLock::new()];
        let create = || Self::create(kind, Durability::None).map_err(|error| format!("{error:#}"));
        let [postgresql, mariadb] = &SHARED;
        let shared = match kind {
            Kind::Postgresql => postgresql,
            Kind::Mariadb => mariadb,
        };
        let server = shared.get_or_init(create).as_ref();
        server.map_err(|error| anyhow!("{error}"))
    }

    /// Makes an empty database.
    ///
    /// # Errors
    ///
    /// When the server does not run.
    pub fn new_database(&self) -> Result<Database<'_>> {
        let name = format!("hp_{}", self.databases.fetch_add(1, Ordering::Relaxed) + 1);
        self.ask(&self.kind.create_sql(&name))?;
        Ok(Database { server: self, name })
    }

    /// Has the administrator say something in SQL. Rows come as lines.
    ///
    /// # Errors
    ///
    /// When the server does not run, or refuses.
    pub fn ask(&self, sql: &str) -> Result<String> {
        self.ask_in(None, sql)
    }

    /// Starts it on the data and the port it had.
    ///
    /// # Errors
    ///
    /// When it ends instead or does not answer in time; the message has the end of its log.
    pub fn start(&self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = self
            .kind
            .serve(&self.programs, &self.folder, self.port, self.durability);
        account::confine(&mut command, &self.folder);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut process = self.process();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", self.kind.name()))?;
        process.guard.watch(self.kind.end_signal(), child.id())?;
        self.wait_until_ready(process.child.insert(child))
    }

    /// Ends it in good order.
    ///
    /// # Errors
    ///
    /// When it cannot be waited for.
    pub fn stop(&self) -> Result<()> {
        self.end(|server, process| {
            // It may have ended this moment; that is what was wanted.
            let _ = kill_process(process, server.kind.stop_signal());
        })
    }

    /// Ends it as a power cut does: all its processes at once, in the middle of anything.
    ///
    /// # Errors
    ///
    /// When it cannot be waited for.
    pub fn kill(&self) -> Result<()> {
        self.end(|_, process| {
            // A server that stands still starts no further processes while its own are collected.
            let _ = kill_process(process, Signal::STOP);
            let children = children_of(process);
            for process in children.iter().copied().chain([process]) {
                let _ = kill_process(process, Signal::KILL);
            }
            while children.iter().any(|child| is_alive(*child)) {
                thread::sleep(LOOK_EVERY);
            }
        })
    }

    /// Which it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it listens on 127.0.0.1, also after it was started again.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it prints.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn start_on_a_free_port(&mut self) -> Result<()> {
        let mut outcome = Ok(());
        for _ in 0..PORTS_TRIED {
            self.port = free_port()?;
            outcome = self.start();
            if outcome.is_ok() {
                break;
            }
            self.kill()?;
        }
        outcome
    }

    fn wait_until_ready(&self, child: &mut Child) -> Result<()> {
        let name = self.kind.name();
        let deadline = Instant::now() + READY_WITHIN;
        while self.ask("SELECT 1").is_err() {
            if let Some(status) = child.try_wait()? {
                bail!("{name} ended ({status}):\n{}", self.end_of_log());
            }
            if Instant::now() > deadline {
                let secs = READY_WITHIN.as_secs();
                bail!(
                    "{name} did not answer within {secs} s:\n{}",
                    self.end_of_log()
                );
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn end(&self, by: impl FnOnce(&Self, Pid)) -> Result<()> {
        let mut process = self.process();
        let Some(mut child) = process.child.take() else {
            return Ok(());
        };
        by(self, Pid::from_child(&child));
        child.wait().context("cannot wait for the server")?;
        process.guard.forget()
    }

    /// Whoever panicked with the lock left nothing half done in it.
    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask_in(&self, database: Option<&str>, sql: &str) -> Result<String> {
        let (programs, folder) = (&self.programs, &self.folder);
        self.finish(self.kind.ask(programs, folder, self.port, database, sql))
    }

    fn end_of_log(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Runs a command to its end; what it printed.
    fn finish(&self, mut command: Command) -> Result<String> {
        account::confine(&mut command, &self.folder);
        let program = command.get_program().display().to_string();
        let output = command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {program}"))?;
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            bail!("{program}: {}", complaint.trim_end());
        }
        Ok(String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What cannot be ended here is left to the guard, which is dropped next.
        let _ = self.end(|server, process| {
            let _ = kill_process(process, server.kind.end_signal());
        });
    }
}

impl Database<'_> {
    /// Where it is, account and password included.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.kind.url(self.server.port, &self.name)
    }

    /// As [`Server::ask`], in this database.
    ///
    /// # Errors
    ///
    /// When the server does not run, or refuses.
    pub fn ask(&self, sql: &str) -> Result<String> {
        self.server.ask_in(Some(&self.name), sql)
    }

    /// Its server.
    #[must_use]
    pub fn server(&self) -> &Server {
        self.server
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        // One that stays goes with its server.
        let _ = self.server.ask(&self.server.kind.drop_sql(&self.name));
    }
}

/// A folder that stays until its guard removes it.
fn new_folder(kind: Kind) -> Result<PathBuf> {
    let folder = tempfile::Builder::new()
        .prefix(&format!("hallpass-{}-", kind.name().to_lowercase()))
        .tempdir()
        .context("cannot make a folder for a database server")?;
    Ok(folder.keep())
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
    Ok(listener.local_addr()?.port())
}

/// The processes a process started, where the system shows them.
fn children_of(parent: Pid) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| {
            let process = entry.file_name().to_str()?.parse().ok()?;
            let parent_of_it = stat(&entry.path())?.1;
            (parent_of_it == parent.as_raw_nonzero().get()).then_some(process)
        })
        .filter_map(Pid::from_raw)
        .collect()
}

/// A killed process stays visible, as a zombie, until init collects it.
fn is_alive(process: Pid) -> bool {
    let folder = PathBuf::from(format!("/proc/{}", process.as_raw_nonzero()));
    stat(&folder).is_some_and(|(state, _)| state != 'Z')
}

/// State and parent of a process: what follows the name, which stands in parentheses.
fn stat(folder: &Path) -> Option<(char, i32)> {
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
