//! Mints session tokens and revocation lists with jwt-simple.
//!
//! Only the session service calls this. Whoever holds a [`SigningKey`] can sign anything its public
//! half is trusted for, so it never prints itself.

use hallpass_session::base64url;
use hallpass_session::claims::SessionClaims;
use hallpass_session::revocation;
use hallpass_session::time::UnixSeconds;
use hallpass_session::token;
use hallpass_session::wire::{ListBucket, ListClaims};
use jwt_simple::prelude::{
    Duration, Ed25519KeyPair, EdDSAKeyPairLike, HeaderOptions, JWTClaims, UnixTimeStamp,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

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

/// An Ed25519 key that signs as `EdDSA`.
#[derive(Clone)]
pub struct SigningKey {
    kid: String,
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// Makes a new key from the machine's randomness.
    #[must_use]
    pub fn generate(kid: &str) -> Self {
        Self {
            kid: kid.to_owned(),
            pair: Ed25519KeyPair::generate().with_key_id(kid),
        }
    }

    /// Reads a key that [`SigningKey::secret`] wrote.
    ///
    /// # Errors
    ///
    /// `MintError::Key` unless `secret` is a 32-byte seed followed by its public key.
    pub fn from_secret(kid: &str, secret: &[u8]) -> Result<Self, MintError> {
        let pair = Ed25519KeyPair::from_bytes(secret).map_err(|_| MintError::Key)?;
        Ok(Self {
            kid: kid.to_owned(),
            pair: pair.with_key_id(kid),
        })
    }

    /// The secret: a 32-byte seed followed by the 32-byte public key.
    #[must_use]
    pub fn secret(&self) -> Vec<u8> {
        self.pair.to_bytes()
    }

    /// The key's id.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half as a member of a JWK set.
    #[must_use]
    pub fn public_jwk(&self) -> Value {
        let x = base64url::encode(&self.pair.public_key().to_bytes());
        json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": self.kid, "x": x})
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
        self.pair
            .sign_with_options(claims, &header(typ))
            .map_err(|_| MintError::Sign)
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
    use super::SigningKey;
    use hallpass_session::jws::Verdict;
    use hallpass_session::keyring::JwkSet;
    use hallpass_session::revocation::{self, encode_bitmap};
    use hallpass_session::wire::{ListBucket, ListClaims};
    use serde_json::json;

    #[test]
    fn from_secret_returns_the_same_key() {
        let key = SigningKey::generate("k1");

        let again = SigningKey::from_secret("k1", &key.secret()).unwrap();

        assert_eq!(again.public_jwk(), key.public_jwk());
        assert!(SigningKey::from_secret("k1", &[1; 64]).is_err());
        assert!(SigningKey::from_secret("k1", &[1; 32]).is_err());
    }

    #[test]
    fn sign_list_writes_what_the_rules_read() {
        let key = SigningKey::generate("l1");
        let bucket = ListBucket {
            exp: 1320,
            idx: encode_bitmap(&[1, 70_000].into_iter().collect()),
        };
        let claims = ListClaims {
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
        };

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
