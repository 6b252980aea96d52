//! The one line of log that each request leaves, and the same for whoever may see it in a header.
//!
//! A line says what was decided, on which route, how old the list was and what it cost in calls. It
//! never has a token, a cookie, a subject or an address; a session is named by a hash. Where a dataset
//! of the Analytics Engine is bound, the same goes there as a data point.

use crate::arrival::Arrival;
use crate::freshness::Footing;
use crate::gate::{Admitted, Renewing};
use crate::isolate::Edge;
use crate::platform::{self, Dataset, Thrown};
use crate::upstream;
use crate::verification::Signature;
use hmac_sha256::Hash;
use serde::Serialize;
use web_sys::Response;

/// Name of the header that unlocks diagnostics.
const DIAGNOSTICS_HEADER: &str = "hallpass-diagnostics";

/// What was decided about one request.
#[derive(Serialize)]
pub(crate) struct Decision {
    at: &'static str,
    pub(crate) code: &'static str,
    pub(crate) route: String,
    method: String,
    status: u16,
    request_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    list_age_ms: Option<i64>,
    memo: &'static str,
    renewal: &'static str,
    degraded: bool,
    ms: i64,
}

impl Default for Decision {
    fn default() -> Self {
        Self {
            at: "decision",
            code: "forwarded",
            route: String::new(),
            method: String::new(),
            status: 0,
            request_id: String::new(),
            session: None,
            list_age_ms: None,
            memo: "none",
            renewal: "none",
            degraded: false,
            ms: 0,
        }
    }
}

impl Decision {
    /// Notes whether the token's signature was remembered.
    pub(crate) fn verified(&mut self, signature: Signature) {
        self.memo = match signature {
            Signature::Remembered => "hit",
            Signature::Checked => "miss",
        };
    }

    /// Notes who was admitted.
    pub(crate) fn admitted(&mut self, admitted: &Admitted) {
        self.session = admitted
            .session
            .as_ref()
            .map(|session| hash(&session.claims().sid));
        self.degraded = admitted.footing == Footing::Degraded;
        self.renewal = match admitted.renewal {
            Renewing::Idle => "none",
            Renewing::Beside(_) => "beside",
            Renewing::Done(_) => "before",
            Renewing::Over => "over",
        };
        if admitted.session.is_none() {
            self.code = "anonymous";
        }
    }

    /// Writes the line; adds it to the answer for a client with the diagnostic credential.
    pub(crate) fn finish(
        mut self,
        edge: &Edge,
        arrival: &Arrival,
        response: Response,
    ) -> Result<Response, Thrown> {
        let now_ms = platform::now_ms();
        self.method.clone_from(&arrival.method);
        self.status = response.status();
        self.request_id.clone_from(&arrival.id);
        self.list_age_ms = {
            let list = edge.list.borrow();
            list.known
                .as_ref()
                .map(|_| now_ms.saturating_sub(list.confirmed_ms))
        };
        self.ms = now_ms.saturating_sub(arrival.began_ms);
        let line = serde_json::to_string(&self).unwrap_or_default();
        platform::log(&line);
        if let Some(dataset) = &edge.analytics {
            self.write_to(dataset);
        }
        if !may_diagnose(edge, arrival) {
            return Ok(response);
        }
        let headers = web_sys::Headers::new_with_headers(&response.headers())?;
        headers.set("hallpass-decision", &line)?;
        // A page for everybody would otherwise be stored with it, and shown so to everybody.
        upstream::forbid_storing(&headers)?;
        platform::with_headers(&response, &headers)
    }
}

impl Decision {
    /// The columns are a promise to whoever queries them: docs/operations.md.
    fn write_to(&self, dataset: &Dataset) {
        let texts = [
            self.code,
            &self.route,
            &self.method,
            self.memo,
            self.renewal,
        ];
        #[expect(
            clippy::cast_precision_loss,
            reason = "a double is what the platform takes; ages in milliseconds fit its 53 bits"
        )]
        let numbers = [
            f64::from(self.status),
            self.ms as f64,
            self.list_age_ms.map_or(-1.0, |age| age as f64),
            f64::from(u8::from(self.degraded)),
        ];
        dataset.write(&self.route, &texts, &numbers);
    }
}

/// Whether the request carries the diagnostic credential.
pub(crate) fn may_diagnose(edge: &Edge, arrival: &Arrival) -> bool {
    let Some(expected) = &edge.secrets.diagnostic_credential else {
        return false;
    };
    // Hashes are compared, so that timing tells nothing about how much of it was right.
    arrival
        .header(DIAGNOSTICS_HEADER)
        .is_some_and(|given| Hash::hash(given.as_bytes()) == Hash::hash(expected.as_bytes()))
}

/// Eight characters are enough to follow a session through a log.
fn hash(sid: &str) -> String {
    let mut text = hallpass_session::base64url::encode(&Hash::hash(sid.as_bytes()));
    text.truncate(8);
    text
}
