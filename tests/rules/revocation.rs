//! The revocation list: what it revokes, and which lists are taken in; natively and in wasm.

use crate::support::{ISSUER, KID, NOW, bucket, claims, list, list_claims, verified_list, with};
use hallpass_session::claims::SessionClaims;
use hallpass_session::refusal::Refusal;
use hallpass_session::revocation::{ListFault, ListHeader, RevocationList, parse};
use hallpass_session::time::{Seconds, UnixSeconds};
use hallpass_session::wire::{ListBucket, ListClaims, Position};
use serde_json::json;
use wasm_bindgen_test::wasm_bindgen_test;

fn token_claims(idx: u32, iat: u64) -> SessionClaims {
    let claims = with(with(claims(), "idx", json!(idx)), "iat", json!(iat));
    SessionClaims::parse(claims).expect("good claims")
}

fn revokes(list: &RevocationList, idx: u32) -> bool {
    list.judge(KID, &token_claims(idx, NOW - 60)) == Err(Refusal::SessionRevoked)
}

fn apply(list: &mut RevocationList, claims: &ListClaims) -> Result<(), ListFault> {
    list.apply(verified_list(claims), ISSUER, UnixSeconds::new(NOW))
}

fn delta(from: u64, to: u64, indexes: &[u32]) -> ListClaims {
    ListClaims {
        from,
        to,
        sessions: vec![bucket(NOW + 360, indexes)],
        ..list_claims()
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_listed_sessions_only() {
    let list = list(&ListClaims {
        sessions: vec![
            bucket(NOW + 60, &[7, 70_000]),
            bucket(NOW + 120, &[u32::MAX]),
        ],
        ..list_claims()
    });

    assert!(revokes(&list, 7) && revokes(&list, 70_000) && revokes(&list, u32::MAX));
    assert!(!revokes(&list, 6) && !revokes(&list, 8) && !revokes(&list, 0));
    assert_eq!(list.entries(), 3);
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_tokens_made_before_the_watermark() {
    let list = list(&ListClaims {
        revoked_before: NOW - 60,
        ..list_claims()
    });

    let judge = |iat| list.judge(KID, &token_claims(1, iat));
    assert_eq!(judge(NOW - 61), Err(Refusal::SessionRevoked));
    assert_eq!(judge(NOW - 60), Ok(()));
    assert_eq!(judge(NOW - 59), Ok(()));
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_keys_that_are_no_longer_listed() {
    let mut list = list(&list_claims());
    assert_eq!(list.judge(KID, &token_claims(1, NOW)), Ok(()));
    assert_eq!(
        list.judge("k2", &token_claims(1, NOW)),
        Err(Refusal::TokenUntrusted)
    );
    assert_eq!(list.judge("hs256", &token_claims(1, NOW)), Ok(()));

    let rotated = ListClaims {
        kids: vec!["k2".to_owned()],
        from: 10,
        to: 11,
        ..list_claims()
    };
    apply(&mut list, &rotated).expect("a delta");

    assert_eq!(
        list.judge(KID, &token_claims(1, NOW)),
        Err(Refusal::TokenUntrusted)
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn apply_adds_changes_and_keeps_what_was_known() {
    let mut list = list(&ListClaims {
        sessions: vec![bucket(NOW + 60, &[1])],
        ..list_claims()
    });

    apply(&mut list, &delta(10, 12, &[2])).expect("the next changes");
    apply(&mut list, &delta(11, 13, &[2, 3])).expect("overlapping changes");

    assert!(revokes(&list, 1) && revokes(&list, 2) && revokes(&list, 3));
    assert_eq!(
        list.position(),
        &Position {
            epoch: "e1".to_owned(),
            to: 13
        }
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn apply_refuses_what_does_not_fit_and_keeps_the_last_good_list() {
    let mut list = list(&ListClaims {
        sessions: vec![bucket(NOW + 60, &[1])],
        ..list_claims()
    });
    let broken = ListBucket {
        exp: NOW + 60,
        idx: "AAAA".to_owned(),
    };

    for (odd, fault) in [
        (delta(11, 12, &[9]), ListFault::Gap),
        (delta(5, 9, &[9]), ListFault::RolledBack),
        (
            ListClaims {
                to: 9,
                ..list_claims()
            },
            ListFault::RolledBack,
        ),
        (
            ListClaims {
                iss: "https://other".to_owned(),
                ..delta(10, 11, &[9])
            },
            ListFault::OtherIssuer,
        ),
        (
            ListClaims {
                exp: NOW,
                ..delta(10, 11, &[9])
            },
            ListFault::Expired,
        ),
        (
            ListClaims {
                epoch: "e2".to_owned(),
                ..delta(10, 11, &[9])
            },
            ListFault::Gap,
        ),
        (
            ListClaims {
                epoch: "e0".to_owned(),
                began: 1,
                ..list_claims()
            },
            ListFault::RolledBack,
        ),
        (
            ListClaims {
                sessions: vec![broken],
                ..delta(10, 11, &[])
            },
            ListFault::Malformed,
        ),
    ] {
        assert_eq!(apply(&mut list, &odd), Err(fault));
        assert!(revokes(&list, 1) && !revokes(&list, 9));
        assert_eq!(list.position().to, 10);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn apply_never_lowers_the_watermark() {
    let mut list = list(&ListClaims {
        revoked_before: NOW,
        ..list_claims()
    });
    apply(&mut list, &delta(10, 11, &[])).expect("a delta");
    let next = ListClaims {
        epoch: "e2".to_owned(),
        began: NOW - 10,
        ..list_claims()
    };
    apply(&mut list, &next).expect("a new epoch");

    assert_eq!(
        list.judge(KID, &token_claims(1, NOW - 1)),
        Err(Refusal::SessionRevoked)
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn apply_keeps_older_epochs_for_tokens_made_before_the_new_one_began() {
    let mut list = list(&ListClaims {
        sessions: vec![bucket(NOW + 60, &[1])],
        ..list_claims()
    });
    let next = ListClaims {
        epoch: "e2".to_owned(),
        began: NOW - 30,
        to: 0,
        sessions: vec![bucket(NOW + 60, &[2])],
        ..list_claims()
    };

    apply(&mut list, &next).expect("a new epoch");

    assert_eq!(
        list.judge(KID, &token_claims(1, NOW - 31)),
        Err(Refusal::SessionRevoked)
    );
    assert_eq!(list.judge(KID, &token_claims(1, NOW - 30)), Ok(()));
    assert_eq!(
        list.judge(KID, &token_claims(2, NOW - 30)),
        Err(Refusal::SessionRevoked)
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn forget_before_drops_buckets_past_their_end_and_the_grace() {
    let mut list = list(&ListClaims {
        sessions: vec![bucket(NOW + 60, &[1]), bucket(NOW + 120, &[2])],
        ..list_claims()
    });
    let grace = Seconds::new(100);

    list.forget_before(grace, UnixSeconds::new(NOW + 159));
    assert!(revokes(&list, 1));
    list.forget_before(grace, UnixSeconds::new(NOW + 160));
    assert!(!revokes(&list, 1) && revokes(&list, 2));
}

#[wasm_bindgen_test(unsupported = test)]
fn forget_before_keeps_what_an_older_epoch_still_revokes() {
    let mut list = list(&ListClaims {
        sessions: vec![bucket(NOW + 60, &[1]), bucket(NOW + 120, &[2])],
        ..list_claims()
    });
    let next = ListClaims {
        epoch: "e2".to_owned(),
        began: NOW,
        sessions: vec![bucket(NOW + 120, &[3, 4])],
        ..list_claims()
    };
    apply(&mut list, &next).expect("a new epoch");
    assert_eq!(list.entries(), 4);

    list.forget_before(Seconds::new(0), UnixSeconds::new(NOW + 60));
    assert_eq!(list.entries(), 3);
    assert!(!revokes(&list, 1) && revokes(&list, 2) && revokes(&list, 3));

    list.forget_before(Seconds::new(0), UnixSeconds::new(NOW + 120));
    assert_eq!(list.entries(), 0);
    assert!(!revokes(&list, 2) && !revokes(&list, 3));
}

#[wasm_bindgen_test(unsupported = test)]
fn forget_before_makes_room_for_further_epochs() {
    let epoch = |number: u64, indexes: &[u32]| ListClaims {
        epoch: format!("f{number}"),
        began: NOW - 50 + number,
        sessions: vec![bucket(NOW + 60 * number, indexes)],
        ..list_claims()
    };
    let mut list = list(&epoch(1, &[1]));
    for number in 2..=5 {
        let next = epoch(number, &[u32::try_from(number).expect("small")]);
        apply(&mut list, &next).expect("a new epoch");
    }
    assert_eq!(list.entries(), 5, "four older epochs are kept");

    list.forget_before(Seconds::new(0), UnixSeconds::new(NOW + 60));
    apply(&mut list, &epoch(6, &[6])).expect("a new epoch");
    assert_eq!(list.entries(), 5, "only the forgotten one is gone");

    apply(&mut list, &epoch(7, &[7])).expect("a new epoch");
    assert_eq!(list.entries(), 5, "the oldest one made room");
}

#[wasm_bindgen_test(unsupported = test)]
fn apply_takes_a_new_epoch_that_began_in_the_same_second() {
    let mut list = list(&ListClaims {
        revoked_before: 7,
        ..list_claims()
    });
    let next = ListClaims {
        epoch: "e2".to_owned(),
        to: 1,
        ..list_claims()
    };

    apply(&mut list, &next).expect("a new epoch");

    assert_eq!(
        (list.position().epoch.as_str(), list.position().to),
        ("e2", 1)
    );
    assert_eq!(list.revoked_before(), UnixSeconds::new(7));
}

#[wasm_bindgen_test(unsupported = test)]
fn apply_takes_what_is_known_already() {
    let mut list = list(&ListClaims {
        sessions: vec![bucket(NOW + 60, &[1])],
        ..list_claims()
    });
    let known = list.clone();

    assert_eq!(apply(&mut list, &delta(10, 10, &[])), Ok(()));
    assert_eq!(apply(&mut list, &list_claims()), Ok(()));

    assert_eq!(list.position(), known.position());
    assert!(revokes(&list, 1));
}

#[wasm_bindgen_test(unsupported = test)]
fn apply_refuses_a_list_at_its_end_and_takes_it_the_second_before() {
    let mut list = list(&list_claims());
    let ending = |exp| ListClaims {
        exp,
        ..delta(10, 11, &[1])
    };
    assert_eq!(apply(&mut list, &ending(NOW)), Err(ListFault::Expired));
    assert_eq!(apply(&mut list, &ending(NOW + 1)), Ok(()));
}

#[wasm_bindgen_test(unsupported = test)]
fn new_refuses_changes_without_a_whole_list() {
    let outcome = RevocationList::new(
        verified_list(&delta(10, 11, &[1])),
        ISSUER,
        UnixSeconds::new(NOW),
    );
    assert_eq!(outcome.err(), Some(ListFault::Gap));
}

#[wasm_bindgen_test(unsupported = test)]
fn parse_refuses_session_token_and_other_payloads() {
    assert_eq!(
        parse(&crate::support::token()).err(),
        Some(ListFault::Malformed)
    );
    let header = json!({"alg": "EdDSA", "kid": KID, "typ": "revocations+jwt"}).to_string();
    for payload in ["{}", "[]", "{\"iss\":\"x\"}"] {
        let text = crate::support::sign_text(&crate::support::key(), &header, payload);
        assert_eq!(parse(&text).err(), Some(ListFault::Malformed), "{payload}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn list_header_returns_what_it_wrote_and_refuses_the_rest() {
    let header = ListHeader {
        position: Position {
            epoch: "6f1c".to_owned(),
            to: 1042,
        },
        confirmed_ms: -7,
    };
    assert_eq!(header.encode(), "epoch=\"6f1c\", to=1042, confirmed_ms=-7");
    assert_eq!(ListHeader::parse(&header.encode()), Some(header));
    for text in [
        "",
        "epoch=\"\", to=1, confirmed_ms=1",
        "epoch=\"e\", to=-1, confirmed_ms=1",
        "epoch=\"e\", to=1",
        "epoch=\"e\"f\", to=1, confirmed_ms=1",
        "to=1, epoch=\"e\", confirmed_ms=1",
    ] {
        assert_eq!(ListHeader::parse(text), None, "{text}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn confirmed_at_refuses_read_after_its_own_answer() {
    let at = |confirmed_ms| {
        let position = Position {
            epoch: "e".to_owned(),
            to: 1,
        };
        ListHeader {
            position,
            confirmed_ms,
        }
        .confirmed_at_ms(1000, 1500)
    };
    assert_eq!(at(-200), Some(800));
    assert_eq!(at(500), Some(1500));
    assert_eq!(at(501), None);
    assert_eq!(at(i64::MAX), None);
}
