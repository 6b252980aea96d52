//! What the checks need at hand: keys, tokens good and odd, and a list with 10,000 entries.
//!
//! Everything is fixed, so that every run counts the same.

use std::rc::Rc;

use hallpass_session::claims::TokenPolicy;
use hallpass_session::keyring::Keyring;
use hallpass_session::revocation::{self, RevocationList, encode_bitmap};
use hallpass_session::time::{Seconds, UnixSeconds};
use hallpass_session::token::{self, VerifiedToken};
use hallpass_session::wire::{ListBucket, ListClaims};
use serde_json::{Value, json};

use crate::signers::{Signers, expect};

/// The second at which every check happens.
pub(crate) const NOW: UnixSeconds = UnixSeconds::new(1_795_224_155);

const ISSUER: &str = "https://sessions.example";
const AUDIENCE: &str = "app";
/// How many sessions the list names.
const LIST_ENTRIES: u32 = 10_000;
/// Every third index is revoked, so that the one looked up has revoked neighbours.
const STRIDE: u32 = 3;
const REVOKED_IDX: u32 = STRIDE * (LIST_ENTRIES / 2);
const LIVE_IDX: u32 = REVOKED_IDX + 1;

/// Everything at hand.
pub(crate) struct Desk {
    pub(crate) keyring: Keyring,
    pub(crate) policy: TokenPolicy,
    pub(crate) list: RevocationList,
    pub(crate) remembered: Rc<VerifiedToken>,
    pub(crate) revoked_remembered: Rc<VerifiedToken>,
    pub(crate) cookies: Cookies,
}

/// `Cookie` headers, one per cold check.
pub(crate) struct Cookies {
    pub(crate) eddsa: String,
    pub(crate) es256: String,
    pub(crate) hs256: String,
    pub(crate) malformed: String,
    pub(crate) oversized_5_kb: String,
    pub(crate) oversized_1_mb: String,
    pub(crate) unknown_kid: String,
    pub(crate) wrong_alg: String,
    pub(crate) bad_signature: String,
    pub(crate) wrong_audience: String,
    pub(crate) expired: String,
    pub(crate) revoked: String,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let signers = Signers::new();
        let keyring = signers.keyring();
        let remember = |claims: &Value| Rc::new(verified(&signers.eddsa(claims), &keyring));
        Self {
            list: list(&signers, &keyring),
            remembered: remember(&claims()),
            revoked_remembered: remember(&with("idx", REVOKED_IDX)),
            cookies: Cookies::new(&signers),
            policy: TokenPolicy {
                issuer: ISSUER.to_owned(),
                audience: AUDIENCE.to_owned(),
                clock_skew: Seconds::new(5),
                max_token_lifetime: Seconds::new(3600),
            },
            keyring,
        }
    }
}

impl Cookies {
    fn new(signers: &Signers) -> Self {
        let good = signers.eddsa(&claims());
        // A character that base64url lacks, where it is found last.
        let malformed = format!("{}+", &good[..good.len() - 1]);
        let by_issuer = |claims: &Value| cookie(&signers.eddsa(claims));
        Self {
            eddsa: cookie(&good),
            es256: cookie(&signers.es256(&claims())),
            hs256: cookie(&Signers::hs256(&claims())),
            malformed: cookie(&malformed),
            oversized_5_kb: cookie(&"A".repeat(5 << 10)),
            oversized_1_mb: cookie(&"A".repeat(1 << 20)),
            unknown_kid: cookie(&signers.stranger(&claims())),
            wrong_alg: cookie(&Signers::wrong_alg(&claims())),
            bad_signature: cookie(&signers.impostor(&claims())),
            wrong_audience: by_issuer(&with("aud", "another")),
            expired: by_issuer(&with("exp", NOW.get())),
            revoked: by_issuer(&with("idx", REVOKED_IDX)),
        }
    }
}

fn cookie(token: &str) -> String {
    format!("theme=dark; __Host-session={token}; lang=en")
}

/// Claims of a good token made a minute ago that lives five.
fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "sid": "AAAAAAAAAAAAAAAAAAAAAA",
        "idx": LIVE_IDX, "iat": NOW.get() - 60, "exp": NOW.get() + 240,
        "auth_time": NOW.get() - 3600, "amr": ["pwd"],
    })
}

fn with(claim: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[claim] = value.into();
    claims
}

fn verified(token: &str, keyring: &Keyring) -> VerifiedToken {
    let question = expect(expect(token::parse(token)).question(keyring));
    let verdict = hallpass_signature::verify(&question);
    expect(question.answered(verdict))
}

fn list(signers: &Signers, keyring: &Keyring) -> RevocationList {
    let revoked = (1..=LIST_ENTRIES).map(|n| n * STRIDE).collect();
    let claims = ListClaims {
        iss: ISSUER.to_owned(),
        iat: NOW.get(),
        exp: NOW.get() + 300,
        epoch: "e1".to_owned(),
        began: NOW.get() - 100_000,
        from: 0,
        to: 10,
        revoked_before: 0,
        kids: Signers::kids(),
        sessions: vec![ListBucket {
            exp: NOW.get() + 3600,
            idx: encode_bitmap(&revoked),
        }],
    };
    let text = signers.list(revocation::TYP, &claims);
    let question = expect(expect(revocation::parse(&text)).question(keyring));
    let verdict = hallpass_signature::verify(&question);
    let list = expect(question.answered(verdict));
    expect(RevocationList::new(list, ISSUER, NOW))
}
