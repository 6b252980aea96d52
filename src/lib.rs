//! The Hallpass edge: a Cloudflare Worker that checks session tokens in front of an app.
//!
//! This is the only crate that knows the Workers runtime. It decides nothing by itself: what may
//! pass is judged by `hallpass_session`, signatures by `hallpass_signature`; here requests are read,
//! fetched for, forwarded and answered.
//!
//! Reading order, which is also one request's way: `gate`, `arrival`, `config`, `secrets`, `route`, `csrf`,
//! `credentials`, `isolate`, `freshness`, `verification`, `webcrypto`, `renewal`, `service`, `upstream`,
//! `assertion`, `socket`, `handoff`, `own`, `portal`, `refusal`, `decision`. `platform` is the runtime.

#![deny(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::unreachable,
    clippy::unimplemented
)]
#![cfg_attr(not(test), deny(clippy::string_slice))]

mod arrival;
mod assertion;
pub mod config;
mod credentials;
mod csrf;
mod decision;
mod freshness;
mod gate;
mod handoff;
mod isolate;
mod memo;
mod own;
mod platform;
mod portal;
mod refusal;
mod renewal;
pub mod route;
pub mod secrets;
mod service;
mod socket;
mod upstream;
mod verification;
mod webcrypto;

use web_sys::{Request, Response};
use worker::{Context, Env, event};

/// Answers one request. JavaScript throwing while an answer is built is the only error.
#[event(fetch)]
async fn fetch(request: Request, env: Env, context: Context) -> worker::Result<Response> {
    gate::serve(request, &env, &context)
        .await
        .map_err(|thrown| worker::Error::RustError(thrown.to_string()))
}
