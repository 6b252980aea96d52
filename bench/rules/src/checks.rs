//! The checks, one function each: callgrind counts by function, and the report names them so.
//!
//! A cold check goes the whole way of a request's credentials: the `Cookie` header is read, the token
//! judged with its signature, the session admitted. A remembered one has its signature behind it.

use std::rc::Rc;

use hallpass_session::admission::LiveSession;
use hallpass_session::presented::Presented;
use hallpass_session::refusal::Refusal;
use hallpass_session::time::Seconds;
use hallpass_session::token::{self, VerifiedToken};

use crate::desk::{Desk, NOW};

/// What a check comes to.
pub(crate) type Outcome = Result<(), Refusal>;

/// One check.
pub(crate) struct Check {
    /// The name of its function.
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Desk) -> Outcome,
    pub(crate) expected: Outcome,
}

const fn check(name: &'static str, run: fn(&Desk) -> Outcome, expected: Outcome) -> Check {
    Check {
        name,
        run,
        expected,
    }
}

/// Every check. The report's words for them are in `xtask/src/bench/rules.rs`.
pub(crate) const ALL: [Check; 17] = [
    check("remembered", remembered, Ok(())),
    check("cold_eddsa", cold_eddsa, Ok(())),
    check("cold_eddsa_again", cold_eddsa_again, Ok(())),
    check("cold_es256", cold_es256, Ok(())),
    check("cold_hs256", cold_hs256, Ok(())),
    check("malformed", malformed, Err(Refusal::TokenMalformed)),
    check(
        "oversized_5_kb",
        oversized_5_kb,
        Err(Refusal::TokenMalformed),
    ),
    check(
        "oversized_1_mb",
        oversized_1_mb,
        Err(Refusal::TokenMalformed),
    ),
    check("unknown_kid", unknown_kid, Err(Refusal::TokenUntrusted)),
    check("wrong_alg", wrong_alg, Err(Refusal::TokenUntrusted)),
    check("bad_signature", bad_signature, Err(Refusal::TokenUntrusted)),
    check("wrong_audience", wrong_audience, Err(Refusal::TokenInvalid)),
    check("expired", expired, Err(Refusal::TokenExpired)),
    check("revoked", revoked, Err(Refusal::SessionRevoked)),
    check(
        "revoked_remembered",
        revoked_remembered,
        Err(Refusal::SessionRevoked),
    ),
    check("reading_5_kb", reading_5_kb, Ok(())),
    check("reading_1_mb", reading_1_mb, Ok(())),
];

#[inline(never)]
fn remembered(desk: &Desk) -> Outcome {
    admit(desk, Rc::clone(&desk.remembered))
}

#[inline(never)]
fn cold_eddsa(desk: &Desk) -> Outcome {
    judge(desk, &desk.cookies.eddsa)
}

/// The control; the black box keeps the compiler from making both functions one.
#[inline(never)]
fn cold_eddsa_again(desk: &Desk) -> Outcome {
    judge(desk, std::hint::black_box(&desk.cookies.eddsa))
}

#[inline(never)]
fn cold_es256(desk: &Desk) -> Outcome {
    judge(desk, &desk.cookies.es256)
}

#[inline(never)]
fn cold_hs256(desk: &Desk) -> Outcome {
    judge(desk, &desk.cookies.hs256)
}

#[inline(never)]
fn malformed(desk: &Desk) -> Outcome {
    judge(desk, &desk.cookies.malformed)
}

#[inline(never)]
fn oversized_5_kb(desk: &Desk) -> Outcome {
    judge(desk, &desk.cookies.oversized_5_kb)
}

#[inline(never)]
fn oversized_1_mb(desk: &Desk) -> Outcome {
    judge(desk, &desk.cookies.oversized_1_mb)
}

#[inline(never)]
fn unknown_kid(desk: &Desk) -> Outcome {
    judge(desk, &desk.cookies.unknown_kid)
}

#[inline(never)]
fn wrong_alg(desk: &Desk) -> Outcome {
    judge(desk, &desk.cookies.wrong_alg)
}

#[inline(never)]
fn bad_signature(desk: &Desk) -> Outcome {
    judge(desk, &desk.cookies.bad_signature)
}

#[inline(never)]
fn wrong_audience(desk: &Desk) -> Outcome {
    judge(desk, &desk.cookies.wrong_audience)
}

#[inline(never)]
fn expired(desk: &Desk) -> Outcome {
    judge(desk, &desk.cookies.expired)
}

#[inline(never)]
fn revoked(desk: &Desk) -> Outcome {
    judge(desk, &desk.cookies.revoked)
}

#[inline(never)]
fn revoked_remembered(desk: &Desk) -> Outcome {
    admit(desk, Rc::clone(&desk.revoked_remembered))
}

#[inline(never)]
fn reading_5_kb(desk: &Desk) -> Outcome {
    read(&desk.cookies.oversized_5_kb).map(drop)
}

#[inline(never)]
fn reading_1_mb(desk: &Desk) -> Outcome {
    read(&desk.cookies.oversized_1_mb).map(drop)
}

fn read(cookies: &str) -> Result<Presented, Refusal> {
    std::hint::black_box(Presented::read(Some(cookies), None))
}

fn judge(desk: &Desk, cookies: &str) -> Outcome {
    let presented = read(cookies)?;
    let (text, _) = presented.token().ok_or(Refusal::SessionMissing)?;
    let verify = hallpass_signature::verify;
    let token = token::judge(text, &desk.keyring, &desk.policy, verify, NOW)?;
    admit(desk, Rc::new(token))
}

fn admit(desk: &Desk, token: Rc<VerifiedToken>) -> Outcome {
    LiveSession::admit(token, &desk.policy, &desk.list, Seconds::new(0), NOW).map(drop)
}
