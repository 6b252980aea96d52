//! An issuer with one key of each algorithm, and an edge that trusts them.
//!
//! It signs any bytes, so that a vector can stand anywhere in a token, and it judges as the Worker
//! does. Keys come from fixed seeds: every run, natively and in wasm, judges the same tokens.

use ed25519_compact::{KeyPair, Seed};
use hallpass_session::base64url::encode;
use hallpass_session::claims::TokenPolicy;
use hallpass_session::keyring::{Algorithm, HS256_KID, JwkSet, Keyring, VerificationKey};
use hallpass_session::refusal::Refusal;
use hallpass_session::time::{Seconds, UnixSeconds};
use hallpass_session::token;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};

/// The second at which everything is judged.
pub(crate) const NOW: u64 = 1_795_224_155;
/// The algorithms of ours.
pub(crate) const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::EdDsa,
    Algorithm::Ed25519,
    Algorithm::Es256,
    Algorithm::Hs256,
];

const ISSUER: &str = "https://sessions.example";
const AUDIENCE: &str = "app";

/// Four keys, and the edge's view of them.
pub(crate) struct Issuer {
    ed25519: [KeyPair; 2],
    p256: SigningKey,
    secret: [u8; 32],
    keyring: Keyring,
    policy: TokenPolicy,
}

impl Issuer {
    /// The issuer whose public keys the edge trusts.
    pub(crate) fn new() -> Self {
        Self::from_seed(7)
    }

    /// One with keys of its own under the same ids, trusted by nobody but itself.
    pub(crate) fn impostor() -> Self {
        Self::from_seed(90)
    }

    fn from_seed(seed: u8) -> Self {
        let key_pair = |seed| KeyPair::from_seed(Seed::new([seed; 32]));
        let ed25519 = [key_pair(seed), key_pair(seed + 1)];
        let p256 = SigningKey::from_slice(&[seed + 2; 32]).expect("a number below the order");
        let secret = [seed + 3; 32];
        Self {
            keyring: keyring(&ed25519, &p256, &secret),
            ed25519,
            p256,
            secret,
            policy: TokenPolicy {
                issuer: ISSUER.to_owned(),
                audience: AUDIENCE.to_owned(),
                clock_skew: Seconds::new(5),
                max_token_lifetime: Seconds::new(3600),
            },
        }
    }

    /// The signature over any bytes.
    pub(crate) fn signature(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        match algorithm {
            Algorithm::EdDsa => self.ed25519[0].sk.sign(message, None).to_vec(),
            Algorithm::Ed25519 => self.ed25519[1].sk.sign(message, None).to_vec(),
            Algorithm::Es256 => {
                let signature: Signature = self.p256.sign(message);
                signature.to_bytes().to_vec()
            }
            Algorithm::Hs256 => hmac_sha256::HMAC::mac(message, self.secret).to_vec(),
        }
    }

    /// A compact JWS of any two byte strings as header and payload.
    pub(crate) fn sign(&self, algorithm: Algorithm, header: &[u8], payload: &[u8]) -> String {
        let input = format!("{}.{}", encode(header), encode(payload));
        let signature = self.signature(algorithm, input.as_bytes());
        format!("{input}.{}", encode(&signature))
    }

    /// A good token, the `number`th of its algorithm.
    pub(crate) fn token(&self, algorithm: Algorithm, number: u32) -> String {
        let claims = claims(number).to_string();
        self.sign(algorithm, header(algorithm).as_bytes(), claims.as_bytes())
    }

    /// The public half that anybody knows, as an HMAC secret would be confused with.
    pub(crate) fn public_bytes(&self, algorithm: Algorithm) -> Vec<u8> {
        let key = self.keyring.find(kid(algorithm));
        key.map_or_else(Vec::new, |key| key.material().to_vec())
    }

    /// The keys the edge trusts.
    pub(crate) fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Judges a token as the edge does, but with a keyring of the caller's.
    pub(crate) fn judge_with(&self, text: &str, keyring: &Keyring) -> Result<(), Refusal> {
        let now = UnixSeconds::new(NOW);
        token::judge(text, keyring, &self.policy, hallpass_signature::verify, now).map(|_| ())
    }

    /// The verdict on a token in a word: `accepted` or the refusal's code.
    pub(crate) fn verdict(&self, text: &str) -> &'static str {
        word(self.judge_with(text, &self.keyring))
    }
}

/// A verdict in a word.
pub(crate) fn word(outcome: Result<(), Refusal>) -> &'static str {
    outcome.map_or_else(Refusal::code, |()| "accepted")
}

/// The key id of an algorithm's one key.
pub(crate) const fn kid(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::EdDsa => "k1",
        Algorithm::Ed25519 => "k2",
        Algorithm::Es256 => "k3",
        Algorithm::Hs256 => HS256_KID,
    }
}

/// The header of a good token.
pub(crate) fn header(algorithm: Algorithm) -> String {
    json!({"alg": algorithm.name(), "kid": kid(algorithm), "typ": token::TYP}).to_string()
}

/// The claims of a good token; each number is another session.
pub(crate) fn claims(number: u32) -> Value {
    let mut sid = [0; 16];
    sid[..4].copy_from_slice(&number.to_be_bytes());
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "sid": encode(&sid), "idx": number,
        "iat": NOW - 60, "exp": NOW + 240, "auth_time": NOW - 3600, "amr": ["pwd"],
        "ext": {"role": "editor"},
    })
}

fn keyring(ed25519: &[KeyPair; 2], p256: &SigningKey, secret: &[u8]) -> Keyring {
    let okp = |algorithm: Algorithm, pair: &KeyPair| {
        json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": algorithm.name(),
               "kid": kid(algorithm), "x": encode(&pair.pk[..])})
    };
    let point = p256.verifying_key().to_sec1_point(false);
    let [x, y] = [&point.as_bytes()[1..33], &point.as_bytes()[33..]].map(encode);
    let keys = json!([
        okp(Algorithm::EdDsa, &ed25519[0]),
        okp(Algorithm::Ed25519, &ed25519[1]),
        {"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid(Algorithm::Es256), "x": x, "y": y},
    ]);
    let set = JwkSet::parse(&json!({ "keys": keys })).expect("a good set");
    let sound = set
        .checked(hallpass_signature::is_sound)
        .expect("sound keys");
    sound.with(VerificationKey::from_hmac_secret(secret).expect("a long secret"))
}

#[cfg(test)]
mod tests {
    use super::{ALGORITHMS, Issuer};

    #[test]
    fn verdict_accepts_good_token_of_each_algorithm() {
        let issuer = Issuer::new();
        for algorithm in ALGORITHMS {
            assert_eq!(issuer.verdict(&issuer.token(algorithm, 1)), "accepted");
        }
    }

    #[test]
    fn verdict_refuses_impostor() {
        let (issuer, impostor) = (Issuer::new(), Issuer::impostor());
        for algorithm in ALGORITHMS {
            let token = impostor.token(algorithm, 1);
            assert_eq!(impostor.verdict(&token), "accepted");
            assert_eq!(issuer.verdict(&token), "token_untrusted");
        }
    }
}
