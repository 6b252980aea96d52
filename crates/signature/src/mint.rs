//! Mints session tokens and revocation lists with jwt-simple.
//!
//! Only the session service calls this. Whoever holds a [`SigningKey`] can sign anything its public
//! half is trusted for, so it never prints itself.

use std::sync::Arc;

use hallpass_session::base64url;
use hallpass_session::claims::SessionClaims;
use hallpass_session::revocation;
use hallpass_session::time::UnixSeconds;
use hallpass_session::token;
use hallpass_session::wire::{ListBucket, ListClaims};
use jwt_simple::prelude::{
    Duration, ECDSAP256KeyPairLike, ES256KeyPair, Ed25519KeyPair, EdDSAKeyPairLike, HeaderOptions,
    JWTClaims, UnixTimeStamp,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Length of each coordinate of a P-256 point.
const COORDINATE_BYTES: usize = 32;

/// A key could not be read, or a token could not be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MintError {
    /// The secret is not one of this algorithm.
    Key,
    /// The signer refused.
    Sign,
}

impl std::fmt::Display for MintError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Key => "not a signing key of this algorithm",
            Self::Sign => "signing failed",
        })
    }
}

impl std::error::Error for MintError {}

/// An algorithm to sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// Ed25519, called `EdDSA`.
    EdDsa,
    /// ECDSA over P-256 with SHA-256.
    Es256,
}

impl SigningAlgorithm {
    /// Every algorithm, the default one first.
    pub const ALL: [Self; 2] = [Self::EdDsa, Self::Es256];

    /// The `alg` of tokens and keys.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        }
    }

    /// Reads what [`SigningAlgorithm::name`] wrote.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|alg| alg.name() == name)
    }
}

/// A key of one algorithm.
#[derive(Clone)]
pub struct SigningKey {
    kid: String,
    pair: Arc<Pair>,
}

enum Pair {
    EdDsa(Ed25519KeyPair),
    Es256(ES256KeyPair),
}

impl SigningKey {
    /// Makes a new Ed25519 key from the machine's randomness.
    #[must_use]
    pub fn generate(kid: &str) -> Self {
        Self::generate_for(SigningAlgorithm::EdDsa, kid)
    }

    /// Makes a new key of `algorithm` from the machine's randomness.
    #[must_use]
    pub fn generate_for(algorithm: SigningAlgorithm, kid: &str) -> Self {
        let pair = match algorithm {
            SigningAlgorithm::EdDsa => Pair::EdDsa(Ed25519KeyPair::generate().with_key_id(kid)),
            SigningAlgorithm::Es256 => Pair::Es256(ES256KeyPair::generate().with_key_id(kid)),
        };
        Self {
            kid: kid.to_owned(),
            pair: Arc::new(pair),
        }
    }

    /// Reads a key that [`SigningKey::secret`] wrote.
    ///
    /// # Errors
    ///
    /// `MintError::Key` unless `secret` is one of this algorithm.
    pub fn from_secret(
        algorithm: SigningAlgorithm,
        kid: &str,
        secret: &[u8],
    ) -> Result<Self, MintError> {
        let pair = match algorithm {
            SigningAlgorithm::EdDsa => {
                Ed25519KeyPair::from_bytes(secret).map(|pair| Pair::EdDsa(pair.with_key_id(kid)))
            }
            SigningAlgorithm::Es256 => {
                ES256KeyPair::from_bytes(secret).map(|pair| Pair::Es256(pair.with_key_id(kid)))
            }
        };
        Ok(Self {
            kid: kid.to_owned(),
            pair: pair.map(Arc::new).map_err(|_| MintError::Key)?,
        })
    }

    /// The secret: of Ed25519 a 32-byte seed followed by the 32-byte public key, of P-256 the
    /// 32-byte number.
    #[must_use]
    pub fn secret(&self) -> Vec<u8> {
        match self.pair.as_ref() {
            Pair::EdDsa(pair) => pair.to_bytes(),
            Pair::Es256(pair) => pair.to_bytes(),
        }
    }

    /// The key's id.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half as a member of a JWK set.
    #[must_use]
    pub fn public_jwk(&self) -> Value {
        match self.pair.as_ref() {
            Pair::EdDsa(pair) => {
                let x = base64url::encode(&pair.public_key().to_bytes());
                json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": self.kid, "x": x})
            }
            Pair::Es256(pair) => {
                // SEC 1: 0x04, then both coordinates.
                let point = pair.key_pair().public_key().to_bytes_uncompressed();
                let coordinates = point.get(1..).unwrap_or_default();
                let (x, y) = coordinates
                    .split_at_checked(COORDINATE_BYTES)
                    .unwrap_or_default();
                let (x, y) = (base64url::encode(x), base64url::encode(y));
                json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid, "x": x, "y": y})
            }
        }
    }

    /// Signs a session token.
    ///
    /// # Errors
    ///
    /// `MintError::Sign`.
    pub fn sign_session_token(&self, claims: &SessionClaims) -> Result<String, MintError> {
        self.sign(session_payload(claims), token::TYP)
    }

    /// Signs a revocation list, whole or delta.
    ///
    /// # Errors
    ///
    /// `MintError::Sign`.
    pub fn sign_list(&self, claims: &ListClaims) -> Result<String, MintError> {
        self.sign(list_payload(claims), revocation::TYP)
    }

    fn sign<C: Serialize>(&self, claims: JWTClaims<C>, typ: &str) -> Result<String, MintError> {
        let signed = match self.pair.as_ref() {
            Pair::EdDsa(pair) => pair.sign_with_options(claims, &header(typ)),
            Pair::Es256(pair) => pair.sign_with_options(claims, &header(typ)),
        };
        signed.map_err(|_| MintError::Sign)
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.kid)
    }
}

/// What a session token has beside the registered claims that jwt-simple writes.
#[derive(Serialize)]
struct SessionPayload<'a> {
    sid: &'a str,
    idx: u32,
    auth_time: UnixSeconds,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    amr: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    ext: Option<&'a Map<String, Value>>,
}

#[derive(Serialize)]
struct ListPayload<'a> {
    epoch: &'a str,
    began: u64,
    from: u64,
    to: u64,
    revoked_before: u64,
    kids: &'a [String],
    sessions: &'a [ListBucket],
}

fn session_payload(claims: &SessionClaims) -> JWTClaims<SessionPayload<'_>> {
    let custom = SessionPayload {
        sid: &claims.sid,
        idx: claims.idx,
        auth_time: claims.auth_time,
        amr: &claims.amr,
        ext: claims.ext.as_ref(),
    };
    let registered = registered(&claims.iss, claims.iat, claims.exp, custom)
        .with_audience(&claims.aud)
        .with_subject(&claims.sub);
    JWTClaims {
        invalid_before: claims.nbf.map(timestamp),
        ..registered
    }
}

fn list_payload(claims: &ListClaims) -> JWTClaims<ListPayload<'_>> {
    let custom = ListPayload {
        epoch: &claims.epoch,
        began: claims.began,
        from: claims.from,
        to: claims.to,
        revoked_before: claims.revoked_before,
        kids: &claims.kids,
        sessions: &claims.sessions,
    };
    registered(
        &claims.iss,
        UnixSeconds::new(claims.iat),
        UnixSeconds::new(claims.exp),
        custom,
    )
}

/// jwt-simple's constructors read the clock; here both times are given.
fn registered<C>(iss: &str, iat: UnixSeconds, exp: UnixSeconds, custom: C) -> JWTClaims<C> {
    JWTClaims {
        issued_at: Some(timestamp(iat)),
        expires_at: Some(timestamp(exp)),
        invalid_before: None,
        issuer: Some(iss.to_owned()),
        subject: None,
        audiences: None,
        jwt_id: None,
        nonce: None,
        custom,
    }
}

fn timestamp(time: UnixSeconds) -> UnixTimeStamp {
    Duration::from_secs(time.get())
}

fn header(typ: &str) -> HeaderOptions {
    HeaderOptions {
        content_type: None,
        signature_type: Some(typ.to_owned()),
    }
}

#[cfg(test)]
pub(crate) fn sign_with_secret(secret: &[u8], claims: &SessionClaims) -> Option<String> {
    use jwt_simple::prelude::{HS256Key, MACLike};
    let key = HS256Key::from_bytes(secret).with_key_id(hallpass_session::keyring::HS256_KID);
    key.authenticate_with_options(session_payload(claims), &header(token::TYP))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::{SigningAlgorithm, SigningKey};
    use hallpass_session::jws::Verdict;
    use hallpass_session::keyring::JwkSet;
    use hallpass_session::revocation::{self, encode_bitmap};
    use hallpass_session::wire::{ListBucket, ListClaims};
    use serde_json::json;

    #[test]
    fn from_secret_returns_the_same_key() {
        let key = SigningKey::generate("k1");

        let again = SigningKey::from_secret(SigningAlgorithm::EdDsa, "k1", &key.secret()).unwrap();

        assert_eq!(again.public_jwk(), key.public_jwk());
    }

    #[test]
    fn from_secret_refuses_what_is_no_secret_of_the_algorithm() {
        let ed25519 = SigningKey::generate("k1").secret();
        for (algorithm, secret) in [
            (SigningAlgorithm::EdDsa, &[1; 64][..]),
            (SigningAlgorithm::EdDsa, &[1; 32]),
            (SigningAlgorithm::EdDsa, &[]),
            (SigningAlgorithm::Es256, &ed25519),
            (SigningAlgorithm::Es256, &[0; 32]),
            (SigningAlgorithm::Es256, &[255; 32]),
            (SigningAlgorithm::Es256, &[]),
        ] {
            assert!(SigningKey::from_secret(algorithm, "k1", secret).is_err());
        }
    }

    #[test]
    fn es256_key_signs_what_its_public_half_verifies() {
        let key = SigningKey::generate_for(SigningAlgorithm::Es256, "k1");
        let again = SigningKey::from_secret(SigningAlgorithm::Es256, "k1", &key.secret()).unwrap();

        let text = again.sign_list(&list()).unwrap();
        let keyring = JwkSet::parse(&json!({"keys": [key.public_jwk()]})).unwrap();
        let keyring = keyring.checked(crate::is_sound).unwrap();
        let question = revocation::parse(&text).unwrap();

        assert_eq!(
            crate::verify(&question.question(&keyring).unwrap()),
            Verdict::Good
        );
    }

    fn list() -> ListClaims {
        let bucket = ListBucket {
            exp: 1320,
            idx: encode_bitmap(&[1, 70_000].into_iter().collect()),
        };
        ListClaims {
            iss: "i".into(),
            iat: 1000,
            exp: 1300,
            epoch: "e".into(),
            began: 1,
            from: 0,
            to: 2,
            revoked_before: 3,
            kids: vec!["k1".into()],
            sessions: vec![bucket],
        }
    }

    #[test]
    fn sign_list_writes_what_the_rules_read() {
        let key = SigningKey::generate("l1");
        let claims = list();

        let text = key.sign_list(&claims).unwrap();
        let keyring = JwkSet::parse(&json!({"keys": [key.public_jwk()]})).unwrap();
        let keyring = keyring.checked(crate::is_sound).unwrap();
        let question = revocation::parse(&text)
            .unwrap()
            .question(&keyring)
            .unwrap();

        assert_eq!(crate::verify(&question), Verdict::Good);
        assert_eq!(question.answered(Verdict::Good).unwrap().content(), &claims);
    }

    #[test]
    fn debug_prints_no_secret() {
        assert_eq!(
            format!("{:?}", SigningKey::generate("k1")),
            "SigningKey(k1)"
        );
    }
}
