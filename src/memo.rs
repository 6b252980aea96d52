//! Signatures this isolate has found good, so that each is computed once.
//!
//! Keyed by every byte of the token, since two tokens that differ anywhere are two tokens. Only good
//! results are kept: nobody fills this memory without a signing key. A hit skips the signature and
//! nothing else; claims, time and revocation are judged on every request.
//!
//! Bounded in entries and bytes by two generations: when the young one is full it becomes the old
//! one, and what was old is dropped. A hit in the old one is kept alive.

use hallpass_session::token::VerifiedToken;
use std::collections::HashMap;
use std::mem;
use std::rc::Rc;

/// Most tokens in one generation.
const MAX_ENTRIES: usize = 5000;
/// Most bytes of token text in one generation: 4 MiB, so 16 MiB with the parsed claims of both.
const MAX_BYTES: usize = 4 << 20;

/// Verified tokens by their text.
#[derive(Default)]
pub(crate) struct TokenMemo {
    young: Generation,
    old: Generation,
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

    /// Remembers a verified token.
    pub(crate) fn keep(&mut self, text: &str, token: Rc<VerifiedToken>) {
        if !self.young.has_room_for(text) {
            self.old = mem::take(&mut self.young);
        }
        self.young.bytes = self.young.bytes.saturating_add(text.len());
        self.young.tokens.insert(text.into(), token);
    }

    /// Forgets everything: the keys have changed.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many tokens are remembered.
    pub(crate) fn len(&self) -> usize {
        self.young
            .tokens
            .len()
            .saturating_add(self.old.tokens.len())
    }
}

impl Generation {
    fn has_room_for(&self, text: &str) -> bool {
        self.tokens.len() < MAX_ENTRIES && self.bytes.saturating_add(text.len()) <= MAX_BYTES
    }
}
