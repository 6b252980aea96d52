//! Hands events to the app at an address of its own, signed, in order, until each was taken.
//!
//! One process at a time delivers: whoever holds the lease in the table. The position is in the
//! table too and moves after the app said 2xx, so a restart loses nothing; an event that was taken
//! just before one may come twice, with the same `webhook-id`. Signatures follow Standard Webhooks.
//!
//! Source: docs/events.md; <https://github.com/standard-webhooks/standard-webhooks>.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Uri, header};
use ct_codecs::{Base64, Decoder, Encoder};
use hallpass_session::base64url;
use hallpass_session::time::Seconds;
use hmac_sha256::HMAC;

use crate::client::Client;
use crate::clock::random_bytes;
use crate::config::WebhookSettings;
use crate::service::Service;
use crate::store::{Event, StoreError};

/// For how long a process may deliver without saying that it still does: longer than one attempt.
const LEASE: Seconds = Seconds::new(60);
/// How often somebody looks for new events, or whether the one who delivers is gone.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Longest time for one delivery.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);
/// Pause after a first failure; doubled with each further one.
const PAUSE_LEAST: Duration = Duration::from_secs(1);
/// Longest pause between attempts.
const PAUSE_MOST: Duration = Duration::from_mins(5);
/// Events read at once.
const BATCH: u32 = 100;
/// Least length of the secret, in bytes, as Standard Webhooks has it.
const SECRET_MIN_BYTES: usize = 24;

/// Where events go, and what proves that they are ours.
pub struct Webhook {
    client: Client,
    secret_file: PathBuf,
    secret: RwLock<Arc<[u8]>>,
    /// Name of this process in the lease.
    holder: String,
}

impl Webhook {
    /// Reads the secret and the machine's trusted certificates.
    ///
    /// # Errors
    ///
    /// Names the setting that cannot be used, and why.
    pub fn configure(settings: &WebhookSettings) -> Result<Self, String> {
        let uri: Uri = settings
            .url
            .parse()
            .map_err(|error| format!("webhook_url: {error}"))?;
        let holder = random_bytes::<16>().map_err(|error| error.to_string())?;
        Ok(Self {
            client: Client::of(uri).map_err(|error| format!("webhook_url: {error}"))?,
            secret: RwLock::new(read_secret(&settings.secret_file)?.into()),
            secret_file: settings.secret_file.clone(),
            holder: base64url::encode(&holder),
        })
    }

    /// Reads the secret again; deliveries from now on are signed with it.
    ///
    /// # Errors
    ///
    /// As at the start; what was read before stays in force.
    pub fn reload(&self) -> Result<(), String> {
        let fresh = read_secret(&self.secret_file)?.into();
        *self.secret.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    fn secret(&self) -> Arc<[u8]> {
        Arc::clone(&self.secret.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Delivers until the service stops.
    pub async fn run(self: Arc<Self>, service: Arc<Service>) {
        let mut stopping = service.stopping();
        let mut failures = 0;
        while !*stopping.borrow() {
            let pause = match self.deliver_some(&service).await {
                Ok(()) => {
                    failures = 0;
                    LOOK_AGAIN
                }
                Err(error) => {
                    tracing::warn!(error, failures, "an event could not be delivered");
                    failures += 1;
                    pause_after(failures)
                }
            };
            tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.end_turn(&service).await;
    }

    /// Lets another process deliver at once; without, it does once the lease is over.
    async fn end_turn(&self, service: &Service) {
        let now = service.clock.now();
        if let Ok(position) = service.store.webhook_position().await {
            let ended = service
                .store
                .advance_webhook(&self.holder, position, position, now);
            if let Err(error) = ended.await {
                tracing::debug!(%error, "the turn to deliver events could not be ended");
            }
        }
    }

    /// Delivers what there is, if it is this process's turn.
    async fn deliver_some(&self, service: &Service) -> Result<(), String> {
        let store = &service.store;
        let unusable = |error: StoreError| error.to_string();
        let advance = async |from, to| {
            let until = service.clock.now().plus(LEASE);
            store.advance_webhook(&self.holder, from, to, until).await
        };
        let mut position = store.webhook_position().await.map_err(unusable)?;
        let events = store.events(position, BATCH).await.map_err(unusable)?;
        if events.is_empty() || !advance(position, position).await.map_err(unusable)? {
            return Ok(());
        }
        for event in events {
            let delivered = self.deliver(&event, service.clock.now().get()).await;
            service.metrics.note_delivery(delivered.is_ok());
            delivered?;
            let is_ours = advance(position, event.id).await.map_err(unusable)?;
            if !is_ours || *service.stopping().borrow() {
                return Ok(());
            }
            position = event.id;
        }
        Ok(())
    }

    async fn deliver(&self, event: &Event, now: u64) -> Result<(), String> {
        let body = serde_json::to_string(event).map_err(|error| error.to_string())?;
        let id = format!("event_{}", event.id);
        let signed = format!("{id}.{now}.{body}");
        let mac = HMAC::mac(signed.as_bytes(), self.secret());
        let signature = Base64::encode_to_string(mac).map_err(|error| error.to_string())?;
        let path = self.client.uri().path_and_query();
        let path = path.map_or("/", axum::http::uri::PathAndQuery::as_str);
        let request = Request::post(path)
            .header(header::HOST, self.client.authority())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, "hallpass")
            .header("webhook-id", id)
            .header("webhook-timestamp", now)
            .header("webhook-signature", format!("v1,{signature}"))
            .body(Body::from(body))
            .map_err(|error| error.to_string())?;
        let status = tokio::time::timeout(ATTEMPT_TIMEOUT, self.client.status(request))
            .await
            .map_err(|_| "no answer in time".to_owned())??;
        if status.is_success() {
            Ok(())
        } else {
            Err(format!("answered {status}"))
        }
    }
}

/// The secret in a file.
///
/// # Errors
///
/// Names the setting, and what the file must hold.
pub(crate) fn read_secret(file: &Path) -> Result<Vec<u8>, String> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("webhook_secret_file: {shown}: {error}"))?;
    let text = text.trim();
    let text = text.strip_prefix("whsec_").unwrap_or(text);
    Base64::decode_to_vec(text, None)
        .ok()
        .filter(|secret| secret.len() >= SECRET_MIN_BYTES)
        .ok_or_else(|| {
            format!(
                "webhook_secret_file: {shown}: must be base64 of at least {SECRET_MIN_BYTES} \
                 bytes, such as `openssl rand -base64 32` makes"
            )
        })
}

/// Doubled with each failure, and up to a quarter shorter by chance, so that many do not come at once.
fn pause_after(failures: u32) -> Duration {
    let pause = PAUSE_LEAST.saturating_mul(2_u32.saturating_pow(failures - 1));
    let [chance] = random_bytes::<1>().unwrap_or_default();
    pause
        .min(PAUSE_MOST)
        .mul_f64(1.0 - f64::from(chance) / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::{PAUSE_MOST, pause_after};
    use std::time::Duration;

    #[test]
    fn pause_after_doubles_up_to_its_end() {
        for (failures, least, most) in [(1, 0.75, 1.0), (4, 6.0, 8.0), (40, 225.0, 300.0)] {
            let pause = pause_after(failures);
            assert!(
                pause >= Duration::from_secs_f64(least),
                "{failures}: {pause:?}"
            );
            assert!(
                pause <= Duration::from_secs_f64(most),
                "{failures}: {pause:?}"
            );
        }
        assert!(pause_after(u32::MAX) <= PAUSE_MOST);
    }
}
