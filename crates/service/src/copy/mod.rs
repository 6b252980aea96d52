//! A portable copy of the session table: one form of file, whichever database it came from.
//!
//! JSON Lines, always in the same order: a header; for each table a line with its name and columns,
//! then its rows, one array each; a footer with the number of rows and the SHA-256 of every byte
//! before it. Bytes are base64url, times whole seconds. Secrets of keys are as in the table: sealed
//! under the master key, if there is one. The same table gives the same bytes, but for the moment in
//! the header.
//!
//! A reader takes nothing on trust: lines are bounded before they are kept, every value must be of
//! its column's kind, and what was cut, changed or added to is refused with the number of the line.
//! The checksum tells damage, not malice: whoever can write a backup can write what is restored.
//!
//! What goes into and comes out of a database is in `store/sql/copy.rs`.

mod reader;
mod tables;
mod writer;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;

use hallpass_session::base64url;
use hallpass_session::time::UnixSeconds;
use serde::{Deserialize, Serialize, Serializer};

use crate::store::StoreError;

pub use self::reader::{Read, Reader, Row};
pub use self::tables::{Column, Extent, Kind, TABLES, Table};
pub use self::writer::Writer;

/// What the first line says the file is.
const NAME: &str = "session table";
/// This form. Another number means that older programs cannot read it.
const VERSION: u32 = 1;
/// Longest line: many times what the widest row takes at its limits.
const LINE_MAX_BYTES: u64 = 1 << 20;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// None.
    Nothing,
    /// A whole number.
    Number(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nothing => serializer.serialize_none(),
            Self::Number(number) => serializer.serialize_i64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serializer.serialize_str(&base64url::encode(bytes)),
        }
    }
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    hallpass: String,
    version: u32,
    /// Number of the database's schema.
    pub schema: u64,
    /// The revocation log's epoch.
    pub epoch: String,
    /// Second in which it was taken, in seconds since 1970.
    pub taken_at: u64,
}

impl Header {
    /// Of this form.
    #[must_use]
    pub fn new(schema: u64, epoch: String, taken_at: UnixSeconds) -> Self {
        Self {
            hallpass: NAME.to_owned(),
            version: VERSION,
            schema,
            epoch,
            taken_at: taken_at.get(),
        }
    }

    fn parse(line: &[u8]) -> Result<Self, &'static str> {
        /// What every version has.
        #[derive(Deserialize)]
        struct Any {
            hallpass: String,
            version: u32,
        }
        let unknown = "this is no copy of a session table";
        let any: Any = serde_json::from_slice(line).map_err(|_| unknown)?;
        if any.hallpass != NAME {
            return Err(unknown);
        }
        if any.version > VERSION {
            return Err("a newer hallpass made this copy: use that one");
        }
        serde_json::from_slice(line).map_err(|_| "not a header")
    }
}

/// The last line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Footer {
    rows: BTreeMap<String, u64>,
    sha256: String,
}

/// What a whole copy holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Second in which it was taken.
    pub taken_at: u64,
    /// The revocation log's epoch.
    pub epoch: String,
    /// Rows of each table.
    pub rows: BTreeMap<String, u64>,
    /// Its size.
    pub bytes: u64,
    /// Of every byte before the footer.
    pub sha256: String,
}

/// Why a copy was not made or not taken.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The file is damaged, or not one of ours.
    #[error("line {line}: {problem}")]
    Damaged {
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it; repeats no value.
        problem: String,
    },
    /// The database refuses rows.
    #[error("lines {first} to {last}: {error}")]
    Refused {
        /// The first of them.
        first: u64,
        /// The last.
        last: u64,
        /// Why.
        error: StoreError,
    },
    /// There is something in the table already.
    #[error("the session table has {0} already: name a new database, or empty this one")]
    Occupied(&'static str),
    /// The journal knows more than the copy.
    #[error(
        "the journal has what happened after this copy was made: use `hallpass restore`, then \
         `hallpass recover`"
    )]
    Behind,
    /// The database does not do its part.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] io::Error),
}

fn line_of<T: Serialize + ?Sized>(value: &T) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

fn length(line: &[u8]) -> u64 {
    u64::try_from(line.len()).unwrap_or(u64::MAX)
}

fn hexadecimal(digest: [u8; 32]) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

fn summary(header: &Header, footer: Footer, bytes: u64) -> Summary {
    Summary {
        taken_at: header.taken_at,
        epoch: header.epoch.clone(),
        rows: footer.rows,
        bytes,
        sha256: footer.sha256,
    }
}

#[cfg(test)]
mod tests;
