//! Renewal at the edge: a new session token for a renewal cookie, with no script in the page.
//!
//! Two ways. *Before* forwarding, when the token presented will not do: the request waits. *Beside*
//! forwarding, when a good token nears its end: the request does not wait, and the cookies go out
//! only if they are ready when the app's headers are. A new token passes every check before it is
//! believed; one that fails is the service's outage, not the user's refusal.
//!
//! Source: docs/protocol.md §2, §3.

use crate::arrival::{self, Arrival};
use crate::credentials::{CookieChange, Persistence};
use crate::isolate::{Edge, count, is_ahead};
use crate::service::Unrenewed;
use crate::{platform, upstream, verification};
use hallpass_session::admission::LiveSession;
use hallpass_session::time::Seconds;
use hallpass_session::wire::{Client, RenewRequest, Renewed};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::JsValue;
use worker::Context;

/// How long an isolate rests after a failed renewal, and by how much that varies, in milliseconds.
const REST_MS: i64 = 5000;
const REST_JITTER_MS: i64 = 2000;
/// Latest moment for cookies to go out, in milliseconds after the request's start: within a later
/// one the browser may have got newer ones from another request.
const LATEST_COOKIES_MS: i64 = 20_000;
/// Client hints passed to the service, which names the device by them.
const HINTS: [&str; 4] = [
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "sec-ch-ua-platform-version",
];
/// Longest header passed on about the client, in bytes.
const MAX_CLIENT_HEADER_BYTES: usize = 512;

/// A session with its new tokens.
pub(crate) struct Renewal {
    pub(crate) session: LiveSession,
    answer: Renewed,
}

/// A renewal that runs beside forwarding.
#[derive(Clone, Default)]
pub(crate) struct Beside(Rc<RefCell<Option<Renewal>>>);

impl Renewal {
    /// The cookies, unless it is too late for them; the tokens presented then stay good.
    pub(crate) fn cookies(&self, arrival: &Arrival) -> CookieChange {
        let lifetime_ms = i64::try_from(self.session.claims().lifetime().as_ms()).unwrap_or(0);
        let latest_ms = LATEST_COOKIES_MS.min(lifetime_ms / 4);
        if platform::now_ms().saturating_sub(arrival.began_ms) > latest_ms {
            return CookieChange::default();
        }
        CookieChange::store(
            &self.answer.session_token,
            &self.answer.renewal_token,
            Persistence::of(self.answer.session_ends_at, self.answer.persistent),
            arrival::now(),
        )
    }

    /// The new session token as text.
    pub(crate) fn token(&self) -> &str {
        &self.answer.session_token
    }
}

impl Beside {
    /// Starts a renewal that goes on after the answer if it must.
    pub(crate) fn start(
        edge: &Rc<Edge>,
        arrival: &Arrival,
        renewal_token: &str,
        sid: &str,
        context: &Context,
    ) -> Self {
        let beside = Self::default();
        let (edge, slot) = (Rc::clone(edge), Rc::clone(&beside.0));
        let request = renew_request(&edge, arrival, renewal_token);
        let sid = sid.to_owned();
        context.wait_until(async move {
            // A refusal is left to the request that needs the new token.
            if let Ok(renewal) = send(&edge, &request).await
                && renewal.session.claims().sid == sid
            {
                *slot.borrow_mut() = Some(renewal);
            }
        });
        beside
    }

    /// The cookies, if they are ready.
    pub(crate) fn cookies(&self, arrival: &Arrival) -> CookieChange {
        self.0
            .borrow()
            .as_ref()
            .map_or_else(CookieChange::default, |it| it.cookies(arrival))
    }
}

/// Renews before forwarding.
pub(crate) async fn renew(
    edge: &Rc<Edge>,
    arrival: &Arrival,
    renewal_token: &str,
) -> Result<Renewal, Unrenewed> {
    send(edge, &renew_request(edge, arrival, renewal_token)).await
}

async fn send(edge: &Rc<Edge>, request: &RenewRequest) -> Result<Renewal, Unrenewed> {
    let longest_ms = REST_MS.saturating_add(REST_JITTER_MS);
    if is_ahead(
        edge.renewal_rests_until_ms.get(),
        platform::now_ms(),
        longest_ms,
    ) {
        return Err(Unrenewed::Outage);
    }
    let outcome = match edge.service.renew(request).await {
        Ok(answer) => believe(edge, answer).await,
        Err(unrenewed) => Err(unrenewed),
    };
    match &outcome {
        Ok(_) => count(&edge.counters.renewed),
        Err(Unrenewed::Outage) => rest(edge),
        // Anybody can send a token that the service cannot decide on; others go on renewing.
        Err(Unrenewed::Ended(_) | Unrenewed::Undecided) => {}
    }
    outcome
}

/// A new token is judged like any other.
async fn believe(edge: &Rc<Edge>, answer: Renewed) -> Result<Renewal, Unrenewed> {
    let verified = verification::verify(edge, &answer.session_token).await;
    let judged =
        verified.and_then(|(token, _)| verification::admit_now(edge, token, Seconds::default()));
    match judged {
        Ok(session) => Ok(Renewal { session, answer }),
        Err(stop) => {
            let code = stop.code();
            platform::alarm(&format!(
                "{{\"at\":\"renewed_token_refused\",\"code\":\"{code}\"}}"
            ));
            Err(Unrenewed::Outage)
        }
    }
}

/// Keeps this isolate from hammering a service that fails; a little random, so that not all
/// isolates come back at once.
fn rest(edge: &Edge) {
    let dice = platform::random::<1>().map_or(0, |[byte]| i64::from(byte));
    let jitter_ms = dice.saturating_mul(REST_JITTER_MS) / 256;
    let until_ms = platform::now_ms()
        .saturating_add(REST_MS)
        .saturating_add(jitter_ms);
    edge.renewal_rests_until_ms.set(until_ms);
}

fn renew_request(edge: &Edge, arrival: &Arrival, renewal_token: &str) -> RenewRequest {
    RenewRequest {
        renewal_token: renewal_token.to_owned(),
        client: client(edge, arrival),
        request_id: arrival.id.clone(),
    }
}

fn client(edge: &Edge, arrival: &Arrival) -> Client {
    let bounded = |name: &str| {
        arrival
            .header(name)
            .filter(|value| value.len() <= MAX_CLIENT_HEADER_BYTES)
    };
    let text = |member: &str| platform::cf(&arrival.request, member)?.as_string();
    let hints: Map<String, Value> = HINTS
        .iter()
        .filter_map(|name| bounded(name).map(|value| ((*name).to_owned(), value.into())))
        .collect();
    Client {
        ip: upstream::client_address(edge, arrival),
        user_agent: arrival.header("user-agent").map(|agent| clip(&agent)),
        hints,
        country: text("country"),
        region: text("region"),
        city: text("city"),
        asn: platform::cf(&arrival.request, "asn")
            .as_ref()
            .and_then(JsValue::as_f64)
            .map(to_asn),
    }
}

/// A user agent is compared by its hash, so every edge must clip it alike.
fn clip(agent: &str) -> String {
    agent.chars().take(MAX_CLIENT_HEADER_BYTES).collect()
}

fn to_asn(number: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "autonomous system numbers have 32 bits; the cast saturates"
    )]
    let asn = number as u32;
    asn
}
