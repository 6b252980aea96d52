//! One token of each algorithm with every byte changed to every other of the 255, and the two
//! changes of a signature that arithmetic allows: `n − s` for P-256, `S + L` for Ed25519.
//!
//! Bytes from 128 on stand as the runtime hands them over: headers are read as Latin-1.

use crate::Tally;
use crate::issuer::{ALGORITHMS, Issuer};
use hallpass_session::base64url::{decode, encode};
use hallpass_session::keyring::Algorithm;

/// The order of Ed25519's group, little-endian.
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// Runs every change.
pub(crate) fn run(issuer: &Issuer) -> Tally {
    let mut tally = Tally::new("bytes");
    for algorithm in ALGORITHMS {
        let good = issuer.token(algorithm, 1);
        tally.expect(issuer.verdict(&good) == "accepted", || {
            format!("the unchanged {} token is refused", algorithm.name())
        });
        change_every_byte(&mut tally, issuer, algorithm, &good);
    }
    add_the_group_order(&mut tally, issuer);
    list_the_twin(&mut tally, issuer);
    tally
}

fn change_every_byte(tally: &mut Tally, issuer: &Issuer, algorithm: Algorithm, good: &str) {
    for (position, original) in good.bytes().enumerate() {
        let (before, after) = (&good[..position], &good[position + 1..]);
        for byte in (0..=u8::MAX).filter(|byte| *byte != original) {
            let changed = format!("{before}{}{after}", char::from(byte));
            let verdict = issuer.verdict(&changed);
            tally.count(algorithm.name(), verdict);
            tally.expect(verdict != "accepted", || {
                format!(
                    "{}: byte {position} as {byte} is accepted",
                    algorithm.name()
                )
            });
        }
    }
}

/// `S + L` is congruent to `S`; RFC 8032 §5.1.7 has it refused.
fn add_the_group_order(tally: &mut Tally, issuer: &Issuer) {
    let (input, mut signature) = split(issuer.token(Algorithm::EdDsa, 1));
    let mut carry = 0;
    for (byte, order) in signature[32..].iter_mut().zip(L) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        [*byte, _] = sum.to_le_bytes();
        carry = sum >> 8;
    }
    let verdict = issuer.verdict(&format!("{input}.{}", encode(&signature)));
    tally.count("EdDSA, S + L", verdict);
    tally.expect(verdict == "token_untrusted", || format!("S + L: {verdict}"));
}

/// `(r, n − s)` verifies where `(r, s)` does: two texts of one token. Nothing may be keyed by the
/// text of a signature but the memo, which only ever repeats a verdict.
fn list_the_twin(tally: &mut Tally, issuer: &Issuer) {
    let (input, signature) = split(issuer.token(Algorithm::Es256, 1));
    let signature = p256::ecdsa::Signature::from_slice(&signature).expect("our own signature");
    let (r, s) = signature.split_scalars();
    let twin = p256::ecdsa::Signature::from_scalars(r.to_bytes(), (-s).to_bytes());
    let twin = encode(&twin.expect("two scalars").to_bytes());
    let verdict = issuer.verdict(&format!("{input}.{twin}"));
    tally.add("ES256, the twin n − s (listed, either is right)", verdict);
    tally.note(format!(
        "the ES256 twin (r, n − s) of a good signature: {verdict}"
    ));
}

fn split(mut token: String) -> (String, Vec<u8>) {
    let dot = token.rfind('.').expect("three parts");
    let signature = decode(&token[dot + 1..]).expect("our own signature");
    token.truncate(dot);
    (token, signature)
}
