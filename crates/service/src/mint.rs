//! Makes the two tokens of a session.
//!
//! A session token says what the row says, for `token_lifetime_secs` less a random part of at most
//! `token_jitter_percent`, so that the tokens of one busy second do not all expire in one later
//! second. A renewal token is a fresh child of the confirmed one; nothing is written for it.
//!
//! Source: docs/protocol.md §1, §4.

use hallpass_session::base64url;
use hallpass_session::claims::SessionClaims;
use hallpass_session::renewal::{Branch, RenewalToken};
use hallpass_session::time::{Seconds, UnixSeconds};
use hmac_sha256::HMAC;
use subtle::ConstantTimeEq;

use crate::clock::random_bytes;
use crate::config::Settings;
use crate::failure::{Failure, Fault};
use crate::keys::Keys;
use crate::record::SessionRecord;
use crate::store::Issued;

/// The tokens of one answer.
pub struct Tokens {
    /// The session token.
    pub session: String,
    /// The renewal token.
    pub renewal: String,
}

/// Makes both tokens for a session that may have them.
///
/// # Errors
///
/// `Fault` when a key or randomness is lacking.
pub fn mint(settings: &Settings, keys: &Keys, issued: &Issued) -> Result<Tokens, Failure> {
    let jitter = u64::from_le_bytes(random_bytes()?);
    let claims = session_claims(settings, issued, jitter);
    let session = keys
        .session_signer(issued.issued_at)?
        .sign_session_token(&claims)?;
    let renewal = renewal_token(settings, keys, &issued.record, issued.issued_at)?;
    Ok(Tokens { session, renewal })
}

/// Whether a renewal token's MAC was made with `secret`.
#[must_use]
pub fn is_genuine(token: &RenewalToken, issuer: &str, secret: &[u8]) -> bool {
    let mac = HMAC::mac(token.mac_input(issuer), secret);
    mac.ct_eq(&token.mac).into()
}

fn session_claims(settings: &Settings, issued: &Issued, jitter: u64) -> SessionClaims {
    let record = &issued.record;
    let life = lifetime(settings, jitter);
    // No token outlives its session: past the session's end nothing would revoke it.
    let session_end = record.ends_at.min(record.idle_ends_at());
    SessionClaims {
        iss: settings.issuer.clone(),
        aud: settings.audience.clone(),
        sub: record.subject.clone(),
        sid: base64url::encode(&record.sid),
        idx: record.idx,
        iat: issued.issued_at,
        exp: issued.issued_at.plus(life).min(session_end),
        auth_time: record.auth_time,
        nbf: None,
        amr: record.amr.clone(),
        ext: record.ext.clone(),
    }
}

/// The lifetime, shortened by `jitter` modulo the share that may be cut off.
fn lifetime(settings: &Settings, jitter: u64) -> Seconds {
    let full = settings.token_lifetime.get();
    let share = full.saturating_mul(settings.token_jitter_percent.into()) / 100;
    Seconds::new(full.saturating_sub(jitter % share.saturating_add(1)))
}

fn renewal_token(
    settings: &Settings,
    keys: &Keys,
    record: &SessionRecord,
    now: UnixSeconds,
) -> Result<String, Failure> {
    let (key_id, secret) = keys.renewal_signer(now)?;
    let generation = record.confirmed.branch.generation.checked_add(1);
    let generation = generation
        .ok_or_else(|| Failure::from(Fault::Keys("a session was renewed 2^32 times".to_owned())))?;
    let mut token = RenewalToken {
        key_id,
        sid: record.sid,
        branch: Branch {
            generation,
            branch: random_bytes()?,
        },
        mac: [0; 32],
    };
    token.mac = HMAC::mac(token.mac_input(&settings.issuer), secret);
    Ok(token.encode())
}

#[cfg(test)]
mod tests {
    use super::lifetime;
    use crate::config::Settings;

    #[test]
    fn lifetime_is_shortened_by_at_most_the_jitter() {
        let settings = Settings::for_tests();
        let lives: Vec<u64> = (0..1000)
            .map(|jitter| lifetime(&settings, jitter).get())
            .collect();

        assert_eq!(lives.iter().max(), Some(&300));
        assert_eq!(lives.iter().min(), Some(&285));
    }
}
