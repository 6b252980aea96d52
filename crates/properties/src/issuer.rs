//! The issuer that all bodies know: its keys, its policy, its clock, and three tokens it signed.
//!
//! Keys and tokens were made by another program (Node's `crypto`), and the private halves are not
//! here: whatever passes for a token of this issuer is one of the three, or a forgery.

use hallpass_session::base64url::encode;
use hallpass_session::claims::TokenPolicy;
use hallpass_session::jws::{SignatureQuestion, Verdict};
use hallpass_session::keyring::{JwkSet, Keyring, VerificationKey};
use hallpass_session::time::{Seconds, UnixSeconds};
use serde_json::json;

/// The second at which every body judges.
pub const NOW: u64 = 1_795_224_155;
/// Its name.
pub const ISSUER: &str = "https://sessions.example";
/// Whom its tokens are for.
pub const AUDIENCE: &str = "app";
/// Its Ed25519 key.
pub const KID: &str = "k1";
/// Good from a minute before [`NOW`] to four minutes after it.
pub const SIGNED: [&str; 3] = [
    include_str!("../../../fuzz/corpus/token/good-eddsa"),
    include_str!("../../../fuzz/corpus/token/good-es256"),
    include_str!("../../../fuzz/corpus/token/good-hs256"),
];

/// Its public keys, and the secret it shares with this edge.
///
/// # Panics
///
/// If the set is not good.
#[must_use]
pub fn keyring() -> Keyring {
    let ed25519 = json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": KID,
        "x": "6kpsY-KcUgq-9VB7Ey7F-ZVHdq6-vnuSQh7qaRRG0iw"});
    let p256 = json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "k2",
        "x": "XhbZOJgg9udWzVeovO0776TfZKgDOG4IjaS69Bi9bFY",
        "y": "3D3SFAygW5zTu9DkHV89pl0xZamO2dix_MntBIkZ7x8"});
    let set = JwkSet::parse(&json!({"keys": [ed25519, p256]})).expect("a good set");
    let hmac = VerificationKey::from_hmac_secret(&[9; 32]).expect("32 bytes");
    set.checked(|_| true).expect("sound keys").with(hmac)
}

/// What its tokens must be like.
#[must_use]
pub fn policy() -> TokenPolicy {
    TokenPolicy {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        clock_skew: Seconds::new(5),
        max_token_lifetime: Seconds::new(3600),
    }
}

/// The time at which every body judges.
#[must_use]
pub const fn now() -> UnixSeconds {
    UnixSeconds::new(NOW)
}

/// Writes any two texts as a JWS with a well-formed signature that nobody has made.
#[must_use]
pub fn compact(header: &[u8], payload: &[u8]) -> String {
    let (header, payload, signature) = (encode(header), encode(payload), "A".repeat(86));
    format!("{header}.{payload}.{signature}")
}

/// Calls every signature good: what is judged then is what the holder of the key can send.
#[must_use]
pub const fn trust<C>(_: &SignatureQuestion<C>) -> Verdict {
    Verdict::Good
}
