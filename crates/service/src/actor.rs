//! On whose behalf something is written: for the audit log.
//!
//! Set once, where a request or a command begins; the store reads it where a write is handed in, so
//! that no write can be made under another name on its way. What the service does by itself has no
//! actor set, and is its own.

use std::net::IpAddr;

tokio::task_local! {
    static CURRENT: Actor;
}

/// Who does something, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// `credential:c-…`, `uid:1000` for a command, or `service`.
    pub name: String,
    /// The other end of the connection.
    pub ip: Option<IpAddr>,
    /// Id of the request.
    pub request_id: Option<String>,
}

impl Actor {
    /// The service itself.
    #[must_use]
    pub fn service() -> Self {
        Self::named("service".to_owned())
    }

    /// The user of this machine who runs a command.
    #[must_use]
    pub fn command() -> Self {
        Self::named(format!("uid:{}", rustix::process::getuid().as_raw()))
    }

    /// A caller with a credential.
    #[must_use]
    pub fn caller(credential: &str, ip: Option<IpAddr>, request_id: Option<String>) -> Self {
        Self {
            name: format!("credential:{credential}"),
            ip,
            request_id,
        }
    }

    /// Does `work` on this actor's behalf.
    pub async fn does<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self, work).await
    }

    /// Whoever the running task works for.
    #[must_use]
    pub fn current() -> Self {
        CURRENT
            .try_with(Self::clone)
            .unwrap_or_else(|_| Self::service())
    }

    const fn named(name: String) -> Self {
        Self {
            name,
            ip: None,
            request_id: None,
        }
    }
}
