//! Guarded `WebSocket`s: a socket lives no longer than the session it was opened with.
//!
//! The edge stands between the two ends and hands messages on as they are. Each socket watches with
//! a timer of its own: every second it looks at the revocation list in memory, fetching it when it
//! is older than half the bound and nobody else does, and from its token's end on it asks the
//! service once a minute whether the session is still live, since a socket cannot be given a new
//! token. What ends it has a close code: 4401 the session
//! is over, 4503 nobody can say so any more and the route's patience is at an end.
//!
//! Source: docs/protocol.md §9.

use crate::arrival;
use crate::freshness;
use crate::gate::Stop;
use crate::isolate::{Edge, is_ahead};
use crate::platform::{self, Thrown};
use crate::route::{OnOutage, Rule};
use hallpass_session::admission::LiveSession;
use hallpass_session::refusal::{Outage, Refusal};
use hallpass_session::time::{Seconds, UnixSeconds};
use js_sys::{Object, Reflect};
use std::cell::Cell;
use std::rc::Rc;
use wasm_bindgen::prelude::{Closure, wasm_bindgen};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Response, ResponseInit};

/// The session is over.
const CLOSE_ENDED: u16 = 4401;
/// The session service cannot be asked.
const CLOSE_OUTAGE: u16 = 4503;
/// The upgrade was answered with a refusal (RFC 6455 §7.4.1, policy violation).
const CLOSE_ABANDONED: u16 = 1008;
/// How often the list in memory is looked at, in milliseconds, unless half the bound is less.
const LOOK_EVERY_MS: u64 = 1000;
/// How often the service is asked about a session whose token has ended.
const ASK_EVERY: Seconds = Seconds::new(60);
/// Close codes that say how a connection ended and cannot be sent (RFC 6455 §7.4.1).
const UNSENDABLE: [u16; 4] = [1004, 1005, 1006, 1015];

#[wasm_bindgen]
extern "C" {
    /// One end of a socket, as Workers have it.
    #[derive(Clone)]
    type Socket;

    #[wasm_bindgen(method, catch)]
    fn accept(this: &Socket) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch)]
    fn send(this: &Socket, data: &JsValue) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch)]
    fn close(this: &Socket, code: u16, reason: &str) -> Result<(), JsValue>;

    #[wasm_bindgen(method, js_name = close, catch)]
    fn close_plainly(this: &Socket) -> Result<(), JsValue>;

    #[wasm_bindgen(method, setter, js_name = binaryType)]
    fn set_binary_type(this: &Socket, kind: &str);

    #[wasm_bindgen(method, js_name = addEventListener)]
    fn on(this: &Socket, event: &str, listener: &JsValue);

    type WebSocketPair;

    #[wasm_bindgen(constructor, catch)]
    fn new() -> Result<WebSocketPair, JsValue>;
}

/// Two ends between which the edge stands.
#[derive(Clone)]
struct Relay {
    client: Socket,
    app: Socket,
    open: Rc<Cell<bool>>,
}

/// What a guard watches for.
struct Watch {
    edge: Rc<Edge>,
    session: LiveSession,
    on_outage: OnOutage,
    grace: Seconds,
    list_max_age: Seconds,
    /// When the service is asked next, once the token has ended.
    ask_at: UnixSeconds,
    /// Until when this socket does not ask again for what failed: the list, and liveness.
    list_rests_until_ms: i64,
    ask_rests_until_ms: i64,
}

/// Stands between the app's socket and the client, and watches the session.
pub(crate) fn guard(
    edge: &Rc<Edge>,
    response: &Response,
    session: &LiveSession,
    rule: &Rule,
) -> Result<Response, Stop> {
    let (relay, answer) = relay(response).map_err(|_| Outage::Upstream)?;
    let watch = Watch {
        edge: Rc::clone(edge),
        session: session.clone(),
        on_outage: rule.on_outage,
        grace: rule.outage_grace,
        list_max_age: rule.list_max_age,
        ask_at: session.claims().exp,
        list_rests_until_ms: 0,
        ask_rests_until_ms: 0,
    };
    wasm_bindgen_futures::spawn_local(watch.run(relay));
    Ok(answer)
}

/// Closes the app's end of a socket that no client is given.
pub(crate) fn abandon(response: &Response) {
    if let Some(socket) = platform::web_socket(response) {
        let socket: Socket = socket.unchecked_into();
        // Until it is accepted the runtime keeps it open; one that is gone already is closed.
        let _ = socket.accept();
        end(&socket, Some(CLOSE_ABANDONED), "");
    }
}

fn relay(response: &Response) -> Result<(Relay, Response), Thrown> {
    let app: Socket = platform::web_socket(response)
        .ok_or(JsValue::NULL)?
        .unchecked_into();
    let pair = WebSocketPair::new()?;
    let far_end = Reflect::get_u32(pair.unchecked_ref::<Object>(), 0)?;
    let client: Socket = Reflect::get_u32(pair.unchecked_ref::<Object>(), 1)?.unchecked_into();
    let relay = Relay {
        client,
        app,
        open: Rc::new(Cell::new(true)),
    };
    for socket in [&relay.client, &relay.app] {
        // Else binary messages arrive as blobs, which cannot be sent on.
        socket.set_binary_type("arraybuffer");
        socket.accept()?;
    }
    hand_on(&relay.client, &relay.app, &relay.open);
    hand_on(&relay.app, &relay.client, &relay.open);
    let init = ResponseInit::new();
    init.set_status(101);
    init.set_headers(&response.headers());
    Ok((relay, platform::upgraded(&init, &far_end)?))
}

/// Hands messages and the end from one socket to the other.
fn hand_on(from: &Socket, to: &Socket, open: &Rc<Cell<bool>>) {
    let target = to.clone();
    listen(from, "message", move |event| {
        if let Ok(data) = Reflect::get(event, &"data".into()) {
            // An end that is gone says so with an event of its own.
            let _ = target.send(&data);
        }
    });
    let (target, still) = (to.clone(), Rc::clone(open));
    listen(from, "close", move |event| {
        still.set(false);
        let member = |name: &str| Reflect::get(event, &name.into()).ok();
        let code = member("code")
            .and_then(|code| code.as_f64())
            .unwrap_or_default();
        let reason = member("reason")
            .and_then(|reason| reason.as_string())
            .unwrap_or_default();
        end(&target, to_code(code), &reason);
    });
    let (target, still) = (to.clone(), Rc::clone(open));
    listen(from, "error", move |_| {
        still.set(false);
        end(&target, None, "");
    });
}

fn listen(socket: &Socket, event: &str, act: impl Fn(&JsValue) + 'static) {
    let listener = Closure::<dyn Fn(JsValue)>::new(move |event: JsValue| act(&event));
    // JavaScript collects it together with the socket.
    socket.on(event, &listener.into_js_value());
}

fn end(socket: &Socket, code: Option<u16>, reason: &str) {
    let told = code.is_some_and(|code| socket.close(code, reason).is_ok());
    if !told {
        // Closing what is closed already throws, and is no news.
        let _ = socket.close_plainly();
    }
}

/// A close code that may be sent.
fn to_code(code: f64) -> Option<u16> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "close codes have 16 bits; the cast saturates"
    )]
    let code = code as u16;
    let sendable = (1000..5000).contains(&code) && !UNSENDABLE.contains(&code);
    sendable.then_some(code)
}

impl Watch {
    async fn run(mut self, relay: Relay) {
        let step_ms = LOOK_EVERY_MS.min(self.list_max_age.as_ms() / 2);
        loop {
            platform::sleep(step_ms).await;
            if !relay.open.get() {
                return;
            }
            if let Err(code) = self.look().await {
                relay.open.set(false);
                end(&relay.client, Some(code), "");
                end(&relay.app, Some(code), "");
                return;
            }
        }
    }

    /// Whether the session may go on; the error is a close code.
    async fn look(&mut self) -> Result<(), u16> {
        self.keep_list().await;
        self.check_list()?;
        let age = self.edge.list_age(platform::now_ms());
        let bounded = age.is_some_and(|age| age <= self.list_max_age);
        if !bounded && self.on_outage == OnOutage::Refuse {
            return Err(CLOSE_OUTAGE);
        }
        let now = arrival::now();
        if now < self.ask_at || self.rests(self.ask_rests_until_ms) {
            return Ok(());
        }
        match self.edge.service.liveness(&self.session.claims().sid).await {
            Ok(Some(liveness)) if liveness.live => {
                self.ask_at = now.plus(ASK_EVERY);
                Ok(())
            }
            Ok(_) => Err(CLOSE_ENDED),
            // Asked again until the grace is over.
            Err(_) if now < self.ask_at.plus(self.grace) => {
                self.ask_rests_until_ms = self.rested();
                Ok(())
            }
            Err(_) => Err(CLOSE_OUTAGE),
        }
    }

    /// Half the bound for the list's age, half for the time between two looks.
    async fn keep_list(&mut self) {
        if self.rests(self.list_rests_until_ms) {
            return;
        }
        let half = Seconds::new(self.list_max_age.get() / 2);
        let kept = freshness::keep_list_for_socket(&self.edge, half).await;
        if kept.is_err() {
            self.list_rests_until_ms = self.rested();
        }
    }

    fn rests(&self, until_ms: i64) -> bool {
        is_ahead(until_ms, platform::now_ms(), self.rest_ms())
    }

    fn rested(&self) -> i64 {
        platform::now_ms().saturating_add(self.rest_ms())
    }

    /// A quarter of the bound: what failed once may still come within it.
    fn rest_ms(&self) -> i64 {
        i64::try_from(self.list_max_age.as_ms() / 4).unwrap_or(0)
    }

    fn check_list(&self) -> Result<(), u16> {
        let list = self.edge.list.borrow();
        let known = list.known.as_ref().ok_or(CLOSE_OUTAGE)?;
        match known.judge(self.session.kid(), self.session.claims()) {
            // Past its end the token no longer speaks for the session, the service does: a key that
            // was retired since must not end sockets.
            Err(Refusal::TokenUntrusted) if arrival::now() >= self.session.claims().exp => Ok(()),
            outcome => outcome.map_err(|_| CLOSE_ENDED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::to_code;

    #[test]
    fn to_code_takes_what_may_be_sent_only() {
        for code in [1000_u16, 1001, 1011, 3000, 4401, 4999] {
            assert_eq!(to_code(f64::from(code)), Some(code));
        }
        for code in [
            0.0,
            999.0,
            5000.0,
            65_535.0,
            1004.0,
            1005.0,
            1006.0,
            1015.0,
            f64::NAN,
            -1.0,
        ] {
            assert_eq!(to_code(code), None);
        }
    }
}
