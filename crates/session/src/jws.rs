//! A JWS in compact form: its strict shape, the question whether its signature is good, the proof.
//!
//! Order: length, alphabet and dots, header, payload as strict JSON, and only then a key is looked
//! up. The header is exactly `alg`, `kid`, `typ`; `typ` tells apart what one issuer signs. Nothing
//! here computes a signature: [`Unverified::question`] names bytes and key, the shell answers with a
//! [`Verdict`], and only a good one makes a [`Verified`].
//!
//! Source: RFC 7515 §3.1, §5.2; RFC 8725bis; docs/protocol.md §1, §3.

use crate::base64url;
use crate::json;
use crate::keyring::{Algorithm, Keyring, VerificationKey, is_kid};
use serde_json::{Map, Value};
use std::rc::Rc;

/// Longest header after decoding, in bytes; ours have about 60.
const MAX_HEADER_BYTES: usize = 512;
/// Its length in base64url: four characters for three bytes, rounded up.
const MAX_HEADER_CHARACTERS: usize = 683;
/// Longest signature in base64url: 64 bytes of Ed25519 or P-256 make 86 characters.
const MAX_SIGNATURE_CHARACTERS: usize = 86;

/// What kind of JWS is expected.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The `typ`, compared byte for byte.
    pub typ: &'static str,
    /// Longest compact form, in bytes.
    pub max_bytes: usize,
}

/// The text is not a JWS of the expected kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Why no key answers for a JWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyMismatch {
    /// No key has this id; a newer set may.
    UnknownKid,
    /// The key is for another algorithm than the header says.
    OtherAlgorithm,
}

/// What a verifier says of one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The signature is this key's over these bytes.
    Good,
    /// It is not, for whatever reason.
    Bad,
}

/// A well-formed JWS that nobody has checked: its content is hearsay.
#[derive(Clone, Debug)]
pub struct Unverified<C> {
    compact: Rc<str>,
    /// `None` for an `alg` we do not know: no key can have it.
    algorithm: Option<Algorithm>,
    kid: String,
    signature: Vec<u8>,
    content: C,
}

/// A JWS and the key its signature must be checked with.
#[derive(Debug)]
pub struct SignatureQuestion<C> {
    jws: Unverified<C>,
    key: Rc<VerificationKey>,
}

/// A JWS whose signature a verifier has called good.
#[derive(Clone, Debug)]
pub struct Verified<C> {
    kid: String,
    content: C,
}

impl Unverified<Map<String, Value>> {
    /// Reads a compact JWS of the expected kind.
    ///
    /// # Errors
    ///
    /// [`Malformed`] for every deviation in form.
    pub fn parse(text: &str, kind: Kind) -> Result<Self, Malformed> {
        if text.len() > kind.max_bytes {
            return Err(Malformed);
        }
        let (header, payload, signature) = split(text).ok_or(Malformed)?;
        let (algorithm, key_id) = parse_header(header, kind.typ).ok_or(Malformed)?;
        let payload_bytes = base64url::decode(payload).ok_or(Malformed)?;
        let content = json::parse_object(&payload_bytes).ok_or(Malformed)?;
        Ok(Self {
            compact: text.into(),
            algorithm,
            kid: key_id,
            signature,
            content,
        })
    }
}

impl<C> Unverified<C> {
    /// Turns the content into its type.
    ///
    /// # Errors
    ///
    /// Whatever `read` says.
    pub fn map<D, E>(self, read: impl FnOnce(C) -> Result<D, E>) -> Result<Unverified<D>, E> {
        let Self {
            compact,
            algorithm,
            kid,
            signature,
            content,
        } = self;
        Ok(Unverified {
            compact,
            algorithm,
            kid,
            signature,
            content: read(content)?,
        })
    }

    /// What it says, believed by nobody yet.
    #[must_use]
    pub const fn hearsay(&self) -> &C {
        &self.content
    }

    /// The key id it names.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Asks whether the signature is good under the key it names.
    ///
    /// # Errors
    ///
    /// [`KeyMismatch`] if the keyring has no such key for such an algorithm.
    pub fn question(self, keyring: &Keyring) -> Result<SignatureQuestion<C>, KeyMismatch> {
        let key = keyring.find(&self.kid).ok_or(KeyMismatch::UnknownKid)?;
        if Some(key.algorithm()) != self.algorithm {
            return Err(KeyMismatch::OtherAlgorithm);
        }
        Ok(SignatureQuestion {
            key: Rc::clone(key),
            jws: self,
        })
    }
}

impl<C> SignatureQuestion<C> {
    /// The whole compact form.
    #[must_use]
    pub fn compact(&self) -> &str {
        &self.jws.compact
    }

    /// The bytes that the signature is over: header, dot, payload.
    #[must_use]
    pub fn signing_input(&self) -> &str {
        let input = self.jws.compact.rsplit_once('.');
        input.map_or("", |(input, _)| input)
    }

    /// The signature: 64 bytes of Ed25519 or of P-256 as `r ‖ s`, 32 of an HMAC, or wrong.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.jws.signature
    }

    /// The key to check with.
    #[must_use]
    pub fn key(&self) -> &VerificationKey {
        &self.key
    }

    /// Takes the verifier's answer to exactly this question.
    ///
    /// # Errors
    ///
    /// `Verdict::Bad` comes back as the error.
    pub fn answered(self, verdict: Verdict) -> Result<Verified<C>, Verdict> {
        match verdict {
            Verdict::Good => Ok(Verified {
                kid: self.jws.kid,
                content: self.jws.content,
            }),
            Verdict::Bad => Err(verdict),
        }
    }
}

impl<C> Verified<C> {
    /// What the signer said.
    #[must_use]
    pub const fn content(&self) -> &C {
        &self.content
    }

    /// What the signer said, to keep.
    #[must_use]
    pub fn into_content(self) -> C {
        self.content
    }

    /// The key that signed.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }
}

/// Whether `text` looks like a JWS whose header says `typ`; nothing else about it is judged.
#[must_use]
pub fn claims_typ(text: &str, typ: &str) -> bool {
    let Some((header, rest)) = text.split_once('.') else {
        return false;
    };
    header.len() <= MAX_HEADER_CHARACTERS
        && rest.contains('.')
        && base64url::decode(header)
            .and_then(|header| json::parse_object(&header))
            .is_some_and(|header| header.get("typ").and_then(Value::as_str) == Some(typ))
}

/// Splits into exactly three parts of base64url characters, the outer ones bounded, the last one
/// decoded: a signature that does not decode canonically would let two texts stand for one.
fn split(text: &str) -> Option<(&str, &str, Vec<u8>)> {
    let (header, rest) = text.split_once('.')?;
    let (payload, signature) = rest.split_once('.')?;
    let bounded =
        header.len() <= MAX_HEADER_CHARACTERS && signature.len() <= MAX_SIGNATURE_CHARACTERS;
    let clean = |part: &str| !part.is_empty() && part.bytes().all(base64url::is_character);
    let clean = bounded && clean(header) && clean(payload) && clean(signature);
    let signature = clean.then(|| base64url::decode(signature)).flatten()?;
    Some((header, payload, signature))
}

fn parse_header(header: &str, typ: &str) -> Option<(Option<Algorithm>, String)> {
    let bytes = base64url::decode(header).filter(|bytes| bytes.len() <= MAX_HEADER_BYTES)?;
    let header = json::parse_object(&bytes)?;
    let text = |name: &str| header.get(name).and_then(Value::as_str);
    let kid = text("kid").filter(|kid| is_kid(kid))?;
    let exact = header.len() == 3 && text("typ") == Some(typ);
    exact
        .then(|| Some((Algorithm::parse(text("alg")?), kid.to_owned())))
        .flatten()
}
