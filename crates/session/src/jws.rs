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

/// Why a text is not a JWS of the expected kind: for who explains a refusal, not for who is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Longer than its kind may be.
    TooLong,
    /// Not three parts, none of them empty.
    Parts,
    /// The header or the signature is longer than any of ours.
    PartTooLong,
    /// A character that is not of base64url, a third dot included.
    Alphabet,
    /// The signature is not canonical base64url.
    SignatureEncoding,
    /// The header is not canonical base64url of at most 512 bytes.
    HeaderEncoding,
    /// The header is not a strict JSON object.
    HeaderJson,
    /// The header is not exactly the texts `alg`, `kid` and `typ`.
    HeaderMembers,
    /// `typ` is another kind's.
    Typ,
    /// `kid` is not 1–64 printable ASCII bytes without space.
    Kid,
    /// The payload is not canonical base64url.
    PayloadEncoding,
    /// The payload is not a strict JSON object.
    PayloadJson,
}

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
        let parts = Parts::split(text, kind)?;
        let (algorithm, key_id) = read_header(&parts.header()?, kind.typ)?;
        let content = parts.payload()?;
        Ok(Self {
            compact: text.into(),
            algorithm,
            kid: key_id,
            signature: parts.signature,
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

/// The parts of a compact JWS, the signature decoded.
pub(crate) struct Parts<'a> {
    header: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    /// Splits into exactly three parts of base64url characters, the outer ones bounded, the last one
    /// decoded: a signature that does not decode canonically would let two texts stand for one.
    pub(crate) fn split(text: &'a str, kind: Kind) -> Result<Self, Malformed> {
        if text.len() > kind.max_bytes {
            return Err(Malformed::TooLong);
        }
        let (header, rest) = text.split_once('.').ok_or(Malformed::Parts)?;
        let (payload, signature) = rest.split_once('.').ok_or(Malformed::Parts)?;
        if header.is_empty() || payload.is_empty() || signature.is_empty() {
            return Err(Malformed::Parts);
        }
        if header.len() > MAX_HEADER_CHARACTERS || signature.len() > MAX_SIGNATURE_CHARACTERS {
            return Err(Malformed::PartTooLong);
        }
        let clean = |part: &str| part.bytes().all(base64url::is_character);
        if !(clean(header) && clean(payload) && clean(signature)) {
            return Err(Malformed::Alphabet);
        }
        let signature = base64url::decode(signature).ok_or(Malformed::SignatureEncoding)?;
        Ok(Self {
            header,
            payload,
            signature,
        })
    }

    /// The header's members, whatever they are.
    pub(crate) fn header(&self) -> Result<Map<String, Value>, Malformed> {
        let bytes = base64url::decode(self.header)
            .filter(|bytes| bytes.len() <= MAX_HEADER_BYTES)
            .ok_or(Malformed::HeaderEncoding)?;
        json::parse_object(&bytes).ok_or(Malformed::HeaderJson)
    }

    /// The payload's members, whatever they are.
    pub(crate) fn payload(&self) -> Result<Map<String, Value>, Malformed> {
        let bytes = base64url::decode(self.payload).ok_or(Malformed::PayloadEncoding)?;
        json::parse_object(&bytes).ok_or(Malformed::PayloadJson)
    }
}

/// Algorithm and key id of a header that has exactly the three members.
pub(crate) fn read_header(
    header: &Map<String, Value>,
    typ: &str,
) -> Result<(Option<Algorithm>, String), Malformed> {
    let text = |name: &str| header.get(name).and_then(Value::as_str);
    let (Some(alg), Some(kid), Some(said_typ), 3) =
        (text("alg"), text("kid"), text("typ"), header.len())
    else {
        return Err(Malformed::HeaderMembers);
    };
    if said_typ != typ {
        return Err(Malformed::Typ);
    }
    if !is_kid(kid) {
        return Err(Malformed::Kid);
    }
    Ok((Algorithm::parse(alg), kid.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{KeyMismatch, Kind, Malformed, Unverified, Verdict, claims_typ};
    use crate::base64url::encode;
    use crate::keyring::{JwkSet, Keyring, VerificationKey};
    use serde_json::{Map, Value, json};

    const KIND: Kind = Kind {
        typ: "t",
        max_bytes: 2000,
    };
    const HEADER: &str = r#"{"alg":"HS256","kid":"hs256","typ":"t"}"#;

    fn compact(header: &str, payload: &str, signature: &[u8]) -> String {
        let [header, payload, signature] =
            [header.as_bytes(), payload.as_bytes(), signature].map(encode);
        format!("{header}.{payload}.{signature}")
    }

    fn parse(text: &str) -> Result<Unverified<Map<String, Value>>, Malformed> {
        Unverified::parse(text, KIND)
    }

    fn keyring() -> Keyring {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let jwk = json!({"kty":"OKP","crv":"Ed25519","use":"sig","alg":"EdDSA","kid":"k1","x":x});
        let set = JwkSet::parse(&json!({"keys": [jwk]})).unwrap();
        let hmac = VerificationKey::from_hmac_secret(&[1; 32]).unwrap();
        set.checked(|_| true).unwrap().with(hmac)
    }

    #[test]
    fn parse_takes_each_part_at_its_longest_and_refuses_one_more() {
        let header = |bytes: usize| format!("{HEADER:bytes$}");
        assert!(parse(&compact(&header(512), "{}", &[0; 64])).is_ok());
        assert!(parse(&compact(&header(513), "{}", &[0; 64])).is_err());
        assert!(parse(&compact(HEADER, "{}", &[0; 65])).is_err());

        let whole = |spaces: usize| compact(HEADER, &format!("{{}}{:spaces$}", ""), &[0; 64]);
        let (fits, longer) = (1..KIND.max_bytes)
            .map(|spaces| (whole(spaces), whole(spaces + 1)))
            .find(|(_, longer)| longer.len() > KIND.max_bytes)
            .unwrap();
        let exact = Kind {
            max_bytes: fits.len(),
            ..KIND
        };
        assert!(Unverified::parse(&fits, exact).is_ok());
        assert_eq!(
            Unverified::parse(&longer, exact).err(),
            Some(Malformed::TooLong)
        );
    }

    #[test]
    fn parse_says_what_is_wrong_with_the_form() {
        let good = compact(HEADER, "{}", &[0; 64]);
        let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else {
            panic!("three parts");
        };
        for (text, fault) in [
            (format!(".{payload}.{signature}"), Malformed::Parts),
            (format!("{header}..{signature}"), Malformed::Parts),
            (format!("{header}.{payload}."), Malformed::Parts),
            (format!("{header}.{payload}"), Malformed::Parts),
            (
                format!("{header}~.{payload}.{signature}"),
                Malformed::Alphabet,
            ),
            (
                format!("{header}.{payload}~.{signature}"),
                Malformed::Alphabet,
            ),
            (format!("{header}.{payload}.~~~~"), Malformed::Alphabet),
            (
                format!("{header}.{payload}.AB"),
                Malformed::SignatureEncoding,
            ),
            (
                format!("{header}.{payload}.{signature}AAA"),
                Malformed::PartTooLong,
            ),
            (
                format!("{}.{payload}.{signature}", "A".repeat(684)),
                Malformed::PartTooLong,
            ),
            (
                format!("A.{payload}.{signature}"),
                Malformed::HeaderEncoding,
            ),
            (
                format!("{header}.A.{signature}"),
                Malformed::PayloadEncoding,
            ),
            (
                format!("{header}.{header}A.{signature}"),
                Malformed::PayloadEncoding,
            ),
            (compact("[]", "{}", &[0; 64]), Malformed::HeaderJson),
            (compact(HEADER, "[]", &[0; 64]), Malformed::PayloadJson),
            (
                compact(&HEADER.replace("\"t\"", "\"T\""), "{}", &[0; 64]),
                Malformed::Typ,
            ),
            (
                compact(&HEADER.replace("\"hs256\"", "\"\""), "{}", &[0; 64]),
                Malformed::Kid,
            ),
            (
                compact(&HEADER.replace("\"t\"", "1"), "{}", &[0; 64]),
                Malformed::HeaderMembers,
            ),
        ] {
            assert_eq!(parse(&text).err(), Some(fault), "{text}");
        }
    }

    #[test]
    fn question_names_the_bytes_the_signature_and_the_key() {
        let text = compact(HEADER, r#"{"a":1}"#, &[7; 32]);
        let question = parse(&text).unwrap().question(&keyring()).unwrap();

        assert_eq!(question.compact(), text);
        assert_eq!(question.signing_input(), text.rsplit_once('.').unwrap().0);
        assert_eq!(question.signature(), [7; 32]);
        assert_eq!(question.key().kid(), "hs256");
        assert_eq!(question.answered(Verdict::Bad).err(), Some(Verdict::Bad));

        let question = parse(&text).unwrap().question(&keyring()).unwrap();
        let verified = question.answered(Verdict::Good).unwrap();
        assert_eq!(
            (verified.kid(), &verified.content()["a"]),
            ("hs256", &json!(1))
        );
        assert_eq!(verified.into_content()["a"], 1);
    }

    #[test]
    fn question_tells_an_unknown_key_from_another_algorithm() {
        let ask = |alg: &str, kid: &str| {
            let header = json!({"alg": alg, "kid": kid, "typ": "t"}).to_string();
            let jws = parse(&compact(&header, "{}", &[0; 32])).unwrap();
            assert_eq!(jws.kid(), kid);
            jws.question(&keyring()).err()
        };
        assert_eq!(ask("HS256", "hs256"), None);
        assert_eq!(ask("EdDSA", "k1"), None);
        assert_eq!(ask("EdDSA", "k2"), Some(KeyMismatch::UnknownKid));
        for (alg, kid) in [
            ("Ed25519", "k1"),
            ("HS256", "k1"),
            ("none", "k1"),
            ("EdDSA", "hs256"),
        ] {
            assert_eq!(
                ask(alg, kid),
                Some(KeyMismatch::OtherAlgorithm),
                "{alg} {kid}"
            );
        }
    }

    #[test]
    fn claims_typ_looks_at_the_header_only() {
        let header = encode(HEADER.as_bytes());
        assert!(claims_typ(&format!("{header}.~.~"), "t"));
        assert!(claims_typ(&format!("{header}.."), "t"));
        assert!(claims_typ(
            &format!("{}..", encode(format!("{HEADER:512}").as_bytes())),
            "t"
        ));
        for text in [
            header.clone(),
            format!("{header}."),
            format!(".{header}."),
            format!("{header}~.."),
            format!("{}..", encode(b"[\"t\"]")),
            format!("{}..", encode(format!("{HEADER:513}").as_bytes())),
        ] {
            assert!(!claims_typ(&text, "t"), "{text}");
        }
        assert!(!claims_typ(&format!("{header}.."), "T"));
    }
}
