//! Users: each holds a session, renews it as browsers do, ends it now and then, and signs in again.
//!
//! A browser's troubles are part of it: parallel tabs with one token, two children of one token
//! presented at once, answers that are lost. None of that may ever sign anybody out.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use fastrand::Rng;
use hallpass_session::base64url;
use hallpass_session::renewal::RenewalToken;
use hallpass_session::wire::{Created, Renewed};
use serde::Deserialize;

use crate::client::{Client, Outcome};
use crate::history::History;

/// Between attempts while the service is down.
const RETRY: Duration = Duration::from_millis(20);

/// One user.
pub(crate) struct Holder {
    client: Client,
    history: Arc<History>,
    subject: String,
    rng: Rng,
}

/// A session as its user holds it.
struct Session {
    sid: String,
    token: String,
}

#[derive(Deserialize)]
struct Indexed {
    idx: u32,
}

impl Holder {
    /// The user of this number; what it does follows from the seed.
    pub(crate) fn new(client: &Client, history: &Arc<History>, user: u32, seed: u64) -> Self {
        Self {
            client: client.clone(),
            history: Arc::clone(history),
            subject: format!("user-{user}"),
            rng: Rng::with_seed(seed ^ (u64::from(user) << 32)),
        }
    }

    /// Lives until the task is dropped.
    pub(crate) async fn live(mut self) {
        loop {
            let mut session = self.sign_in().await;
            while self.act(&mut session).await {}
        }
    }

    /// Does one thing; whether the session lives on.
    async fn act(&mut self, session: &mut Session) -> bool {
        match self.rng.u8(0..100) {
            0..55 => self.renew(session).await,
            55..70 => self.renew_in_two_tabs(session).await,
            70..80 => self.present_two_children(session).await,
            80..92 => {
                // The answer is lost on its way: the browser keeps what it has.
                let before = session.token.clone();
                let alive = self.renew(session).await;
                session.token = before;
                alive && self.renew(session).await
            }
            92..97 => {
                self.end(session, false).await;
                false
            }
            _ => {
                self.end(session, true).await;
                false
            }
        }
    }

    async fn sign_in(&mut self) -> Session {
        loop {
            match self.client.create(&self.subject).await {
                Outcome::Done(created) => {
                    match index(&created) {
                        Ok(idx) => self.history.note_creation(&created.session.sid, idx),
                        Err(error) => self.history.note_violation(format!("{error:#}")),
                    }
                    return Session {
                        sid: created.session.sid,
                        token: created.renewal_token,
                    };
                }
                Outcome::Ended(code) => self
                    .history
                    .note_violation(format!("a sign-in was answered {code}")),
                Outcome::Outage(_) => self.wait().await,
            }
        }
    }

    async fn renew(&self, session: &mut Session) -> bool {
        let token = session.token.clone();
        self.present(session, &[token]).await
    }

    async fn renew_in_two_tabs(&self, session: &mut Session) -> bool {
        let token = session.token.clone();
        self.present(session, &[token.clone(), token]).await
    }

    /// Two answers to one token bring two children; a page that loads presents either.
    async fn present_two_children(&self, session: &mut Session) -> bool {
        let mut children = Vec::new();
        while children.len() < 2 {
            let parent = session.token.clone();
            let mut attempt = Session {
                sid: session.sid.clone(),
                token: parent,
            };
            if !self.renew(&mut attempt).await {
                return false;
            }
            children.push(attempt.token);
        }
        self.present(session, &children).await
    }

    /// Presents tokens at once until one is answered; whether the session lives.
    async fn present(&self, session: &mut Session, tokens: &[String]) -> bool {
        loop {
            let known = self.history.highest(&session.sid);
            // Of two children at once only the table knows which came first.
            let sole = tokens.windows(2).all(|pair| pair[0] == pair[1]);
            let attempts = tokens.iter().map(|token| {
                let (client, token) = (self.client.clone(), token.clone());
                tokio::spawn(async move { client.renew(&token).await })
            });
            let attempts: Vec<_> = attempts.collect();
            let mut answered = None;
            for (attempt, token) in attempts.into_iter().zip(tokens) {
                match attempt.await {
                    Ok(Outcome::Done(renewed)) => {
                        self.note(session, sole.then_some(token), &renewed, known);
                        answered = Some(renewed.renewal_token);
                    }
                    Ok(Outcome::Ended(code)) => {
                        let text = format!("{}: its user was signed out: {code}", session.sid);
                        self.history.note_violation(text);
                        return false;
                    }
                    Ok(Outcome::Outage(_)) | Err(_) => self.history.note_outage(),
                }
            }
            if let Some(token) = answered {
                session.token = token;
                return true;
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    fn note(&self, session: &Session, confirmed: Option<&String>, renewed: &Renewed, known: u32) {
        let confirmed = confirmed.and_then(|token| RenewalToken::parse(token));
        let confirmed = confirmed.map(|token| token.branch);
        match RenewalToken::parse(&renewed.renewal_token) {
            Some(child) => {
                let child = child.branch.generation;
                self.history
                    .note_renewal(&session.sid, confirmed, child, known);
            }
            None => self
                .history
                .note_violation(format!("{}: not a renewal token", session.sid)),
        }
    }

    /// Ends the session, alone or with all of its subject, and sees that it stays ended.
    async fn end(&self, session: &Session, with_subject: bool) {
        loop {
            let ended = if with_subject {
                let subject = base64url::encode(self.subject.as_bytes());
                self.client.end_subject(&subject).await
            } else {
                self.client.end(&session.sid).await
            };
            match ended.done() {
                Some(revoked) => {
                    self.history.note_revocation(&session.sid, &revoked.list);
                    break;
                }
                None => self.wait().await,
            }
        }
        match self.client.renew(&session.token).await {
            Outcome::Done(_) => self
                .history
                .note_violation(format!("{}: renewed after it was ended", session.sid)),
            Outcome::Ended(code) if code != "session_revoked" => self
                .history
                .note_violation(format!("{}: ended, then answered {code}", session.sid)),
            Outcome::Ended(_) | Outcome::Outage(_) => {}
        }
    }

    async fn wait(&self) {
        self.history.note_outage();
        tokio::time::sleep(RETRY).await;
    }
}

fn index(created: &Created) -> Result<u32> {
    let payload = created
        .session_token
        .split('.')
        .nth(1)
        .context("not a token")?;
    let payload = base64url::decode(payload).context("not a token")?;
    let claims: Indexed = serde_json::from_slice(&payload).context("a token without idx")?;
    Ok(claims.idx)
}
