//! `hallpass token mint`: a session token of any claims, for tests and for support in development.
//!
//! Signed by the table's own key, so every edge of the deployment takes it for what it says. No
//! session stands behind it: nobody can renew it or end it, and it is over within the hour. In
//! production that takes a flag which says so. Source: docs/protocol.md §1.

use hallpass_session::base64url;
use hallpass_session::claims::SessionClaims;
use hallpass_session::json;
use hallpass_session::time::{Seconds, UnixSeconds};
use hallpass_session::token;
use serde::Serialize;
use serde_json::{Map, Value};

use super::keys::KeyPlace;
use super::recover::length;
use super::report::{self, time};
use super::{CommandError, Everywhere};
use crate::clock::{Clock, SystemClock, random_bytes};
use crate::config::{DEVELOPMENT_AUDIENCE, Environment, GivenSettings};
use crate::keys::Keys;
use crate::record::parse_sid;
use crate::store::Store;

/// Life of a token, unless somebody says: the service's default.
const DEFAULT_LIFETIME: &str = "5m";
/// Longest life of a token, as docs/protocol.md §1 has it: one hour.
const LIFETIME_MAX: Seconds = Seconds::new(3600);

#[derive(clap::Args)]
pub(super) struct MintArguments {
    /// Who the token is about (`sub`)
    subject: String,
    /// How long it is good for, such as 90s or 1h; at most 1h
    #[arg(long, value_name = "TIME", default_value = DEFAULT_LIFETIME, value_parser = length)]
    lifetime: Seconds,
    /// How long ago it was issued (`iat`), to make one that is old or over
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = length)]
    issued_ago: Seconds,
    /// How long ago the user proved who they are (`auth_time`) [default: when it was issued]
    #[arg(long, value_name = "TIME", value_parser = length)]
    authenticated_ago: Option<Seconds>,
    /// How they did (`amr`), such as pwd or otp; repeatable
    #[arg(long, value_name = "WORD")]
    amr: Vec<String>,
    /// The app's own claims (`ext`), a JSON object
    #[arg(long, value_name = "JSON")]
    ext: Option<String>,
    /// Session it names (`sid`), 22 characters [default: a random one]
    #[arg(long, value_name = "SID", allow_hyphen_values = true)]
    sid: Option<String>,
    /// Its place in the revocation list (`idx`) [default: the last one, which no session comes to]
    #[arg(long, value_name = "NUMBER")]
    idx: Option<u32>,
    /// Audience (`aud`); goes before the settings file
    #[arg(long, env = "HALLPASS_AUDIENCE", value_name = "NAME")]
    audience: Option<String>,
    /// Whether users are real; goes before the settings file
    #[arg(long, env = "HALLPASS_ENVIRONMENT", value_name = "ENVIRONMENT")]
    environment: Option<Environment>,
    /// Sign real users in, in production: the token can neither be renewed nor ended
    #[arg(long)]
    in_production: bool,
    #[command(flatten)]
    place: KeyPlace,
}

#[derive(Serialize)]
struct Minted {
    token: String,
    kid: String,
    sid: String,
    expires_at: u64,
}

pub(super) async fn run(
    everywhere: &Everywhere,
    arguments: MintArguments,
) -> Result<(), CommandError> {
    let given = everywhere.given(GivenSettings {
        audience: arguments.audience.clone(),
        environment: arguments.environment,
        ..GivenSettings::default()
    })?;
    if given.environment == Some(Environment::Production) && !arguments.in_production {
        return Err(CommandError::No(
            "environment = production: a minted token signs somebody in whose session nobody can \
             end; say --in-production if that is meant"
                .to_owned(),
        ));
    }
    let bound = arguments.place.read(everywhere)?;
    let audience = given
        .audience
        .unwrap_or_else(|| DEVELOPMENT_AUDIENCE.to_owned());
    let now = SystemClock::default().now();
    let claims = claims(&arguments, &bound.issuer, audience, now)?;
    let store = everywhere.open().await?;
    let rows = store.keys().await;
    store.close().await;
    let keys = Keys::open(&rows?, bound.master.as_ref(), &bound.issuer);
    let keys = keys.map_err(crate::failure::Failure::from)?;
    let signer = keys.session_signer(now).map_err(|_| no_key())?;
    let token = signer
        .sign_session_token(&claims)
        .map_err(|error| CommandError::No(error.to_string()))?;
    let parsed = token::parse(&token).map_err(|refusal| {
        CommandError::Usage(format!(
            "with these claims it would be refused everywhere ({}): docs/protocol.md, section 1",
            refusal.code()
        ))
    })?;
    let minted = Minted {
        kid: parsed.kid().to_owned(),
        sid: claims.sid,
        expires_at: claims.exp.get(),
        token,
    };
    report::write(everywhere.format(), &minted, |minted| minted.token.clone());
    eprintln!(
        "signed by {}, good until {}; no session stands behind it",
        minted.kid,
        time(claims.exp)
    );
    Ok(())
}

fn claims(
    arguments: &MintArguments,
    issuer: &str,
    audience: String,
    now: UnixSeconds,
) -> Result<SessionClaims, CommandError> {
    if arguments.lifetime > LIFETIME_MAX || arguments.lifetime == Seconds::new(0) {
        let text = "--lifetime: must be 1s to 1h: no edge takes a longer one";
        return Err(CommandError::Usage(text.to_owned()));
    }
    let iat = now.minus(arguments.issued_ago);
    let auth_time = arguments.authenticated_ago.map(|ago| now.minus(ago));
    Ok(SessionClaims {
        iss: issuer.to_owned(),
        aud: audience,
        sub: arguments.subject.clone(),
        sid: sid(arguments.sid.as_deref())?,
        idx: arguments.idx.unwrap_or(u32::MAX),
        iat,
        exp: iat.plus(arguments.lifetime),
        auth_time: auth_time.unwrap_or(iat).min(iat),
        nbf: None,
        amr: arguments.amr.clone(),
        ext: arguments.ext.as_deref().map(ext).transpose()?,
    })
}

fn sid(given: Option<&str>) -> Result<String, CommandError> {
    let Some(sid) = given else {
        let random: [u8; 16] =
            random_bytes().map_err(|error| CommandError::No(error.to_string()))?;
        return Ok(base64url::encode(&random));
    };
    let wrong = || CommandError::Usage("--sid: must be 22 characters of base64url".to_owned());
    parse_sid(sid).map(|_| sid.to_owned()).ok_or_else(wrong)
}

fn ext(text: &str) -> Result<Map<String, Value>, CommandError> {
    match json::parse(text.as_bytes()) {
        Some(Value::Object(ext)) => Ok(ext),
        _ => Err(CommandError::Usage(
            "--ext: must be a JSON object, each of its keys once".to_owned(),
        )),
    }
}

fn no_key() -> CommandError {
    CommandError::No(
        "there is no session key that may sign now: start the service once, or `hallpass keys \
         rotate --now --kind session`"
            .to_owned(),
    )
}
