//! Reads a copy, and takes nothing in it on trust.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, Read as _};

use hallpass_session::base64url;
use hallpass_session::time::UnixSeconds;
use hmac_sha256::Hash;
use serde::de::{Deserialize, Deserializer, Visitor};

use super::tables::{Column, Extent, Kind};
use super::{
    Cell, CopyError, Footer, Header, LINE_MAX_BYTES, Summary, TABLES, Table, hexadecimal, length,
    line_of, summary,
};

/// A row as read.
#[derive(Debug)]
pub struct Row {
    /// Of which table.
    pub table: &'static Table,
    /// Its values, of the kinds of the table's columns.
    pub cells: Vec<Cell>,
    /// Its line, from 1.
    pub line: u64,
    /// How long that is, in bytes.
    pub bytes: usize,
}

/// What was read.
#[derive(Debug)]
pub enum Read {
    /// A row.
    Row(Row),
    /// The footer, and nothing after it: the copy is whole.
    End(Summary),
}

/// Reads a copy. What it gave counts only once it has said that there is nothing more.
pub struct Reader<R> {
    from: R,
    header: Header,
    line: Vec<u8>,
    /// Number of the line, from 1.
    number: u64,
    hash: Hash,
    bytes: u64,
    /// How many tables have begun.
    begun: usize,
    rows: BTreeMap<String, u64>,
}

impl<R: BufRead> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or is not one that this program can take.
    pub fn open(from: R) -> Result<Self, CopyError> {
        let mut reader = Self {
            from,
            header: Header::new(0, String::new(), UnixSeconds::new(0)),
            line: Vec::new(),
            number: 0,
            hash: Hash::new(),
            bytes: 0,
            begun: 0,
            rows: BTreeMap::new(),
        };
        reader.read_line()?;
        reader.header = Header::parse(&reader.line).map_err(|problem| reader.damaged(problem))?;
        reader.hash.update(&reader.line);
        Ok(reader)
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The next row, or what the copy holds once it has been read whole.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is damaged. What was read before is then worth nothing.
    pub fn read(&mut self) -> Result<Read, CopyError> {
        loop {
            self.read_line()?;
            let next = TABLES.get(self.begun);
            if self.line.starts_with(b"[") {
                self.hash.update(&self.line);
                return self.row().map(Read::Row);
            }
            self.check_only_rows()?;
            let Some(table) = next else {
                return self.footer().map(Read::End);
            };
            if self.line != table.line()? {
                return Err(self.damaged(&format!(
                    "not a row, nor the line that begins table {} in this version of the schema",
                    table.name
                )));
            }
            self.hash.update(&self.line);
            self.rows.insert(table.name.to_owned(), 0);
            self.begun += 1;
        }
    }

    /// Tables that always have one row have had it.
    fn check_only_rows(&self) -> Result<(), CopyError> {
        let begun = self.begun.checked_sub(1).and_then(|last| TABLES.get(last));
        match begun {
            Some(table) if table.extent == Extent::One && self.rows.get(table.name) != Some(&1) => {
                Err(self.damaged(&format!("{} must have one row", table.name)))
            }
            _ => Ok(()),
        }
    }

    fn row(&mut self) -> Result<Row, CopyError> {
        let begun = self.begun.checked_sub(1).and_then(|last| TABLES.get(last));
        let table = begun.ok_or_else(|| self.damaged("a row before any table"))?;
        let cells = cells(&self.line, table).map_err(|problem| self.damaged(&problem))?;
        *self.rows.entry(table.name.to_owned()).or_default() += 1;
        Ok(Row {
            table,
            cells,
            line: self.number,
            bytes: self.line.len(),
        })
    }

    fn footer(&mut self) -> Result<Summary, CopyError> {
        let said: Footer = serde_json::from_slice(&self.line)
            .map_err(|_| self.damaged("not a row nor a footer"))?;
        let found = Footer {
            rows: std::mem::take(&mut self.rows),
            sha256: hexadecimal(self.hash.finalize()),
        };
        for (table, rows) in &found.rows {
            if said.rows.get(table) != Some(rows) {
                return Err(self.damaged(&format!(
                    "the footer does not agree that {table} has {rows} rows: some are missing or added"
                )));
            }
        }
        if self.line != line_of(&found)? {
            return Err(self.damaged("the checksum is of another file: something was changed"));
        }
        if !self.from.fill_buf()?.is_empty() {
            self.number += 1;
            return Err(self.damaged("something follows the footer"));
        }
        Ok(summary(&self.header, found, self.bytes))
    }

    /// Reads the next line, its end included, into `line`.
    fn read_line(&mut self) -> Result<(), CopyError> {
        self.number += 1;
        self.line.clear();
        let mut bounded = (&mut self.from).take(LINE_MAX_BYTES + 1);
        let read = bounded.read_until(b'\n', &mut self.line)?;
        if length(&self.line) > LINE_MAX_BYTES {
            return Err(self.damaged(&format!("longer than {LINE_MAX_BYTES} bytes")));
        }
        if read == 0 && self.number == 1 {
            return Err(self.damaged("the file is empty"));
        }
        if self.line.last() != Some(&b'\n') {
            return Err(self.damaged("the file was cut off: it ends before its footer"));
        }
        self.bytes += length(&self.line);
        Ok(())
    }

    fn damaged(&self, problem: &str) -> CopyError {
        CopyError::Damaged {
            line: self.number,
            problem: problem.to_owned(),
        }
    }
}

/// A row's values.
fn cells(line: &[u8], table: &Table) -> Result<Vec<Cell>, String> {
    let found: Vec<Loose> = serde_json::from_slice(line)
        .map_err(|_| "not an array of numbers, texts and null".to_owned())?;
    if found.len() != table.columns.len() {
        let (has, found) = (table.columns.len(), found.len());
        return Err(format!("{found} values where {} has {has}", table.name));
    }
    let typed = |(value, column): (Loose, &Column)| {
        value
            .of(column)
            .map_err(|problem| format!("{}.{}: {problem}", table.name, column.name))
    };
    found.into_iter().zip(table.columns).map(typed).collect()
}

/// A value before its column is asked.
enum Loose {
    Nothing,
    Number(i64),
    Text(String),
}

impl Loose {
    fn of(self, column: &Column) -> Result<Cell, &'static str> {
        match (self, column.kind) {
            (Self::Nothing, _) if column.optional => Ok(Cell::Nothing),
            (Self::Nothing, _) => Err("may not be null"),
            (Self::Number(number), Kind::Number) => Ok(Cell::Number(number)),
            (Self::Text(text), Kind::Text) if !text.contains('\0') => Ok(Cell::Text(text)),
            (Self::Text(text), Kind::Bytes) => base64url::decode(&text)
                .map(Cell::Bytes)
                .ok_or("not base64url"),
            (_, Kind::Number) => Err("not a whole number"),
            (_, Kind::Text) => Err("not a text"),
            (_, Kind::Bytes) => Err("not base64url"),
        }
    }
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values;
        impl Visitor<'_> for Values {
            type Value = Loose;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("null, a whole number from 0 or a text")
            }

            fn visit_unit<E>(self) -> Result<Loose, E> {
                Ok(Loose::Nothing)
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Loose, E> {
                let number = i64::try_from(number);
                number
                    .map(Loose::Number)
                    .map_err(|_| E::custom("too large"))
            }

            fn visit_str<E>(self, text: &str) -> Result<Loose, E> {
                Ok(Loose::Text(text.to_owned()))
            }
        }
        deserializer.deserialize_any(Values)
    }
}
