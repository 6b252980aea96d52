//! Signatures this isolate has found good, so that each is computed once.
//!
//! Keyed by every byte of the token, since two tokens that differ anywhere are two tokens. Only good
//! results are kept: nobody fills this memory without a signing key. A hit skips the signature and
//! nothing else; claims, time and revocation are judged on every request.
//!
//! Bounded in entries and bytes by two generations: when the young one is full it becomes the old
//! one, and what was old is dropped. A hit in the old one is kept alive. Bytes are those of memory,
//! estimated from above: an `ext` of small objects takes fifty times the room of its text.
//!
//! Emptied when the keys change. A signature that was still being checked then was checked with a
//! key of before, so its result is not kept.

use hallpass_session::token::VerifiedToken;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::mem;
use std::rc::Rc;

/// Most tokens in one generation.
const MAX_ENTRIES: usize = 5000;
/// Most bytes of memory that one generation takes: 16 MiB for both.
const MAX_BYTES: usize = 8 << 20;
/// Bytes of a token beside its text and the texts of its claims, which the text contains.
const TOKEN_BYTES: usize = 512;
/// Bytes of one JSON value in an array that may have grown past its need.
const ITEM_BYTES: usize = 64;
/// Bytes of a map's node, and how many members the emptiest one holds but for the last.
const NODE_BYTES: usize = 512;
const NODE_MEMBERS: usize = 5;

/// Verified tokens by their text.
#[derive(Default)]
pub(crate) struct TokenMemo {
    young: Generation,
    old: Generation,
    /// How often it was emptied.
    emptied: u32,
}

#[derive(Default)]
struct Generation {
    tokens: HashMap<Box<str>, Rc<VerifiedToken>>,
    bytes: usize,
}

impl TokenMemo {
    /// The verified token with exactly this text.
    pub(crate) fn find(&mut self, text: &str) -> Option<Rc<VerifiedToken>> {
        if let Some(token) = self.young.tokens.get(text) {
            return Some(Rc::clone(token));
        }
        let token = Rc::clone(self.old.tokens.get(text)?);
        self.keep(text, Rc::clone(&token));
        Some(token)
    }

    /// How often it was emptied: asked before a signature is checked, for [`TokenMemo::keep_since`].
    pub(crate) const fn emptied(&self) -> u32 {
        self.emptied
    }

    /// Remembers a token whose check began when the memo had been emptied `emptied` times.
    pub(crate) fn keep_since(&mut self, emptied: u32, text: &str, token: Rc<VerifiedToken>) {
        if self.emptied == emptied {
            self.keep(text, token);
        }
    }

    /// Forgets everything: the keys have changed.
    pub(crate) fn clear(&mut self) {
        *self = Self {
            emptied: self.emptied.wrapping_add(1),
            ..Self::default()
        };
    }

    /// How many tokens are remembered.
    pub(crate) fn len(&self) -> usize {
        self.young
            .tokens
            .len()
            .saturating_add(self.old.tokens.len())
    }

    fn keep(&mut self, text: &str, token: Rc<VerifiedToken>) {
        let bytes = bytes_of(text, &token);
        if !self.young.has_room_for(bytes) {
            self.old = mem::take(&mut self.young);
        }
        // Two requests may have checked the same token side by side.
        if self.young.tokens.insert(text.into(), token).is_none() {
            self.young.bytes = self.young.bytes.saturating_add(bytes);
        }
    }
}

impl Generation {
    fn has_room_for(&self, bytes: usize) -> bool {
        self.tokens.len() < MAX_ENTRIES && self.bytes.saturating_add(bytes) <= MAX_BYTES
    }
}

/// Memory that a remembered token takes, at most.
fn bytes_of(text: &str, token: &VerifiedToken) -> usize {
    let ext = token.content().ext.as_ref().map_or(0, bytes_of_members);
    text.len()
        .saturating_mul(2)
        .saturating_add(TOKEN_BYTES)
        .saturating_add(ext)
}

fn bytes_of_members(members: &Map<String, Value>) -> usize {
    let nodes = members.len().div_ceil(NODE_MEMBERS);
    let below = members.values().map(bytes_below);
    below.fold(nodes.saturating_mul(NODE_BYTES), usize::saturating_add)
}

/// Memory of what a value refers to; its nesting is bounded where tokens are read.
fn bytes_below(value: &Value) -> usize {
    match value {
        Value::Object(members) => bytes_of_members(members),
        Value::Array(items) => {
            let below = items.iter().map(bytes_below);
            below.fold(
                items.len().saturating_mul(ITEM_BYTES),
                usize::saturating_add,
            )
        }
        _ => ITEM_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_BYTES, MAX_ENTRIES, TokenMemo, bytes_of};
    use ed25519_compact::{KeyPair, Seed};
    use hallpass_session::base64url::encode;
    use hallpass_session::jws::Verdict;
    use hallpass_session::keyring::{JwkSet, Keyring};
    use hallpass_session::token::{self, VerifiedToken};
    #[cfg(target_arch = "wasm32")]
    use serde_json::Value;
    use serde_json::json;
    use std::rc::Rc;
    use wasm_bindgen_test::wasm_bindgen_test;

    fn key() -> KeyPair {
        KeyPair::from_seed(Seed::new([7; 32]))
    }

    fn keyring() -> Keyring {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "k1",
                         "x": encode(&key().pk[..])});
        let set = JwkSet::parse(&json!({"keys": [jwk]})).unwrap();
        set.checked(hallpass_signature::is_sound).unwrap()
    }

    /// A verified token; no test here cares what it says.
    fn verified() -> Rc<VerifiedToken> {
        let header = json!({"alg": "EdDSA", "kid": "k1", "typ": "session+jwt"}).to_string();
        let claims = json!({
            "iss": "https://sessions.example", "aud": "app", "sub": "ada", "idx": 7,
            "sid": "AAAAAAAAAAAAAAAAAAAAAA", "iat": 1000, "exp": 1300, "auth_time": 1000,
        });
        let part = |text: String| encode(text.as_bytes());
        let input = format!("{}.{}", part(header), part(claims.to_string()));
        let text = format!("{input}.{}", encode(&key().sk.sign(&input, None)[..]));
        let question = token::parse(&text).unwrap().question(&keyring()).unwrap();
        assert_eq!(hallpass_signature::verify(&question), Verdict::Good);
        Rc::new(question.answered(Verdict::Good).unwrap())
    }

    fn full(entries: usize) -> TokenMemo {
        let (mut memo, token) = (TokenMemo::default(), verified());
        for number in 0..entries {
            memo.keep(&number.to_string(), Rc::clone(&token));
        }
        memo
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn find_returns_exactly_the_text_that_was_kept() {
        let (mut memo, token) = (TokenMemo::default(), verified());
        let text = "header.payload.signature";
        memo.keep(text, Rc::clone(&token));

        assert!(
            memo.find(text)
                .is_some_and(|found| Rc::ptr_eq(&found, &token))
        );
        for position in 0..text.len() {
            let mut other = text.to_owned().into_bytes();
            other[position] ^= 1;
            let other = String::from_utf8(other).unwrap();
            assert!(memo.find(&other).is_none(), "{other}");
        }
        for other in [
            "",
            text.strip_prefix('h').unwrap(),
            text.strip_suffix('e').unwrap(),
            "HEADER.payload.signature",
        ] {
            assert!(memo.find(other).is_none(), "{other}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn find_remembers_nothing_of_what_it_missed() {
        let mut memo = TokenMemo::default();
        for number in 0..100 {
            assert!(memo.find(&format!("forged {number}")).is_none());
        }
        assert_eq!(memo.len(), 0);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn keep_holds_two_generations_of_entries_at_most() {
        let mut memo = full(MAX_ENTRIES);
        assert_eq!((memo.len(), memo.old.tokens.len()), (MAX_ENTRIES, 0));

        memo.keep("one more", verified());
        assert_eq!((memo.len(), memo.young.tokens.len()), (MAX_ENTRIES + 1, 1));
        assert!(memo.find("0").is_some());

        let mut memo = full(5 * MAX_ENTRIES);
        assert_eq!(memo.len(), 2 * MAX_ENTRIES);
        assert!(memo.find("0").is_none());
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn keep_holds_two_generations_of_bytes_at_most() {
        let (mut memo, token) = (TokenMemo::default(), verified());
        let long = "a".repeat((MAX_BYTES / 4 - 1024) / 2);
        for number in 0..10_usize {
            memo.keep(&format!("{number}{}", &long[1..]), Rc::clone(&token));
            for generation in [&memo.young, &memo.old] {
                let tokens = generation.tokens.iter();
                let bytes: usize = tokens.map(|(text, token)| bytes_of(text, token)).sum();
                assert!(bytes == generation.bytes && bytes <= MAX_BYTES, "{bytes}");
            }
        }
        assert_eq!(memo.len(), 2 + 4);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn keep_counts_the_bytes_of_one_text_once() {
        let mut memo = full(1);
        memo.keep("0", verified());
        assert_eq!(
            (memo.len(), memo.young.bytes),
            (1, bytes_of("0", &verified()))
        );
    }

    /// A token that nobody signed; the memo is told that it is good.
    #[cfg(target_arch = "wasm32")]
    fn with_ext(number: usize, ext: &Value, keyring: &Keyring) -> (String, Rc<VerifiedToken>) {
        let header = json!({"alg": "EdDSA", "kid": "k1", "typ": "session+jwt"}).to_string();
        let claims = json!({
            "iss": "https://sessions.example", "aud": "app", "sub": format!("user-{number}"),
            "idx": number, "sid": "AAAAAAAAAAAAAAAAAAAAAA", "iat": 1000, "exp": 1300,
            "auth_time": 1000, "ext": ext,
        });
        let part = |text: String| encode(text.as_bytes());
        let signature = encode(&[0; 64]);
        let text = format!("{}.{}.{signature}", part(header), part(claims.to_string()));
        let question = token::parse(&text).unwrap().question(keyring).unwrap();
        (text, Rc::new(question.answered(Verdict::Good).unwrap()))
    }

    /// Linear memory never shrinks: what two full generations added to it is what they take.
    #[cfg(target_arch = "wasm32")]
    #[wasm_bindgen_test]
    fn two_full_generations_take_what_is_stated_at_most() {
        const PAGE_BYTES: usize = 1 << 16;
        let small = json!({"role": ["admin"], "tenant": 7});
        let items = json!({"a": vec![0; 500]});
        let nested = (0..10).fold(json!(0), |inner, _| json!({"a": inner}));
        let objects = json!({"a": vec![json!({"a": 0}); 120]});
        let deep = json!({"a": vec![nested; 14]});
        let keyring = keyring();
        let before = core::arch::wasm32::memory_size(0);
        for ext in [small, items, objects, deep] {
            let mut memo = TokenMemo::default();
            // Until the young generation has been full twice.
            let mut turns = 0_u8;
            for number in 0..3 * MAX_ENTRIES {
                let (text, token) = with_ext(number, &ext, &keyring);
                let young = memo.young.tokens.len();
                memo.keep(&text, token);
                turns = turns.saturating_add(u8::from(memo.young.tokens.len() < young));
                if turns == 2 {
                    break;
                }
            }
            let pages = core::arch::wasm32::memory_size(0).saturating_sub(before);
            drop(memo);
            assert!(pages <= 2 * MAX_BYTES / PAGE_BYTES, "{pages} pages: {ext}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn keep_since_drops_what_was_checked_before_the_keys_changed() {
        let (mut memo, token) = (TokenMemo::default(), verified());
        let before = memo.emptied();
        memo.clear();
        memo.keep_since(before, "late", Rc::clone(&token));
        assert!(memo.find("late").is_none());

        memo.keep_since(memo.emptied(), "now", token);
        assert!(memo.find("now").is_some());
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn find_keeps_what_is_used_while_the_unused_goes() {
        let (mut memo, token) = (full(1), verified());
        for number in 1..4 * MAX_ENTRIES {
            memo.keep(&number.to_string(), Rc::clone(&token));
            if number % 1000 == 0 {
                assert!(memo.find("0").is_some(), "{number}");
            }
        }
        assert!(memo.find("1").is_none());
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn clear_forgets_both_generations() {
        let mut memo = full(MAX_ENTRIES + 1);
        memo.clear();
        assert_eq!((memo.len(), memo.young.bytes, memo.old.bytes), (0, 0, 0));
        assert!(memo.find("0").is_none() && memo.find("5000").is_none());
    }
}
