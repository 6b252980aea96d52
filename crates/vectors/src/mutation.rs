//! Tokens changed at random in six ways, of which none may be accepted.
//!
//! Each mutation is made from its number and the seed alone, so that a failure repeats, threads may
//! share the work, and two machines judge the same tokens. Some ways break the form, some leave
//! form and claims perfect so that only the signature stands between them and the app; the counts
//! by way and refusal code show that each met its guard.

use crate::issuer::{ALGORITHMS, Issuer, claims, header, kid};
use crate::{Options, Tally, machine};
use fastrand::Rng;
use hallpass_session::base64url::{decode, encode};
use hallpass_session::keyring::Algorithm;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::ops::Range;

/// The fingerprint covers this many mutations at most: so many are judged in wasm too.
pub(crate) const COMPARED: u64 = 20_000;
/// Good tokens of each algorithm to start from.
const TOKENS_EACH: u32 = 3;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A way to change a token.
#[derive(Clone, Copy)]
enum Way {
    /// Characters of the text are replaced, inserted, removed, exchanged.
    Text,
    /// A part is decoded, its bytes are changed, and it is encoded again.
    Bytes,
    /// A claim says something else, in good form.
    Claims,
    /// Header, payload and signature come from different good tokens.
    Splice,
    /// The signature is another: of a wrong length, of odd numbers, of a stranger.
    Signature,
    /// The header names another algorithm or key, and the signature is made to fit where it can.
    Confusion,
}

const WAYS: [(Way, &str); 6] = [
    (Way::Text, "text"),
    (Way::Bytes, "bytes"),
    (Way::Claims, "claims"),
    (Way::Splice, "splice"),
    (Way::Signature, "signature"),
    (Way::Confusion, "confusion"),
];

/// Judges as many mutations as the options say.
pub(crate) fn run(options: &Options) -> Tally {
    let parts = machine::in_parallel(options.mutations, options.threads, |range| {
        judge(range, options.seed)
    });
    let mut tally = Tally::new("mutations");
    for part in parts {
        tally.absorb(part);
    }
    tally.note(format!("seed {}; 0 may be accepted", options.seed));
    tally
}

fn judge(range: Range<u64>, seed: u64) -> Tally {
    let mutator = Mutator::new();
    let mut tally = Tally::default();
    for number in range {
        let mut rng = Rng::with_seed(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (way, text) = mutator.mutate(&mut rng);
        let verdict = mutator.issuer.verdict(&text);
        tally.cases += 1;
        tally.add(way, verdict);
        if number < COMPARED {
            tally.mark(number, verdict);
        }
        tally.expect(verdict != "accepted", || {
            format!("mutation {number} of seed {seed} ({way}) is accepted: {text}")
        });
    }
    tally
}

struct Mutator {
    issuer: Issuer,
    impostor: Issuer,
    good: Vec<Good>,
    texts: HashSet<String>,
}

struct Good {
    algorithm: Algorithm,
    number: u32,
    text: String,
}

impl Mutator {
    fn new() -> Self {
        let issuer = Issuer::new();
        let numbers = |algorithm| (0..TOKENS_EACH).map(move |number| (algorithm, number));
        let good: Vec<Good> = ALGORITHMS
            .into_iter()
            .flat_map(numbers)
            .map(|(algorithm, number)| Good {
                algorithm,
                number,
                text: issuer.token(algorithm, number),
            })
            .collect();
        Self {
            issuer,
            impostor: Issuer::impostor(),
            texts: good.iter().map(|good| good.text.clone()).collect(),
            good,
        }
    }

    /// A changed token that is none of the good ones.
    fn mutate(&self, rng: &mut Rng) -> (&'static str, String) {
        loop {
            let (way, name) = WAYS[below(WAYS.len(), rng)];
            let good = self.any(rng);
            let text = match way {
                Way::Text => change_text(&good.text, rng),
                Way::Bytes => change_bytes(&good.text, rng),
                Way::Claims => with_part(&good.text, 1, &other_claims(good.number, rng)),
                Way::Splice => self.splice(rng),
                Way::Signature => with_part(&good.text, 2, &self.other_signature(good, rng)),
                Way::Confusion => self.confuse(good, rng),
            };
            if !self.texts.contains(&text) {
                return (name, text);
            }
        }
    }

    fn any(&self, rng: &mut Rng) -> &Good {
        &self.good[below(self.good.len(), rng)]
    }

    fn splice(&self, rng: &mut Rng) -> String {
        let part = |number: usize, rng: &mut Rng| {
            let text = &self.any(rng).text;
            text.split('.').nth(number).unwrap_or_default().to_owned()
        };
        [part(0, rng), part(1, rng), part(2, rng)].join(".")
    }

    fn other_signature(&self, good: &Good, rng: &mut Rng) -> Vec<u8> {
        let (input, signature) = good.text.rsplit_once('.').unwrap_or_default();
        let mut signature = decode(signature).unwrap_or_default();
        match rng.u8(..7) {
            0 => random_bytes([0, 1, 31, 32, 33, 63, 64, 65, 128][below(9, rng)], rng),
            1 => vec![[0, 0xff][below(2, rng)]; signature.len()],
            2 => odd_numbers(rng),
            3 => self.impostor.signature(good.algorithm, input.as_bytes()),
            4 => der(&signature),
            5 => {
                let by = 1 + below(signature.len() - 1, rng);
                signature.rotate_left(by);
                signature
            }
            _ => {
                let bit = below(signature.len() * 8, rng);
                signature[bit / 8] ^= 1 << (bit % 8);
                signature
            }
        }
    }

    fn confuse(&self, good: &Good, rng: &mut Rng) -> String {
        let other = ALGORITHMS[below(ALGORITHMS.len(), rng)];
        let names = [
            "none", "None", "HS256", "ES256", "EdDSA", "Ed25519", "RS256", "eddsa", "",
        ];
        let alg = names[below(names.len(), rng)];
        let header = match rng.u8(..3) {
            0 => header(other),
            1 => json!({"alg": alg, "kid": kid(good.algorithm), "typ": "session+jwt"}).to_string(),
            _ => json!({"alg": alg, "kid": kid(other), "typ": "session+jwt"}).to_string(),
        };
        let payload = claims(good.number).to_string();
        let input = format!(
            "{}.{}",
            encode(header.as_bytes()),
            encode(payload.as_bytes())
        );
        let public = self.issuer.public_bytes(other);
        let signature = match rng.u8(..3) {
            0 if other != Algorithm::Hs256 => hmac_sha256::HMAC::mac(&input, public).to_vec(),
            1 => self.impostor.signature(other, input.as_bytes()),
            _ => self.impostor.signature(good.algorithm, input.as_bytes()),
        };
        format!("{input}.{}", encode(&signature))
    }
}

fn change_text(text: &str, rng: &mut Rng) -> String {
    let mut text: Vec<char> = text.chars().collect();
    for _ in 0..=below(3, rng) {
        let at = below(text.len(), rng);
        match rng.u8(..8) {
            0 => text[at] = char::from(rng.u8(..)),
            1..=3 => text[at] = any_character(rng),
            4 => text.insert(at, any_character(rng)),
            5 if text.len() > 1 => drop(text.remove(at)),
            6 => {
                let other = below(text.len(), rng);
                text.swap(at, other);
            }
            _ => text.truncate(at.max(1)),
        }
    }
    text.into_iter().collect()
}

fn change_bytes(text: &str, rng: &mut Rng) -> String {
    let number = below(3, rng);
    let part = text.split('.').nth(number).unwrap_or_default();
    let mut bytes = decode(part).unwrap_or_default();
    for _ in 0..=below(3, rng) {
        let at = below(bytes.len(), rng);
        match rng.u8(..4) {
            0 => bytes[at] = rng.u8(..),
            1 => bytes[at] ^= 1 << rng.u8(..8),
            2 => bytes.insert(at, rng.u8(b' '..=b'~')),
            _ => drop(bytes.remove(at)),
        }
    }
    with_part(text, number, &bytes)
}

fn other_claims(number: u32, rng: &mut Rng) -> Vec<u8> {
    let mut claims = claims(number);
    let subjects = ["root", "admin", "eve", "ada ", "Ada", ""];
    match rng.u8(..7) {
        0 => claims["sub"] = subjects[below(subjects.len(), rng)].into(),
        1 => claims["idx"] = rng.u32(..).into(),
        2 => claims["sid"] = encode(&random_bytes(16, rng)).into(),
        3 => claims["ext"]["role"] = "admin".into(),
        4 => claims[["iat", "exp", "auth_time"][below(3, rng)]] = rng.u64(..).into(),
        5 => {
            let later = claims["exp"].as_u64().unwrap_or_default() + rng.u64(1..3000);
            claims["exp"] = later.into();
        }
        _ => claims[["amr", "nbf", "jti", "scope"][below(4, rng)]] = Value::from(rng.u32(..)),
    }
    claims.to_string().into_bytes()
}

/// `r` and `s` each from the numbers at which implementations have been wrong.
fn odd_numbers(rng: &mut Rng) -> Vec<u8> {
    const N: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let mut number = || {
        let mut bytes = if rng.bool() { N } else { [0; 32] };
        // The last byte of n is 0x51: one less and one more stay in it.
        bytes[31] = [
            bytes[31],
            bytes[31].wrapping_add(1),
            bytes[31].saturating_sub(1),
        ][below(3, rng)];
        bytes
    };
    [number(), number()].concat()
}

/// `r ‖ s` as the DER that JWS does not use.
fn der(signature: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let sign: &[u8] = if number.first().is_some_and(|top| *top >= 0x80) {
            &[0]
        } else {
            &[]
        };
        let length = u8::try_from(sign.len() + number.len()).unwrap_or(u8::MAX);
        [&[2, length], sign, number].concat()
    };
    let (r, s) = signature.split_at(signature.len() / 2);
    let body = [integer(r), integer(s)].concat();
    [
        &[0x30, u8::try_from(body.len()).unwrap_or(u8::MAX)][..],
        &body,
    ]
    .concat()
}

fn with_part(text: &str, number: usize, bytes: &[u8]) -> String {
    let mut parts: Vec<&str> = text.split('.').collect();
    let encoded = encode(bytes);
    parts[number] = &encoded;
    parts.join(".")
}

/// A number below `bound`, the same on machines of 32 and 64 bits, which `Rng::usize` is not.
fn below(bound: usize, rng: &mut Rng) -> usize {
    let bound = u32::try_from(bound).unwrap_or(u32::MAX);
    rng.u32(..bound) as usize
}

fn any_character(rng: &mut Rng) -> char {
    char::from(ALPHABET[below(ALPHABET.len(), rng)])
}

fn random_bytes(length: usize, rng: &mut Rng) -> Vec<u8> {
    (0..length).map(|_| rng.u8(..)).collect()
}

#[cfg(test)]
mod tests {
    use super::{Mutator, judge};
    use crate::Tally;
    use fastrand::Rng;

    #[test]
    fn mutate_repeats_with_its_seed_and_never_gives_a_good_token() {
        let mutator = Mutator::new();
        for seed in 0..200 {
            let (way, text) = mutator.mutate(&mut Rng::with_seed(seed));
            assert_eq!(
                mutator.mutate(&mut Rng::with_seed(seed)),
                (way, text.clone())
            );
            assert!(!mutator.texts.contains(&text));
        }
    }

    #[test]
    fn judge_gives_the_same_tally_in_any_division() {
        let whole = judge(0..60, 1);
        let mut parts = Tally::default();
        for range in [0..25, 25..60] {
            parts.absorb(judge(range, 1));
        }
        assert_eq!(parts, whole);
        assert_eq!((whole.cases, whole.failed), (60, 0));
    }

    #[test]
    fn judge_meets_every_guard() {
        let tally = judge(0..400, 1);
        let met = |code: &str| {
            tally
                .counts
                .values()
                .any(|verdicts| verdicts.contains_key(code))
        };
        assert!(met("token_malformed") && met("token_invalid") && met("token_untrusted"));
        assert_eq!(tally.counts.len(), 6);
    }
}
