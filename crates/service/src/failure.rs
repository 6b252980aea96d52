//! Why a request does not get what it asks for, by who misbehaved.
//!
//! Every stable code of the service is here. What status each becomes is decided in
//! `http/problem.rs`; the words inside an outage or a fault go to the log only.
//!
//! Source: docs/protocol.md §3, §5, §8.

use hallpass_session::refusal::Refusal as TokenRefusal;
use hallpass_signature::MintError;

use crate::key_changes::KeyRefusal;
use crate::store::StoreError;

/// A request failed.
#[derive(Debug)]
pub enum Failure {
    /// The caller's doing.
    Refusal(Refusal),
    /// Something we depend on.
    Outage(Outage),
    /// Ours.
    Fault(Fault),
}

/// The caller must change something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No credential, an unknown one, or one that was revoked.
    CredentialInvalid,
    /// A good credential of another scope.
    ScopeInsufficient,
    /// The request cannot be read, or a value is out of its bounds; what, in words.
    RequestMalformed(&'static str),
    /// A member of the body is wrong; which, in words that repeat no value.
    BodyMalformed(String),
    /// The body is over `request_body_max_bytes`.
    RequestTooLarge,
    /// Request line and headers are too long or too many.
    RequestHeadTooLarge,
    /// The body did not arrive in time.
    BodyTimedOut,
    /// Too many requests without a good credential.
    AttemptsLimited {
        /// Seconds until another attempt is judged.
        retry_after_secs: u64,
    },
    /// No such path.
    PathUnknown,
    /// The path exists, with other methods.
    MethodRefused,
    /// No such session, or none the caller may know of.
    SessionUnknown,
    /// An idempotency key that belongs to a different request.
    IdempotencyKeyReused,
    /// The session that this idempotency key made has ended.
    IdempotentSessionEnded,
    /// Terminal: not a renewal token of ours.
    RenewalMalformed,
    /// Terminal: a renewal token of no session.
    RenewalUnknown,
    /// Terminal: two parties hold this session.
    RenewalReused,
    /// Terminal: the session was ended.
    SessionRevoked,
    /// Terminal: the session is past its end.
    SessionExpired,
    /// The user's own token does not pass.
    Token(TokenRefusal),
}

/// Something we depend on does not serve.
#[derive(Debug)]
pub enum Outage {
    /// The database.
    Database(StoreError),
    /// The table knows less than a renewal token: an operator must recover it.
    TableRolledBack,
    /// A renewal key this table never issued.
    RenewalKeyUnknown,
    /// The request took longer than `request_timeout_ms`.
    TimedOut,
}

/// A defect or a broken machine.
#[derive(Debug)]
pub enum Fault {
    /// No randomness.
    Randomness(getrandom::Error),
    /// A token could not be signed.
    Signing(MintError),
    /// A key cannot be used.
    Keys(String),
    /// An answer could not be written.
    Answer,
}

impl Failure {
    /// The stable public code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refusal(refusal) => refusal.code(),
            Self::Outage(outage) => outage.code(),
            Self::Fault(fault) => fault.code(),
        }
    }
}

impl Refusal {
    /// The stable public code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::CredentialInvalid => "credential_invalid",
            Self::ScopeInsufficient => "scope_insufficient",
            Self::RequestMalformed(_) | Self::BodyMalformed(_) => "request_malformed",
            Self::RequestTooLarge => "request_too_large",
            Self::RequestHeadTooLarge => "request_head_too_large",
            Self::BodyTimedOut => "request_body_timed_out",
            Self::AttemptsLimited { .. } => "credential_attempts_limited",
            Self::PathUnknown => "path_unknown",
            Self::MethodRefused => "method_refused",
            Self::SessionUnknown => "session_unknown",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::IdempotentSessionEnded => "idempotent_session_ended",
            Self::RenewalMalformed => "renewal_malformed",
            Self::RenewalUnknown => "renewal_unknown",
            Self::RenewalReused => "renewal_reused",
            Self::SessionRevoked => "session_revoked",
            Self::SessionExpired => "session_expired",
            Self::Token(refusal) => refusal.code(),
        }
    }
}

impl Outage {
    /// The stable public code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Database(_) => "service_unavailable",
            Self::TableRolledBack => "table_rolled_back",
            Self::RenewalKeyUnknown => "renewal_key_unknown",
            Self::TimedOut => "request_timed_out",
        }
    }
}

impl Fault {
    /// The stable public code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "service_faulty"
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<Outage> for Failure {
    fn from(outage: Outage) -> Self {
        Self::Outage(outage)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Outage(Outage::Database(error))
    }
}

impl From<KeyRefusal> for Failure {
    fn from(refusal: KeyRefusal) -> Self {
        Self::Fault(Fault::Keys(refusal.to_string()))
    }
}

impl From<getrandom::Error> for Failure {
    fn from(error: getrandom::Error) -> Self {
        Self::Fault(Fault::Randomness(error))
    }
}

impl From<MintError> for Failure {
    fn from(error: MintError) -> Self {
        Self::Fault(Fault::Signing(error))
    }
}
