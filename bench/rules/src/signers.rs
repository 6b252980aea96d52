//! Those who sign the tokens of the desk: the issuer with a key of each algorithm, and two who are
//! not the issuer.
//!
//! Libraries that sign deterministically, over any bytes: an issuer's library would mix randomness
//! in, and never sign for an impostor.

use ed25519_compact::{KeyPair, Seed};
use hallpass_session::base64url::encode;
use hallpass_session::keyring::{HS256_KID, JwkSet, Keyring, VerificationKey};
use hallpass_session::token::TYP;
use hmac_sha256::HMAC;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use serde::Serialize;
use serde_json::{Value, json};

const EDDSA_KID: &str = "k1";
const ES256_KID: &str = "k2";
const HS256_SECRET: [u8; 32] = [9; 32];

/// All of them.
pub(crate) struct Signers {
    issuer: KeyPair,
    other: KeyPair,
    es256: SigningKey,
}

impl Signers {
    pub(crate) fn new() -> Self {
        Self {
            issuer: KeyPair::from_seed(Seed::new([7; 32])),
            other: KeyPair::from_seed(Seed::new([8; 32])),
            es256: expect(SigningKey::from_slice(&[7; 32])),
        }
    }

    /// The ids of the issuer's published keys.
    pub(crate) fn kids() -> Vec<String> {
        vec![EDDSA_KID.to_owned(), ES256_KID.to_owned()]
    }

    /// The issuer's public keys and the secret of HS256.
    pub(crate) fn keyring(&self) -> Keyring {
        let x = encode(&self.issuer.pk[..]);
        let ed25519 = json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA",
                             "kid": EDDSA_KID, "x": x});
        let point = self.es256.verifying_key().to_sec1_point(false);
        let (x, y) = point.as_bytes()[1..].split_at(32);
        let p256 = json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256",
                          "kid": ES256_KID, "x": encode(x), "y": encode(y)});
        let set = expect(JwkSet::parse(&json!({"keys": [ed25519, p256]})));
        let keyring = expect(set.checked(hallpass_signature::is_sound));
        let secret = VerificationKey::from_hmac_secret(&HS256_SECRET);
        keyring.with(expect(secret.ok_or("too short")))
    }

    /// A token of the issuer.
    pub(crate) fn eddsa(&self, claims: &Value) -> String {
        let header = header("EdDSA", EDDSA_KID, TYP);
        compact(&header, claims, |input| ed25519(&self.issuer, input))
    }

    /// Something else of the issuer.
    pub(crate) fn list(&self, typ: &str, list: &impl Serialize) -> String {
        let header = header("EdDSA", EDDSA_KID, typ);
        compact(&header, list, |input| ed25519(&self.issuer, input))
    }

    /// A token that names the issuer's key, by another.
    pub(crate) fn impostor(&self, claims: &Value) -> String {
        let header = header("EdDSA", EDDSA_KID, TYP);
        compact(&header, claims, |input| ed25519(&self.other, input))
    }

    /// A token that names a key nobody knows.
    pub(crate) fn stranger(&self, claims: &Value) -> String {
        let header = header("EdDSA", "k9", TYP);
        compact(&header, claims, |input| ed25519(&self.other, input))
    }

    pub(crate) fn es256(&self, claims: &Value) -> String {
        compact(&header("ES256", ES256_KID, TYP), claims, |input| {
            let signature: Signature = self.es256.sign(input);
            signature.to_bytes().to_vec()
        })
    }

    pub(crate) fn hs256(claims: &Value) -> String {
        compact(&header("HS256", HS256_KID, TYP), claims, hmac)
    }

    /// A token under HS256 that names the issuer's Ed25519 key.
    pub(crate) fn wrong_alg(claims: &Value) -> String {
        compact(&header("HS256", EDDSA_KID, TYP), claims, hmac)
    }
}

fn header(alg: &str, kid: &str, typ: &str) -> Value {
    json!({"alg": alg, "kid": kid, "typ": typ})
}

fn compact(
    header: &Value,
    payload: &impl Serialize,
    sign: impl FnOnce(&[u8]) -> Vec<u8>,
) -> String {
    let payload = expect(serde_json::to_vec(payload));
    let input = format!(
        "{}.{}",
        encode(header.to_string().as_bytes()),
        encode(&payload)
    );
    let signature = encode(&sign(input.as_bytes()));
    format!("{input}.{signature}")
}

fn ed25519(key: &KeyPair, input: &[u8]) -> Vec<u8> {
    key.sk.sign(input, None).to_vec()
}

fn hmac(input: &[u8]) -> Vec<u8> {
    HMAC::mac(input, HS256_SECRET).to_vec()
}

/// Everything here is fixed: what fails, fails for whoever changed it, and says so.
pub(crate) fn expect<T, E: std::fmt::Debug>(outcome: Result<T, E>) -> T {
    outcome.unwrap_or_else(|error| panic!("the desk cannot be set up: {error:?}"))
}
