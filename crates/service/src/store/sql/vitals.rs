//! How a database stands, told without changing it.

use super::dialect::{Dialect, Purpose};
use super::rows::number;
use super::schema::{applied_versions, known_versions};
use super::source::Source;
use super::sqlite;
use super::transaction::Connection;
use crate::clock::Clock;
use crate::store::StoreError;

/// How a database stands.
#[derive(Clone, Debug)]
pub struct Vitals {
    /// Its server's clock, in milliseconds since 1970; none of a file.
    pub clock_ms: Option<u64>,
    /// When that was asked, by our clock.
    pub asked_ms: u64,
    /// When it was answered.
    pub answered_ms: u64,
    /// Whether the server may lose in a crash what it has acknowledged.
    pub may_lose_writes: bool,
    /// Migrations of this program that it has not.
    pub pending_versions: Vec<u64>,
    /// Migrations that it has and this program does not know.
    pub unknown_versions: Vec<u64>,
}

/// Looks at the database at `url`; `None` if it is a file that is not there.
///
/// # Errors
///
/// `StoreError::Unavailable` and others, when it cannot be asked.
pub async fn vitals(url: &str, clock: &dyn Clock) -> Result<Option<Vitals>, StoreError> {
    let source = Source::of(url)?;
    let dialect = source.dialect;
    if dialect == Dialect::Sqlite && !sqlite::file(url)?.exists() {
        return Ok(None);
    }
    let mut raw = source.connect(Purpose::Pool).await?;
    let mut connection = Connection::new(&mut raw, dialect);
    let asked_ms = clock.unix_ms();
    let clock_ms = match dialect.clock() {
        Some(ask) => Some(number(&connection.one(ask.plain()).await?, "now_ms")?),
        None => None,
    };
    let answered_ms = clock.unix_ms();
    let may_lose_writes = match dialect.count_weak_settings() {
        Some(count) => number(&connection.one(count.plain()).await?, "weak")? > 0,
        None => false,
    };
    let applied = applied_versions(&mut connection, dialect).await?;
    let known = known_versions(dialect);
    let without = |these: &[u64], those: &[u64]| {
        let missing = these.iter().filter(|version| !those.contains(version));
        missing.copied().collect()
    };
    Ok(Some(Vitals {
        clock_ms,
        asked_ms,
        answered_ms,
        may_lose_writes,
        pending_versions: without(&known, &applied),
        unknown_versions: without(&applied, &known),
    }))
}
