//! The messages between edge, session service and app, as JSON.
//!
//! This file is the only place where edge and service meet. It fixes names and types; what the
//! values must satisfy is judged by the module that owns the idea (`claims`, `revocation`,
//! `renewal`). Times are integer seconds since 1970 UTC unless a name says `_ms`.
//!
//! Requests are strict: an unknown member is an error, since it is a spelling mistake of the
//! caller. Answers are lenient: an unknown member is ignored, so that a newer service works with an
//! older edge. Duplicate members are refused in both (`crate::json`).
//!
//! Source: docs/protocol.md §3, §5, §8. Every message has an example in `tests/vectors/wire/`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Name of the request header in which the edge hands the user's own session token to the service.
pub const SESSION_TOKEN_HEADER: &str = "hallpass-session-token";
/// Name of the answer header that carries a list's position and read time.
pub const LIST_HEADER: &str = "hallpass-list";
/// Name of the app's answer header that hands a new session to the edge.
pub const SET_SESSION_HEADER: &str = "hallpass-set-session";
/// Name of the app's answer header that ends the presented session.
pub const CLEAR_SESSION_HEADER: &str = "hallpass-clear-session";
/// Longest `Hallpass-Set-Session` value, in bytes: two tokens of 4 KiB at most, so 8 KiB.
pub const MAX_SET_SESSION_BYTES: usize = 8192;

/// What is known about the client that made a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// Address as text, IPv4 or IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// `User-Agent`, as received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// Client hints by lower-case header name, such as `sec-ch-ua-platform`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub hints: Map<String, Value>,
    /// ISO 3166-1 country code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Region by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// City by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    /// Autonomous system number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asn: Option<u32>,
}

/// Body of `POST /v1/edge/renew`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenewRequest {
    /// The renewal token as the cookie had it.
    pub renewal_token: String,
    /// The client that presented it.
    #[serde(default)]
    pub client: Client,
    /// The edge's id of the request, for logs.
    #[serde(default)]
    pub request_id: String,
}

/// Answer of `POST /v1/edge/renew`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewed {
    /// The new session token.
    pub session_token: String,
    /// The child of the confirmed renewal token.
    pub renewal_token: String,
    /// When the session itself ends.
    pub session_ends_at: u64,
    /// Whether the cookies outlive the browser's session.
    pub persistent: bool,
}

/// Content of `Hallpass-Set-Session`: base64url of this as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetSession {
    /// The new session token.
    pub session_token: String,
    /// Its renewal token.
    pub renewal_token: String,
    /// When the session itself ends.
    pub session_ends_at: u64,
    /// Whether the cookies outlive the browser's session.
    pub persistent: bool,
    /// The `Hallpass-Request` of the request this answers.
    pub request: String,
}

/// Body of `POST /v1/sessions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateSession {
    /// Who signed in; 1–255 printable ASCII bytes without space `"` `,` `;` `\`.
    pub subject: String,
    /// When the user last proved who they are; now, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<u64>,
    /// How, as RFC 8176 names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// The app's own claims, at most 1024 bytes serialised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ext: Option<Map<String, Value>>,
    /// Whether the cookies outlive the browser's session; true, if absent.
    #[serde(default = "yes")]
    pub persistent: bool,
    /// The `Hallpass-Request` of the sign-in request.
    pub request: String,
    /// The client that signed in.
    #[serde(default)]
    pub client: Client,
}

/// Answer of `POST /v1/sessions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// The new row.
    pub session: Session,
    /// The first session token.
    pub session_token: String,
    /// The first renewal token.
    pub renewal_token: String,
    /// When the session itself ends.
    pub session_ends_at: u64,
    /// Headers the app copies onto its answer.
    pub headers: CreatedHeaders,
}

/// Headers the app copies onto its sign-in answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedHeaders {
    /// `Hallpass-Set-Session`.
    #[serde(rename = "Hallpass-Set-Session")]
    pub set_session: String,
}

/// One session as users and operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// 22 characters of base64url: 16 random bytes.
    pub sid: String,
    /// When it was created.
    pub created_at: u64,
    /// When the user last proved who they are.
    pub auth_time: u64,
    /// Creation or the last renewal, whichever is later.
    pub last_seen_at: u64,
    /// Its absolute end.
    pub ends_at: u64,
    /// When it ends if it is not renewed before.
    pub idle_ends_at: u64,
    /// What it was created on.
    pub device: Device,
    /// Address it was last seen from.
    #[serde(default)]
    pub ip: Option<String>,
    /// Where that is, as far as the edge knew.
    #[serde(default)]
    pub place: Place,
    /// How the user signed in.
    #[serde(default)]
    pub amr: Vec<String>,
    /// Set once it has ended.
    #[serde(default)]
    pub ended: Option<Ended>,
    /// Whether it is the session that asks.
    #[serde(default)]
    pub current: bool,
}

/// A device in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Such as "Firefox on Linux".
    pub label: String,
    /// `desktop`, `phone`, `tablet` or `unknown`.
    pub kind: String,
    /// Browser by name, if known.
    #[serde(default)]
    pub browser: Option<String>,
    /// Operating system by name, if known.
    #[serde(default)]
    pub os: Option<String>,
}

/// A place, as coarse as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// ISO 3166-1 country code.
    #[serde(default)]
    pub country: Option<String>,
    /// Region by name.
    #[serde(default)]
    pub region: Option<String>,
    /// City by name.
    #[serde(default)]
    pub city: Option<String>,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When.
    pub at: u64,
    /// Who ended it.
    pub by: EndedBy,
    /// A word for why: `signed_out`, `ended_by_user`, `replaced`, `renewal_reused`, `expired`, ….
    pub reason: String,
}

/// Who ended a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndedBy {
    /// The user, in the portal or by signing out.
    User,
    /// An operator.
    Admin,
    /// The app.
    App,
    /// The service itself: expiry, replay, replacement.
    System,
}

/// Answer of `GET /v1/edge/me/sessions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions {
    /// Live ones, the asking one first, then by last seen.
    pub sessions: Vec<Session>,
    /// Ended ones still kept, newest first.
    pub ended: Vec<Session>,
}

/// Body of `POST /v1/edge/me/revoke`: exactly one of `sid` and `others`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeMine {
    /// The session to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// All but the asking one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others: Option<bool>,
    /// In place of the token header, to end its own session only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal_token: Option<String>,
}

/// Answer to every revocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// How many live sessions it ended.
    pub revoked: u64,
    /// The list position that has it.
    pub list: Position,
    /// When it was committed.
    pub committed_at_ms: u64,
}

/// A place in the revocation log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The log's epoch.
    pub epoch: String,
    /// Number of the last entry.
    pub to: u64,
}

/// Answer of `GET /v1/edge/me/in-force`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    /// Whether every edge that the service knows of has it.
    pub everywhere: bool,
    /// When every edge that reaches the service must have it.
    pub no_later_than_ms: u64,
}

/// Answer of `GET /v1/edge/sessions/{sid}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Liveness {
    /// Whether the session is live.
    pub live: bool,
    /// When it ends at the latest.
    pub ends_at: u64,
}

/// Payload of a revocation list, whole or delta: JWS compact, `typ` `revocations+jwt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListClaims {
    /// The issuer, equal to the session tokens'.
    pub iss: String,
    /// When it was signed.
    pub iat: u64,
    /// Until when it may be taken in.
    pub exp: u64,
    /// The log's epoch.
    pub epoch: String,
    /// When that epoch began.
    pub began: u64,
    /// 0: the whole list; else the changes after this number.
    pub from: u64,
    /// Number of the last entry it has.
    pub to: u64,
    /// Tokens with `iat` before this are revoked.
    pub revoked_before: u64,
    /// Session keys trusted now.
    pub kids: Vec<String>,
    /// Revoked session indexes by expiry minute.
    pub sessions: Vec<ListBucket>,
}

/// Revoked session indexes that may be forgotten at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListBucket {
    /// Until when the entries matter; a whole minute.
    pub exp: u64,
    /// base64url of a Roaring bitmap in the portable format.
    pub idx: String,
}

/// Answer of `GET /v1/edge/keys`; each member a JWK set, judged by `crate::keyring`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EdgeKeys {
    /// Keys of session tokens.
    pub session: Value,
    /// Keys of revocation lists.
    pub list: Value,
}

/// An error answer, RFC 9457.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `about:blank`, or where the code is explained.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable code.
    pub code: String,
    /// Id of the request in the logs.
    #[serde(default)]
    pub request_id: String,
    /// What to do about it, if that helps the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

fn yes() -> bool {
    true
}
