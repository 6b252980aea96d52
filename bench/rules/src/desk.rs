//! What the checks need at hand: keys, tokens good and odd, and a list with 10,000 entries.
//!
//! Everything is fixed, so that every run counts the same.

use std::rc::Rc;

use hallpass_session::claims::{SessionClaims, TokenPolicy};
use hallpass_session::keyring::Keyring;
use hallpass_session::revocation::{self, RevocationList, encode_bitmap};
use hallpass_session::time::{Seconds, UnixSeconds};
use hallpass_session::token::{self, VerifiedToken};
use hallpass_session::wire::{ListBucket, ListClaims};
use hallpass_signature::SigningKey;

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
        let remember = |idx| {
            let token = sign(&signers.issuer, &SessionClaims { idx, ..claims() });
            Rc::new(verified(&token, &keyring))
        };
        Self {
            list: list(&signers.issuer, &keyring),
            remembered: remember(LIVE_IDX),
            revoked_remembered: remember(REVOKED_IDX),
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
        let by_issuer = |claims: &SessionClaims| cookie(&sign(&signers.issuer, claims));
        let good = sign(&signers.issuer, &claims());
        // A character that base64url lacks, where it is found last.
        let malformed = format!("{}+", &good[..good.len() - 1]);
        let (mut another, mut expired, mut revoked) = (claims(), claims(), claims());
        "another".clone_into(&mut another.aud);
        expired.exp = NOW;
        revoked.idx = REVOKED_IDX;
        Self {
            eddsa: cookie(&good),
            es256: cookie(&signers.es256_token(&claims())),
            hs256: cookie(&Signers::hs256_token(&claims())),
            malformed: cookie(&malformed),
            oversized_5_kb: cookie(&"A".repeat(5 << 10)),
            oversized_1_mb: cookie(&"A".repeat(1 << 20)),
            unknown_kid: cookie(&sign(&signers.stranger, &claims())),
            wrong_alg: cookie(&Signers::wrong_alg_token(&claims())),
            bad_signature: cookie(&sign(&signers.impostor, &claims())),
            wrong_audience: by_issuer(&another),
            expired: by_issuer(&expired),
            revoked: by_issuer(&revoked),
        }
    }
}

fn cookie(token: &str) -> String {
    format!("theme=dark; __Host-session={token}; lang=en")
}

/// Claims of a good token made a minute ago that lives five.
fn claims() -> SessionClaims {
    SessionClaims {
        iss: ISSUER.to_owned(),
        aud: AUDIENCE.to_owned(),
        sub: "ada".to_owned(),
        sid: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        idx: LIVE_IDX,
        iat: NOW.minus(Seconds::new(60)),
        exp: NOW.plus(Seconds::new(240)),
        auth_time: NOW.minus(Seconds::new(3600)),
        nbf: None,
        amr: vec!["pwd".to_owned()],
        ext: None,
    }
}

fn sign(key: &SigningKey, claims: &SessionClaims) -> String {
    expect(key.sign_session_token(claims))
}

fn verified(token: &str, keyring: &Keyring) -> VerifiedToken {
    let question = expect(expect(token::parse(token)).question(keyring));
    let verdict = hallpass_signature::verify(&question);
    expect(question.answered(verdict))
}

fn list(key: &SigningKey, keyring: &Keyring) -> RevocationList {
    let revoked = (1..=LIST_ENTRIES).map(|n| n * STRIDE).collect();
    let text = expect(key.sign_list(&ListClaims {
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
    }));
    let question = expect(expect(revocation::parse(&text)).question(keyring));
    let verdict = hallpass_signature::verify(&question);
    let list = expect(question.answered(verdict));
    expect(RevocationList::new(list, ISSUER, NOW))
}
