//! What is copied: every table, its columns and how its rows are told apart.
//!
//! The one list that writing and reading go by, in files and in databases. A test holds it against
//! the schema: a column that is missing here would be missing from backups. What running processes say
//! of themselves (`processes`) stays where it is.

use std::io;

use serde::Serialize;

use super::line_of;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whole numbers from 0.
    Number,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether it may hold nothing.
    pub optional: bool,
}

/// How many rows a table has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Always one.
    One,
    /// So few that they fit into memory.
    Few,
    /// Any number, told apart by the first column.
    Many,
}

/// A table.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns, the key first.
    pub columns: &'static [Column],
    /// The columns of its key, by which rows are ordered.
    pub key: &'static str,
    /// How many rows it has.
    pub extent: Extent,
}

/// Every table that is copied, in order.
pub static TABLES: [Table; 12] = [
    Table {
        name: "head",
        columns: &[
            number("id"),
            number("seq"),
            text("epoch"),
            number("began"),
            number("keys_seq"),
            number("adopt_until"),
            number("audit_id"),
            number("event_id"),
            number("restored_at"),
        ],
        key: "id",
        extent: Extent::One,
    },
    Table {
        name: "watermark",
        columns: &[number("id"), number("revoked_before")],
        key: "id",
        extent: Extent::One,
    },
    Table {
        name: "issuance",
        columns: &[
            number("id"),
            number("next_idx"),
            number("longest_token_secs"),
        ],
        key: "id",
        extent: Extent::One,
    },
    Table {
        name: "webhook",
        columns: &[
            number("id"),
            number("delivered_to"),
            text("holder"),
            number("held_until"),
        ],
        key: "id",
        extent: Extent::One,
    },
    Table {
        name: "keyring",
        columns: &[
            text("kind"),
            text("kid"),
            text("alg"),
            text("public_jwk").or_nothing(),
            bytes("secret"),
            number("sealed"),
            bytes("check_value"),
            number("created_at"),
            number("signs_from"),
            number("retired_at").or_nothing(),
            number("removed_at").or_nothing(),
        ],
        key: "kind, kid",
        extent: Extent::Few,
    },
    Table {
        name: "credentials",
        columns: &[
            text("id"),
            text("scope"),
            text("name"),
            bytes("digest"),
            number("created_at"),
            number("revoked_at").or_nothing(),
        ],
        key: "id",
        extent: Extent::Many,
    },
    Table {
        name: "sessions",
        columns: &[
            bytes("sid"),
            number("idx"),
            text("subject"),
            number("created_at"),
            number("auth_time"),
            number("ends_at"),
            number("idle_secs"),
            number("persistent"),
            text("ip").or_nothing(),
            text("country").or_nothing(),
            text("region").or_nothing(),
            text("city").or_nothing(),
            number("asn").or_nothing(),
            text("user_agent").or_nothing(),
            text("device_label"),
            text("device_kind"),
            text("device_browser").or_nothing(),
            text("device_os").or_nothing(),
            text("amr"),
            text("ext").or_nothing(),
        ],
        key: "sid",
        extent: Extent::Many,
    },
    Table {
        name: "renewals",
        columns: &[
            bytes("sid"),
            number("generation"),
            bytes("branch"),
            number("confirmed_at"),
            bytes("agent"),
            text("ip").or_nothing(),
            text("country").or_nothing(),
            text("region").or_nothing(),
            text("city").or_nothing(),
            number("asn").or_nothing(),
        ],
        key: "sid",
        extent: Extent::Many,
    },
    Table {
        name: "revocations",
        columns: &[
            bytes("sid"),
            number("seq"),
            number("idx"),
            number("revoked_at"),
            text("ended_by"),
            text("reason"),
            number("list_exp"),
        ],
        key: "sid",
        extent: Extent::Many,
    },
    Table {
        name: "idempotency",
        columns: &[
            bytes("id"),
            bytes("request_digest"),
            bytes("sid"),
            number("expires_at"),
        ],
        key: "id",
        extent: Extent::Many,
    },
    Table {
        name: "audit",
        columns: &[
            number("id"),
            number("at"),
            text("actor"),
            text("action"),
            text("target").or_nothing(),
            text("detail").or_nothing(),
            text("ip").or_nothing(),
            text("request_id").or_nothing(),
        ],
        key: "id",
        extent: Extent::Many,
    },
    Table {
        name: "events",
        columns: &[
            number("id"),
            number("at"),
            text("kind"),
            bytes("sid").or_nothing(),
            text("subject").or_nothing(),
            text("detail").or_nothing(),
        ],
        key: "id",
        extent: Extent::Many,
    },
];

const fn number(name: &'static str) -> Column {
    column(name, Kind::Number)
}

const fn text(name: &'static str) -> Column {
    column(name, Kind::Text)
}

const fn bytes(name: &'static str) -> Column {
    column(name, Kind::Bytes)
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column {
        name,
        kind,
        optional: false,
    }
}

impl Column {
    const fn or_nothing(self) -> Self {
        Self {
            optional: true,
            ..self
        }
    }
}

impl Table {
    /// The names of its columns.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.columns.iter().map(|column| column.name)
    }

    /// The line that begins it.
    pub(super) fn line(&self) -> io::Result<Vec<u8>> {
        #[derive(Serialize)]
        struct Line {
            table: &'static str,
            columns: Vec<&'static str>,
        }
        line_of(&Line {
            table: self.name,
            columns: self.names().collect(),
        })
    }
}
