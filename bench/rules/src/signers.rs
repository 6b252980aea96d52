//! Those who sign the tokens of the desk: the issuer with a key of each algorithm, and two who are
//! not the issuer.

use hallpass_session::base64url;
use hallpass_session::claims::SessionClaims;
use hallpass_session::keyring::{HS256_KID, JwkSet, Keyring, VerificationKey};
use hallpass_session::token::TYP;
use hallpass_signature::SigningKey;
use jwt_simple::prelude::{
    Duration, ECDSAP256KeyPairLike, ECDSAP256PublicKeyLike, ES256KeyPair, HS256Key, HeaderOptions,
    JWTClaims, MACLike,
};
use serde::Serialize;
use serde_json::{Value, json};

/// Seed and public key of RFC 8032 §7.1, test 1.
const KEY: &str =
    "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2DXWpgBgrEKt9VL_tPJZAc6DuFy89qmIyWvAhpo9wdRGg";
/// The same of test 2.
const OTHER_KEY: &str =
    "TM0Imyj_ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U-4pvs9QBfD6EOJWpK3CqdNG368nJgszy7ElozAzVXxKvRmDA";
const ES256_SECRET: [u8; 32] = [7; 32];
const HS256_SECRET: [u8; 32] = [9; 32];
const EDDSA_KID: &str = "k1";
const ES256_KID: &str = "k2";

/// All of them.
pub(crate) struct Signers {
    pub(crate) issuer: SigningKey,
    /// Names the issuer's key and has another.
    pub(crate) impostor: SigningKey,
    /// Names a key that nobody knows.
    pub(crate) stranger: SigningKey,
    es256: ES256KeyPair,
}

impl Signers {
    pub(crate) fn new() -> Self {
        Self {
            issuer: signing_key(EDDSA_KID, KEY),
            impostor: signing_key(EDDSA_KID, OTHER_KEY),
            stranger: signing_key("k9", OTHER_KEY),
            es256: expect(ES256KeyPair::from_bytes(&ES256_SECRET)).with_key_id(ES256_KID),
        }
    }

    /// The ids of the issuer's published keys.
    pub(crate) fn kids() -> Vec<String> {
        vec![EDDSA_KID.to_owned(), ES256_KID.to_owned()]
    }

    /// The issuer's public keys and the secret of HS256.
    pub(crate) fn keyring(&self) -> Keyring {
        let set = json!({"keys": [self.issuer.public_jwk(), self.es256_jwk()]});
        let set = expect(JwkSet::parse(&set));
        let keyring = expect(set.checked(hallpass_signature::is_sound));
        keyring.with(expect(
            VerificationKey::from_hmac_secret(&HS256_SECRET).ok_or("too short"),
        ))
    }

    pub(crate) fn es256_token(&self, claims: &SessionClaims) -> String {
        expect(self.es256.sign_with_options(jwt_claims(claims), &header()))
    }

    pub(crate) fn hs256_token(claims: &SessionClaims) -> String {
        authenticate(claims, HS256_KID)
    }

    /// A token under HS256 that names the issuer's Ed25519 key.
    pub(crate) fn wrong_alg_token(claims: &SessionClaims) -> String {
        authenticate(claims, EDDSA_KID)
    }

    fn es256_jwk(&self) -> Value {
        let point = self.es256.public_key().public_key().to_bytes_uncompressed();
        let (x, y) = point[1..].split_at(32);
        let (x, y) = (base64url::encode(x), base64url::encode(y));
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": ES256_KID,
               "x": x, "y": y})
    }
}

fn signing_key(kid: &str, secret: &str) -> SigningKey {
    let secret = expect(base64url::decode(secret).ok_or("not base64url"));
    expect(SigningKey::from_secret(kid, &secret))
}

fn authenticate(claims: &SessionClaims, kid: &str) -> String {
    let key = HS256Key::from_bytes(&HS256_SECRET).with_key_id(kid);
    expect(key.authenticate_with_options(jwt_claims(claims), &header()))
}

/// The members of a session token that jwt-simple does not write by itself.
#[derive(Serialize)]
struct Payload<'a> {
    sid: &'a str,
    idx: u32,
    auth_time: u64,
    amr: &'a [String],
}

fn jwt_claims(claims: &SessionClaims) -> JWTClaims<Payload<'_>> {
    let at = |seconds: u64| Some(Duration::from_secs(seconds));
    let payload = Payload {
        sid: &claims.sid,
        idx: claims.idx,
        auth_time: claims.auth_time.get(),
        amr: &claims.amr,
    };
    let registered = JWTClaims {
        issued_at: at(claims.iat.get()),
        expires_at: at(claims.exp.get()),
        invalid_before: None,
        issuer: Some(claims.iss.clone()),
        subject: None,
        audiences: None,
        jwt_id: None,
        nonce: None,
        custom: payload,
    };
    registered
        .with_audience(&claims.aud)
        .with_subject(&claims.sub)
}

fn header() -> HeaderOptions {
    HeaderOptions {
        content_type: None,
        signature_type: Some(TYP.to_owned()),
    }
}

/// Everything here is fixed: what fails, fails for whoever changed it, and says so.
pub(crate) fn expect<T, E: std::fmt::Debug>(outcome: Result<T, E>) -> T {
    outcome.unwrap_or_else(|error| panic!("the desk cannot be set up: {error:?}"))
}
