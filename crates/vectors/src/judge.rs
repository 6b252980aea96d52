//! Judges what it is handed, one JSON line in and one verdict out: the native side of a comparison
//! with other verifiers (`tests/e2e/differential.test.mjs`).
//!
//! A `trust` line says whom the edge trusts from here on; `token` is judged by the rules, `jws` and
//! `raw` at the signature layer alone. The answers are the refusal's code, `accepted` or `refused`.
//! Nothing here decides.

use crate::issuer::word;
use crate::machine::bytes;
use crate::{BadData, oracle};
use hallpass_session::base64url;
use hallpass_session::claims::TokenPolicy;
use hallpass_session::keyring::{JwkSet, Keyring, VerificationKey};
use hallpass_session::time::{Seconds, UnixSeconds};
use hallpass_session::token;
use serde::Deserialize;
use serde_json::Value;

/// One line of input.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Line {
    Trust(Trust),
    Token(Presented),
    Jws(Jws),
    Raw(Raw),
}

/// What an edge is set up with.
#[derive(Deserialize)]
struct Trust {
    keys: Value,
    /// `SESSION_HS256_KEY`.
    secret: Option<String>,
    issuer: String,
    audience: String,
    clock_skew_secs: u64,
    max_token_lifetime_secs: u64,
}

#[derive(Deserialize)]
struct Presented {
    token: String,
    now: u64,
}

#[derive(Deserialize)]
struct Jws {
    jwk: Value,
    jws: String,
}

/// All but the algorithm in hexadecimal; a P-256 key is an uncompressed point.
#[derive(Deserialize)]
struct Raw {
    alg: String,
    key: String,
    message: String,
    signature: String,
}

/// Judges line by line, remembering whom to trust.
#[derive(Default)]
pub struct Judge(Option<(Keyring, TokenPolicy)>);

impl Judge {
    /// The verdict on one line, in a word.
    ///
    /// # Errors
    ///
    /// [`BadData`] if the line is none of ours, its keys will not do, or nobody is trusted yet.
    pub fn answer(&mut self, line: &str) -> Result<&'static str, BadData> {
        let line = serde_json::from_str(line).map_err(|error| BadData(error.to_string()))?;
        match line {
            Line::Trust(trust) => {
                self.0 = Some((trust.keyring()?, trust.policy()));
                Ok("trusted")
            }
            Line::Token(presented) => self.judge(&presented),
            Line::Jws(Jws { jwk, jws }) => Ok(accepted(oracle::jws_is_good(&jwk, &jws))),
            Line::Raw(raw) => raw.judge(),
        }
    }

    fn judge(&self, Presented { token, now }: &Presented) -> Result<&'static str, BadData> {
        let (keyring, policy) = self
            .0
            .as_ref()
            .ok_or_else(|| bad("nobody is trusted yet"))?;
        let now = UnixSeconds::new(*now);
        let verified = token::judge(token, keyring, policy, hallpass_signature::verify, now);
        Ok(word(verified.map(|_| ())))
    }
}

impl Trust {
    fn keyring(&self) -> Result<Keyring, BadData> {
        let set = JwkSet::parse(&self.keys);
        let checked = set.and_then(|set| set.checked(hallpass_signature::is_sound));
        let keyring = checked.map_err(|fault| BadData(format!("{fault:?}")))?;
        let Some(secret) = &self.secret else {
            return Ok(keyring);
        };
        let key = base64url::decode(secret)
            .and_then(|secret| VerificationKey::from_hmac_secret(&secret))
            .ok_or_else(|| bad("the secret will not do"))?;
        Ok(keyring.with(key))
    }

    fn policy(&self) -> TokenPolicy {
        TokenPolicy {
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            clock_skew: Seconds::new(self.clock_skew_secs),
            max_token_lifetime: Seconds::new(self.max_token_lifetime_secs),
        }
    }
}

impl Raw {
    fn judge(&self) -> Result<&'static str, BadData> {
        let is_good = match self.alg.as_str() {
            "EdDSA" => oracle::ed25519_is_good,
            "ES256" => oracle::p256_is_good,
            "HS256" => oracle::hs256_is_good,
            _ => return Err(bad("no algorithm of ours")),
        };
        Ok(accepted(is_good(
            &bytes(&self.key)?,
            &bytes(&self.message)?,
            &bytes(&self.signature)?,
        )))
    }
}

const fn accepted(good: bool) -> &'static str {
    if good { "accepted" } else { "refused" }
}

fn bad(why: &str) -> BadData {
    BadData(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::Judge;

    #[test]
    fn answer_refuses_token_before_anybody_is_trusted() {
        let line = r#"{"token":{"token":"a.b.c","now":1}}"#;
        assert!(Judge::default().answer(line).is_err());
    }

    #[test]
    fn answer_tells_good_mac_from_one_cut_short() {
        // RFC 4231 §4.2.
        let tag = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
        let line = |signature: &str| {
            let key = "0b".repeat(20);
            format!(
                r#"{{"raw":{{"alg":"HS256","key":"{key}","message":"4869205468657265","signature":"{signature}"}}}}"#
            )
        };
        let mut judge = Judge::default();
        assert_eq!(judge.answer(&line(tag)), Ok("accepted"));
        assert_eq!(judge.answer(&line(&tag[..32])), Ok("refused"));
    }
}
