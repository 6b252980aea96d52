//! The keys a signature may be checked with: a JWK set, taken whole or not at all.
//!
//! One key is one algorithm: `alg` is required and fixes how the key is used, whatever a token says.
//! A set with a private, symmetric, unknown, wrongly used or duplicate key is refused whole, so that
//! the last good set stays. Whether a point lies on its curve and is not weak is cryptography: the
//! shell answers that once per key when the set is taken in ([`JwkSet::checked`]).
//!
//! Source: docs/protocol.md §1, §3; RFC 7517; RFC 8037; RFC 9864.

use crate::base64url;
use serde_json::{Map, Value};
use std::rc::Rc;

/// `kid` of the one symmetric key, which only ever comes from a secret of the edge.
pub const HS256_KID: &str = "hs256";
/// Shortest secret for HS256, in bytes: the size of its hash (RFC 7518 §3.2).
pub const MIN_HMAC_KEY_BYTES: usize = 32;
/// Most keys in one set: two of every algorithm during a rotation, and room.
pub const MAX_KEYS: usize = 16;
/// 32 bytes in base64url.
const COORDINATE_CHARACTERS: usize = 43;
/// Longest `kid`, in bytes.
pub(crate) const MAX_KID_BYTES: usize = 64;

/// How a token may be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519 under its older name.
    EdDsa,
    /// Ed25519 under the name of RFC 9864.
    Ed25519,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// HMAC with SHA-256.
    Hs256,
}

impl Algorithm {
    /// The `alg` this algorithm is written as.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Ed25519 => "Ed25519",
            Self::Es256 => "ES256",
            Self::Hs256 => "HS256",
        }
    }

    /// Reads an `alg`, byte for byte; `None` for every other, `none` included.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::EdDsa, Self::Ed25519, Self::Es256, Self::Hs256]
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }
}

/// One key that signatures may be checked with.
#[derive(Clone, PartialEq, Eq)]
pub struct VerificationKey {
    kid: String,
    algorithm: Algorithm,
    material: Vec<u8>,
}

impl VerificationKey {
    /// Makes the one HS256 key from the edge's secret; `None` if it is too short.
    #[must_use]
    pub fn from_hmac_secret(secret: &[u8]) -> Option<Self> {
        (secret.len() >= MIN_HMAC_KEY_BYTES).then(|| Self {
            kid: HS256_KID.to_owned(),
            algorithm: Algorithm::Hs256,
            material: secret.to_vec(),
        })
    }

    /// The key's id.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The one algorithm it is for.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Ed25519: 32 bytes. P-256: 65 bytes, uncompressed. HS256: the secret.
    #[must_use]
    pub fn material(&self) -> &[u8] {
        &self.material
    }
}

impl std::fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "VerificationKey({}, {})",
            self.kid,
            self.algorithm.name()
        )
    }
}

/// A JWK set whose form is good and whose points nobody has looked at yet.
#[derive(Debug)]
pub struct JwkSet(Vec<VerificationKey>);

/// Why a key set is refused whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySetFault {
    /// Not a JWK set with at least one and at most 16 keys.
    Form,
    /// A key is unknown, private, symmetric or for another use.
    Key,
    /// Two keys have one `kid`.
    DuplicateKid,
    /// A key is weak or not on its curve.
    Weak,
}

impl JwkSet {
    /// Reads a JWK set that came through [`crate::json`].
    ///
    /// # Errors
    ///
    /// Every [`KeySetFault`] but `Weak`.
    pub fn parse(set: &Value) -> Result<Self, KeySetFault> {
        let keys = set
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(KeySetFault::Form)?;
        if keys.is_empty() || keys.len() > MAX_KEYS {
            return Err(KeySetFault::Form);
        }
        let mut parsed: Vec<VerificationKey> = Vec::with_capacity(keys.len());
        for key in keys {
            let key = key
                .as_object()
                .and_then(parse_key)
                .ok_or(KeySetFault::Key)?;
            if parsed.iter().any(|other| other.kid == key.kid) {
                return Err(KeySetFault::DuplicateKid);
            }
            parsed.push(key);
        }
        Ok(Self(parsed))
    }

    /// Takes the set in once `is_sound` has said of each key that its point is good.
    ///
    /// # Errors
    ///
    /// `KeySetFault::Weak` if one is not.
    pub fn checked(
        self,
        is_sound: impl Fn(&VerificationKey) -> bool,
    ) -> Result<Keyring, KeySetFault> {
        if self.0.iter().all(is_sound) {
            Ok(Keyring(self.0.into_iter().map(Rc::new).collect()))
        } else {
            Err(KeySetFault::Weak)
        }
    }
}

/// Keys that may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyring(Vec<Rc<VerificationKey>>);

impl Keyring {
    /// This keyring and the edge's own HS256 key.
    #[must_use]
    pub fn with(mut self, key: VerificationKey) -> Self {
        self.0.retain(|other| other.kid != key.kid);
        self.0.push(Rc::new(key));
        self
    }

    /// The key with exactly this id.
    #[must_use]
    pub fn find(&self, kid: &str) -> Option<&Rc<VerificationKey>> {
        self.0.iter().find(|key| key.kid == kid)
    }
}

fn parse_key(jwk: &Map<String, Value>) -> Option<VerificationKey> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let kid = text("kid").filter(|kid| is_kid(kid) && *kid != HS256_KID)?;
    let signs = text("use") == Some("sig") && is_for_verification(jwk);
    let private = ["d", "k", "p", "q", "dp", "dq", "qi", "oth"];
    if !signs || private.iter().any(|member| jwk.contains_key(*member)) {
        return None;
    }
    let algorithm = Algorithm::parse(text("alg")?)?;
    let material = match (algorithm, text("kty")?, text("crv")?) {
        (Algorithm::EdDsa | Algorithm::Ed25519, "OKP", "Ed25519") => coordinate(text("x")?)?,
        (Algorithm::Es256, "EC", "P-256") => {
            [&[4][..], &coordinate(text("x")?)?, &coordinate(text("y")?)?].concat()
        }
        _ => return None,
    };
    Some(VerificationKey {
        kid: kid.to_owned(),
        algorithm,
        material,
    })
}

/// `key_ops`, if there, must be exactly `verify`.
fn is_for_verification(jwk: &Map<String, Value>) -> bool {
    jwk.get("key_ops").is_none_or(|ops| {
        ops.as_array()
            .is_some_and(|ops| ops.len() == 1 && ops.iter().all(|op| op == "verify"))
    })
}

/// Both curves have coordinates of 32 bytes, which are 43 characters and no other number of them.
fn coordinate(text: &str) -> Option<Vec<u8>> {
    if text.len() != COORDINATE_CHARACTERS {
        return None;
    }
    base64url::decode(text)
}

pub(crate) fn is_kid(kid: &str) -> bool {
    !kid.is_empty() && kid.len() <= MAX_KID_BYTES && kid.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::{Algorithm, JwkSet, KeySetFault, VerificationKey};
    use serde_json::{Value, json};

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn ed25519(kid: &str) -> Value {
        json!({"kty":"OKP","crv":"Ed25519","use":"sig","alg":"EdDSA","kid":kid,"x":X})
    }

    fn parse(keys: &[Value]) -> Result<JwkSet, KeySetFault> {
        JwkSet::parse(&json!({ "keys": keys }))
    }

    #[test]
    fn parse_takes_both_curves_and_all_three_names() {
        let mut newer = ed25519("b");
        newer["alg"] = "Ed25519".into();
        newer["key_ops"] = json!(["verify"]);
        let p256 =
            json!({"kty":"EC","crv":"P-256","use":"sig","alg":"ES256","kid":"c","x":X,"y":X});

        let set = parse(&[ed25519("a"), newer, p256]).unwrap();
        let keyring = set.checked(|_| true).unwrap();

        assert_eq!(keyring.find("a").unwrap().algorithm(), Algorithm::EdDsa);
        assert_eq!(keyring.find("b").unwrap().algorithm(), Algorithm::Ed25519);
        assert_eq!(keyring.find("c").unwrap().material().len(), 65);
        assert!(keyring.find("A").is_none());
    }

    #[test]
    fn parse_refuses_whole_set_for_one_bad_key() {
        for (member, value) in [
            ("kty", json!("RSA")),
            ("crv", json!("Ed448")),
            ("alg", json!("HS256")),
            ("alg", json!("ES256")),
            ("alg", Value::Null),
            ("use", json!("enc")),
            ("use", Value::Null),
            ("kid", json!("")),
            ("kid", json!("hs256")),
            ("kid", json!("a b")),
            ("kid", json!(7)),
            ("x", json!("AAAA")),
            ("d", json!(X)),
            ("k", json!(X)),
            ("key_ops", json!(["encrypt"])),
            ("key_ops", json!(["verify", "sign"])),
        ] {
            let mut bad = ed25519("b");
            bad[member] = value;
            let outcome = parse(&[ed25519("a"), bad.clone()]);
            assert_eq!(outcome.unwrap_err(), KeySetFault::Key, "{bad}");
        }
    }

    #[test]
    fn parse_refuses_duplicate_kid_and_empty_or_endless_set() {
        assert_eq!(
            parse(&[ed25519("a"), ed25519("a")]).unwrap_err(),
            KeySetFault::DuplicateKid
        );
        assert_eq!(parse(&[]).unwrap_err(), KeySetFault::Form);
        let many: Vec<Value> = (0..17).map(|n| ed25519(&n.to_string())).collect();
        assert!(parse(&many[..16]).is_ok());
        assert_eq!(parse(&many).unwrap_err(), KeySetFault::Form);
        assert_eq!(JwkSet::parse(&json!([])).unwrap_err(), KeySetFault::Form);
    }

    #[test]
    fn checked_refuses_whole_set_for_one_weak_key() {
        let set = parse(&[ed25519("a"), ed25519("b")]).unwrap();
        assert_eq!(
            set.checked(|key| key.kid() == "a").unwrap_err(),
            KeySetFault::Weak
        );
    }

    #[test]
    fn from_hmac_secret_refuses_one_byte_short() {
        assert!(VerificationKey::from_hmac_secret(&[1; 31]).is_none());
        assert_eq!(
            VerificationKey::from_hmac_secret(&[1; 32]).unwrap().kid(),
            "hs256"
        );
    }

    #[test]
    fn with_adds_the_secrets_key_and_keeps_the_others() {
        let keyring = parse(&[ed25519("a"), ed25519("b")]).unwrap();
        let secret = |byte| VerificationKey::from_hmac_secret(&[byte; 32]).unwrap();

        let keyring = keyring.checked(|_| true).unwrap();
        let keyring = keyring.with(secret(1)).with(secret(2));

        assert_eq!(keyring.find("hs256").unwrap().material(), [2; 32]);
        assert!(keyring.find("a").is_some() && keyring.find("b").is_some());
        assert_eq!(keyring.0.len(), 3);
    }

    #[test]
    fn debug_names_the_key_and_prints_no_material() {
        let key = VerificationKey::from_hmac_secret(b"a secret of thirty-two bytes    ").unwrap();
        assert_eq!(format!("{key:?}"), "VerificationKey(hs256, HS256)");
    }

    #[test]
    fn algorithm_parse_compares_bytes() {
        for name in [
            "none", "None", "eddsa", "EDDSA", "ED25519", "RS256", "", "ES256 ",
        ] {
            assert_eq!(Algorithm::parse(name), None);
        }
    }
}
