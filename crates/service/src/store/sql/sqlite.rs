//! The file of a `SQLite` database.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::sqlite::SqliteConnectOptions;

use crate::store::StoreError;

/// The file that a URL names, as an absolute path without links or dots in its folder.
pub(super) fn file(url: &str) -> Result<PathBuf, StoreError> {
    let options = SqliteConnectOptions::from_str(url).map_err(super::fault::failed)?;
    let file = options.get_filename();
    let named = |problem: String| StoreError::Unavailable(format!("{}: {problem}", file.display()));
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else {
        return Err(named("not the name of a file".to_owned()));
    };
    if name.as_encoded_bytes().starts_with(b"file:") {
        return Err(named(
            "a session table in memory would not outlive the process".to_owned(),
        ));
    }
    let folder = if folder == Path::new("") {
        Path::new(".")
    } else {
        folder
    };
    let folder = folder
        .canonicalize()
        .map_err(|error| named(error.to_string()))?;
    Ok(folder.join(name))
}

/// The URL of an absolute path, read back as exactly that.
pub(super) fn file_url(file: &Path) -> Result<String, StoreError> {
    let path = file.to_str().ok_or_else(|| {
        StoreError::Unavailable(format!("{}: the name is not UTF-8", file.display()))
    })?;
    let mut url = "sqlite://".to_owned();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte) {
            url.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _written = write!(url, "%{byte:02X}");
        }
    }
    url.push_str("?mode=rwc");
    Ok(url)
}

/// Makes a new database file readable by its owner only: it holds keys.
pub(super) fn create_private(file: &Path) -> Result<(), StoreError> {
    let mut open = std::fs::OpenOptions::new();
    open.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
    match open.open(file) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(
            StoreError::Unavailable(format!("{}: {error}", file.display())),
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{file, file_url};

    #[test]
    fn file_url_is_read_back_as_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "a.db",
            "with space#and?marks%41.db",
            "umläut.db",
            "Upper.DB",
        ] {
            let path = folder.path().canonicalize().unwrap().join(name);
            let url = file_url(&path).unwrap();
            let parsed: sqlx::any::AnyConnectOptions = url.parse().unwrap();
            assert_eq!(file(parsed.database_url.as_str()).unwrap(), path, "{url}");
        }
    }

    #[test]
    fn file_needs_a_name_and_a_folder() {
        assert!(file("sqlite://").is_err());
        assert!(file("sqlite::memory:").is_err());
        assert!(file("sqlite:///no/such/folder/a.db").is_err());
        assert!(file("sqlite://a.db").unwrap().is_absolute());
    }
}
