//! Why a request does not pass: one closed list of causes, each with its public code.
//!
//! A [`Refusal`] is the client's fault, an [`Outage`] a dependency's. Faults of our own (a bad
//! setting) are the shell's. Codes are public and stable; statuses are chosen in one place per
//! shell. All failures of key, algorithm and signature are one refusal, so that nobody learns which.
//!
//! Source: docs/protocol.md §8.

use std::ops::ControlFlow::{self, Break, Continue};

/// The client's request cannot pass as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Two different values of one credential.
    CredentialsConflict,
    /// The request names a host this edge does not serve.
    HostUnknown,
    /// The method is not served here.
    MethodRefused,
    /// A state-changing request or an upgrade from somewhere else.
    OriginForbidden,
    /// A path that edge and app could read differently.
    PathAmbiguous,
    /// The user must prove again who they are.
    ReauthenticationRequired,
    /// The service: not a renewal token of ours.
    RenewalMalformed,
    /// The service: two parties hold this session's cookies.
    RenewalReused,
    /// The service: no such session.
    RenewalUnknown,
    /// Something else about the request is out of bounds.
    RequestMalformed,
    /// The session lacks a claim this route requires.
    RequirementUnmet,
    /// The service: the session is past its end.
    SessionExpired,
    /// No credential.
    SessionMissing,
    /// The session was ended.
    SessionRevoked,
    /// The token is past its `exp`.
    TokenExpired,
    /// The token's claims are not those of a token for this app.
    TokenInvalid,
    /// Not a session token by its form.
    TokenMalformed,
    /// Key, algorithm or signature.
    TokenUntrusted,
}

impl Refusal {
    /// The stable public code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::CredentialsConflict => "credentials_conflict",
            Self::HostUnknown => "host_unknown",
            Self::MethodRefused => "method_refused",
            Self::OriginForbidden => "origin_forbidden",
            Self::PathAmbiguous => "path_ambiguous",
            Self::ReauthenticationRequired => "reauthentication_required",
            Self::RenewalMalformed => "renewal_malformed",
            Self::RenewalReused => "renewal_reused",
            Self::RenewalUnknown => "renewal_unknown",
            Self::RequestMalformed => "request_malformed",
            Self::RequirementUnmet => "requirement_unmet",
            Self::SessionExpired => "session_expired",
            Self::SessionMissing => "session_missing",
            Self::SessionRevoked => "session_revoked",
            Self::TokenExpired => "token_expired",
            Self::TokenInvalid => "token_invalid",
            Self::TokenMalformed => "token_malformed",
            Self::TokenUntrusted => "token_untrusted",
        }
    }

    /// Reads the code of one of the service's five terminal answers; `None` is an outage.
    #[must_use]
    pub fn from_terminal_code(code: &str) -> Option<Self> {
        [
            Self::SessionRevoked,
            Self::SessionExpired,
            Self::RenewalReused,
            Self::RenewalUnknown,
            Self::RenewalMalformed,
        ]
        .into_iter()
        .find(|refusal| refusal.code() == code)
    }

    /// Reads the code with which the service refuses a user's own session token.
    #[must_use]
    pub fn from_token_code(code: &str) -> Option<Self> {
        [
            Self::SessionMissing,
            Self::TokenExpired,
            Self::TokenInvalid,
            Self::TokenMalformed,
            Self::TokenUntrusted,
        ]
        .into_iter()
        .find(|refusal| refusal.code() == code)
    }

    /// Whether the cause is who asks (status 401), so that signing in may mend it.
    #[must_use]
    pub const fn is_about_identity(self) -> bool {
        !matches!(
            self,
            Self::HostUnknown
                | Self::MethodRefused
                | Self::OriginForbidden
                | Self::PathAmbiguous
                | Self::RequestMalformed
                | Self::RequirementUnmet
        )
    }
}

/// Ends a visit of rules at the first broken one.
pub(crate) fn until_broken<R>(rule: R, holds: bool) -> ControlFlow<R> {
    if holds { Continue(()) } else { Break(rule) }
}

/// A dependency cannot be reached or gives no usable answer; nothing is said about the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// No keys, no list, or one older than its bound.
    Service,
    /// The app.
    Upstream,
}

#[cfg(test)]
mod tests {
    use super::Refusal;

    #[test]
    fn from_token_code_knows_no_terminal_one() {
        assert_eq!(
            Refusal::from_token_code("token_untrusted"),
            Some(Refusal::TokenUntrusted)
        );
        for code in ["session_revoked", "credential_invalid", ""] {
            assert_eq!(Refusal::from_token_code(code), None);
        }
    }

    #[test]
    fn is_about_identity_is_what_a_sign_in_may_mend() {
        for refusal in [
            Refusal::SessionMissing,
            Refusal::TokenExpired,
            Refusal::SessionRevoked,
            Refusal::CredentialsConflict,
            Refusal::ReauthenticationRequired,
        ] {
            assert!(refusal.is_about_identity(), "{}", refusal.code());
        }
        for refusal in [
            Refusal::HostUnknown,
            Refusal::MethodRefused,
            Refusal::OriginForbidden,
            Refusal::PathAmbiguous,
            Refusal::RequestMalformed,
            Refusal::RequirementUnmet,
        ] {
            assert!(!refusal.is_about_identity(), "{}", refusal.code());
        }
    }

    #[test]
    fn from_terminal_code_knows_the_five_and_no_other() {
        for code in [
            "session_revoked",
            "session_expired",
            "renewal_reused",
            "renewal_unknown",
            "renewal_malformed",
        ] {
            assert_eq!(
                Refusal::from_terminal_code(code).map(Refusal::code),
                Some(code)
            );
        }
        for code in [
            "table_rolled_back",
            "renewal_key_unknown",
            "token_expired",
            "",
            "SESSION_REVOKED",
        ] {
            assert_eq!(Refusal::from_terminal_code(code), None);
        }
    }
}
