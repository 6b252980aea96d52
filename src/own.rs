//! The edge's own paths under `/.session/`: the portal, its API, sign-out, health.
//!
//! They count as `session` routes, so a token near its end is renewed here as well; health, assets
//! and the assertion's keys are public, sign-out is for everybody. Every change must come from our
//! own pages. Who may see or end what is decided by the service, from the user's own token.
//!
//! Source: docs/protocol.md §7.

use crate::arrival::{self, Arrival};
use crate::assertion;
use crate::credentials::{self, CookieChange};
use crate::csrf::Target;
use crate::decision::{self, Decision};
use crate::gate::{self, Admitted, Renewing, Stop};
use crate::isolate::Edge;
use crate::platform::{self, Thrown};
use crate::portal::{self, Message, Notice, PortalPage};
use crate::service::{Actor, Declined};
use crate::{handoff, refusal};
use hallpass_session::path::CanonicalPath;
use hallpass_session::refusal::{Outage, Refusal};
use hallpass_session::wire::{RevokeMine, Revoked, Sessions};
use serde::Serialize;
use serde_json::json;
use std::rc::Rc;
use wasm_bindgen_futures::JsFuture;
use web_sys::Response;
use worker::{Context, Env};

/// Longest form body, in bytes: `sid=` and 22 characters, and room.
const MAX_FORM_BYTES: u32 = 1024;

/// One request among our own paths.
struct Visit<'a> {
    edge: &'a Rc<Edge>,
    arrival: &'a Arrival,
    context: &'a Context,
    decision: &'a mut Decision,
}

/// A user of the portal: admitted, with the token that speaks for them.
struct User {
    admitted: Admitted,
    token: String,
}

/// Answers a request for one of our own paths.
pub(crate) async fn serve(
    edge: &Rc<Edge>,
    arrival: &Arrival,
    path: &CanonicalPath,
    env: &Env,
    context: &Context,
    decision: &mut Decision,
) -> Result<Response, Stop> {
    decision.code = "own";
    let mut visit = Visit {
        edge,
        arrival,
        context,
        decision,
    };
    if arrival.is_unsafe() {
        visit.check_origin()?;
    }
    let name = path
        .as_str()
        .strip_prefix(portal::PORTAL_PATH)
        .unwrap_or_default();
    if let Some(asset) = path.as_str().strip_prefix(portal::ASSETS_PATH) {
        visit.only(&["GET", "HEAD"])?;
        return visit.asset(asset, env).await;
    }
    match (arrival.method.as_str(), name) {
        ("GET" | "HEAD", "health") => visit.health(),
        ("GET" | "HEAD", "assertion-keys.json") => visit.assertion_keys(),
        ("GET" | "HEAD", "") if path.as_str() == portal::PORTAL_PATH => visit.portal().await,
        ("GET" | "HEAD", "") => internal(refusal::redirect(portal::PORTAL_PATH, &none())),
        ("POST", "end") => visit.end_by_form().await,
        ("POST", "sign-out") => visit.sign_out().await,
        ("GET" | "HEAD", "api/session") => visit.session().await,
        ("GET" | "HEAD", "api/sessions") => visit.sessions().await,
        ("DELETE", "api/sessions") => visit.end_by_api(everything_else()).await,
        ("GET" | "HEAD", "api/in-force") => visit.in_force().await,
        ("DELETE", name) if let Some(sid) = name.strip_prefix("api/sessions/") => {
            visit.end_by_api(one(sid.to_owned())).await
        }
        (_, name) if is_known(name) => Err(Refusal::MethodRefused.into()),
        _ => Err(Stop::NotFound),
    }
}

impl Visit<'_> {
    fn check_origin(&self) -> Result<(), Stop> {
        if credentials::is_bearer(self.arrival) {
            return Ok(());
        }
        gate::from_our_own(self.edge, self.arrival, Target::Own)
    }

    fn only(&self, methods: &[&str]) -> Result<(), Stop> {
        if methods.contains(&self.arrival.method.as_str()) {
            Ok(())
        } else {
            Err(Refusal::MethodRefused.into())
        }
    }

    /// Admits the user as on any `session` route.
    async fn user(&mut self) -> Result<User, Stop> {
        let rule = self.edge.settings.rules.rest();
        let admitted =
            gate::admit(self.edge, self.arrival, rule, self.context, self.decision).await?;
        let presented = credentials::read(self.arrival)?;
        let token = match &admitted.renewal {
            Renewing::Done(renewal) => renewal.token().to_owned(),
            _ => presented
                .token()
                .map(|(token, _)| token.to_owned())
                .unwrap_or_default(),
        };
        Ok(User { admitted, token })
    }

    async fn portal(&mut self) -> Result<Response, Stop> {
        let user = self.user().await?;
        let sessions = self.list(&user).await?;
        let notice = self.arrival.query.as_deref().and_then(Notice::parse_query);
        let settings = &self.edge.settings;
        let page = PortalPage {
            settings: &settings.portal,
            sessions: &sessions,
            notice: notice.as_ref(),
            sign_in_path: &refusal::sign_in_location(settings, self.arrival),
            bound_secs: settings.largest_list_age().get(),
            now: arrival::now(),
        };
        internal(refusal::html_response(
            settings,
            200,
            &page.render(),
            &self.cookies(&user),
        ))
    }

    async fn session(&mut self) -> Result<Response, Stop> {
        let user = self.user().await?;
        let session = user
            .admitted
            .session
            .as_ref()
            .ok_or(Refusal::SessionMissing)?;
        let claims = session.claims();
        let body = json!({
            "subject": claims.sub, "sid": claims.sid, "auth_time": claims.auth_time,
            "expires_at": claims.exp, "amr": claims.amr, "ext": claims.ext,
        });
        self.json(&user, &body)
    }

    async fn sessions(&mut self) -> Result<Response, Stop> {
        let user = self.user().await?;
        let sessions = self.list(&user).await?;
        self.json(&user, &sessions)
    }

    async fn in_force(&mut self) -> Result<Response, Stop> {
        let user = self.user().await?;
        let query = self.arrival.query.as_deref().unwrap_or_default();
        let clean = |b: u8| b.is_ascii_alphanumeric() || b"-_=&.".contains(&b);
        if !query.bytes().all(clean) || query.len() > 256 {
            return Err(Refusal::RequestMalformed.into());
        }
        let answer = self.edge.service.in_force(&user.token, query).await?;
        self.json(&user, &answer.map_err(stop)?)
    }

    async fn end_by_api(&mut self, what: RevokeMine) -> Result<Response, Stop> {
        let user = self.user().await?;
        let revoked = self.revoke(&user, &what).await?;
        self.json(&user, &revoked)
    }

    async fn end_by_form(&mut self) -> Result<Response, Stop> {
        let user = self.user().await?;
        let form = self.form().await?;
        let what = match (form.get("sid"), form.get("others")) {
            (Some(sid), None) => one(sid),
            (None, Some(_)) => everything_else(),
            _ => return Err(Refusal::RequestMalformed.into()),
        };
        let list = self.revoke(&user, &what).await?.list;
        let notice = match &what.sid {
            Some(sid) => Notice::one(sid, list),
            None => Notice::others(list),
        };
        internal(refusal::redirect(&notice.location(), &self.cookies(&user)))
    }

    async fn revoke(&self, user: &User, what: &RevokeMine) -> Result<Revoked, Stop> {
        let auth_time = user
            .admitted
            .session
            .as_ref()
            .map(|session| session.claims().auth_time);
        let settings = &self.edge.settings.portal;
        if what.others == Some(true)
            && auth_time.is_some_and(|at| settings.needs_sign_in_to_end_others(at, arrival::now()))
        {
            return Err(Refusal::ReauthenticationRequired.into());
        }
        let actor = Actor::Token(&user.token);
        self.edge
            .service
            .revoke_mine(&actor, what)
            .await?
            .map_err(stop)
    }

    async fn list(&self, user: &User) -> Result<Sessions, Stop> {
        self.edge
            .service
            .my_sessions(&user.token)
            .await?
            .map_err(stop)
    }

    /// Clears the cookies whatever happens, and says so when the session could not be ended.
    async fn sign_out(&self) -> Result<Response, Stop> {
        let ended = match credentials::read(self.arrival) {
            Ok(presented) => {
                let ended = handoff::end(self.edge, &presented).await;
                ended.map_err(|outage| (outage.into(), Message::SignedOutHere))
            }
            // Nobody knows which of two sessions is meant: both cookies go, neither session ends.
            Err(refusal) => Err((Stop::Refused(refusal), Message::Refused(refusal))),
        };
        let (settings, clear) = (&self.edge.settings, CookieChange::clear());
        let page = |message, status| refusal::page(settings, self.arrival, message, status, &clear);
        internal(match (self.arrival.is_page_load(), ended) {
            (true, Ok(())) => page(Message::SignedOut, 200),
            (true, Err((stop, message))) => page(message, stop.status()),
            (false, Ok(())) => refusal::no_content(&clear),
            (false, Err((stop, _))) => refusal::problem(self.arrival, stop, &clear),
        })
    }

    fn health(&self) -> Result<Response, Stop> {
        let mut body = json!({"status": "ok"});
        if decision::may_diagnose(self.edge, self.arrival)
            && let (Some(body), Some(more)) = (body.as_object_mut(), self.diagnostics().as_object())
        {
            body.extend(more.clone());
        }
        internal(refusal::json(&body.to_string(), &none()))
    }

    fn diagnostics(&self) -> serde_json::Value {
        let (list, keys) = (self.edge.list.borrow(), self.edge.keys.borrow());
        let now_ms = platform::now_ms();
        let counters = &self.edge.counters;
        let list = list.known.as_ref().map(|known| {
            json!({
                "epoch": known.position().epoch, "to": known.position().to,
                "entries": known.entries(), "age_ms": now_ms.saturating_sub(list.confirmed_ms),
            })
        });
        let keys = keys
            .session
            .as_ref()
            .map(|_| json!({"age_ms": now_ms.saturating_sub(keys.fetched_ms)}));
        json!({
            "list": list,
            "keys": keys,
            "memo": {"entries": self.edge.memo.borrow().len(),
                     "hits": counters.memo_hits.get(), "misses": counters.memo_misses.get()},
            "counters": {
                "forwarded": counters.forwarded.get(), "refused": counters.refused.get(),
                "outages": counters.outages.get(), "renewed": counters.renewed.get(),
                "lists_refused": counters.lists_refused.get(),
            },
        })
    }

    fn assertion_keys(&self) -> Result<Response, Stop> {
        let key = &self.edge.secrets.assertion_key;
        let keys = assertion::public_keys(self.edge.settings.assertion, key);
        internal(refusal::json(
            &keys.ok_or(Stop::NotFound)?.to_string(),
            &none(),
        ))
    }

    async fn asset(&self, name: &str, env: &Env) -> Result<Response, Stop> {
        if name == portal::BRAND_CSS {
            let css = self.edge.settings.portal.brand_css();
            return internal(asset_headers(name))
                .and_then(|headers| internal(platform::text_response(200, &headers, Some(&css))));
        }
        if !portal::ASSETS.contains(&name) {
            return Err(Stop::NotFound);
        }
        let file = platform::fetch_asset(env, name).await.filter(Response::ok);
        let file = file.ok_or(Stop::NotFound)?;
        let headers = internal(asset_headers(name))?;
        internal(platform::with_headers(&file, &headers))
    }

    async fn form(&self) -> Result<web_sys::UrlSearchParams, Stop> {
        let malformed = |_| Stop::Refused(Refusal::RequestMalformed);
        let kind = self.arrival.header("content-type").unwrap_or_default();
        let length = self
            .arrival
            .header("content-length")
            .and_then(|it| it.parse::<u32>().ok());
        let bounded = length.is_some_and(|length| length <= MAX_FORM_BYTES);
        if !kind.starts_with("application/x-www-form-urlencoded") || !bounded {
            return Err(Refusal::RequestMalformed.into());
        }
        let promise = self.arrival.request.text().map_err(malformed)?;
        let text = JsFuture::from(promise).await.map_err(malformed)?;
        let text = text.as_string().unwrap_or_default();
        web_sys::UrlSearchParams::new_with_str(&text).map_err(malformed)
    }

    fn cookies(&self, user: &User) -> CookieChange {
        user.admitted.renewal.cookies(self.arrival)
    }

    fn json<B: Serialize>(&self, user: &User, body: &B) -> Result<Response, Stop> {
        let body = serde_json::to_string(body).unwrap_or_default();
        internal(refusal::json(&body, &self.cookies(user)))
    }
}

const KNOWN: [&str; 8] = [
    "",
    "health",
    "assertion-keys.json",
    "end",
    "sign-out",
    "api/session",
    "api/sessions",
    "api/in-force",
];

fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}

fn one(sid: String) -> RevokeMine {
    RevokeMine {
        sid: Some(sid),
        ..RevokeMine::default()
    }
}

fn everything_else() -> RevokeMine {
    RevokeMine {
        others: Some(true),
        ..RevokeMine::default()
    }
}

fn none() -> CookieChange {
    CookieChange::default()
}

fn stop(declined: Declined) -> Stop {
    match declined {
        Declined::Refused(refusal) => Stop::Ended(refusal),
        Declined::Token(refusal) => Stop::Refused(refusal),
        Declined::NotFound => Stop::NotFound,
        Declined::Malformed => Refusal::RequestMalformed.into(),
    }
}

/// JavaScript threw while we built an answer of our own: nothing of it went out.
fn internal<T>(outcome: Result<T, Thrown>) -> Result<T, Stop> {
    outcome.map_err(|_| Outage::Upstream.into())
}

/// Assets are the same for everybody and change with a deployment.
fn asset_headers(name: &str) -> Result<web_sys::Headers, Thrown> {
    let kind = match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    };
    let headers = web_sys::Headers::new()?;
    headers.set("content-type", kind)?;
    headers.set("cache-control", "public, max-age=300")?;
    headers.set("x-content-type-options", "nosniff")?;
    headers.set("content-security-policy", "default-src 'none'")?;
    Ok(headers)
}
