//! The session table: its database, its schema, keys, credentials and journal.

use std::path::Path;
use std::sync::Arc;

use hallpass_session::time::{Seconds, UnixSeconds};

use super::private::weakness;
use super::{ClockReading, DoctorArguments, Findings};
use crate::cli::report::time;
use crate::clock::{Clock, SystemClock};
use crate::config::{Environment, Settings};
use crate::credential::Scope;
use crate::key_changes::{KeyRefusal, KeyStanding, standing, stopped_signing};
use crate::keys::proven_secret;
use crate::master_key::MasterKey;
use crate::store::sql::{SqlStore, Vitals, vitals, without_password};
use crate::store::{CredentialRow, KeyKind, KeyRow, Store, StoreError};

/// How long a key that signs no longer may still be needed: the longest life of a token (an hour),
/// the time to its end in the list, and as much again for a slow operator.
const OVERLAP: Seconds = Seconds::new(86_400);

/// What a running deployment is compared with.
pub(super) struct TableSeen {
    /// Session keys that are trusted.
    pub(super) session_kids: Vec<String>,
    /// The list's epoch.
    pub(super) epoch: String,
}

/// A look at one table.
struct Look<'a> {
    settings: &'a Settings,
    arguments: &'a DoctorArguments,
    now: UnixSeconds,
}

pub(super) async fn look(
    settings: &Settings,
    arguments: &DoctorArguments,
    findings: &mut Findings,
) -> Option<TableSeen> {
    findings.looked_at("database");
    let clock = SystemClock::default();
    let url = &settings.database_url;
    match vitals(url, &clock).await {
        Ok(Some(vitals)) => {
            let look = Look {
                settings,
                arguments,
                now: clock.now(),
            };
            if !is_as_it_should_be(&vitals, findings) {
                return None;
            }
            look.open(findings).await
        }
        Ok(None) => {
            findings.error(
                "database_absent",
                format!("there is no session table at {}", without_password(url)),
                "`hallpass init` or `hallpass serve` makes one; or name yours with --config or \
                 --database-url",
            );
            None
        }
        Err(error) => {
            note_store_error(&error, findings);
            None
        }
    }
}

impl Look<'_> {
    async fn open(&self, findings: &mut Findings) -> Option<TableSeen> {
        let clock = Arc::new(SystemClock::default());
        let store = match SqlStore::open(&self.settings.database_url, 1, clock).await {
            Ok(store) => store,
            Err(error) => {
                note_store_error(&error, findings);
                return None;
            }
        };
        let seen = self.rows(&store, findings).await;
        store.close().await;
        seen.map_err(|error| note_store_error(&error, findings))
            .ok()
    }

    async fn rows(
        &self,
        store: &dyn Store,
        findings: &mut Findings,
    ) -> Result<TableSeen, StoreError> {
        store.check_writable().await?;
        let keys = store.keys().await?;
        findings.looked_at("keys");
        self.keys(&keys, findings);
        findings.looked_at("credentials");
        self.credentials(&store.credentials().await?, findings);
        findings.looked_at("journal");
        self.journal(!keys.is_empty(), findings);
        let state = store.recovery_state().await?;
        if let Some(taken_at) = state.restored_at {
            findings.error(
                "recovery_due",
                format!(
                    "the table is a backup of {} that nobody recovered",
                    time(taken_at)
                ),
                "hallpass recover: the service does not start before",
            );
        }
        let trusted = |row: &&KeyRow| row.kind == KeyKind::Session && row.removed_at.is_none();
        Ok(TableSeen {
            session_kids: keys
                .iter()
                .filter(trusted)
                .map(|row| row.kid.clone())
                .collect(),
            epoch: state.epoch,
        })
    }

    fn keys(&self, keys: &[KeyRow], findings: &mut Findings) {
        if keys.is_empty() {
            findings.warning(
                "keys_none",
                "the table has no keys yet",
                "start the service once: it makes them",
            );
            return;
        }
        self.secrets(keys, findings);
        for kind in KeyKind::ALL {
            self.signer(keys, kind, findings);
        }
        for row in keys {
            self.overlap(keys, row, findings);
        }
    }

    /// Opens every key as the service would.
    fn secrets(&self, keys: &[KeyRow], findings: &mut Findings) {
        let trusted = || keys.iter().filter(|row| row.removed_at.is_none());
        let is_production = self.settings.environment == Environment::Production;
        let in_clear = trusted().filter(|row| !row.sealed).count();
        if in_clear > 0 && (is_production || self.settings.master_key_file.is_some()) {
            findings.warning(
                "keys_in_clear",
                format!("{in_clear} keys rest in the table in clear"),
                "set master_key_file and start the service once: it seals them; rotate them if \
                 others may have a copy of the database",
            );
        }
        let master = self
            .settings
            .master_key_file
            .as_deref()
            .map(MasterKey::read);
        // One that cannot be read was found with the files.
        let Ok(master) = master.transpose() else {
            return;
        };
        for row in trusted() {
            let name = crate::keys::name(row);
            match proven_secret(row, master.as_ref(), &self.settings.issuer) {
                Ok(secret) => {
                    if let Some(weakness) = weakness(&secret) {
                        findings.error(
                            "key_weak",
                            format!("{name} {weakness}: others may know it"),
                            format!(
                                "hallpass keys remove --replace --kind {} {}",
                                row.kind.name(),
                                row.kid
                            ),
                        );
                    }
                }
                Err(fault) => {
                    findings.error(
                        "key_unusable",
                        KeyRefusal::from(fault).to_string(),
                        "set master_key_file and issuer as they were when the key was made: the \
                     service does not start with others",
                    );
                    // The others most likely fail for the same reason.
                    return;
                }
            }
        }
    }

    /// There is one that signs, and it is not too old.
    fn signer(&self, keys: &[KeyRow], kind: KeyKind, findings: &mut Findings) {
        let signs = |row: &&KeyRow| {
            row.kind == kind && standing(keys, row, self.now) == KeyStanding::Signing
        };
        let kind = kind.name();
        let Some(signer) = keys.iter().find(signs) else {
            findings.error(
                "key_missing",
                format!("no {kind} key may sign now"),
                format!("hallpass keys rotate --now --kind {kind}"),
            );
            return;
        };
        if self.is_older(signer.created_at, self.arguments.keys_max_age) {
            findings.warning(
                "key_old",
                format!(
                    "{kind} key {} signs since {}",
                    signer.kid,
                    time(signer.signs_from)
                ),
                format!("hallpass keys rotate --kind {kind}"),
            );
        }
    }

    /// A key that signs no longer is trusted until it is removed. Renewal keys are apart: a session
    /// may come back with a token of one for as long as it lives.
    fn overlap(&self, keys: &[KeyRow], row: &KeyRow, findings: &mut Findings) {
        if row.removed_at.is_some() || row.kind == KeyKind::Renewal {
            return;
        }
        let stopped = stopped_signing(keys, row, self.now);
        if let Some(stopped) = stopped.filter(|at| self.is_older(*at, OVERLAP)) {
            let kind = row.kind.name();
            findings.warning(
                "key_overdue",
                format!(
                    "{kind} key {} signs no longer since {} and is trusted still",
                    row.kid,
                    time(stopped)
                ),
                format!("hallpass keys remove --kind {kind} {}", row.kid),
            );
        }
    }

    fn credentials(&self, rows: &[CredentialRow], findings: &mut Findings) {
        let live = || rows.iter().filter(|row| row.revoked_at.is_none());
        for scope in [Scope::Edge, Scope::App] {
            let scope = scope.name();
            if !live().any(|row| row.scope == scope) {
                findings.warning(
                    "credential_missing",
                    format!("there is no credential of scope {scope}: nobody can call as such"),
                    format!("hallpass credentials create --scope {scope} --name NAME"),
                );
            }
        }
        for row in
            live().filter(|row| self.is_older(row.created_at, self.arguments.credentials_max_age))
        {
            let CredentialRow { id, scope, .. } = row;
            findings.warning(
                "credential_old",
                format!(
                    "credential {id} of scope {scope} is in use since {}",
                    time(row.created_at)
                ),
                format!(
                    "hallpass credentials create --scope {scope}, put it in the old one's place, \
                     then hallpass credentials revoke {id}"
                ),
            );
        }
    }

    fn journal(&self, is_in_use: bool, findings: &mut Findings) {
        let Some(path) = &self.settings.journal_file else {
            if self.settings.environment == Environment::Production {
                findings.warning(
                    "journal_off",
                    "no revocation journal is kept: should a backup be restored, what was ended \
                     since lives again",
                    "set journal_file to a file that is not on the database's disk",
                );
            }
            return;
        };
        match open_to_append(path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if is_in_use {
                    findings.warning(
                        "journal_absent",
                        format!(
                            "the revocation journal {} is not there: what was written in it is \
                             lost, or the service writes it elsewhere",
                            path.display()
                        ),
                        "put it back, or set journal_file to where it is",
                    );
                }
            }
            Err(error) => findings.error(
                "journal_unwritable",
                format!("the revocation journal {}: {error}", path.display()),
                "let the service's user write that file",
            ),
        }
    }

    fn is_older(&self, at: UnixSeconds, age: Seconds) -> bool {
        at.plus(age) < self.now
    }
}

/// Whether the table can be opened as it is.
fn is_as_it_should_be(vitals: &Vitals, findings: &mut Findings) -> bool {
    if let Some(theirs_ms) = vitals.clock_ms {
        let reading = ClockReading {
            ours_ms: (vitals.asked_ms, vitals.answered_ms),
            theirs_ms: (theirs_ms, theirs_ms),
        };
        findings.compare_clocks("database_clock", "the database's server", &reading);
    }
    if vitals.may_lose_writes {
        findings.error(
            "database_may_lose_writes",
            "the database's server may lose in a crash what it has acknowledged",
            "set fsync and full_page_writes to on (PostgreSQL), \
             innodb_flush_log_at_trx_commit to 1 (MySQL, MariaDB)",
        );
    }
    if !vitals.unknown_versions.is_empty() {
        findings.error(
            "schema_new",
            "a newer hallpass than this one has written the table's schema",
            "use that version, here and for the service",
        );
        return false;
    }
    if !vitals.pending_versions.is_empty() {
        findings.error(
            "schema_old",
            format!(
                "the table's schema lacks {} of this version's migrations",
                vitals.pending_versions.len()
            ),
            "back up, then `hallpass migrate` (`--dry-run` shows the statements)",
        );
        return false;
    }
    true
}

/// Opens without making or changing it.
fn open_to_append(path: &Path) -> std::io::Result<()> {
    std::fs::OpenOptions::new()
        .append(true)
        .open(path)
        .map(drop)
}

fn note_store_error(error: &StoreError, findings: &mut Findings) {
    let text = error.to_string();
    match error {
        StoreError::Unavailable(_) | StoreError::Busy(_) => findings.unreachable(
            "database_unreachable",
            text,
            "start the database, or set database_url to where it is",
        ),
        StoreError::Full(_) | StoreError::ReadOnly(_) => {
            findings.error("database_unwritable", text, "nobody can sign in until then");
        }
        StoreError::Restored => findings.error(
            "recovery_due",
            text,
            "hallpass recover: the service does not start before",
        ),
        StoreError::Schema(_) | StoreError::Rejected(_) | StoreError::Damaged(_) => findings.error(
            "database_unusable",
            text,
            "use the hallpass that wrote it, or restore a backup: docs/operations.md",
        ),
    }
}
