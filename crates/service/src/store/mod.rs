//! The session table as the service sees it: one port, whatever database is behind.
//!
//! Each method is one transaction. An implementation owes its callers:
//! - what a method returned `Ok` for is on disk;
//! - revocation numbers are commit order: they are taken from the one head row inside the revoking
//!   transaction, which holds that row until it commits;
//! - a renewal reads its session under a lock that a revocation of the session takes first, so no
//!   token is issued after its revocation has committed;
//! - issuing seconds are read while the watermark is held, and lie at or after it.
//!
//! Rules are not here: what an answer means is judged by `hallpass_session::renewal` and
//! [`crate::record`]. Randomness comes in with the arguments.
//!
//! Source: docs/protocol.md §3, §4.

pub mod sql;

use async_trait::async_trait;
use hallpass_session::renewal::Branch;
use hallpass_session::time::{Seconds, UnixSeconds};
use hallpass_session::wire::{Device, EndedBy, Position};
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::journal::Journal;
use crate::record::{Origin, SessionRecord, Sid};

/// The table did not do what was asked. Nothing is known to have been written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Unreachable, broken off or broken.
    #[error("the database cannot be used: {0}")]
    Unavailable(String),
    /// Others held what was needed for too long; asking again may work.
    #[error("the database is busy: {0}")]
    Busy(String),
    /// No room to write.
    #[error("the database has no room left, free some on its disk: {0}")]
    Full(String),
    /// It takes no writes now.
    #[error("the database is read-only, let hallpass write or point it at the primary: {0}")]
    ReadOnly(String),
    /// A statement was refused as such.
    #[error("the database refused a statement: {0}")]
    Rejected(String),
    /// Its schema is not one this program knows.
    #[error("the database has another schema: {0}")]
    Schema(String),
    /// It came from a backup and knows nothing of what was done since.
    #[error(
        "the session table was restored from a backup: run `hallpass recover` first, else what was \
         ended since lives again"
    )]
    Restored,
    /// A row holds what no version of this program writes.
    #[error("the database holds an impossible value in {0}")]
    Damaged(&'static str),
}

/// A session about to be written.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// 16 random bytes.
    pub sid: Sid,
    /// Branch of generation 0; random.
    pub branch: [u8; 8],
    /// SHA-256 of the user agent.
    pub agent: [u8; 32],
    /// Who signed in.
    pub subject: String,
    /// When the user proved who they are; the second of creation, if absent.
    pub auth_time: Option<UnixSeconds>,
    /// How long the session may last.
    pub absolute: Seconds,
    /// How long it may go unused.
    pub idle: Seconds,
    /// Whether cookies outlive the browser.
    pub persistent: bool,
    /// Where it was created.
    pub origin: Origin,
    /// User agent as kept.
    pub user_agent: Option<String>,
    /// The device in words.
    pub device: Device,
    /// How the user signed in.
    pub amr: Vec<String>,
    /// The app's own claims.
    pub ext: Option<Map<String, Value>>,
    /// Most live sessions of the subject; the oldest are ended for this one.
    pub subject_limit: Option<u32>,
    /// What makes a repetition of this creation known as one.
    pub idempotency: Option<Idempotency>,
}

/// Identifies a creation that may be asked for twice.
#[derive(Clone, Debug)]
pub struct Idempotency {
    /// SHA-256 of credential id and key.
    pub id: [u8; 32],
    /// SHA-256 of the request body.
    pub request_digest: [u8; 32],
    /// How long a repetition is recognised.
    pub keep: Seconds,
}

/// What became of a creation.
#[derive(Clone, Debug)]
pub enum Creation {
    /// Written.
    Made(Issued),
    /// The same request made this session before.
    Repeated(Issued),
    /// The idempotency key belongs to a different request.
    KeyReused,
}

/// A session for which a token may be issued.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The session as it now is.
    pub record: SessionRecord,
    /// Second to write as `iat`: read under lock, at or after the watermark.
    pub issued_at: UnixSeconds,
    /// Number of the last change of any key: keys read before it may be trusted no longer.
    pub keys_seq: u64,
}

/// A genuine renewal token presented.
#[derive(Clone, Debug)]
pub struct RenewalAttempt {
    /// Its session.
    pub sid: Sid,
    /// Which token of the session.
    pub presented: Branch,
    /// SHA-256 of the user agent that presents it.
    pub agent: [u8; 32],
    /// For how long a sibling or parent is tolerated.
    pub grace: Seconds,
    /// Where it is presented from.
    pub origin: Origin,
}

/// What became of a renewal.
#[derive(Clone, Debug)]
pub enum Renewal {
    /// Answer with a child of the confirmed token.
    Answer {
        /// The session, its confirmed token included.
        issued: Box<Issued>,
        /// Whether this was written as the new confirmed token.
        confirmed: bool,
    },
    /// No such session.
    Unknown,
    /// It was ended.
    Revoked,
    /// It is past its end or was not used for too long.
    Expired,
    /// Two parties hold branches of it: it has now been ended.
    Replayed(Revocation),
    /// The table knows less than the token.
    RolledBack,
}

/// Which sessions to revoke.
#[derive(Clone, Debug)]
pub enum Selection {
    /// One.
    Session(Sid),
    /// Every live one of a subject, but one perhaps.
    Subject {
        /// Whose.
        subject: String,
        /// Stays.
        except: Option<Sid>,
    },
}

/// Who ends sessions, and why.
#[derive(Clone, Copy, Debug)]
pub struct Cause {
    /// Who.
    pub by: EndedBy,
    /// A word for why.
    pub reason: &'static str,
}

/// A committed revocation.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// How many live sessions it ended.
    pub revoked: u64,
    /// The log's epoch.
    pub epoch: String,
    /// Number of the entry; of the newest one, if nothing was live.
    pub seq: u64,
}

/// The revocation log from some point on, read in one snapshot.
#[derive(Clone, Debug)]
pub struct LogRead {
    /// The log's epoch.
    pub epoch: String,
    /// First second of the epoch.
    pub began: UnixSeconds,
    /// Number of the newest entry.
    pub seq: u64,
    /// The watermark.
    pub revoked_before: UnixSeconds,
    /// Number of the last change of any key.
    pub keys_seq: u64,
    /// Session keys trusted now.
    pub kids: Vec<String>,
    /// Entries after the number asked for.
    pub entries: Vec<LogEntry>,
}

/// One revoked session in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its number.
    pub seq: u64,
    /// The session's place in the bitmaps.
    pub idx: u32,
    /// Minute until which the list must hold it.
    pub list_exp: UnixSeconds,
}

/// Until when what is kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Sessions that ended by then may go.
    pub ended_before: UnixSeconds,
    /// If the list held them at most until then.
    pub listed_before: UnixSeconds,
    /// Addresses seen by then may go.
    pub addresses_before: UnixSeconds,
    /// Events of then may go.
    pub events_before: UnixSeconds,
    /// Lines of audit of then may go.
    pub audit_before: UnixSeconds,
}

/// Sessions of which something may be forgotten.
#[derive(Clone, Debug, Default)]
pub struct Due {
    /// Everything.
    pub ended: Vec<Sid>,
    /// Where they were last seen.
    pub seen: Vec<Sid>,
    /// Where their user signed in.
    pub signed_in: Vec<Sid>,
}

impl Due {
    /// Whether there is nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ended.is_empty() && self.seen.is_empty() && self.signed_in.is_empty()
    }
}

/// How much was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Forgotten {
    /// Sessions, with everything of them.
    pub sessions: u64,
    /// Addresses, of sign-in or last seen.
    pub addresses: u64,
    /// Lines of audit and events.
    pub lines: u64,
}

impl Forgotten {
    /// Adds what was forgotten elsewhere.
    pub const fn add(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.addresses += other.addresses;
        self.lines += other.lines;
    }
}

/// What a recovery of a restored table looks at.
#[derive(Clone, Debug)]
pub struct RecoveryState {
    /// The log's epoch.
    pub epoch: String,
    /// Number of the newest entry.
    pub seq: u64,
    /// The session index given out last.
    pub next_idx: u64,
    /// The watermark.
    pub revoked_before: UnixSeconds,
    /// Until when higher generations are adopted.
    pub adopt_until: UnixSeconds,
    /// When the backup was taken that the table was restored from, until it is recovered.
    pub restored_at: Option<UnixSeconds>,
}

/// A revocation that the table may have forgotten.
#[derive(Clone, Debug)]
pub struct PastRevocation {
    /// Its session.
    pub sid: Sid,
    /// The session's place in the bitmaps.
    pub idx: u32,
    /// The session's absolute end.
    pub ends_at: UnixSeconds,
    /// When it was made.
    pub at: UnixSeconds,
    /// By whom, in one word.
    pub by: String,
    /// A word for why.
    pub reason: String,
    /// Minute until which the list had to hold it.
    pub list_exp: UnixSeconds,
}

/// How a restored table goes on.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// The new epoch.
    pub epoch: String,
    /// Session indexes left out: they may have been given out since the backup.
    pub skipped_indexes: u64,
    /// Until when higher generations are adopted.
    pub adopt_until: UnixSeconds,
    /// The watermark to reach at least.
    pub revoked_before: UnixSeconds,
    /// Whether everybody is signed out besides.
    pub sign_out_everyone: bool,
    /// Renewal keys that were lost: their ids must not be given out again.
    pub lost_renewal_keys: Vec<KeyRow>,
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// Signs session tokens.
    Session,
    /// Signs revocation lists.
    List,
    /// Makes the MAC of renewal tokens.
    Renewal,
}

impl KeyKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Session, Self::List, Self::Renewal];

    /// The kind in one word, as stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::List => "list",
            Self::Renewal => "renewal",
        }
    }

    /// Reads what [`KeyKind::name`] wrote.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A key as stored.
#[derive(Clone)]
pub struct KeyRow {
    /// What it is for.
    pub kind: KeyKind,
    /// Its public id.
    pub kid: String,
    /// Its algorithm.
    pub alg: String,
    /// Public half as JSON; none for renewal keys.
    pub public_jwk: Option<String>,
    /// Secret half, perhaps sealed.
    pub secret: Vec<u8>,
    /// Whether `secret` is sealed under the master key.
    pub sealed: bool,
    /// Proves that the right secret was opened.
    pub check_value: [u8; 32],
    /// When it was made.
    pub created_at: UnixSeconds,
    /// From when on it may sign.
    pub signs_from: UnixSeconds,
    /// Since when it signs no longer.
    pub retired_at: Option<UnixSeconds>,
    /// Since when it is trusted no longer.
    pub removed_at: Option<UnixSeconds>,
}

impl std::fmt::Debug for KeyRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyRow({} {})", self.kind.name(), self.kid)
    }
}

/// What was done, by whom.
#[derive(Clone, Debug, serde::Serialize)]
pub struct AuditEntry {
    /// Running number, in commit order.
    pub id: u64,
    /// Second in which it was done.
    pub at: u64,
    /// `credential:ID`, `uid:NUMBER` for a command, or `service`.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what; to everything, if nothing is named.
    pub target: Option<String>,
    /// More of it.
    pub detail: Value,
    /// Where it was asked from.
    pub ip: Option<String>,
    /// The request that asked for it.
    pub request_id: Option<String>,
}

/// Which entries of the audit log.
#[derive(Clone, Debug)]
pub struct AuditFilter {
    /// Done in this second or later.
    pub since: UnixSeconds,
    /// This action only.
    pub action: Option<String>,
    /// At most so many.
    pub limit: u32,
}

/// What happened to sessions, for apps.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Event {
    /// Running number, in commit order.
    pub id: u64,
    /// Second in which it happened.
    pub at: u64,
    /// What happened.
    pub kind: EventKind,
    /// The session; none if it is about all.
    pub sid: Option<String>,
    /// Whose.
    pub subject: Option<String>,
    /// More of it.
    pub detail: Value,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Two parties held one session, which ended it.
    Replay,
    /// Somebody ended a session.
    Ended,
    /// Somebody ended every session.
    AllEnded,
    /// A subject signed in on a device that none of their sessions known here has.
    NewDevice,
}

impl EventKind {
    const ALL: [Self; 4] = [Self::Replay, Self::Ended, Self::AllEnded, Self::NewDevice];

    /// The kind in one word, as stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Ended => "ended",
            Self::AllEnded => "all_ended",
            Self::NewDevice => "new_device",
        }
    }

    /// Reads what [`EventKind::name`] wrote.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A caller's credential as stored.
#[derive(Clone, Debug)]
pub struct CredentialRow {
    /// Public id.
    pub id: String,
    /// `edge`, `app` or `admin`.
    pub scope: String,
    /// What the operator calls it.
    pub name: String,
    /// SHA-256 of the credential.
    pub digest: [u8; 32],
    /// When it was made.
    pub created_at: UnixSeconds,
    /// Since when it is refused.
    pub revoked_at: Option<UnixSeconds>,
}

/// Everything held on a subject.
#[derive(Clone, Debug)]
pub struct SubjectHeld {
    /// Their sessions, oldest first.
    pub sessions: Vec<SessionHeld>,
    /// What apps were told of them.
    pub events: Vec<Event>,
    /// What was done to them and to their sessions.
    pub audit: Vec<AuditEntry>,
}

/// One of a subject's sessions, whole.
#[derive(Clone, Debug)]
pub struct SessionHeld {
    /// As it is judged.
    pub record: SessionRecord,
    /// User agent of the sign-in.
    pub user_agent: Option<String>,
    /// Address and place of the sign-in, as a JSON object.
    pub signed_in_from: Value,
}

/// A subject was forgotten.
#[derive(Clone, Debug)]
pub struct Erasure {
    /// What ended their live sessions.
    pub revocation: Revocation,
    /// How many sessions are gone.
    pub sessions: u64,
    /// How many events no longer name them.
    pub events: u64,
    /// How many entries of the audit log no longer name them.
    pub audited: u64,
}

/// That the log grew, whoever wrote it: the number of its newest entry, as far as is known.
///
/// It is a reason to look, never a proof: what counts is what a read then finds.
#[derive(Debug, Default)]
pub struct News(watch::Sender<u64>);

impl News {
    /// Tells everybody who waits that the newest entry is now `seq`.
    pub fn tell(&self, seq: u64) {
        self.0.send_if_modified(|known| {
            let is_new = *known != seq;
            *known = seq;
            is_new
        });
    }

    /// Changes soon after the log grew.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }

    /// How many wait.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.0.receiver_count()
    }
}

/// How busy the connections to the database are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreLoad {
    /// Open connections of the pool.
    pub connections: usize,
    /// Those of them that nobody uses.
    pub idle: usize,
    /// How many reads and renewals wait for one.
    pub waiting: usize,
    /// How many writes wait for the serial lane.
    pub queued: usize,
}

/// What a process says of the edges that it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The newest entry of the log that it knew of before it looked at its edges.
    pub newest: Position,
    /// The largest bound of these edges, in milliseconds.
    pub bound_ms: u64,
    /// Each that counted, by a digest of its id, in order, with the number up to which it lacks
    /// nothing.
    pub edges: Vec<(u64, u64)>,
}

/// The session table.
///
/// # Errors
///
/// Every method fails with the `StoreError` that says why the database did not do its part. Nothing
/// is then known to be written.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Writes a session, or finds the one an earlier request with the same key made.
    async fn create(&self, new: NewSession) -> Result<Creation, StoreError>;

    /// Judges a genuine renewal token against its session and confirms or ends as that demands.
    async fn renew(&self, attempt: RenewalAttempt) -> Result<Renewal, StoreError>;

    /// Ends every live session of the selection under one number.
    async fn revoke(&self, selection: Selection, cause: Cause) -> Result<Revocation, StoreError>;

    /// Ends every session there is, by the watermark. Counts those that were live just before; none
    /// if they could not be counted in time.
    async fn revoke_everything(&self) -> Result<Revocation, StoreError>;

    /// One session, live or ended, and the watermark.
    async fn find(&self, sid: Sid) -> Result<Option<SessionRecord>, StoreError>;

    /// The newest sessions of a subject, live or ended, at most `limit`.
    async fn sessions_of(
        &self,
        subject: &str,
        limit: u32,
    ) -> Result<Vec<SessionRecord>, StoreError>;

    /// The newest sessions of all, at most `limit`.
    async fn newest_sessions(&self, limit: u32) -> Result<Vec<SessionRecord>, StoreError>;

    /// The log after number `after`, without what left the list before `listed_since`.
    async fn read_log(&self, after: u64, listed_since: UnixSeconds) -> Result<LogRead, StoreError>;

    /// Tells of new entries of the log, in whichever process they were written.
    fn news(&self) -> &News;

    /// The second in which entry `seq` was written, by the clock of whoever did; `None` if it names
    /// no session.
    async fn revoked_at(&self, seq: u64) -> Result<Option<UnixSeconds>, StoreError>;

    /// Writes what a process says of its edges, in place of what it said before. It counts for so
    /// long, by the database's clock.
    async fn write_report(
        &self,
        process: &str,
        report: &Report,
        lasting: Seconds,
    ) -> Result<(), StoreError>;

    /// What each process but `process` says of its edges, as far as it counts now.
    async fn reports(&self, process: &str) -> Result<Vec<Report>, StoreError>;

    /// Begins the epoch `fresh` if `replaced` is still the current one.
    async fn begin_epoch(&self, replaced: &str, fresh: &str) -> Result<(), StoreError>;

    /// Notes that tokens of this lifetime are issued from now on.
    async fn note_token_lifetime(&self, lifetime: Seconds) -> Result<(), StoreError>;

    /// Every key, removed ones included.
    async fn keys(&self) -> Result<Vec<KeyRow>, StoreError>;

    /// Adds each key whose kind has none yet.
    async fn add_first_keys(&self, keys: Vec<KeyRow>) -> Result<(), StoreError>;

    /// Number of the last change of any key.
    async fn keys_seq(&self) -> Result<u64, StoreError>;

    /// Writes these keys, under one number, in place of those with their ids; `None` if any key was
    /// changed since number `seen`.
    async fn change_keys(&self, seen: u64, keys: Vec<KeyRow>) -> Result<Option<u64>, StoreError>;

    /// How many live sessions were last renewed from `from` on and before `until`.
    async fn count_renewed_between(
        &self,
        from: UnixSeconds,
        until: UnixSeconds,
    ) -> Result<u64, StoreError>;

    /// Every credential, revoked ones included.
    async fn credentials(&self) -> Result<Vec<CredentialRow>, StoreError>;

    /// The unrevoked credential with this digest.
    async fn find_credential(&self, digest: &[u8; 32])
    -> Result<Option<CredentialRow>, StoreError>;

    /// Adds a credential.
    async fn add_credential(&self, credential: CredentialRow) -> Result<(), StoreError>;

    /// Revokes a credential by id; `false` if there is no such live one.
    async fn revoke_credential(&self, id: &str) -> Result<bool, StoreError>;

    /// The newest entries of the audit log, newest first.
    async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>, StoreError>;

    /// Events after number `after`, oldest first, at most `limit`.
    async fn events(&self, after: u64, limit: u32) -> Result<Vec<Event>, StoreError>;

    /// Number of the last event that the webhook delivered.
    async fn webhook_position(&self) -> Result<u64, StoreError>;

    /// Moves that number on, and keeps others from it until then; `false` if it is not `from` any
    /// more, or somebody else's turn.
    async fn advance_webhook(
        &self,
        holder: &str,
        from: u64,
        to: u64,
        until: UnixSeconds,
    ) -> Result<bool, StoreError>;

    /// Everything held on a subject.
    async fn held_on(&self, subject: &str) -> Result<SubjectHeld, StoreError>;

    /// Ends a subject's live sessions and forgets the subject. Of a revocation id and index stay
    /// for as long as the list must hold them.
    async fn erase(&self, subject: &str) -> Result<Erasure, StoreError>;

    /// What may be forgotten, as far as a look beside the writers tells; some of it at a time.
    async fn due(&self, retention: &Retention) -> Result<Due, StoreError>;

    /// Forgets what of it is due indeed.
    async fn forget(&self, due: Due, retention: Retention) -> Result<Forgotten, StoreError>;

    /// Forgets some old lines of audit and events; returns how many.
    async fn forget_logs(&self, retention: Retention) -> Result<u64, StoreError>;

    /// The journal outside the table, if one is kept.
    fn journal(&self) -> Option<&Journal>;

    /// What a recovery looks at.
    async fn recovery_state(&self) -> Result<RecoveryState, StoreError>;

    /// Ends sessions that were ended before the table was restored; those that are ended already
    /// stay as they are. Returns how many it ended.
    async fn reapply(&self, revoked: Vec<PastRevocation>) -> Result<u64, StoreError>;

    /// Begins an epoch in which a restored table may go on.
    async fn recover(&self, recovery: Recovery) -> Result<RecoveryState, StoreError>;

    /// Proves that the table can be written now, without writing.
    async fn check_writable(&self) -> Result<(), StoreError>;

    /// How busy the database is made, for metrics.
    fn load(&self) -> StoreLoad;

    /// Waits for what was accepted, then lets go of the database.
    async fn close(&self);
}
