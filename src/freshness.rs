//! How old keys and revocation list may be, and fetching what is older.
//!
//! The rule that bounds revocation: no decision rests on a list older than its route allows, counted
//! from the service's own read of its table. A list that is young enough decides at once and is
//! polled behind the answer; an older one is fetched first. When that fails, a route that says
//! `serve` is decided with what is known, marked degraded; one that says `refuse` is not.
//!
//! Requests watch memory, never each other's promises: the first to need a list fetches it, the
//! others look for it with timers of their own and fetch themselves after half a second.
//!
//! Source: docs/protocol.md §3 (age of the list), §9 (`on_outage`).

use crate::isolate::{Edge, count, is_ahead};
use crate::platform;
use crate::route::{OnOutage, Rule};
use crate::service::ListAnswer;
use futures_util::future;
use hallpass_session::jws::{KeyMismatch, SignatureQuestion, Verified};
use hallpass_session::keyring::{JwkSet, Keyring};
use hallpass_session::refusal::Outage;
use hallpass_session::revocation::{self, RevocationList};
use hallpass_session::time::{Seconds, UnixSeconds};
use hallpass_session::wire::{EdgeKeys, ListClaims, Position};
use serde_json::Value;
use std::rc::Rc;
use worker::Context;

/// How long a failed attempt answers for the next ones: a dead service is asked once a second.
const REST_AFTER_FAILURE_MS: i64 = 1000;
/// How long a request watches for somebody else's fetch before it fetches itself.
const WATCH_MS: i64 = 500;
/// How often it looks.
const WATCH_STEP_MS: u64 = 20;
/// How long one chain of polls may go on behind one answer; the platform ends such work at 30 s.
const CHAIN_MS: i64 = 25_000;
/// Least time between two polls of a chain, should the service answer at once.
const LEAST_POLL_MS: i64 = 1000;
/// Least time between two fetches for keys that tokens name and we do not have; for lists likewise.
const UNKNOWN_KEY_REST_MS: i64 = 30_000;

/// What a decision rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Footing {
    /// Keys and list within their bounds.
    Firm,
    /// The last good ones: the service cannot be reached and the route says `serve`.
    Degraded,
}

/// Makes keys and list good enough for `rule`, or says that they are not.
pub(crate) async fn prepare(edge: &Rc<Edge>, rule: &Rule) -> Result<Footing, Outage> {
    let now_ms = platform::now_ms();
    if footing(edge, rule, now_ms) == Some(Footing::Firm) {
        return Ok(Footing::Firm);
    }
    future::join(keep_keys(edge), keep_list(edge, rule.list_max_age)).await;
    footing(edge, rule, platform::now_ms()).ok_or(Outage::Service)
}

/// Starts behind the answer what keeps keys and list young.
pub(crate) fn refresh_behind(edge: &Rc<Edge>, context: &Context) {
    let now_ms = platform::now_ms();
    edge.list.borrow_mut().decided_ms = now_ms;
    let due = edge
        .keys_age(now_ms)
        .is_some_and(|age| age > edge.settings.keys_refresh);
    let tried = edge.keys.borrow().tried_ms;
    if due && now_ms.saturating_sub(tried) > timeout_ms(edge) {
        let edge = Rc::clone(edge);
        context.wait_until(async move {
            let _ = fetch_keys(&edge).await;
        });
    }
    let polling_until_ms = edge.list.borrow().polling_until_ms;
    let idle = !is_ahead(polling_until_ms, now_ms, poll_deadline_ms(edge));
    if idle && edge.list.borrow().known.is_some() && !rests(edge, now_ms) {
        let edge = Rc::clone(edge);
        edge.list.borrow_mut().polling_until_ms = now_ms.saturating_add(poll_deadline_ms(&edge));
        context.wait_until(async move { poll_chain(&edge).await });
    }
}

/// What names a key that we do not have.
#[derive(Clone, Copy)]
pub(crate) enum NamedBy {
    /// A token: anybody can make one.
    Token,
    /// The service's list.
    List,
}

/// Fetches keys because a token or a list names one we do not have; for each at most once per 30 s,
/// so that nobody's tokens keep us from the key of the list.
pub(crate) async fn fetch_unknown_key(edge: &Rc<Edge>, named_by: NamedBy) {
    if may_ask(edge, named_by, platform::now_ms()) {
        let _ = fetch_keys(edge).await;
    }
}

fn may_ask(edge: &Edge, named_by: NamedBy, now_ms: i64) -> bool {
    let mut keys = edge.keys.borrow_mut();
    let asked_ms = match named_by {
        NamedBy::Token => &mut keys.asked_for_token_ms,
        NamedBy::List => &mut keys.asked_for_list_ms,
    };
    let may = *asked_ms == 0 || now_ms.saturating_sub(*asked_ms) >= UNKNOWN_KEY_REST_MS;
    if may {
        *asked_ms = now_ms;
    }
    may
}

fn footing(edge: &Edge, rule: &Rule, now_ms: i64) -> Option<Footing> {
    let list_age = edge.list_age(now_ms)?;
    edge.keys_age(now_ms)?;
    if list_age <= rule.list_max_age && keys_are_young(edge, now_ms) {
        Some(Footing::Firm)
    } else if rule.on_outage == OnOutage::Serve && last_failure_ms(edge) != 0 {
        Some(Footing::Degraded)
    } else {
        None
    }
}

fn keys_are_young(edge: &Edge, now_ms: i64) -> bool {
    edge.keys_age(now_ms)
        .is_some_and(|age| age <= edge.settings.keys_max_age)
}

/// Whether the last attempt failed so lately that another is not worth it.
fn rests(edge: &Edge, now_ms: i64) -> bool {
    let failed_ms = last_failure_ms(edge);
    failed_ms != 0 && (0..REST_AFTER_FAILURE_MS).contains(&now_ms.saturating_sub(failed_ms))
}

/// When an attempt failed that nothing has made good since; 0 for none.
fn last_failure_ms(edge: &Edge) -> i64 {
    edge.list
        .borrow()
        .failed_ms
        .max(edge.keys.borrow().failed_ms)
}

/// Gets keys young enough: somebody else's, if they come soon, else our own.
pub(crate) async fn keep_keys(edge: &Rc<Edge>) {
    let young = |edge: &Edge| keys_are_young(edge, platform::now_ms());
    watch(edge, |edge| edge.keys.borrow().fetching_until_ms, young).await;
    let now_ms = platform::now_ms();
    if !young(edge) && !rests(edge, now_ms) {
        let until_ms = now_ms.saturating_add(timeout_ms(edge));
        edge.keys.borrow_mut().fetching_until_ms = until_ms;
        let _ = fetch_keys(edge).await;
        edge.keys.borrow_mut().fetching_until_ms = 0;
    }
}

/// Gets a list young enough: somebody else's, if it comes soon, else our own.
pub(crate) async fn keep_list(edge: &Rc<Edge>, max_age: Seconds) {
    let noted = async || {
        let outcome = fetch_list(edge, Seconds::default()).await;
        note(edge, outcome)
    };
    let _ = list_in_turn(edge, max_age, noted).await;
}

/// The same for a socket. What fails for one says nothing about the service: the platform counts its
/// calls over its whole life and refuses more than so many, so requests must go on asking.
pub(crate) async fn keep_list_for_socket(edge: &Rc<Edge>, max_age: Seconds) -> Result<(), Outage> {
    list_in_turn(edge, max_age, async || {
        fetch_list(edge, Seconds::default()).await
    })
    .await
}

async fn list_in_turn(
    edge: &Edge,
    max_age: Seconds,
    fetch: impl AsyncFnOnce() -> Result<(), Outage>,
) -> Result<(), Outage> {
    let young = |edge: &Edge| {
        edge.list_age(platform::now_ms())
            .is_some_and(|age| age <= max_age)
    };
    watch(edge, |edge| edge.list.borrow().fetching_until_ms, young).await;
    let now_ms = platform::now_ms();
    if young(edge) || rests(edge, now_ms) {
        return Ok(());
    }
    let until_ms = now_ms.saturating_add(timeout_ms(edge));
    edge.list.borrow_mut().fetching_until_ms = until_ms;
    let outcome = fetch().await;
    edge.list.borrow_mut().fetching_until_ms = 0;
    outcome
}

/// Notes a failure, for all to see.
fn note(edge: &Edge, outcome: Result<(), Outage>) -> Result<(), Outage> {
    if outcome.is_err() {
        edge.list.borrow_mut().failed_ms = platform::now_ms();
    }
    outcome
}

/// Watches, while somebody else fetches, until what comes is young, or has failed, or comes too late.
async fn watch(edge: &Edge, fetching_until_ms: fn(&Edge) -> i64, young: impl Fn(&Edge) -> bool) {
    let began_ms = platform::now_ms();
    while fetching_until_ms(edge) > platform::now_ms() {
        let now_ms = platform::now_ms();
        let waited_ms = now_ms.saturating_sub(began_ms);
        if young(edge) || rests(edge, now_ms) || waited_ms >= WATCH_MS {
            break;
        }
        platform::sleep(WATCH_STEP_MS).await;
    }
}

async fn poll_chain(edge: &Rc<Edge>) {
    let ends_ms = platform::now_ms().saturating_add(CHAIN_MS);
    loop {
        let began_ms = platform::now_ms();
        let polled = note(edge, fetch_list(edge, poll_wait(edge)).await);
        let now_ms = platform::now_ms();
        let wanted = edge.list.borrow().decided_ms > began_ms;
        if polled.is_err() || !wanted || now_ms >= ends_ms {
            break;
        }
        let early_ms = LEAST_POLL_MS.saturating_sub(now_ms.saturating_sub(began_ms));
        if let Ok(early_ms @ 1..) = u64::try_from(early_ms) {
            platform::sleep(early_ms).await;
        }
        let until_ms = platform::now_ms().saturating_add(poll_deadline_ms(edge));
        edge.list.borrow_mut().polling_until_ms = until_ms;
    }
    edge.list.borrow_mut().polling_until_ms = 0;
}

/// Fetches the list, or what has changed in it, and takes it in.
async fn fetch_list(edge: &Rc<Edge>, wait: Seconds) -> Result<(), Outage> {
    let asked = edge
        .list
        .borrow()
        .known
        .as_ref()
        .map(|list| list.position().clone());
    let started_ms = platform::now_ms();
    let query = list_query(edge, asked.as_ref(), wait);
    let outcome = match edge.service.revocations(&query, wait.as_ms()).await {
        Ok(answer) => take_in(edge, answer, asked.as_ref(), started_ms).await,
        Err(outage) => Err(outage),
    };
    if outcome.is_ok() {
        edge.list.borrow_mut().failed_ms = 0;
    }
    outcome
}

fn list_query(edge: &Edge, asked: Option<&Position>, wait: Seconds) -> String {
    let from = asked.map_or_else(
        || "after=0".to_owned(),
        |Position { epoch, to }| format!("epoch={epoch}&after={to}"),
    );
    let bound = edge.settings.largest_list_age().get();
    format!("{from}&wait={}&edge={}&bound={bound}", wait.get(), edge.id)
}

async fn take_in(
    edge: &Rc<Edge>,
    answer: ListAnswer,
    asked: Option<&Position>,
    started_ms: i64,
) -> Result<(), Outage> {
    let ListAnswer { header, list } = answer;
    // Refused before anything is taken in: a read after its own answer proves nothing.
    let confirmed_ms = header
        .confirmed_at_ms(started_ms, platform::now_ms())
        .ok_or_else(|| refuse_list(edge, "read after its answer"))?;
    let proven = header.position;
    if let Some(text) = list {
        let question = ask_about_list(edge, &text).await?;
        let verdict = edge.platform_keys.verify(&question).await;
        let list = question
            .answered(verdict)
            .map_err(|_| refuse_list(edge, "signature"))?;
        if (&list.content().epoch, list.content().to) != (&proven.epoch, proven.to) {
            return Err(refuse_list(edge, "header and list differ"));
        }
        apply(edge, list)?;
    } else if asked != Some(&proven) {
        return Err(refuse_list(edge, "nothing new, at another position"));
    }
    confirm(edge, &proven, confirmed_ms)
}

type ListQuestion = SignatureQuestion<ListClaims>;

async fn ask_about_list(edge: &Rc<Edge>, text: &str) -> Result<ListQuestion, Outage> {
    let list = revocation::parse(text).map_err(|_| refuse_list(edge, "malformed"))?;
    watch_for_first_keys(edge).await;
    let keyring = || edge.keys.borrow().list.clone();
    match list.clone().question(&keyring()) {
        Ok(question) => Ok(question),
        Err(KeyMismatch::OtherAlgorithm) => Err(refuse_list(edge, "algorithm")),
        Err(KeyMismatch::UnknownKid) => {
            fetch_unknown_key(edge, NamedBy::List).await;
            list.question(&keyring())
                .map_err(|_| refuse_list(edge, "unknown key"))
        }
    }
}

/// In a cold isolate keys and list are fetched side by side; the list may come first.
async fn watch_for_first_keys(edge: &Edge) {
    let ends_ms = platform::now_ms().saturating_add(timeout_ms(edge));
    let waits = || edge.keys.borrow().session.is_none() && edge.keys.borrow().failed_ms == 0;
    while waits() && platform::now_ms() < ends_ms {
        platform::sleep(WATCH_STEP_MS).await;
    }
}

fn apply(edge: &Edge, list: Verified<ListClaims>) -> Result<(), Outage> {
    let issuer = &edge.settings.policy.issuer;
    let now = now();
    let mut memory = edge.list.borrow_mut();
    let outcome = match &mut memory.known {
        // A slow answer that a newer one has overtaken: nothing to take in, and no fault.
        Some(known) if is_behind(known, list.content()) => Ok(()),
        Some(known) => known.apply(list, issuer, now),
        None => RevocationList::new(list, issuer, now).map(|list| memory.known = Some(list)),
    };
    outcome.map_err(|fault| {
        refuse_list(edge, &format!("{fault:?}"));
        Outage::Service
    })?;
    if let Some(known) = &mut memory.known {
        known.forget_before(edge.settings.longest_grace(), now);
    }
    Ok(())
}

fn is_behind(known: &RevocationList, list: &ListClaims) -> bool {
    let at = known.position();
    at.epoch == list.epoch && list.from != 0 && list.to < at.to
}

/// Believes the service's word on when it read, if the list in memory is the one it speaks of.
fn confirm(edge: &Edge, proven: &Position, confirmed_ms: i64) -> Result<(), Outage> {
    let mut memory = edge.list.borrow_mut();
    let held = memory.known.as_ref().map(RevocationList::position);
    match held {
        Some(held) if held == proven => {
            // What lies ahead was noted before the clock stepped back.
            let before_ms = memory.confirmed_ms;
            let sound = before_ms <= platform::now_ms();
            memory.confirmed_ms = if sound {
                before_ms.max(confirmed_ms)
            } else {
                confirmed_ms
            };
            Ok(())
        }
        // Another answer was faster and went further: this one confirms nothing.
        Some(held) if held.epoch == proven.epoch && held.to > proven.to => Ok(()),
        _ => Err(Outage::Service),
    }
}

fn refuse_list(edge: &Edge, why: &str) -> Outage {
    count(&edge.counters.lists_refused);
    platform::alarm(&format!("{{\"at\":\"list_refused\",\"why\":\"{why}\"}}"));
    Outage::Service
}

async fn fetch_keys(edge: &Rc<Edge>) -> Result<(), Outage> {
    let began_ms = platform::now_ms();
    edge.keys.borrow_mut().tried_ms = began_ms;
    let keys = match edge.service.keys().await {
        Ok(keys) => read_keys(edge, &keys),
        Err(outage) => Err(outage),
    };
    let now_ms = platform::now_ms();
    match keys {
        Ok((session, list)) => {
            let mut memory = edge.keys.borrow_mut();
            memory.failed_ms = 0;
            // A slow answer that one to a later question has overtaken.
            if began_ms < memory.fetched_ms && memory.fetched_ms <= now_ms {
                return Ok(());
            }
            if memory.session.as_ref() != Some(&session) {
                edge.memo.borrow_mut().clear();
            }
            memory.session = Some(session);
            memory.list = list;
            memory.fetched_ms = began_ms;
            Ok(())
        }
        Err(outage) => {
            edge.keys.borrow_mut().failed_ms = now_ms;
            Err(outage)
        }
    }
}

fn read_keys(edge: &Edge, keys: &EdgeKeys) -> Result<(Keyring, Keyring), Outage> {
    let read = |set: &Value| {
        let keyring = JwkSet::parse(set).and_then(|set| set.checked(hallpass_signature::is_sound));
        keyring.map_err(|fault| {
            platform::alarm(&format!(
                "{{\"at\":\"keys_refused\",\"why\":\"{fault:?}\"}}"
            ));
            Outage::Service
        })
    };
    let session = read(&keys.session)?;
    let session = match &edge.secrets.hs256 {
        Some(key) => session.with(key.clone()),
        None => session,
    };
    Ok((session, read(&keys.list)?))
}

fn now() -> UnixSeconds {
    UnixSeconds::from_ms(u64::try_from(platform::now_ms()).unwrap_or(0))
}

/// Half the smallest bound at most: a poll that hangs must not use it up.
fn poll_wait(edge: &Edge) -> Seconds {
    let half = Seconds::new(edge.settings.smallest_list_age().get() / 2);
    edge.settings.list_poll.min(half)
}

fn poll_deadline_ms(edge: &Edge) -> i64 {
    let wait_ms = i64::try_from(poll_wait(edge).as_ms()).unwrap_or(0);
    timeout_ms(edge).saturating_add(wait_ms)
}

fn timeout_ms(edge: &Edge) -> i64 {
    i64::try_from(edge.settings.service_timeout_ms).unwrap_or(i64::MAX)
}
