//! A second issuer whose key is on P-256, and what arithmetic allows with signatures of either
//! curve: other numbers and other forms of the same two.

use crate::support::{claims, header, with};
use hallpass_session::base64url::{decode, encode};
use hallpass_session::keyring::{JwkSet, Keyring};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};

/// The order of P-256, big-endian.
pub(crate) const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
    0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
/// The order of Ed25519's group, little-endian.
const ED25519_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];
const KID: &str = "p1";

fn key() -> SigningKey {
    SigningKey::from_slice(&[7; 32]).expect("a number below the order")
}

pub(crate) fn jwk() -> Value {
    let point = key().verifying_key().to_sec1_point(false);
    let [x, y] = [&point.as_bytes()[1..33], &point.as_bytes()[33..]].map(encode);
    json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": KID, "x": x, "y": y})
}

pub(crate) fn keyring() -> Keyring {
    let set = JwkSet::parse(&json!({"keys": [jwk()]})).expect("a good set");
    set.checked(hallpass_signature::is_sound)
        .expect("a sound key")
}

/// A good ES256 token.
pub(crate) fn token() -> String {
    let header = with(with(header(), "alg", json!("ES256")), "kid", json!(KID));
    let part = |members| encode(Value::Object(members).to_string().as_bytes());
    let input = format!("{}.{}", part(header), part(claims()));
    let signature: Signature = key().sign(input.as_bytes());
    format!("{input}.{}", encode(&signature.to_bytes()))
}

/// The same ES256 token with `(r, n − s)` for `(r, s)`.
pub(crate) fn twin(token: &str) -> String {
    let (input, signature) = token.rsplit_once('.').expect("three parts");
    let signature = decode(signature).expect("base64url");
    let signature = Signature::from_slice(&signature).expect("r and s");
    let (r, s) = signature.split_scalars();
    let twin = Signature::from_scalars(r.to_bytes(), (-s).to_bytes()).expect("r and n - s");
    format!("{input}.{}", encode(&twin.to_bytes()))
}

/// An Ed25519 signature with `S + L` for `S`.
pub(crate) fn with_order_added(signature: &[u8]) -> Vec<u8> {
    let mut forged = signature.to_vec();
    let mut carry = 0;
    for (byte, order) in forged[32..].iter_mut().zip(ED25519_ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        [*byte, _] = sum.to_le_bytes();
        carry = sum >> 8;
    }
    forged
}

/// Two numbers as the DER that JWS does not use.
pub(crate) fn der(signature: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let sign = vec![0; usize::from(number[0] >= 0x80)];
        let length = u8::try_from(sign.len() + number.len()).expect("short");
        [&[2, length], &sign[..], number].concat()
    };
    let (r, s) = signature.split_at(signature.len() / 2);
    let body = [integer(r), integer(s)].concat();
    [&[0x30, u8::try_from(body.len()).expect("short")][..], &body].concat()
}
