//! Files and folders that hold secrets: only their owner may look.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::TempDir;

/// Writes a file that only its owner may read.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write_private(file: &Path, text: &str) -> Result<()> {
    let mut options = OpenOptions::new();
    let opened = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file);
    let mut opened = opened.with_context(|| format!("cannot write {}", file.display()))?;
    opened
        .write_all(text.as_bytes())
        .with_context(|| format!("cannot write {}", file.display()))
}

/// Makes a folder unless it is there.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn create_private_folder(folder: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("cannot make {}", folder.display()))
}

/// A folder that goes when its owner goes.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn throw_away_folder(prefix: &str) -> Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    let folder = builder
        .prefix(prefix)
        .permissions(Permissions::from_mode(0o700))
        .tempdir();
    folder.context("cannot make a throw-away folder")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn mode(path: &Path) -> Result<u32> {
        Ok(fs::metadata(path)?.permissions().mode() & 0o777)
    }

    #[test]
    fn everything_is_for_its_owner_only() -> Result<()> {
        let temporary = throw_away_folder("hallpass-test-")?;
        let (folder, file) = (temporary.path().join("a"), temporary.path().join("b"));
        create_private_folder(&folder)?;
        create_private_folder(&folder)?;
        write_private(&file, "secret")?;
        assert_eq!(
            [mode(temporary.path())?, mode(&folder)?, mode(&file)?],
            [0o700, 0o700, 0o600]
        );
        Ok(())
    }
}
