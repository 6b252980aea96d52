//! The revocation journal: what was ended, in a file outside the table.
//!
//! A restored backup has forgotten what was revoked since; `hallpass recover` reads it here again.
//! One JSON line per committed change, appended and synced before the revocation is acknowledged,
//! by every process that revokes. It holds ids of sessions, never who they belong to. A write that
//! fails is logged and counted; the revocation is in force all the same.
//!
//! The file is rotated by renaming, so that a process that still has it open loses nothing: parts
//! have the same name and a number after it. A part is deleted once every session in it is past its
//! end. A line that a crash tore is skipped and counted.
//!
//! Source: docs/protocol.md §4 rule 5.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hallpass_session::time::UnixSeconds;
use serde::{Deserialize, Serialize};

/// Size from which the file is rotated.
const PART_MAX_BYTES: u64 = 16 << 20;
/// How much of its end tells what was written last: some hundred entries.
const END_BYTES: u64 = 64 << 10;
/// Longest wait for the disk before the revocation is acknowledged without the journal.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// A committed change, as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Entry {
    /// Sessions were ended one by one.
    Revoked(Revoked),
    /// The watermark moved: every session created before it ended.
    RevokedBefore {
        /// The log's epoch.
        epoch: String,
        /// Number of the change.
        seq: u64,
        /// When it was made.
        at: u64,
        /// The watermark.
        revoked_before: u64,
        /// How many session indexes had been given out.
        next_idx: u64,
    },
    /// An epoch began.
    Epoch {
        /// The new epoch.
        epoch: String,
        /// Number of the change.
        seq: u64,
        /// Its first second.
        began: u64,
    },
    /// A renewal key was made: its id is never used again.
    RenewalKey {
        /// Its id.
        kid: String,
        /// Number of the change.
        seq: u64,
        /// When it was made.
        at: u64,
    },
}

/// Sessions ended under one number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// The log's epoch.
    pub epoch: String,
    /// Number of the revocation.
    pub seq: u64,
    /// Second in which they were ended.
    pub at: u64,
    /// By whom, in one word.
    pub by: String,
    /// Why, in one word.
    pub reason: String,
    /// Minute until which the list must hold them.
    pub list_exp: u64,
    /// How many session indexes had been given out.
    pub next_idx: u64,
    /// Which.
    pub sessions: Vec<RevokedSession>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedSession {
    /// Its id, in base64url.
    pub sid: String,
    /// Its place in the bitmaps.
    pub idx: u32,
    /// Its absolute end.
    pub ends_at: u64,
}

impl Entry {
    /// The epoch and number it was committed with; of keys only the number is written.
    fn place(&self) -> Option<(&str, u64)> {
        match self {
            Self::Revoked(Revoked { epoch, seq, .. })
            | Self::RevokedBefore { epoch, seq, .. }
            | Self::Epoch { epoch, seq, .. } => Some((epoch, *seq)),
            Self::RenewalKey { .. } => None,
        }
    }

    /// From when on nobody can need it, as far as the entry itself can tell.
    fn needed_until(&self) -> u64 {
        match self {
            Self::Revoked(revoked) => {
                let ends = revoked.sessions.iter().map(|session| session.ends_at);
                ends.max().unwrap_or(0).max(revoked.list_exp)
            }
            // No session that it concerns lives longer than one may.
            Self::RevokedBefore { at, .. }
            | Self::Epoch { began: at, .. }
            | Self::RenewalKey { at, .. } => at.saturating_add(LONGEST_SESSION_SECS),
        }
    }
}

/// The longest `session_absolute_secs` there can be: 400 days.
const LONGEST_SESSION_SECS: u64 = 400 * 86_400;

/// An open journal.
#[derive(Clone)]
pub struct Journal(Arc<Inner>);

struct Inner {
    path: PathBuf,
    file: Mutex<Option<File>>,
    failures: AtomicU64,
}

impl Journal {
    /// The journal at `path`; the file is opened, and made, when there is something to write.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self(Arc::new(Inner {
            path: path.to_owned(),
            file: Mutex::new(None),
            failures: AtomicU64::new(0),
        }))
    }

    /// Opens the file now, so that one that cannot be written is noticed before it is needed.
    ///
    /// # Errors
    ///
    /// When it cannot be opened for appending; names it.
    pub fn open(&self) -> io::Result<()> {
        self.0.append(&[]).map_err(|error| {
            let text = format!("journal_file {}: {error}", self.0.path.display());
            io::Error::new(error.kind(), text)
        })
    }

    /// Writes and syncs entries; what fails is logged and counted.
    pub async fn append(&self, entries: Vec<Entry>) {
        let inner = Arc::clone(&self.0);
        let writing = tokio::task::spawn_blocking(move || inner.append(&entries));
        let error = match tokio::time::timeout(WRITE_TIMEOUT, writing).await {
            Ok(Ok(Ok(()))) => return,
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the disk did not answer in time".to_owned(),
        };
        self.0.failures.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            error,
            journal = %self.0.path.display(),
            "a revocation is in force but not in the journal: should a backup be restored, it \
             would have to be repeated by hand"
        );
    }

    /// How many writes failed since it was opened.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.0.failures.load(Ordering::Relaxed)
    }

    /// Rotates a file that has grown, and deletes parts that nobody needs at `now`.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, renamed or deleted.
    pub fn prune(&self, now: UnixSeconds) -> io::Result<()> {
        self.0.rotate(now)?;
        for part in older_parts(&self.0.path)? {
            let read = read_file(&part)?;
            if read
                .entries
                .iter()
                .all(|entry| entry.needed_until() < now.get())
            {
                std::fs::remove_file(&part)?;
            }
        }
        Ok(())
    }
}

impl Inner {
    fn append(&self, entries: &[Entry]) -> io::Result<()> {
        let mut lines = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut lines, entry)?;
            lines.push(b'\n');
        }
        let mut slot = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let current = slot.take().filter(|file| is_at(file, &self.path));
        let mut file = match current {
            Some(file) => file,
            None => open_to_append(&self.path)?,
        };
        // One write: lines of several processes do not mix. After an error the file is opened anew,
        // which ends a line that was torn.
        file.write_all(&lines)?;
        file.sync_data()?;
        *slot = Some(file);
        Ok(())
    }

    fn rotate(&self, now: UnixSeconds) -> io::Result<()> {
        self.append(&[])?;
        let mut slot = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if std::fs::metadata(&self.path)?.len() < PART_MAX_BYTES {
            return Ok(());
        }
        let part = with_suffix(&self.path, &format!(".{}", now.get()));
        if !part.exists() {
            std::fs::rename(&self.path, part)?;
            *slot = Some(open_to_append(&self.path)?);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Journal({})", self.0.path.display())
    }
}

/// What a journal says.
#[derive(Debug, Default)]
pub struct JournalRead {
    /// Its entries, as written.
    pub entries: Vec<Entry>,
    /// Lines that could not be read: torn by a crash, or no journal's.
    pub unreadable: u64,
}

/// Reads a journal with its older parts, oldest first.
///
/// # Errors
///
/// When a file cannot be read.
pub fn read(path: &Path) -> io::Result<JournalRead> {
    let mut all = JournalRead::default();
    for part in older_parts(path)?.into_iter().chain([path.to_owned()]) {
        let read = read_file(&part)?;
        all.entries.extend(read.entries);
        all.unreadable += read.unreadable;
    }
    Ok(all)
}

/// Reads the last entries of a journal; one that does not exist has none.
///
/// # Errors
///
/// When it cannot be read.
pub fn read_end(path: &Path) -> io::Result<JournalRead> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(JournalRead::default()),
        opened => opened?,
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END_BYTES)))?;
    read_lines(file)
}

impl JournalRead {
    /// Whether it has what a table has not whose log is in `epoch` and has `seq` as its newest
    /// number, read after the journal was. What cannot be told is no.
    #[must_use]
    pub fn is_ahead(&self, epoch: &str, seq: u64) -> bool {
        let of_epoch = |entry: &Entry| entry.place().is_some_and(|(of, _)| of == epoch);
        let since = self.entries.iter().skip_while(|entry| !of_epoch(entry));
        // Entries may change places with their neighbours, so the last is not always the newest.
        since
            .filter_map(|entry| Some((entry, entry.place()?)))
            .any(|(entry, (of, number))| match entry {
                Entry::Epoch { .. } if of != epoch => true,
                _ => of == epoch && number > seq,
            })
    }
}

/// Where the journal of the database file is, unless a setting says.
#[must_use]
pub fn beside(database: &Path) -> PathBuf {
    with_suffix(database, ".journal.jsonl")
}

fn read_file(path: &Path) -> io::Result<JournalRead> {
    read_lines(File::open(path)?)
}

fn read_lines(file: File) -> io::Result<JournalRead> {
    let mut read = JournalRead::default();
    let mut file = BufReader::new(file);
    let mut line = Vec::new();
    while file.read_until(b'\n', &mut line)? > 0 {
        match serde_json::from_slice(&line) {
            Ok(entry) => read.entries.push(entry),
            Err(_) if line.trim_ascii().is_empty() => {}
            Err(_) => read.unreadable += 1,
        }
        line.clear();
    }
    Ok(read)
}

/// Opens for appending; a last line that was torn is ended first.
fn open_to_append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    if file.metadata()?.len() > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    sync_folder(path)?;
    Ok(file)
}

/// A new file's name is on disk only once its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

/// Whether `file` is what stands at `path`: another process may have rotated it.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(open), Ok(named)) = (file.metadata(), std::fs::metadata(path)) else {
        return false;
    };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

fn older_parts(path: &Path) -> io::Result<Vec<PathBuf>> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let Some(name) = path.file_name() else {
        return Ok(Vec::new());
    };
    let prefix = with_suffix(Path::new(name), ".").into_os_string();
    let mut parts = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let file = file?.path();
        let number = file.file_name().and_then(|name| {
            name.as_encoded_bytes()
                .strip_prefix(prefix.as_encoded_bytes())
        });
        if number.is_some_and(|number| number.iter().all(u8::is_ascii_digit)) {
            parts.push(file);
        }
    }
    parts.sort();
    Ok(parts)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::{Entry, Journal, Revoked, RevokedSession, beside, read};
    use hallpass_session::time::UnixSeconds;
    use std::io::Write;
    use std::path::PathBuf;

    fn entry(seq: u64) -> Entry {
        Entry::Revoked(Revoked {
            epoch: "e".into(),
            seq,
            at: 1000,
            by: "user".into(),
            reason: "signed_out".into(),
            list_exp: 1380,
            next_idx: 7,
            sessions: vec![RevokedSession {
                sid: "AAAAAAAAAAAAAAAAAAAAAA".into(),
                idx: 7,
                ends_at: 5000,
            }],
        })
    }

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = beside(&folder.path().join("hallpass.db"));
        (folder, path)
    }

    #[tokio::test]
    async fn entries_are_read_as_they_were_written() {
        let (_folder, path) = folder();
        let journal = Journal::at(&path);
        let epoch = Entry::Epoch {
            epoch: "f".into(),
            seq: 3,
            began: 1001,
        };

        journal.append(vec![entry(1), entry(2)]).await;
        journal.append(vec![epoch.clone()]).await;

        let read = read(&path).unwrap();
        assert_eq!(read.entries, [entry(1), entry(2), epoch]);
        assert_eq!((read.unreadable, journal.failures()), (0, 0));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    fn epoch(name: &str, seq: u64) -> Entry {
        Entry::Epoch {
            epoch: name.into(),
            seq,
            began: 1001,
        }
    }

    #[test]
    fn journal_is_ahead_of_a_table_that_lacks_an_entry_or_an_epoch() {
        let read = |entries: &[Entry]| super::JournalRead {
            entries: entries.to_vec(),
            unreadable: 0,
        };
        let one = read(&[entry(1), entry(3)]);
        assert!(one.is_ahead("e", 2));
        assert!(!one.is_ahead("e", 3));
        assert!(!one.is_ahead("another table", 0));
        let out_of_order = read(&[entry(3), entry(2)]);
        assert!(out_of_order.is_ahead("e", 2));
        let later = read(&[entry(1), epoch("f", 2)]);
        assert!(later.is_ahead("e", 9), "it has no epoch f");
        let late = read(&[epoch("f", 2), entry(1)]);
        assert!(!late.is_ahead("f", 2), "an entry of before came late");
        assert!(!read(&[]).is_ahead("e", 0));
    }

    #[tokio::test]
    async fn end_of_a_long_journal_is_read() {
        let (_folder, path) = folder();
        assert_eq!(super::read_end(&path).unwrap().entries, []);
        let entries: Vec<Entry> = (1..=2000).map(entry).collect();
        Journal::at(&path).append(entries).await;

        let end = super::read_end(&path).unwrap();

        assert!(end.entries.len() > 100 && end.entries.len() < 2000);
        assert_eq!(end.entries.last(), Some(&entry(2000)));
    }

    #[tokio::test]
    async fn torn_line_is_skipped_and_spoils_no_other() {
        let (_folder, path) = folder();
        Journal::at(&path).append(vec![entry(1)]).await;
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap();
        file.write_all(br#"{"what":"revoked","ep"#).unwrap();

        Journal::at(&path).append(vec![entry(2)]).await;

        let read = read(&path).unwrap();
        assert_eq!(read.entries, [entry(1), entry(2)]);
        assert_eq!(read.unreadable, 1);
    }

    #[tokio::test]
    async fn file_that_was_moved_away_is_made_anew() {
        let (_folder, path) = folder();
        let journal = Journal::at(&path);
        journal.append(vec![entry(1)]).await;
        std::fs::rename(&path, path.with_extension("jsonl.1000")).unwrap();

        journal.append(vec![entry(2)]).await;

        assert_eq!(read(&path).unwrap().entries, [entry(1), entry(2)]);
    }

    #[tokio::test]
    async fn failed_write_is_counted_and_the_next_one_works() {
        let (folder, _) = folder();
        let inside = folder.path().join("inside");
        std::fs::create_dir(&inside).unwrap();
        let path = inside.join("journal");
        let journal = Journal::at(&path);
        journal.open().unwrap();
        std::fs::remove_dir_all(&inside).unwrap();

        journal.append(vec![entry(1)]).await;
        std::fs::create_dir(&inside).unwrap();
        journal.append(vec![entry(2)]).await;

        assert_eq!(journal.failures(), 1);
        assert_eq!(read(&path).unwrap().entries, [entry(2)]);
    }

    #[tokio::test]
    async fn old_part_is_deleted_once_every_session_in_it_is_over() {
        let (_folder, path) = folder();
        let part = path.with_extension("jsonl.1000");
        Journal::at(&part).append(vec![entry(1)]).await;
        let journal = Journal::at(&path);
        journal.open().unwrap();

        journal.prune(UnixSeconds::new(5000)).unwrap();
        assert!(part.exists());
        journal.prune(UnixSeconds::new(5001)).unwrap();

        assert!(!part.exists());
        assert!(path.exists(), "the newest part stays");
    }
}
