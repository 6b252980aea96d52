//! Files of a run of `init`: made for their owner only, never over others, and gone again if the run
//! fails.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::named;
use crate::cli::CommandError;

/// What `SQLite` keeps beside its file while it is open.
const BESIDE_DATABASE: [&str; 2] = ["-wal", "-shm"];

/// What was made so far.
#[derive(Default)]
pub(super) struct Made(Vec<PathBuf>);

impl Made {
    /// Writes a file that was not there.
    pub(super) fn file(&mut self, path: &Path, text: &str) -> Result<(), CommandError> {
        let mut open = OpenOptions::new();
        let open = open.write(true).create_new(true).mode(0o600);
        let mut file = open.open(path).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => there_already(path),
            _ => named(path, &error),
        })?;
        self.0.push(path.to_owned());
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(|error| named(path, &error))
    }

    /// Makes sure that there is no such database, and no journal where one will be.
    pub(super) fn database(
        &mut self,
        file: &Path,
        journal: Option<&Path>,
    ) -> Result<(), CommandError> {
        let beside = BESIDE_DATABASE.map(|suffix| {
            let mut name = file.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        });
        let journal = journal.map(Path::to_owned);
        let files: Vec<PathBuf> = [file.to_owned()]
            .into_iter()
            .chain(beside)
            .chain(journal)
            .collect();
        for file in files {
            if file.symlink_metadata().is_ok() {
                return Err(there_already(&file));
            }
            self.0.push(file);
        }
        Ok(())
    }

    /// The run was a success.
    pub(super) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in &self.0 {
            // Some were announced and not made.
            let _gone = std::fs::remove_file(path);
        }
    }
}

/// Makes a folder for its owner only, unless it is there.
pub(super) fn folder(path: &Path) -> Result<(), CommandError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| named(path, &error))
}

fn there_already(path: &Path) -> CommandError {
    CommandError::No(format!(
        "{} is there already, and init overwrites nothing: choose another folder with --dir",
        path.display()
    ))
}
