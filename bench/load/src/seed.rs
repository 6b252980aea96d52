//! Fills a database with sessions faster than signing in would, by its own SQL.

use anyhow::{Context, Result};
use hallpass_service::record::Sid;
use hallpass_session::time::UnixSeconds;

use crate::database::{Database, Kind};

/// How sessions are read back: far apart, so that no page serves two in a row.
const HEX_DIGITS: usize = 32;

/// Writes `sessions` live sessions, each of a subject of its own.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn fill(database: &Database, sessions: u32, now: UnixSeconds) -> Result<()> {
    let sql = match database.kind() {
        Kind::Sqlite => format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {sessions}) \
             INSERT INTO sessions {COLUMNS} SELECT randomblob(16), i - 1, 'user-' || i, {} FROM n",
            values(now)
        ),
        Kind::Postgresql => format!(
            "INSERT INTO sessions {COLUMNS} SELECT decode(md5(random()::text || i), 'hex'), i - 1, \
             'user-' || i, {} FROM generate_series(1, {sessions}) AS s(i)",
            values(now)
        ),
        Kind::Mariadb => format!(
            "INSERT INTO sessions {COLUMNS} SELECT UNHEX(MD5(CONCAT(RAND(), seq))), seq - 1, \
             CONCAT('user-', seq), {} FROM seq_1_to_{sessions}",
            values(now)
        ),
    };
    let zeros = |bytes: usize| match database.kind() {
        Kind::Sqlite => format!("zeroblob({bytes})"),
        Kind::Postgresql => format!("decode('{}', 'hex')", "00".repeat(bytes)),
        Kind::Mariadb => format!("UNHEX('{}')", "00".repeat(bytes)),
    };
    let renewals = format!(
        "INSERT INTO renewals (sid, generation, branch, confirmed_at, agent) \
         SELECT sid, 0, {}, created_at, {} FROM sessions",
        zeros(8),
        zeros(32)
    );
    let head = format!("UPDATE issuance SET next_idx = {sessions}");
    for statement in [&sql, &renewals, &head] {
        database.ask(statement).await?;
    }
    if database.kind() == Kind::Postgresql {
        database.ask("ANALYZE").await?;
    }
    Ok(())
}

/// `wanted` ids of the sessions, evenly spread over all of them.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn sample(database: &Database, sessions: u32, wanted: usize) -> Result<Vec<Sid>> {
    let every = (sessions / u32::try_from(wanted)?).max(1);
    let hex = match database.kind() {
        Kind::Postgresql => "encode(sid, 'hex')",
        Kind::Sqlite | Kind::Mariadb => "hex(sid)",
    };
    let sql = format!("SELECT {hex} FROM sessions WHERE idx % {every} = 0 LIMIT {wanted}");
    let lines = database.ask(&sql).await?;
    lines.iter().map(|line| read_sid(line)).collect()
}

const COLUMNS: &str = "(sid, idx, subject, created_at, auth_time, ends_at, idle_secs, persistent, \
                       device_label, device_kind, amr)";

fn values(now: UnixSeconds) -> String {
    let now = now.get();
    format!("{now}, {now}, {now} + 2592000, 604800, 1, 'Firefox on Linux', 'desktop', '[]'")
}

fn read_sid(hex: &str) -> Result<Sid> {
    let hex = hex.trim();
    anyhow::ensure!(hex.len() == HEX_DIGITS, "not a session id: {hex}");
    let mut sid = Sid::default();
    for (place, byte) in sid.iter_mut().enumerate() {
        let digits = hex.get(2 * place..2 * place + 2).context("too short")?;
        *byte = u8::from_str_radix(digits, 16)?;
    }
    Ok(sid)
}
