//! What jwt-simple alone says of a signature: of a JWS with any payload, of raw bytes.
//!
//! Wycheproof's payloads are no claims and its raw messages no tokens, so they cannot pass the
//! rules. jwt-simple checks a signature before it reads claims: a token of which only the claims do
//! not parse has a good signature. Raw bytes are given to the very key that
//! [`hallpass_signature::verify`] builds.

use hallpass_session::base64url;
use jwt_simple::prelude::{
    ECDSAP256PublicKeyLike, ES256PublicKey, Ed25519PublicKey, EdDSAPublicKeyLike, HS256Key,
    JWTClaims, MACLike, NoCustomClaims, PS256PublicKey, PS384PublicKey, PS512PublicKey,
    RS256PublicKey, RS384PublicKey, RS512PublicKey, RSAPublicKeyLike, Token, UnixTimeStamp,
    VerificationOptions,
};
use p256::ecdsa::signature::Verifier;
use serde_json::Value;

type Verified = Result<JWTClaims<NoCustomClaims>, jwt_simple::Error>;

/// Whether `signature` is `key`'s over `message`.
pub(crate) fn ed25519_is_good(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) = (
        Ed25519PublicKey::from_bytes(key),
        ed25519_compact::Signature::from_slice(signature),
    ) else {
        return false;
    };
    key.public_key()
        .as_ref()
        .verify(message, &signature)
        .is_ok()
}

/// Whether `signature`, 64 bytes of `r ‖ s`, is `key`'s over `message`.
pub(crate) fn p256_is_good(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) = (
        ES256PublicKey::from_bytes(key),
        p256::ecdsa::Signature::try_from(signature),
    ) else {
        return false;
    };
    key.public_key()
        .as_ref()
        .verify(message, &signature)
        .is_ok()
}

/// Whether `tag` is the whole of `secret`'s over `message`, compared as jwt-simple compares.
pub(crate) fn hs256_is_good(secret: &[u8], message: &[u8], tag: &[u8]) -> bool {
    ct_codecs::verify(
        &HS256Key::from_bytes(secret).authentication_tag(message),
        tag,
    )
}

/// Whether jwt-simple takes the JWK and calls the JWS's signature good under its algorithm.
pub(crate) fn jws_is_good(jwk: &Value, jws: &str) -> bool {
    // Only by its own declaration is a key for an algorithm; a token's `alg` chooses nothing.
    let Some(algorithm) = jwk.get("alg").and_then(Value::as_str) else {
        return false;
    };
    let text = jwk.to_string();
    // Traits of jwt-simple's own give each kind of key its `verify_token`.
    macro_rules! verified {
        ($key:expr) => {
            $key.and_then(|key| key.verify_token(jws, Some(options())))
        };
    }
    let outcome: Verified = match algorithm {
        "HS256" => verified!(hs256(jwk)),
        "ES256" => verified!(ES256PublicKey::from_jwk(&text)),
        "RS256" => verified!(RS256PublicKey::from_jwk(&text)),
        "RS384" => verified!(RS384PublicKey::from_jwk(&text)),
        "RS512" => verified!(RS512PublicKey::from_jwk(&text)),
        "PS256" => verified!(PS256PublicKey::from_jwk(&text)),
        "PS384" => verified!(PS384PublicKey::from_jwk(&text)),
        "PS512" => verified!(PS512PublicKey::from_jwk(&text)),
        _ => return false,
    };
    let only_claims_are_odd = |error: jwt_simple::Error| {
        error.is::<serde_json::Error>() && Token::decode_metadata(jws).is_ok()
    };
    outcome.map_or_else(only_claims_are_odd, |_| true)
}

/// jwt-simple reads no symmetric JWK.
fn hs256(jwk: &Value) -> Result<HS256Key, jwt_simple::Error> {
    let secret = jwk
        .get("k")
        .and_then(Value::as_str)
        .and_then(base64url::decode);
    let secret = secret.ok_or_else(|| jwt_simple::Error::msg("no secret"))?;
    Ok(HS256Key::from_bytes(&secret))
}

fn options() -> VerificationOptions {
    VerificationOptions {
        accept_future: true,
        artificial_time: Some(UnixTimeStamp::from_secs(0)),
        ..VerificationOptions::default()
    }
}
