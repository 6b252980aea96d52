//! Any lines in the place of revocation lists that arrive one after the other, each signed by
//! whoever holds the list key.
//!
//! The first list is ours; each line is the payload of one further list. What is refused changes
//! nothing; what is taken in makes nobody live who was revoked, save that a new epoch may give
//! indexes out anew to tokens made since it began.

use crate::issuer::{ISSUER, KID, NOW, compact, keyring, now, trust};
use hallpass_session::base64url::decode;
use hallpass_session::claims::SessionClaims;
use hallpass_session::jws::Verified;
use hallpass_session::refusal::Refusal;
use hallpass_session::revocation::{ListHeader, RevocationList, TYP, parse};
use hallpass_session::time::{Seconds, UnixSeconds};
use hallpass_session::wire::ListClaims;
use roaring::RoaringBitmap;
use serde_json::json;

/// The list that is there first: it revokes 1, 7 and the last index.
const FIRST: &[u8] = include_bytes!("../../../fuzz/corpus/list/whole");
/// More lines than there are older epochs kept: past those, entries are dropped by design.
const MAX_LINES: usize = 4;
/// Indexes that one list is asked about: enough to notice, few enough to be quick.
const MAX_ASKED: usize = 32;

/// Checks one sequence of lists.
///
/// # Panics
///
/// If a promise is broken.
pub fn check(lines: &[u8]) {
    check_header(lines);
    let first = verified(FIRST).expect("a good first list");
    let mut list = RevocationList::new(first, ISSUER, now()).expect("a good first list");
    let mut asked = vec![0, 1, 2, 7, u32::MAX];
    for line in lines.split(|byte| *byte == b'\n').take(MAX_LINES) {
        let Some(next) = verified(line) else { continue };
        let claims = next.content().clone();
        let before = list.clone();
        asked.extend(indexes(&claims));
        match list.apply(next, ISSUER, now()) {
            Err(_) => assert_eq!(list, before, "a refused list changed something"),
            Ok(()) => check_taken_in(&before, &list, &claims, &asked),
        }
    }
    check_forgetting(list, &asked);
}

/// The header of an answer is read as it is written.
fn check_header(text: &[u8]) {
    let header = std::str::from_utf8(text).ok().and_then(ListHeader::parse);
    let Some(header) = header else { return };
    assert_eq!(ListHeader::parse(&header.encode()).as_ref(), Some(&header));
    for (started, now) in [
        (0, 0),
        (1000, 1500),
        (i64::MIN, i64::MAX),
        (i64::MAX, i64::MAX),
    ] {
        let at = header.confirmed_at_ms(started, now);
        assert!(at.is_none_or(|at| at <= now), "confirmed in the future");
    }
}

fn check_taken_in(
    before: &RevocationList,
    after: &RevocationList,
    taken: &ListClaims,
    asked: &[u32],
) {
    let same_epoch = before.position().epoch == after.position().epoch;
    assert_eq!((taken.iss.as_str(), taken.exp > NOW), (ISSUER, true));
    assert_eq!(after.position().to, taken.to);
    assert!(
        !same_epoch || before.position().to <= taken.to,
        "rolled back"
    );
    assert!(taken.from == 0 || same_epoch && taken.from <= before.position().to);
    for kid in &taken.kids {
        assert!(after.trusts(kid));
    }
    for idx in indexes(taken) {
        assert!(is_revoked(after, idx, u64::MAX), "{idx} is on the list");
    }
    for idx in asked {
        for iat in [0, NOW - 1, NOW, taken.began.saturating_sub(1), taken.began] {
            let may_be_new = !same_epoch && iat >= taken.began;
            let freed = is_revoked(before, *idx, iat) && !is_revoked(after, *idx, iat);
            assert!(may_be_new || !freed, "{idx} of {iat} is live again");
            let early = iat < taken.revoked_before;
            assert!(
                !early || is_revoked(after, *idx, iat),
                "below the watermark"
            );
        }
    }
}

/// Forgetting reaches only what has ended: at the beginning of time nothing has.
fn check_forgetting(mut list: RevocationList, asked: &[u32]) {
    let whole = list.clone();
    list.forget_before(Seconds::new(0), UnixSeconds::new(0));
    for idx in asked {
        assert_eq!(is_revoked(&list, *idx, NOW), is_revoked(&whole, *idx, NOW));
    }
    list.forget_before(Seconds::new(0), UnixSeconds::new(u64::MAX));
    assert_eq!(list.entries(), 0);
    assert_eq!(list.position(), whole.position());
}

fn verified(payload: &[u8]) -> Option<Verified<ListClaims>> {
    let header = json!({"alg": "EdDSA", "kid": KID, "typ": TYP}).to_string();
    let list = parse(&compact(header.as_bytes(), payload)).ok()?;
    let question = list.question(&keyring()).expect("our key");
    let verdict = trust(&question);
    question.answered(verdict).ok()
}

/// Some of the indexes a list names, if all of it can be read.
fn indexes(list: &ListClaims) -> Vec<u32> {
    let bitmap = |text: &str| RoaringBitmap::deserialize_from(decode(text)?.as_slice()).ok();
    let buckets = list.sessions.iter();
    let bitmaps = buckets.filter_map(|bucket| bitmap(&bucket.idx));
    bitmaps
        .flat_map(|bitmap| bitmap.into_iter().take(MAX_ASKED))
        .take(MAX_ASKED)
        .collect()
}

fn is_revoked(list: &RevocationList, idx: u32, iat: u64) -> bool {
    let claims = SessionClaims {
        iss: ISSUER.to_owned(),
        aud: String::new(),
        sub: String::new(),
        sid: String::new(),
        idx,
        iat: UnixSeconds::new(iat),
        exp: UnixSeconds::new(u64::MAX),
        auth_time: UnixSeconds::new(0),
        nbf: None,
        amr: Vec::new(),
        ext: None,
    };
    // The secret's own key is always trusted, so that only the session is judged.
    list.judge("hs256", &claims) == Err(Refusal::SessionRevoked)
}
