//! A fingerprint of files: equal while no name and no byte among them changed.
//!
//! It only decides whether work can be skipped on this machine, so a fast hash is enough.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use anyhow::{Context, Result};

/// The fingerprint of these files and folders below `root`, and of `extra` facts.
///
/// # Errors
/// When a path is missing or cannot be read.
pub(crate) fn of(root: &Path, paths: &[&str], extra: &[&str]) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    extra.hash(&mut hasher);
    for path in paths {
        add(root, Path::new(path), &mut hasher)?;
    }
    Ok(format!("{:016x}", hasher.finish()))
}

fn add(root: &Path, path: &Path, hasher: &mut DefaultHasher) -> Result<()> {
    let full = root.join(path);
    let fail = || format!("cannot read {}", full.display());
    path.hash(hasher);
    if !full.is_dir() {
        fs::read(&full).with_context(fail)?.hash(hasher);
        return Ok(());
    }
    let entries = fs::read_dir(&full).with_context(fail)?;
    let mut names = entries
        .map(|e| Ok(e?.file_name()))
        .collect::<Result<Vec<_>>>()?;
    names.sort();
    names
        .iter()
        .try_for_each(|name| add(root, &path.join(name), hasher))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Result<tempfile::TempDir> {
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("src"))?;
        fs::write(folder.path().join("src/lib.rs"), "one")?;
        fs::write(folder.path().join("Cargo.toml"), "two")?;
        Ok(folder)
    }

    fn fingerprint(folder: &tempfile::TempDir) -> Result<String> {
        of(folder.path(), &["Cargo.toml", "src"], &["rustc 1"])
    }

    #[test]
    fn of_is_equal_for_an_unchanged_tree() -> Result<()> {
        let folder = tree()?;
        assert_eq!(fingerprint(&folder)?, fingerprint(&folder)?);
        Ok(())
    }

    #[test]
    fn of_differs_after_an_edit_a_rename_and_an_addition() -> Result<()> {
        let folder = tree()?;
        let mut seen = vec![fingerprint(&folder)?];
        fs::write(folder.path().join("src/lib.rs"), "One")?;
        seen.push(fingerprint(&folder)?);
        fs::rename(
            folder.path().join("src/lib.rs"),
            folder.path().join("src/lab.rs"),
        )?;
        seen.push(fingerprint(&folder)?);
        fs::write(folder.path().join("src/new.rs"), "")?;
        seen.push(fingerprint(&folder)?);
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 4);
        Ok(())
    }

    #[test]
    fn of_differs_with_another_compiler() -> Result<()> {
        let folder = tree()?;
        let paths = ["Cargo.toml", "src"];
        assert_ne!(
            fingerprint(&folder)?,
            of(folder.path(), &paths, &["rustc 2"])?
        );
        Ok(())
    }

    #[test]
    fn of_fails_for_a_missing_path() -> Result<()> {
        assert!(of(tree()?.path(), &["absent"], &[]).is_err());
        Ok(())
    }
}
