//! A family of child processes that lives and dies together.
//!
//! Everything that happens is one [`Event`] in one queue: a line a child printed, a child's end, a
//! signal to us. Each child leads a process group of its own, so that stopping it stops what it
//! started; dropping the family stops all of them and waits until they are gone, on every way out.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::lines;

/// How long a child may take to become ready: a cold start on a busy machine takes seconds.
const READY_WITHIN: Duration = Duration::from_mins(1);
/// How long children may take to end by themselves before they are killed.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// Which of a child's outputs a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// A child printed a line.
    Line(&'static str, Output, String),
    /// A child ended.
    Ended(&'static str, Option<ExitStatus>),
    /// Somebody asked us to stop.
    Stop,
}

/// The children and what happens to them.
pub(crate) struct Family {
    members: Vec<Member>,
    events: Receiver<Event>,
    queue: Sender<Event>,
}

struct Member {
    name: &'static str,
    group: Pid,
    alive: bool,
}

impl Family {
    /// A family without children that has taken over the signals to stop.
    ///
    /// # Errors
    /// When the signals cannot be taken over.
    pub(crate) fn new() -> Result<Self> {
        let (queue, events) = mpsc::channel();
        let mut signals =
            Signals::new([SIGHUP, SIGINT, SIGTERM]).context("cannot watch signals")?;
        let stop = queue.clone();
        thread::spawn(move || {
            signals
                .forever()
                .take_while(|_| stop.send(Event::Stop).is_ok())
                .count()
        });
        Ok(Self {
            members: Vec::new(),
            events,
            queue,
        })
    }

    /// Starts a child; `input` is written to its standard input, which then stays open for as long
    /// as this process lives.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn spawn(
        &mut self,
        name: &'static str,
        mut command: Command,
        input: &str,
    ) -> Result<()> {
        command.process_group(0);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let group = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .context("no process id")?;
        self.members.push(Member {
            name,
            group,
            alive: true,
        });
        let mut stdin = child.stdin.take().context("no standard input")?;
        stdin
            .write_all(input.as_bytes())
            .with_context(|| format!("{name} took no input"))?;
        let readers = [
            self.relay(name, Output::Out, child.stdout.take()),
            self.relay(name, Output::Err, child.stderr.take()),
        ];
        let queue = self.queue.clone();
        thread::spawn(move || {
            let status = wait(child, readers);
            drop(stdin);
            // Nobody listens any more when the family is gone: then nobody needs to know.
            let _ = queue.send(Event::Ended(name, status));
        });
        Ok(())
    }

    fn relay(
        &self,
        name: &'static str,
        output: Output,
        stream: Option<impl Read + Send + 'static>,
    ) -> Option<thread::JoinHandle<()>> {
        let queue = self.queue.clone();
        let deliver = move |line| queue.send(Event::Line(name, output, line)).is_ok();
        stream.map(|stream| lines::read(stream, deliver))
    }

    /// The next event.
    ///
    /// # Errors
    /// Never while this family exists: it holds a sender of its own queue.
    pub(crate) fn next(&mut self) -> Result<Event> {
        let event = self
            .events
            .recv()
            .context("the queue of events is closed")?;
        self.note(&event);
        Ok(event)
    }

    /// Waits for a line of `name` from which `find` makes a value; every other line goes to `log`.
    ///
    /// # Errors
    /// When any child ends first, we are asked to stop, or it takes too long.
    pub(crate) fn wait_for<T>(
        &mut self,
        name: &'static str,
        find: impl Fn(&str) -> Option<T>,
        mut log: impl FnMut(&'static str, &str),
    ) -> Result<T> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let event = match self.events.recv_timeout(left) {
                Ok(event) => event,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    bail!("{name} was not ready after {} s", READY_WITHIN.as_secs())
                }
            };
            self.note(&event);
            match event {
                Event::Line(from, Output::Out, line) if from == name => match find(&line) {
                    Some(value) => return Ok(value),
                    None => log(from, &line),
                },
                Event::Line(from, _, line) => log(from, &line),
                Event::Ended(who, status) => bail!("{}", ended(who, status)),
                Event::Stop => bail!("stopped before {name} was ready"),
            }
        }
    }

    /// Shows what was said on standard error so far, and lets every other line go.
    ///
    /// # Errors
    /// When a child has ended, or we were asked to stop.
    pub(crate) fn check(&mut self) -> Result<()> {
        while let Ok(event) = self.events.try_recv() {
            self.note(&event);
            match event {
                Event::Line(who, Output::Err, line) => eprintln!("{who}: {line}"),
                Event::Line(..) => {}
                Event::Ended(who, status) => bail!("{}", ended(who, status)),
                Event::Stop => bail!("stopped"),
            }
        }
        Ok(())
    }

    /// The process of a child that lives.
    pub(crate) fn process(&self, name: &str) -> Option<u32> {
        let mut members = self.members.iter();
        let member = members.find(|member| member.alive && member.name == name)?;
        u32::try_from(member.group.as_raw_nonzero().get()).ok()
    }

    fn note(&mut self, event: &Event) {
        if let Event::Ended(name, _) = event {
            for member in self
                .members
                .iter_mut()
                .filter(|member| member.name == *name)
            {
                member.alive = false;
            }
        }
    }

    /// Asks the children themselves, so that each can end what it started in good order.
    fn ask_to_end(&self) {
        for member in self.members.iter().filter(|member| member.alive) {
            // It may have ended this moment; that is what was wanted.
            let _ = kill_process(member.group, Signal::TERM);
        }
    }

    fn kill(&self) {
        for member in self.members.iter().filter(|member| member.alive) {
            let _ = kill_process_group(member.group, Signal::KILL);
        }
    }

    fn wait_until_gone(&mut self, deadline: Instant) {
        while self.members.iter().any(|member| member.alive) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) => self.note(&event),
                Err(_) => return,
            }
        }
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        self.ask_to_end();
        self.wait_until_gone(Instant::now() + GONE_WITHIN);
        self.kill();
        self.wait_until_gone(Instant::now() + GONE_WITHIN);
    }
}

/// `name ended by itself (exit status: 1)`.
pub(crate) fn ended(name: &str, status: Option<ExitStatus>) -> String {
    let status = status.map_or_else(|| "unknown".to_owned(), |status| status.to_string());
    format!("{name} ended by itself ({status})")
}

/// The address in a `ready http://…` line.
pub(crate) fn ready_address(line: &str) -> Option<String> {
    line.strip_prefix("ready ")
        .map(|address| address.trim().to_owned())
}

/// Waits for the child first: what it started may hold its outputs open for longer.
fn wait(mut child: Child, readers: [Option<thread::JoinHandle<()>>; 2]) -> Option<ExitStatus> {
    let status = child.wait().ok();
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        // Grandchildren that outlived their parent; none is the good case.
        let _ = kill_process_group(group, Signal::KILL);
    }
    for reader in readers.into_iter().flatten() {
        // A reader that panicked has nothing more to say.
        let _ = reader.join();
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::shell;

    #[test]
    fn wait_for_returns_the_address_of_the_ready_line() -> Result<()> {
        let mut family = Family::new()?;
        family.spawn("child", shell("echo hello; echo ready http://x; cat"), "")?;
        let mut logged = Vec::new();
        let found = family.wait_for("child", ready_address, |_, line| {
            logged.push(line.to_owned());
        })?;
        assert_eq!(
            (found.as_str(), logged.as_slice()),
            ("http://x", ["hello".to_owned()].as_slice())
        );
        Ok(())
    }

    #[test]
    fn wait_for_fails_when_the_child_ends_first() -> Result<()> {
        let mut family = Family::new()?;
        family.spawn("child", shell("exit 3"), "")?;
        let error = family.wait_for("child", ready_address, |_, _| {}).err();
        let text = error.map(|error| error.to_string());
        assert_eq!(
            text.as_deref(),
            Some("child ended by itself (exit status: 3)")
        );
        Ok(())
    }

    #[test]
    fn spawn_hands_the_input_over_and_keeps_it_open() -> Result<()> {
        let mut family = Family::new()?;
        family.spawn(
            "child",
            shell("read line; echo ready $line; cat"),
            "http://y\n",
        )?;
        assert_eq!(
            family.wait_for("child", ready_address, |_, _| {})?,
            "http://y"
        );
        Ok(())
    }

    #[test]
    fn drop_ends_children_and_what_they_started() -> Result<()> {
        let mut family = Family::new()?;
        family.spawn("child", shell("sleep 1000 & echo ready $!; wait"), "")?;
        let grandchild = family.wait_for("child", ready_address, |_, _| {})?;
        drop(family);
        // It is killed by now, and on a busy machine dies a moment later.
        let deadline = Instant::now() + GONE_WITHIN;
        while is_alive(&grandchild) {
            assert!(Instant::now() < deadline, "{grandchild} lives on");
            thread::yield_now();
        }
        Ok(())
    }

    /// A killed orphan stays visible until init collects it.
    fn is_alive(pid: &str) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
            stat.rsplit(") ")
                .next()
                .is_some_and(|rest| !rest.starts_with(['Z', 'X']))
        })
    }
}
