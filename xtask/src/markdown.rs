//! Looks whether what the documents point at exists: the files that they link or name, and in
//! ARCHITECTURE.md the tests that it quotes beside a link.
//!
//! Links to other sites are left alone: a test must not depend on them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::workspace;

/// Folders with documents that are not ours or not written by hand.
const PASSED_OVER: [&str; 3] = ["target", "build", "node_modules"];
/// The folders of this repository, by which a path in code is known for one of ours.
const OUR_FOLDERS: [&str; 8] = [
    "src/", "crates/", "xtask/", "tests/", "docs/", "bench/", "fuzz/", "www/",
];
/// The document that quotes tests.
const QUOTES_TESTS: &str = "ARCHITECTURE.md";

/// Checks every `*.md` of the work tree.
///
/// # Errors
/// Names each link that leads nowhere, and each path of ours at which nothing is.
pub(crate) fn check_links() -> Result<()> {
    let root = workspace::root();
    let mut documents = Vec::new();
    collect(&root, &mut documents)?;
    let mut dead = Vec::new();
    for document in &documents {
        let text = fs::read_to_string(document)?;
        let links = links(&text).into_iter();
        let dead_links = links.filter(|target| !leads_somewhere(&root, document, target));
        let paths = paths(&text).into_iter();
        let dead_paths = paths.filter(|path| !root.join(path).exists());
        let name = document.strip_prefix(&root).unwrap_or(document);
        let place = |target| format!("{}: {target}", name.display());
        dead.extend(dead_links.chain(dead_paths).map(place));
    }
    if !dead.is_empty() {
        bail!("links that lead nowhere:\n  {}", dead.join("\n  "));
    }
    Ok(())
}

/// Checks that each test that is quoted beside links is in one of the linked files.
///
/// # Errors
/// Names each quotation that is in none of them.
pub(crate) fn check_quoted_tests() -> Result<()> {
    let root = workspace::root();
    let text = fs::read_to_string(root.join(QUOTES_TESTS))?;
    let mut absent = Vec::new();
    for line in text.lines() {
        let files = links(line);
        // A linked folder quotes nothing.
        let linked: String = files
            .iter()
            .filter_map(|file| fs::read_to_string(root.join(file)).ok())
            .collect();
        let quoted = without_code(line);
        let names = quoted.split('"').skip(1).step_by(2);
        let is_absent = |name: &&str| !name.split('…').all(|piece| linked.contains(piece.trim()));
        absent.extend(
            names
                .filter(|_| !files.is_empty())
                .filter(is_absent)
                .map(str::to_owned),
        );
    }
    if !absent.is_empty() {
        bail!(
            "quoted in {QUOTES_TESTS}, and in none of the files beside it:\n  {}",
            absent.join("\n  ")
        );
    }
    Ok(())
}

fn collect(folder: &Path, documents: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let hidden = name.starts_with('.');
        if entry.file_type()?.is_dir() && !hidden && !PASSED_OVER.contains(&name.as_str()) {
            collect(&entry.path(), documents)?;
        } else if Path::new(&name)
            .extension()
            .is_some_and(|extension| extension == "md")
        {
            documents.push(entry.path());
        }
    }
    documents.sort();
    Ok(())
}

/// The targets of `](target)` and `src="target"` outside code, without their `#part`.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in unfenced(text) {
        let prose = without_code(line);
        for (opening, closing) in [("](", ')'), ("src=\"", '"'), ("href=\"", '"')] {
            let targets = prose
                .split(opening)
                .skip(1)
                .filter_map(|rest| rest.split(closing).next());
            found.extend(targets.map(file_of).filter(|target| is_local(target)));
        }
    }
    found
}

/// The paths between backquotes that begin with a folder of ours; one with a `*` names many files.
fn paths(text: &str) -> Vec<String> {
    let code = unfenced(text).flat_map(|line| line.split('`').skip(1).step_by(2));
    code.filter(|code| OUR_FOLDERS.iter().any(|folder| code.starts_with(folder)))
        .filter(|code| !code.contains(['*', ' ']))
        .map(str::to_owned)
        .collect()
}

/// The lines outside fenced code.
fn unfenced(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fence && !fenced
    })
}

/// Every second piece between backquotes is code.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

fn file_of(target: &str) -> String {
    let path = target.split(['#', ' ']).next().unwrap_or_default();
    path.to_owned()
}

fn is_local(target: &str) -> bool {
    !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:")
}

fn leads_somewhere(root: &Path, document: &Path, target: &str) -> bool {
    let from = document.parent().unwrap_or(root);
    target
        .strip_prefix('/')
        .map_or_else(|| from.join(target), |path| root.join(path))
        .exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_local_targets_without_their_part() {
        let text = "[a](docs/a.md#top) and ![b](b.png \"title\") [c](https://c.example) [d](#here)\n\
                    <img src=\"e.svg\">";
        assert_eq!(links(text), ["docs/a.md", "b.png", "e.svg"]);
    }

    #[test]
    fn links_in_code_do_not_count() {
        assert!(links("```\n[a](b.md)\n```\n`[c](d.md)` text\n").is_empty());
    }

    #[test]
    fn paths_are_code_that_begins_with_a_folder_of_ours() {
        let text = "`src/lib.rs`, `tests/e2e/*.mjs`, `target/debug`, src/no.rs, `docs/`\n\
                    ```\n`www/fenced`\n```\n";
        assert_eq!(paths(text), ["src/lib.rs", "docs/"]);
    }

    #[test]
    fn leads_somewhere_starts_at_the_document_or_the_root() -> Result<()> {
        let root = tempfile::tempdir()?;
        fs::create_dir(root.path().join("docs"))?;
        fs::write(root.path().join("docs/a.md"), "")?;
        let document = root.path().join("docs/b.md");
        assert!(leads_somewhere(root.path(), &document, "a.md"));
        assert!(leads_somewhere(root.path(), &document, "/docs/a.md"));
        assert!(!leads_somewhere(root.path(), &document, "docs/a.md"));
        Ok(())
    }
}
