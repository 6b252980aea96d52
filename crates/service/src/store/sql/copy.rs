//! A whole table out of one database and into another, as [`crate::copy`] writes it.
//!
//! Out: one snapshot, read in pages by key, so that the service goes on beside it and memory stays
//! small. In: one transaction that holds the head from its first statement, only into a table in
//! which nothing has happened yet; what is not committed leaves nothing.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use hallpass_session::time::UnixSeconds;
use sqlx::any::AnyRow;
use sqlx::{Connection as _, Executor, Row as _};

use super::dialect::{Dialect, Purpose};
use super::fault::failed;
use super::rows::{number, text};
use super::source::Source;
use super::statement::{Bound, Composed, Statement};
use super::transaction::Connection;
use super::{ready, schema, sqlite};
use crate::copy::{
    Cell, CopyError, Extent, Header, Kind, Read, Reader, Row, Summary, TABLES, Table, Writer,
};
use crate::journal;
use crate::store::StoreError;

/// Rows read at a time.
const PAGE: usize = 1000;
/// Rows written by one statement: 4000 values of the widest table, of 32,766 that `SQLite` takes.
const BATCH: usize = 200;
/// Bytes of the file that wait for being written: well below what a server takes in one packet.
const BATCH_MAX_BYTES: usize = 1 << 20;

/// How a copy comes into a table.
#[derive(Clone, Debug)]
pub enum Arrival {
    /// The table moves here: nothing happened since, as far as the journal knows.
    Moved {
        /// The journal outside the table, if one is kept.
        journal: Option<PathBuf>,
    },
    /// A backup is put in place: the service is to start only once it was recovered.
    Restored,
}

/// A copy that was written.
#[derive(Debug)]
pub struct Exported {
    /// What it holds.
    pub summary: Summary,
    /// Whether secrets of keys are in it in clear.
    pub keys_in_clear: bool,
}

/// Writes the table at `url` as a copy, as of one moment. Tells `progress` how many rows it wrote.
///
/// # Errors
///
/// When there is no table of this version's schema, or one of both sides fails.
pub async fn export<W: Write>(
    url: &str,
    taken_at: UnixSeconds,
    to: W,
    mut progress: impl FnMut(u64),
) -> Result<Exported, CopyError> {
    let source = Source::of(url)?;
    let dialect = source.dialect;
    if dialect == Dialect::Sqlite {
        exists(&sqlite::file(url)?)?;
    }
    let mut raw = source.connect(Purpose::Pool).await?;
    raw.execute(dialect.be_patient()).await.map_err(failed)?;
    let schema = schema::current(&mut Connection::new(&mut raw, dialect), dialect).await?;
    let begun = raw.begin_with(dialect.begin_snapshot()).await;
    let mut transaction = begun.map_err(failed)?;
    let mut connection = Connection::new(&mut transaction, dialect);
    let (epoch, _) = head(&mut connection).await?;
    let mut writer = Writer::begin(to, Header::new(schema, epoch, taken_at))?;
    let mut rows = 0;
    for table in &TABLES {
        writer.table(table)?;
        let mut pages = Pages::new(table, dialect);
        while let Some(page) = pages.next(&mut connection).await? {
            for row in &page {
                writer.row(table, row)?;
                rows += 1;
            }
            progress(rows);
        }
    }
    Ok(Exported {
        keys_in_clear: any_key_in_clear(&mut connection).await?,
        summary: writer.finish()?,
    })
}

/// Reads a copy into the empty table at `url`, making the table as needed. Tells `progress` how many
/// rows it read.
///
/// # Errors
///
/// When something is in the table, the copy is damaged or of another schema, or the database
/// refuses. Then nothing of it is in the table.
pub async fn import<R: BufRead>(
    url: &str,
    now: UnixSeconds,
    mut from: Reader<R>,
    arrival: Arrival,
    mut progress: impl FnMut(u64),
) -> Result<Summary, CopyError> {
    let source = Source::of(url)?;
    let dialect = source.dialect;
    let mut raw = ready(url, &source, now).await?;
    raw.execute(dialect.be_patient()).await.map_err(failed)?;
    let schema = schema::current(&mut Connection::new(&mut raw, dialect), dialect).await?;
    check_schema(from.header().schema, schema)?;
    // Rolled back on drop.
    let begun = raw.begin_with(dialect.begin()).await;
    let mut transaction = begun.map_err(failed)?;
    let mut connection = Connection::new(&mut transaction, dialect);
    if let Some(lock) = dialect.lock_head() {
        connection.execute(lock.plain()).await?;
    }
    check_empty(&mut connection, dialect).await?;
    let mut batch = Batch::new(&TABLES[0], dialect);
    let mut rows = 0;
    let summary = loop {
        match from.read()? {
            Read::Row(row) => {
                if row.table.name != batch.table.name {
                    batch.flush(&mut connection).await?;
                    batch = Batch::new(row.table, dialect);
                }
                batch.add(row, &mut connection).await?;
                rows += 1;
                progress(rows);
            }
            Read::End(summary) => break summary,
        }
    };
    batch.flush(&mut connection).await?;
    arrive(&mut connection, arrival, summary.taken_at).await?;
    transaction.commit().await.map_err(failed)?;
    Ok(summary)
}

/// The log's epoch and newest number.
async fn head(connection: &mut Connection<'_>) -> Result<(String, u64), StoreError> {
    static HEAD: Statement = Statement::new("SELECT epoch, seq FROM head WHERE id = 1");
    let row = connection.one(HEAD.plain()).await?;
    Ok((text(&row, "epoch")?, number(&row, "seq")?))
}

async fn any_key_in_clear(connection: &mut Connection<'_>) -> Result<bool, StoreError> {
    static IN_CLEAR: Statement =
        Statement::new("SELECT 1 FROM keyring WHERE sealed = 0 AND removed_at IS NULL LIMIT 1");
    Ok(connection.optional(IN_CLEAR.plain()).await?.is_some())
}

/// Reading makes no database.
fn exists(file: &Path) -> Result<(), StoreError> {
    if file.exists() {
        return Ok(());
    }
    let text = format!("{}: there is no such file", file.display());
    Err(StoreError::Unavailable(text))
}

fn check_schema(found: u64, current: u64) -> Result<(), CopyError> {
    if found == current {
        return Ok(());
    }
    Err(CopyError::Damaged {
        line: 1,
        problem: format!(
            "the copy is of schema {found}, this hallpass has {current}: use the hallpass that made \
             it, then `hallpass migrate` with this one"
        ),
    })
}

async fn check_empty(connection: &mut Connection<'_>, dialect: Dialect) -> Result<(), CopyError> {
    for table in &TABLES {
        if table.extent == Extent::One {
            continue;
        }
        let any = format!("SELECT 1 FROM {} LIMIT 1", table.name);
        let any = Composed::new(any, dialect);
        if connection.optional(any.plain()).await?.is_some() {
            return Err(CopyError::Occupied(table.name));
        }
    }
    match head(connection).await? {
        (_, 0) => Ok(()),
        _ => Err(CopyError::Occupied("a history")),
    }
}

async fn arrive(
    connection: &mut Connection<'_>,
    arrival: Arrival,
    taken_at: u64,
) -> Result<(), CopyError> {
    static RESTORED: Statement = Statement::new("UPDATE head SET restored_at = $1 WHERE id = 1");
    match arrival {
        Arrival::Restored => {
            connection.execute(RESTORED.bind(taken_at)).await?;
        }
        Arrival::Moved { journal: None } => {}
        Arrival::Moved {
            journal: Some(journal),
        } => {
            let end = journal::read_end(&journal)?;
            let (epoch, seq) = head(connection).await?;
            if end.is_ahead(&epoch, seq) {
                return Err(CopyError::Behind);
            }
        }
    }
    Ok(())
}

/// A table's rows, some at a time, in the order of its key.
struct Pages {
    table: &'static Table,
    first: Composed,
    further: Composed,
    at: At,
}

/// Where reading is.
enum At {
    Start,
    After(Cell),
    End,
}

impl Pages {
    fn new(table: &'static Table, dialect: Dialect) -> Self {
        let columns = table.names().collect::<Vec<_>>().join(", ");
        let (name, key) = (table.name, table.key);
        let limit = match table.extent {
            Extent::Many => format!(" LIMIT {PAGE}"),
            Extent::One | Extent::Few => String::new(),
        };
        let select = |condition: &str| {
            let sql = format!("SELECT {columns} FROM {name}{condition} ORDER BY {key}{limit}");
            Composed::new(sql, dialect)
        };
        Self {
            table,
            first: select(""),
            further: select(&format!(" WHERE {key} > $1")),
            at: At::Start,
        }
    }

    async fn next(
        &mut self,
        connection: &mut Connection<'_>,
    ) -> Result<Option<Vec<Vec<Cell>>>, StoreError> {
        let bound = match std::mem::replace(&mut self.at, At::End) {
            At::Start => self.first.plain(),
            At::After(key) => bind(self.further.plain(), key, Kind::Bytes),
            At::End => return Ok(None),
        };
        let rows = connection.all(bound).await?;
        let rows = rows.iter().map(|row| cells(row, self.table));
        let rows: Vec<Vec<Cell>> = rows.collect::<Result<_, _>>()?;
        if self.table.extent == Extent::Many
            && rows.len() == PAGE
            && let Some(key) = rows.last().and_then(|last| last.first())
        {
            self.at = At::After(key.clone());
        }
        Ok(Some(rows))
    }
}

fn cells(row: &AnyRow, table: &Table) -> Result<Vec<Cell>, StoreError> {
    let columns = table.columns.iter().enumerate();
    columns
        .map(|(at, column)| {
            let cell = match column.kind {
                Kind::Number => {
                    let number: Option<i64> = row.try_get(at).map_err(failed)?;
                    number.map(Cell::Number)
                }
                Kind::Text => {
                    let text: Option<String> = row.try_get(at).map_err(failed)?;
                    text.map(Cell::Text)
                }
                Kind::Bytes => {
                    let bytes: Option<Vec<u8>> = row.try_get(at).map_err(failed)?;
                    bytes.map(Cell::Bytes)
                }
            };
            match cell {
                None if column.optional => Ok(Cell::Nothing),
                None | Some(Cell::Number(..0)) => Err(StoreError::Damaged(column.name)),
                Some(cell) => Ok(cell),
            }
        })
        .collect()
}

fn bind(bound: Bound, cell: Cell, kind: Kind) -> Bound {
    match (cell, kind) {
        (Cell::Number(number), _) => bound.bind(number),
        (Cell::Text(text), _) => bound.bind(text),
        (Cell::Bytes(bytes), _) => bound.bind(bytes),
        (Cell::Nothing, Kind::Number) => bound.bind(None::<i64>),
        (Cell::Nothing, Kind::Text) => bound.bind(None::<String>),
        (Cell::Nothing, Kind::Bytes) => bound.bind(None::<Vec<u8>>),
    }
}

/// Rows of one table that wait for being written.
struct Batch {
    table: &'static Table,
    one: Composed,
    many: Composed,
    waiting: Vec<Row>,
    bytes: usize,
}

impl Batch {
    fn new(table: &'static Table, dialect: Dialect) -> Self {
        let one = match table.extent {
            // It is there already, and others may wait for its lock.
            Extent::One => update(table),
            Extent::Few | Extent::Many => insert(table, 1),
        };
        Self {
            table,
            one: Composed::new(one, dialect),
            many: Composed::new(insert(table, BATCH), dialect),
            waiting: Vec::new(),
            bytes: 0,
        }
    }

    async fn add(&mut self, row: Row, connection: &mut Connection<'_>) -> Result<(), CopyError> {
        self.bytes += row.bytes;
        self.waiting.push(row);
        if self.waiting.len() == BATCH {
            let rows = std::mem::take(&mut self.waiting);
            self.bytes = 0;
            return run(self.many.plain(), rows, connection).await;
        }
        if self.bytes > BATCH_MAX_BYTES {
            return self.flush(connection).await;
        }
        Ok(())
    }

    /// Writes what waits, row by row.
    async fn flush(&mut self, connection: &mut Connection<'_>) -> Result<(), CopyError> {
        self.bytes = 0;
        for row in std::mem::take(&mut self.waiting) {
            run(self.one.plain(), vec![row], connection).await?;
        }
        Ok(())
    }
}

async fn run(
    mut statement: Bound,
    rows: Vec<Row>,
    connection: &mut Connection<'_>,
) -> Result<(), CopyError> {
    let line = |row: Option<&Row>| row.map_or(0, |row| row.line);
    let (first, last) = (line(rows.first()), line(rows.last()));
    for row in rows {
        for (cell, column) in row.cells.into_iter().zip(row.table.columns) {
            statement = bind(statement, cell, column.kind);
        }
    }
    match connection.execute(statement).await {
        Ok(_) => Ok(()),
        Err(error @ StoreError::Rejected(_)) => Err(CopyError::Refused { first, last, error }),
        Err(error) => Err(error.into()),
    }
}

fn insert(table: &Table, rows: usize) -> String {
    let columns = table.names().collect::<Vec<_>>().join(", ");
    let mut mark = 0;
    let mut row = || {
        let marks = table.columns.iter().map(|_| {
            mark += 1;
            format!("${mark}")
        });
        format!("({})", marks.collect::<Vec<_>>().join(", "))
    };
    let rows: Vec<String> = (0..rows).map(|_| row()).collect();
    format!(
        "INSERT INTO {} ({columns}) VALUES {}",
        table.name,
        rows.join(", ")
    )
}

/// Sets every column; a row has its id among its values, and the table no other.
fn update(table: &Table) -> String {
    let names = table.names().enumerate();
    let sets: Vec<String> = names
        .map(|(at, name)| format!("{name} = ${}", at + 1))
        .collect();
    format!("UPDATE {} SET {}", table.name, sets.join(", "))
}
