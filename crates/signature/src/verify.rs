//! Answers [`SignatureQuestion`]s with jwt-simple.
//!
//! The form has been judged before (`hallpass_session::jws`), the claims are judged after. What is
//! asked here is the signature alone, so jwt-simple's checks of time are turned off: its clock is
//! set to 1970, in which nothing has expired, and tokens from the future are let through.

use hallpass_session::jws::{SignatureQuestion, Verdict};
use hallpass_session::keyring::{Algorithm, VerificationKey};
use jwt_simple::prelude::{
    ECDSAP256PublicKeyLike, ES256PublicKey, Ed25519PublicKey, EdDSAPublicKeyLike, HS256Key,
    MACLike, NoCustomClaims, UnixTimeStamp, VerificationOptions,
};

/// Verifies a signature.
#[must_use]
pub fn verify<C>(question: &SignatureQuestion<C>) -> Verdict {
    let key = question.key();
    let options = signature_only(question.compact().len());
    let good = match key.algorithm() {
        Algorithm::EdDsa | Algorithm::Ed25519 => Ed25519PublicKey::from_bytes(key.material())
            .and_then(|key| key.verify_token::<NoCustomClaims>(question.compact(), Some(options)))
            .is_ok(),
        Algorithm::Es256 => ES256PublicKey::from_bytes(key.material())
            .and_then(|key| key.verify_token::<NoCustomClaims>(question.compact(), Some(options)))
            .is_ok(),
        Algorithm::Hs256 => HS256Key::from_bytes(key.material())
            .verify_token::<NoCustomClaims>(question.compact(), Some(options))
            .is_ok(),
    };
    if good { Verdict::Good } else { Verdict::Bad }
}

/// Whether a key's point is on its curve and not weak.
#[must_use]
pub fn is_sound(key: &VerificationKey) -> bool {
    match key.algorithm() {
        Algorithm::EdDsa | Algorithm::Ed25519 => {
            Ed25519PublicKey::from_bytes(key.material()).is_ok()
        }
        Algorithm::Es256 => ES256PublicKey::from_bytes(key.material()).is_ok(),
        Algorithm::Hs256 => true,
    }
}

fn signature_only(token_bytes: usize) -> VerificationOptions {
    VerificationOptions {
        accept_future: true,
        artificial_time: Some(UnixTimeStamp::from_secs(0)),
        time_tolerance: None,
        // The rules have bounded both before.
        max_token_length: Some(token_bytes),
        max_header_length: None,
        ..VerificationOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use super::{is_sound, verify};
    use crate::SigningKey;
    use hallpass_session::claims::SessionClaims;
    use hallpass_session::jws::Verdict;
    use hallpass_session::keyring::{JwkSet, Keyring, VerificationKey};
    use hallpass_session::time::UnixSeconds;
    use hallpass_session::token;
    use serde_json::json;

    fn keyring(key: &SigningKey) -> Keyring {
        JwkSet::parse(&json!({"keys": [key.public_jwk()]}))
            .unwrap()
            .checked(is_sound)
            .unwrap()
    }

    fn claims() -> SessionClaims {
        SessionClaims {
            iss: "https://sessions.example".into(),
            aud: "app".into(),
            sub: "ada".into(),
            sid: "AAAAAAAAAAAAAAAAAAAAAA".into(),
            idx: 4_294_967_295,
            iat: UnixSeconds::new(1000),
            exp: UnixSeconds::new(1300),
            auth_time: UnixSeconds::new(900),
            nbf: None,
            amr: vec!["pwd".into()],
            ext: None,
        }
    }

    #[test]
    fn verify_calls_a_minted_token_good_and_keeps_every_claim() {
        let key = SigningKey::generate("k1");

        let text = key.sign_session_token(&claims()).unwrap();
        let question = token::parse(&text)
            .unwrap()
            .question(&keyring(&key))
            .unwrap();

        assert_eq!(verify(&question), Verdict::Good);
        assert_eq!(
            question.answered(Verdict::Good).unwrap().content(),
            &claims()
        );
    }

    #[test]
    fn verify_calls_another_keys_signature_bad() {
        let text = SigningKey::generate("k1")
            .sign_session_token(&claims())
            .unwrap();
        let other = keyring(&SigningKey::generate("k1"));

        let question = token::parse(&text).unwrap().question(&other).unwrap();

        assert_eq!(verify(&question), Verdict::Bad);
    }

    #[test]
    fn verify_calls_every_changed_byte_bad() {
        let key = SigningKey::generate("k1");
        let text = key.sign_session_token(&claims()).unwrap();
        let keyring = keyring(&key);

        for position in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            let question = token::parse(&changed)
                .ok()
                .and_then(|t| t.question(&keyring).ok());
            let verdict = question.as_ref().map(verify);
            assert_ne!(verdict, Some(Verdict::Good), "byte {position}");
        }
    }

    #[test]
    fn verify_takes_the_edges_own_secret_for_hs256() {
        let secret = [9; 32];
        let text = crate::mint::sign_with_secret(&secret, &claims()).unwrap();
        let keyring = Keyring::default().with(VerificationKey::from_hmac_secret(&secret).unwrap());
        let other = Keyring::default().with(VerificationKey::from_hmac_secret(&[8; 32]).unwrap());

        let ask = |keyring| verify(&token::parse(&text).unwrap().question(keyring).unwrap());

        assert_eq!(ask(&keyring), Verdict::Good);
        assert_eq!(ask(&other), Verdict::Bad);
    }

    #[test]
    fn is_sound_refuses_small_order_points() {
        let identity = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let zero = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        for x in [identity, zero] {
            let jwk =
                json!({"kty":"OKP","crv":"Ed25519","use":"sig","alg":"EdDSA","kid":"a","x":x});
            let set = JwkSet::parse(&json!({"keys": [jwk]})).unwrap();
            assert!(set.checked(is_sound).is_err(), "{x}");
        }
    }
}
