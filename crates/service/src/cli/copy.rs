//! `hallpass backup`, `hallpass restore`, `hallpass table export|import`.
//!
//! A file is written beside its place and renamed into it once it is on disk: whoever finds it
//! finds it whole. What is interrupted leaves nothing.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, IsTerminal, Read};
use std::path::{Path, PathBuf};

use hallpass_session::time::UnixSeconds;
use tempfile::TempPath;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};

use super::presented::is_standard_input;
use super::report::time;
use super::{CommandError, Everywhere, report};
use crate::clock::{Clock, SystemClock};
use crate::copy::{self, CopyError, Reader, Summary};
use crate::store::sql::{Arrival, Exported, export, import};

/// How often it is said how far a copy is.
const PROGRESS_EVERY_US: u64 = 2_000_000;

/// Where a copy goes.
#[derive(clap::Args)]
pub(super) struct Target {
    /// File to write, readable by its owner only; - is standard output
    file: PathBuf,
    /// Replace the file if there is one
    #[arg(long)]
    force: bool,
}

/// The same, to a pipe unless a file is named.
#[derive(clap::Args)]
pub(super) struct ExportArguments {
    /// File to write, readable by its owner only; - is standard output
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Replace the file if there is one
    #[arg(long)]
    force: bool,
}

/// Where a copy comes from.
#[derive(clap::Args)]
pub(super) struct ImportArguments {
    /// File to read; - is standard input
    #[arg(default_value = "-")]
    file: PathBuf,
}

#[derive(clap::Args)]
pub(super) struct RestoreArguments {
    /// File to read; - is standard input
    file: PathBuf,
    /// Read the file whole, say what is in it, and touch no database
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn back_up(everywhere: &Everywhere, to: Target) -> Result<(), CommandError> {
    write_copy(everywhere, to.file, to.force).await
}

pub(super) async fn export_table(
    everywhere: &Everywhere,
    to: ExportArguments,
) -> Result<(), CommandError> {
    write_copy(everywhere, to.file, to.force).await
}

async fn write_copy(
    everywhere: &Everywhere,
    file: PathBuf,
    force: bool,
) -> Result<(), CommandError> {
    let url = everywhere.database_url()?;
    let now = SystemClock::default().now();
    if is_standard_input(&file) {
        let to = BufWriter::new(io::stdout());
        let export = move || async move { export(&url, now, to, progress()).await };
        let exported = unless_interrupted(export, &file).await?;
        // Standard output has the copy.
        eprintln!("wrote {}", contents(&exported.summary));
        warn_of_keys(&exported);
        return Ok(());
    }
    check_target(&file, force)?;
    let folder = folder_of(&file).to_owned();
    let (unnamed, place) = tempfile::Builder::new()
        .prefix(".hallpass-")
        .suffix(".part")
        .tempfile_in(&folder)
        .map_err(|error| no(&folder, &error))?
        .into_parts();
    let synced = unnamed.try_clone().map_err(|error| no(&file, &error))?;
    let export = move || async move {
        let exported = export(&url, now, BufWriter::new(unnamed), progress()).await?;
        synced.sync_all()?;
        Ok(exported)
    };
    let exported = unless_interrupted(export, &file).await?;
    keep(place, &file, force)?;
    report::write(everywhere.format(), &exported.summary, |summary| {
        format!("wrote {}: {}", shown(&file), contents(summary))
    });
    warn_of_keys(&exported);
    Ok(())
}

fn warn_of_keys(exported: &Exported) {
    if exported.keys_in_clear {
        eprintln!(
            "keys are in it in clear: whoever has it can sign in as anybody; set master_key_file \
             to have them sealed"
        );
    }
}

/// What is there already, and must not be lost.
fn check_target(file: &Path, force: bool) -> Result<(), CommandError> {
    let Ok(found) = file.symlink_metadata() else {
        return Ok(());
    };
    let shown = file.display();
    if !found.is_file() {
        return Err(CommandError::No(format!(
            "{shown} is no ordinary file: name one"
        )));
    }
    if force {
        return Ok(());
    }
    Err(exists(file))
}

fn exists(file: &Path) -> CommandError {
    CommandError::No(format!(
        "{} exists: name another file, or say --force to replace it",
        file.display()
    ))
}

/// Gives a whole file its name.
fn keep(place: TempPath, file: &Path, force: bool) -> Result<(), CommandError> {
    let kept = if force {
        place.persist(file)
    } else {
        place.persist_noclobber(file)
    };
    kept.map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => exists(file),
        _ => no(file, &error.error),
    })?;
    // The name is on disk only once its folder is.
    File::open(folder_of(file))
        .and_then(|folder| folder.sync_all())
        .map_err(|error| no(file, &error))
}

fn folder_of(file: &Path) -> &Path {
    let folder = file.parent().filter(|folder| *folder != Path::new(""));
    folder.unwrap_or_else(|| Path::new("."))
}

pub(super) async fn import_table(
    everywhere: &Everywhere,
    from: ImportArguments,
) -> Result<(), CommandError> {
    let journal = everywhere.journal_file()?;
    let summary = read_copy(everywhere, from.file, Arrival::Moved { journal }).await?;
    report::write(everywhere.format(), &summary, |summary| {
        format!("imported {}", contents(summary))
    });
    Ok(())
}

pub(super) async fn restore(
    everywhere: &Everywhere,
    arguments: RestoreArguments,
) -> Result<(), CommandError> {
    if arguments.dry_run {
        let mut reader = open(&arguments.file)?;
        let file = arguments.file.clone();
        let check = move || async move {
            loop {
                if let copy::Read::End(summary) = reader.read()? {
                    return Ok(summary);
                }
            }
        };
        let summary = unless_interrupted(check, &file).await?;
        report::write(everywhere.format(), &summary, |summary| {
            format!("whole: {}", contents(summary))
        });
        return Ok(());
    }
    let summary = read_copy(everywhere, arguments.file, Arrival::Restored).await?;
    report::write(everywhere.format(), &summary, |summary| {
        format!(
            "restored {}\nNext: `hallpass recover`, then `hallpass serve`, which refuses until then.",
            contents(summary)
        )
    });
    Ok(())
}

async fn read_copy(
    everywhere: &Everywhere,
    file: PathBuf,
    arrival: Arrival,
) -> Result<Summary, CommandError> {
    let url = everywhere.database_url()?;
    let reader = open(&file)?;
    let now = SystemClock::default().now();
    let import = move || async move { import(&url, now, reader, arrival, progress()).await };
    unless_interrupted(import, &file).await
}

type Source = Reader<BufReader<Box<dyn Read + Send>>>;

/// Opens a copy and reads its header.
fn open(file: &Path) -> Result<Source, CommandError> {
    let from: Box<dyn Read + Send> = if is_standard_input(file) {
        if io::stdin().is_terminal() {
            eprintln!("reading standard input; end it with Ctrl-D");
        }
        Box::new(io::stdin())
    } else {
        let opened = File::open(file);
        Box::new(opened.map_err(|error| CommandError::Usage(format!("{}: {error}", shown(file))))?)
    };
    Reader::open(BufReader::new(from)).map_err(|error| of_copy(error, file))
}

/// Does `work` on a thread of its own, where it may wait for a file or a pipe. A signal ends the
/// command all the same.
async fn unless_interrupted<T, F>(
    work: impl FnOnce() -> F + Send + 'static,
    file: &Path,
) -> Result<T, CommandError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, CopyError>>,
{
    let runtime = Handle::current();
    let mut task = tokio::task::spawn_blocking(move || runtime.block_on(work()));
    let mut signals = Vec::new();
    for kind in [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ] {
        signals.push(signal(kind).map_err(|error| CommandError::No(error.to_string()))?);
    }
    let [interrupt, terminate, hangup] = signals.as_mut_slice() else {
        return Err(CommandError::No("signals cannot be watched".to_owned()));
    };
    tokio::select! {
        done = &mut task => match done {
            Ok(done) => done.map_err(|error| of_copy(error, file)),
            Err(error) => Err(CommandError::No(error.to_string())),
        },
        _ = interrupt.recv() => Err(interrupted()),
        _ = terminate.recv() => Err(interrupted()),
        _ = hangup.recv() => Err(interrupted()),
    }
}

fn interrupted() -> CommandError {
    CommandError::No("interrupted; nothing was written".to_owned())
}

fn of_copy(error: CopyError, file: &Path) -> CommandError {
    match error {
        CopyError::Store(error) => error.into(),
        CopyError::Damaged { .. } | CopyError::Refused { .. } | CopyError::File(_) => {
            // The database may repeat what it was given.
            CommandError::No(format!(
                "{}: {}",
                shown(file),
                error.to_string().escape_debug()
            ))
        }
        CopyError::Occupied(_) | CopyError::Behind => CommandError::No(error.to_string()),
    }
}

fn no(file: &Path, error: &io::Error) -> CommandError {
    CommandError::No(format!("{}: {error}", shown(file)))
}

fn shown(file: &Path) -> String {
    file.display().to_string().escape_debug().to_string()
}

/// Says every two seconds how far it is.
fn progress() -> impl FnMut(u64) + Send {
    let clock = SystemClock::default();
    let mut next_us = PROGRESS_EVERY_US;
    move |rows| {
        if clock.monotonic_us() >= next_us {
            next_us = clock.monotonic_us() + PROGRESS_EVERY_US;
            eprintln!("{rows} rows so far");
        }
    }
}

/// What is in a copy, in words.
fn contents(summary: &Summary) -> String {
    let rows: u64 = summary.rows.values().sum();
    let sessions = summary.rows.get("sessions").copied().unwrap_or_default();
    let at = time(UnixSeconds::new(summary.taken_at));
    let bytes = summary.bytes;
    format!("{sessions} sessions, {rows} rows, {bytes} bytes, as of {at}")
}
