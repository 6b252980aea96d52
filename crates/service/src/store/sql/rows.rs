//! Rows of the table as Rust values, and back.
//!
//! Databases' integers are signed; ours are not. A value that no version of this program writes is
//! `StoreError::Damaged`, never a guess.

use hallpass_session::renewal::{Branch, Confirmed};
use hallpass_session::time::{Seconds, UnixSeconds};
use hallpass_session::wire::{Device, Ended, EndedBy, Place};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::fault::failed;
use crate::record::{Origin, SessionRecord};
use crate::store::{CredentialRow, KeyKind, KeyRow, LogEntry, StoreError};

/// A read of whole sessions; conditions and order follow, more columns and their tables may lead.
macro_rules! select_sessions {
    ($rest:literal) => {
        select_sessions!("", "", $rest)
    };
    ($columns:literal, $tables:literal, $rest:literal) => {
        concat!(
            "SELECT s.sid, s.idx, s.subject, s.created_at, s.auth_time, s.ends_at, s.idle_secs, \
             s.persistent, s.device_label, s.device_kind, s.device_browser, s.device_os, s.amr, \
             s.ext, n.generation, n.branch, n.confirmed_at, n.agent, n.ip, n.country, n.region, \
             n.city, n.asn, r.revoked_at, r.ended_by, r.reason, w.revoked_before",
            $columns,
            " FROM sessions s JOIN renewals n ON n.sid = s.sid JOIN watermark w ON w.id = 1 ",
            $tables,
            " LEFT JOIN revocations r ON r.sid = s.sid ",
            $rest
        )
    };
}
pub(super) use select_sessions;

pub(super) fn read_session(row: &AnyRow) -> Result<SessionRecord, StoreError> {
    Ok(SessionRecord {
        sid: fixed(row, "sid")?,
        idx: small(row, "idx")?,
        subject: text(row, "subject")?,
        created_at: time(row, "created_at")?,
        auth_time: time(row, "auth_time")?,
        ends_at: time(row, "ends_at")?,
        idle: Seconds::new(number(row, "idle_secs")?),
        persistent: number(row, "persistent")? == 1,
        device: read_device(row)?,
        amr: json(&text(row, "amr")?, "amr")?,
        ext: maybe_text(row, "ext")?
            .map(|ext| json(&ext, "ext"))
            .transpose()?,
        confirmed: read_confirmed(row)?,
        origin: read_origin(row)?,
        revocation: read_ended(row)?,
        revoked_before: time(row, "revoked_before")?,
    })
}

pub(super) fn read_key(row: &AnyRow) -> Result<KeyRow, StoreError> {
    Ok(KeyRow {
        kind: KeyKind::parse(&text(row, "kind")?).ok_or(StoreError::Damaged("kind"))?,
        kid: text(row, "kid")?,
        alg: text(row, "alg")?,
        public_jwk: maybe_text(row, "public_jwk")?,
        secret: bytes(row, "secret")?,
        sealed: number(row, "sealed")? == 1,
        check_value: fixed(row, "check_value")?,
        created_at: time(row, "created_at")?,
        signs_from: time(row, "signs_from")?,
        retired_at: maybe_time(row, "retired_at")?,
        removed_at: maybe_time(row, "removed_at")?,
    })
}

pub(super) fn read_credential(row: &AnyRow) -> Result<CredentialRow, StoreError> {
    Ok(CredentialRow {
        id: text(row, "id")?,
        scope: text(row, "scope")?,
        name: text(row, "name")?,
        digest: fixed(row, "digest")?,
        created_at: time(row, "created_at")?,
        revoked_at: maybe_time(row, "revoked_at")?,
    })
}

pub(super) fn read_entry(row: &AnyRow) -> Result<LogEntry, StoreError> {
    Ok(LogEntry {
        seq: number(row, "seq")?,
        idx: small(row, "idx")?,
        list_exp: time(row, "list_exp")?,
    })
}

/// The word for `by` in the table.
pub(super) const fn ended_by_name(by: EndedBy) -> &'static str {
    match by {
        EndedBy::User => "user",
        EndedBy::Admin => "admin",
        EndedBy::App => "app",
        EndedBy::System => "system",
    }
}

pub(super) fn time(row: &AnyRow, column: &'static str) -> Result<UnixSeconds, StoreError> {
    number(row, column).map(UnixSeconds::new)
}

pub(super) fn number(row: &AnyRow, column: &'static str) -> Result<u64, StoreError> {
    let value: i64 = row.try_get(column).map_err(failed)?;
    u64::try_from(value).map_err(|_| StoreError::Damaged(column))
}

pub(super) fn small(row: &AnyRow, column: &'static str) -> Result<u32, StoreError> {
    u32::try_from(number(row, column)?).map_err(|_| StoreError::Damaged(column))
}

pub(super) fn text(row: &AnyRow, column: &'static str) -> Result<String, StoreError> {
    row.try_get(column).map_err(failed)
}

pub(super) fn fixed<const N: usize>(
    row: &AnyRow,
    column: &'static str,
) -> Result<[u8; N], StoreError> {
    let bytes = bytes(row, column)?;
    bytes.try_into().map_err(|_| StoreError::Damaged(column))
}

pub(super) fn bytes(row: &AnyRow, column: &'static str) -> Result<Vec<u8>, StoreError> {
    row.try_get(column).map_err(failed)
}

pub(super) fn maybe_bytes(
    row: &AnyRow,
    column: &'static str,
) -> Result<Option<Vec<u8>>, StoreError> {
    row.try_get(column).map_err(failed)
}

pub(super) fn maybe_text(row: &AnyRow, column: &'static str) -> Result<Option<String>, StoreError> {
    row.try_get(column).map_err(failed)
}

pub(super) fn maybe_number(row: &AnyRow, column: &'static str) -> Result<Option<u64>, StoreError> {
    let value: Option<i64> = row.try_get(column).map_err(failed)?;
    value
        .map(u64::try_from)
        .transpose()
        .map_err(|_| StoreError::Damaged(column))
}

fn maybe_time(row: &AnyRow, column: &'static str) -> Result<Option<UnixSeconds>, StoreError> {
    Ok(maybe_number(row, column)?.map(UnixSeconds::new))
}

fn json<T: serde::de::DeserializeOwned>(text: &str, column: &'static str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Damaged(column))
}

fn read_device(row: &AnyRow) -> Result<Device, StoreError> {
    Ok(Device {
        label: text(row, "device_label")?,
        kind: text(row, "device_kind")?,
        browser: maybe_text(row, "device_browser")?,
        os: maybe_text(row, "device_os")?,
    })
}

fn read_confirmed(row: &AnyRow) -> Result<Confirmed, StoreError> {
    let branch = Branch {
        generation: small(row, "generation")?,
        branch: fixed(row, "branch")?,
    };
    let confirmed_at = time(row, "confirmed_at")?;
    Ok(Confirmed {
        branch,
        confirmed_at,
        agent: fixed(row, "agent")?,
    })
}

fn read_origin(row: &AnyRow) -> Result<Origin, StoreError> {
    let asn = maybe_number(row, "asn")?;
    Ok(Origin {
        ip: maybe_text(row, "ip")?,
        place: Place {
            country: maybe_text(row, "country")?,
            region: maybe_text(row, "region")?,
            city: maybe_text(row, "city")?,
        },
        asn: asn
            .map(u32::try_from)
            .transpose()
            .map_err(|_| StoreError::Damaged("asn"))?,
    })
}

fn read_ended(row: &AnyRow) -> Result<Option<Ended>, StoreError> {
    let Some(at) = maybe_number(row, "revoked_at")? else {
        return Ok(None);
    };
    let by = match text(row, "ended_by")?.as_str() {
        "user" => EndedBy::User,
        "admin" => EndedBy::Admin,
        "app" => EndedBy::App,
        "system" => EndedBy::System,
        _ => return Err(StoreError::Damaged("ended_by")),
    };
    Ok(Some(Ended {
        at,
        by,
        reason: text(row, "reason")?,
    }))
}
