//! Renewing a session.
//!
//! Form and MAC are judged here, the session in the store under lock; a child of whatever the table
//! then holds as confirmed is the answer. Only the five terminal refusals may end cookies; all else
//! is an outage.
//!
//! Source: docs/protocol.md §4.

use hallpass_session::renewal::RenewalToken;
use hallpass_session::wire::{Client, RenewRequest, Renewed};
use hmac_sha256::Hash;

use crate::device::locate;
use crate::failure::{Failure, Outage, Refusal};
use crate::keys::RenewalKeyState;
use crate::metrics::Confirmation;
use crate::mint::{is_genuine, mint};
use crate::service::Service;
use crate::store::{Issued, Renewal, RenewalAttempt};

impl Service {
    /// Answers a renewal.
    ///
    /// # Errors
    ///
    /// A terminal refusal, or an outage that leaves the session as it was.
    pub async fn renew(&self, request: &RenewRequest) -> Result<Renewed, Failure> {
        let judged = self.judge_renewal(request).await;
        let outcome = judged.as_ref().map(|(_, confirmation)| *confirmation);
        self.metrics.note_renewal(outcome);
        judged.map(|(renewed, _)| renewed)
    }

    async fn judge_renewal(
        &self,
        request: &RenewRequest,
    ) -> Result<(Renewed, Confirmation), Failure> {
        let text = &request.renewal_token;
        let token = self.authenticate_renewal(text).await?;
        let attempt = RenewalAttempt {
            sid: token.sid,
            presented: token.branch,
            agent: agent(&request.client),
            grace: self.settings.renewal_grace,
            origin: locate(&request.client, self.settings.address_precision),
        };
        match self.store.renew(attempt).await? {
            Renewal::Answer { issued, confirmed } => {
                if self.keep_keys_current(issued.keys_seq).await? {
                    // The key that proved the token may just have been removed.
                    self.authenticate_renewal(text).await?;
                }
                let confirmation = if confirmed {
                    Confirmation::Written
                } else {
                    Confirmation::AsBefore
                };
                Ok((self.renewed(&issued)?, confirmation))
            }
            Renewal::Unknown => Err(Refusal::RenewalUnknown.into()),
            Renewal::Revoked => Err(Refusal::SessionRevoked.into()),
            Renewal::Expired => Err(Refusal::SessionExpired.into()),
            Renewal::Replayed(revocation) => {
                self.announce(&revocation);
                tracing::warn!(
                    seq = revocation.seq,
                    "two parties held one session; it was ended"
                );
                Err(Refusal::RenewalReused.into())
            }
            Renewal::RolledBack => Err(Outage::TableRolledBack.into()),
        }
    }

    /// Parses a renewal token and proves that it is ours.
    pub(crate) async fn authenticate_renewal(&self, text: &str) -> Result<RenewalToken, Failure> {
        let token = RenewalToken::parse(text).ok_or(Refusal::RenewalMalformed)?;
        let mut keys = self.keys();
        if matches!(keys.renewal(token.key_id), RenewalKeyState::Unknown) {
            // Another process may have made it.
            keys = self.reload_keys().await?;
        }
        match keys.renewal(token.key_id) {
            RenewalKeyState::Unknown => Err(Outage::RenewalKeyUnknown.into()),
            RenewalKeyState::Removed => Err(Refusal::SessionRevoked.into()),
            RenewalKeyState::Trusted(secret)
                if !is_genuine(&token, &self.settings.issuer, secret) =>
            {
                Err(Refusal::RenewalMalformed.into())
            }
            RenewalKeyState::Trusted(_) => Ok(token),
        }
    }

    fn renewed(&self, issued: &Issued) -> Result<Renewed, Failure> {
        let tokens = mint(&self.settings, &self.keys(), issued)?;
        Ok(Renewed {
            session_token: tokens.session,
            renewal_token: tokens.renewal,
            session_ends_at: issued.record.ends_at.get(),
            persistent: issued.record.persistent,
        })
    }
}

/// What is remembered of the browser that presented a renewal token.
pub(crate) fn agent(client: &Client) -> [u8; 32] {
    Hash::hash(client.user_agent.as_deref().unwrap_or_default().as_bytes())
}
