//! Creating a session for the app.
//!
//! Source: docs/protocol.md §5.

use hallpass_session::base64url;
use hallpass_session::claims::{is_amr, is_ext, is_subject};
use hallpass_session::time::{Seconds, UnixSeconds};
use hallpass_session::wire::{
    CreateSession, Created, CreatedHeaders, MAX_SET_SESSION_BYTES, SetSession,
};

use crate::clock::random_bytes;
use crate::device::{describe, keep_user_agent, locate};
use crate::failure::{Failure, Fault, Refusal};
use crate::mint::mint;
use crate::renew::agent;
use crate::service::Service;
use crate::store::{Creation, Idempotency, Issued, NewSession};

/// How far `auth_time` may lie ahead: the clocks of app and service may differ so much.
const CLOCK_SKEW: Seconds = Seconds::new(5);

impl Service {
    /// Creates a session, or answers for the one this idempotency key made.
    ///
    /// # Errors
    ///
    /// A refusal for values out of bounds or a key used for something else.
    pub async fn create_session(
        &self,
        request: &CreateSession,
        idempotency: Option<Idempotency>,
    ) -> Result<Created, Failure> {
        check(request, self.clock.now())?;
        match self
            .store
            .create(self.new_session(request, idempotency)?)
            .await?
        {
            Creation::Made(issued) => {
                self.metrics.note_creation();
                self.created(&issued, &request.request).await
            }
            Creation::Repeated(issued) if issued.record.is_live(issued.issued_at) => {
                self.created(&issued, &request.request).await
            }
            Creation::Repeated(_) => Err(Refusal::IdempotentSessionEnded.into()),
            Creation::KeyReused => Err(Refusal::IdempotencyKeyReused.into()),
        }
    }

    fn new_session(
        &self,
        request: &CreateSession,
        idempotency: Option<Idempotency>,
    ) -> Result<NewSession, Failure> {
        let settings = &self.settings;
        Ok(NewSession {
            sid: random_bytes()?,
            branch: random_bytes()?,
            agent: agent(&request.client),
            subject: request.subject.clone(),
            auth_time: request.auth_time.map(UnixSeconds::new),
            absolute: settings.session_absolute,
            idle: settings.session_idle,
            persistent: request.persistent,
            origin: locate(&request.client, settings.address_precision),
            user_agent: keep_user_agent(&request.client),
            device: describe(&request.client),
            amr: request.amr.clone(),
            ext: request.ext.clone(),
            subject_limit: settings.sessions_per_subject_max,
            idempotency,
        })
    }

    async fn created(&self, issued: &Issued, request: &str) -> Result<Created, Failure> {
        self.keep_keys_current(issued.keys_seq).await?;
        let tokens = mint(&self.settings, &self.keys(), issued)?;
        let record = &issued.record;
        let set_session = SetSession {
            session_token: tokens.session.clone(),
            renewal_token: tokens.renewal.clone(),
            session_ends_at: record.ends_at.get(),
            persistent: record.persistent,
            request: request.to_owned(),
        };
        Ok(Created {
            session: record.describe(None, issued.issued_at),
            session_token: tokens.session,
            renewal_token: tokens.renewal,
            session_ends_at: record.ends_at.get(),
            headers: CreatedHeaders {
                set_session: encode_set_session(&set_session)?,
            },
        })
    }
}

fn check(request: &CreateSession, now: UnixSeconds) -> Result<(), Refusal> {
    let latest = now.plus(CLOCK_SKEW).get();
    let fault = if !is_subject(&request.subject) {
        "subject: 1 to 255 printable ASCII bytes without space \" , ; \\"
    } else if request.auth_time.is_some_and(|time| time > latest) {
        "auth_time: lies in the future"
    } else if !is_amr(&request.amr) {
        "amr: at most 8 texts of 1 to 64 ASCII bytes"
    } else if request.ext.as_ref().is_some_and(|ext| !is_ext(ext)) {
        "ext: at most 1024 bytes as JSON"
    } else if request.request.is_empty() || request.request.len() > 64 {
        "request: the value of the Hallpass-Request header"
    } else {
        return Ok(());
    };
    Err(Refusal::RequestMalformed(fault))
}

fn encode_set_session(set_session: &SetSession) -> Result<String, Fault> {
    let json = serde_json::to_vec(set_session).map_err(|_| Fault::Answer)?;
    let header = base64url::encode(&json);
    if header.len() > MAX_SET_SESSION_BYTES {
        Err(Fault::Answer)
    } else {
        Ok(header)
    }
}
