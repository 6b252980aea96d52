//! `hallpass token inspect`: what a session token says, unjudged; `token mint` is in `mint`.

use clap::Subcommand;
use hallpass_session::claims::SessionClaims;
use hallpass_session::time::UnixSeconds;
use hallpass_session::token::{self, UnverifiedToken};
use serde::Serialize;
use serde_json::{Map, Value};

use super::mint::{self, MintArguments};
use super::presented::{TokenFile, escaped};
use super::report::{self, ascii, table, time};
use super::{CommandError, Everywhere};

#[derive(Subcommand)]
pub(super) enum TokenCommand {
    /// Show what a session token says, without judging it
    ///
    /// Give the token by standard input or file, never as an argument. Nobody vouches for what is
    /// shown: `hallpass explain` says whether it is true.
    Inspect(TokenFile),
    /// Make a session token of any claims, signed by the table's key: for tests and development
    ///
    /// No session stands behind it: nobody can renew or end it. Prints the token alone on standard
    /// output; pipe it on, as in `hallpass token mint ada | hallpass explain`.
    Mint(Box<MintArguments>),
}

/// Key and claims; texts are escaped and cut, `ext` has its own bound.
#[derive(Serialize)]
struct Inspected {
    kid: String,
    iss: String,
    aud: String,
    sub: String,
    sid: String,
    idx: u32,
    auth_time: u64,
    iat: u64,
    nbf: Option<u64>,
    exp: u64,
    amr: Vec<String>,
    ext: Option<Map<String, Value>>,
}

pub(super) async fn run(
    everywhere: &Everywhere,
    command: TokenCommand,
) -> Result<(), CommandError> {
    match command {
        TokenCommand::Inspect(file) => inspect(everywhere, &file),
        TokenCommand::Mint(arguments) => mint::run(everywhere, *arguments).await,
    }
}

fn inspect(everywhere: &Everywhere, file: &TokenFile) -> Result<(), CommandError> {
    let token = token::parse(&file.read()?).map_err(|refusal| {
        let code = refusal.code();
        CommandError::No(format!(
            "no session token: {code}; `hallpass explain` says why"
        ))
    })?;
    report::write(everywhere.format(), &inspected(&token), |said| {
        let unproven = "Nobody vouches for this; `hallpass explain` judges it.";
        format!(
            "{}\n\n{unproven}",
            table(&["claim", "value"], facts(said), "")
        )
    });
    Ok(())
}

fn inspected(token: &UnverifiedToken) -> Inspected {
    let SessionClaims {
        iss,
        aud,
        sub,
        sid,
        idx,
        iat,
        exp,
        auth_time,
        nbf,
        amr,
        ext,
    } = token.hearsay();
    Inspected {
        kid: escaped(token.kid()),
        iss: escaped(iss),
        aud: escaped(aud),
        sub: escaped(sub),
        sid: escaped(sid),
        idx: *idx,
        auth_time: auth_time.get(),
        iat: iat.get(),
        nbf: nbf.map(UnixSeconds::get),
        exp: exp.get(),
        amr: amr.iter().map(|entry| escaped(entry)).collect(),
        ext: ext.clone(),
    }
}

fn facts(said: &Inspected) -> Vec<Vec<String>> {
    let at = |second: u64| time(UnixSeconds::new(second));
    let none = || "-".to_owned();
    // Its own bound of 1024 bytes will do.
    let ext = said
        .ext
        .as_ref()
        .and_then(|ext| serde_json::to_string(ext).ok());
    let ext = ext.map_or_else(none, |ext| ascii(&ext));
    [
        ("kid", said.kid.clone()),
        ("iss", said.iss.clone()),
        ("aud", said.aud.clone()),
        ("sub", said.sub.clone()),
        ("sid", said.sid.clone()),
        ("idx", said.idx.to_string()),
        ("auth_time", at(said.auth_time)),
        ("iat", at(said.iat)),
        ("nbf", said.nbf.map_or_else(none, at)),
        ("exp", at(said.exp)),
        ("amr", said.amr.join(" ")),
        ("ext", ext),
    ]
    .into_iter()
    .map(|(claim, value)| vec![claim.to_owned(), value])
    .collect()
}
