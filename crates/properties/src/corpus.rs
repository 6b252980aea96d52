//! The committed corpus: inputs with a name, so that what was once found is tried for ever.

use include_dir::{Dir, include_dir};

static CORPUS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../fuzz/corpus");

/// The inputs of one target.
#[must_use]
pub fn of(target: &str) -> Vec<&'static [u8]> {
    let folder = CORPUS.get_dir(target);
    let files = folder.into_iter().flat_map(Dir::files);
    files.map(include_dir::File::contents).collect()
}
