//! Looks whether the links in the documents lead to files that exist.
//!
//! Links to other sites are left alone: a test must not depend on them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::workspace;

/// Folders with documents that are not ours or not written by hand.
const PASSED_OVER: [&str; 3] = ["target", "build", "node_modules"];

/// Checks every `*.md` of the work tree.
///
/// # Errors
/// Names each link that leads nowhere.
pub(crate) fn check_links() -> Result<()> {
    let root = workspace::root();
    let mut documents = Vec::new();
    collect(&root, &mut documents)?;
    let mut dead = Vec::new();
    for document in &documents {
        let text = fs::read_to_string(document)?;
        for target in links(&text) {
            if !leads_somewhere(&root, document, &target) {
                let name = document.strip_prefix(&root).unwrap_or(document);
                dead.push(format!("{}: {target}", name.display()));
            }
        }
    }
    if !dead.is_empty() {
        bail!("links that lead nowhere:\n  {}", dead.join("\n  "));
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
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let prose = without_code(line);
            for (opening, closing) in [("](", ')'), ("src=\"", '"'), ("href=\"", '"')] {
                let targets = prose
                    .split(opening)
                    .skip(1)
                    .filter_map(|rest| rest.split(closing).next());
                found.extend(targets.map(file_of).filter(|target| is_local(target)));
            }
        }
    }
    found
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
