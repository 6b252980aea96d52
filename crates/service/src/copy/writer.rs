//! Writes a copy.

use std::collections::BTreeMap;
use std::io::{self, Write};

use hmac_sha256::Hash;

use super::{
    Cell, Footer, Header, LINE_MAX_BYTES, Summary, Table, hexadecimal, length, line_of, summary,
};

/// Writes a copy.
pub struct Writer<W> {
    to: W,
    header: Header,
    hash: Hash,
    bytes: u64,
    rows: BTreeMap<String, u64>,
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn begin(to: W, header: Header) -> io::Result<Self> {
        let mut writer = Self {
            to,
            hash: Hash::new(),
            bytes: 0,
            rows: BTreeMap::new(),
            header,
        };
        let line = line_of(&writer.header)?;
        writer.write(&line)?;
        Ok(writer)
    }

    /// Begins the next table.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn table(&mut self, table: &Table) -> io::Result<()> {
        self.rows.insert(table.name.to_owned(), 0);
        self.write(&table.line()?)
    }

    /// Writes a row of `table`.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or is longer than a reader takes.
    pub fn row(&mut self, table: &Table, cells: &[Cell]) -> io::Result<()> {
        let line = line_of(cells)?;
        if length(&line) > LINE_MAX_BYTES {
            let text = format!(
                "a row of {} is longer than {LINE_MAX_BYTES} bytes",
                table.name
            );
            return Err(io::Error::other(text));
        }
        *self.rows.entry(table.name.to_owned()).or_default() += 1;
        self.write(&line)
    }

    /// Writes the footer.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<Summary> {
        let footer = Footer {
            rows: self.rows,
            sha256: hexadecimal(self.hash.finalize()),
        };
        let line = line_of(&footer)?;
        self.to.write_all(&line)?;
        self.to.flush()?;
        let bytes = self.bytes + length(&line);
        Ok(summary(&self.header, footer, bytes))
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        self.to.write_all(line)?;
        self.hash.update(line);
        self.bytes += length(line);
        Ok(())
    }
}
