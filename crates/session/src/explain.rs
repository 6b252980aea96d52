//! Why a session token passes or does not: every rule, one by one.
//!
//! The edge stops at the first rule that a token breaks and tells the client no more than a code.
//! Here nothing stops: each rule is judged by the very function that judges at the edge, and only
//! what needs the result of a broken rule is left open ([`Outcome::Unjudged`]). The first broken rule
//! is the edge's refusal.
//!
//! A report has no signature and no compact token in it. What it quotes is what the token says:
//! whoever prints it bounds and escapes it.
//!
//! Source: docs/protocol.md §1, §3, §8.

use crate::admission;
use crate::claims::{ClaimFault, PolicyRule, SessionClaims, TokenPolicy};
use crate::jws::{self, KeyMismatch, Malformed, Parts, SignatureQuestion, Unverified};
use crate::keyring::Keyring;
use crate::refusal::{Outage, Refusal};
use crate::revocation::{ListRule, RevocationList};
use crate::time::{Seconds, UnixSeconds};
use crate::token::{KIND, TYP};
use serde_json::{Map, Value};
use std::convert::Infallible;
use std::ops::ControlFlow::{self, Continue};

/// One rule of the whole judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The text is not too long.
    Length,
    /// Three parts of canonical base64url.
    Form,
    /// The header is exactly `alg`, `kid` and the right `typ`.
    Header,
    /// The payload is a strict JSON object.
    Payload,
    /// Every claim is there and is what its type allows.
    Claims,
    /// The key set has the key.
    Key,
    /// The key is for the algorithm that the header names.
    Algorithm,
    /// The signature is the key's.
    Signature,
    /// What the settings and the clock demand.
    Policy(PolicyRule),
    /// What the revocation list demands.
    List(ListRule),
}

impl Rule {
    /// Every rule, in the order of judgement.
    pub fn all() -> impl Iterator<Item = Self> {
        let form = [Self::Length, Self::Form, Self::Header, Self::Payload];
        let trust = [Self::Claims, Self::Key, Self::Algorithm, Self::Signature];
        let policy = PolicyRule::ALL.into_iter().map(Self::Policy);
        let list = ListRule::ALL.into_iter().map(Self::List);
        form.into_iter().chain(trust).chain(policy).chain(list)
    }

    /// Its name in reports; stable.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Form => "form",
            Self::Header => "header",
            Self::Payload => "payload",
            Self::Claims => "claims",
            Self::Key => "key",
            Self::Algorithm => "algorithm",
            Self::Signature => "signature",
            Self::Policy(PolicyRule::Issuer) => "issuer",
            Self::Policy(PolicyRule::Audience) => "audience",
            Self::Policy(PolicyRule::TimesInOrder) => "times_in_order",
            Self::Policy(PolicyRule::Lifetime) => "lifetime",
            Self::Policy(PolicyRule::NotAhead) => "not_ahead",
            Self::Policy(PolicyRule::NotExpired) => "not_expired",
            Self::List(ListRule::KeyTrusted) => "key_trusted",
            Self::List(ListRule::NotRevoked) => "not_revoked",
            Self::List(ListRule::NotRevokedBefore) => "not_revoked_before",
            Self::List(ListRule::AfterWatermark) => "after_watermark",
        }
    }

    /// What breaking it is called in public.
    #[must_use]
    pub const fn refusal(self) -> Refusal {
        match self {
            Self::Length | Self::Form | Self::Header | Self::Payload => Refusal::TokenMalformed,
            Self::Claims => Refusal::TokenInvalid,
            Self::Key | Self::Algorithm | Self::Signature => Refusal::TokenUntrusted,
            Self::Policy(rule) => rule.refusal(),
            Self::List(rule) => rule.refusal(),
        }
    }

    /// The rules that must hold before this one can be judged.
    const fn needs(self) -> &'static [Self] {
        match self {
            Self::Length => &[],
            Self::Form => &[Self::Length],
            Self::Header | Self::Payload => &[Self::Form],
            Self::Claims => &[Self::Payload],
            Self::Key => &[Self::Header, Self::Payload],
            Self::Algorithm => &[Self::Key],
            Self::Signature => &[Self::Algorithm],
            Self::Policy(_) => &[Self::Claims],
            Self::List(_) => &[Self::Header, Self::Claims],
        }
    }
}

/// What came of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Holds,
    /// It is broken.
    Broken(Why),
    /// This rule is broken, and without it nothing can be said.
    Unjudged(Rule),
}

/// How a rule is broken, where the rule's name does not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The rule says it all.
    Plain,
    /// This about the form.
    Form(Malformed),
    /// This claim.
    Claim(ClaimFault),
}

/// What the edge would do with the token, the outage grace aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It passes.
    Passes,
    /// It is refused.
    Refused(Refusal),
    /// The list trusts the token's key and no key set has it: nobody can say.
    Outage(Outage),
}

/// Whether a good renewal cookie beside the token would mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cure {
    /// There is nothing to mend.
    Unneeded,
    /// The edge renews first, and forwards with the new token.
    Renewal,
    /// The edge tries to renew, and the service refuses: the session is revoked.
    Vain,
    /// The edge does not try.
    None,
}

/// Everything there is to say about one token at one time.
#[derive(Clone, Debug)]
pub struct Report {
    /// Each rule once, in the order of judgement.
    pub findings: Vec<(Rule, Outcome)>,
    /// The header's members as they are, if they could be read.
    pub header: Option<Map<String, Value>>,
    /// The payload's members as they are, if they could be read.
    pub payload: Option<Map<String, Value>>,
    /// The claims, if their form is good. Hearsay unless [`Report::is_proven`].
    pub claims: Option<SessionClaims>,
    key_is_expected: bool,
}

/// Judges every rule about `text` at `now`, asking `verify` about the signature.
pub fn explain(
    text: &str,
    keyring: &Keyring,
    policy: &TokenPolicy,
    list: &RevocationList,
    verify: impl FnOnce(&SignatureQuestion<Map<String, Value>>) -> jws::Verdict,
    now: UnixSeconds,
) -> Report {
    let mut judged = Judged::default();
    let parts = judged.take_form(Parts::split(text, KIND));
    let header = parts.as_ref().map(Parts::header);
    let kid = header.as_ref().and_then(|header| {
        let named = header.as_ref().map_err(|fault| *fault);
        let named = named.and_then(|header| jws::read_header(header, TYP));
        judged.take(Rule::Header, named.map_err(Why::Form))
    });
    let payload = parts.as_ref().and_then(|parts| {
        let payload = parts.payload().map_err(Why::Form);
        judged.take(Rule::Payload, payload)
    });
    let claims = payload.as_ref().and_then(|payload| {
        let claims = SessionClaims::read(&mut payload.clone()).map_err(Why::Claim);
        judged.take(Rule::Claims, claims)
    });
    if let Ok(jws) = Unverified::parse(text, KIND) {
        judged.judge_signature(jws.question(keyring), verify);
    }
    if let Some(claims) = &claims {
        let none = Seconds::new(0);
        let visit = |rule, holds| judged.note(Rule::Policy(rule), holds);
        let Continue(()) = policy.visit_rules(claims, none, now, visit);
    }
    let kid = kid.map(|(_, kid)| kid);
    if let (Some(kid), Some(claims)) = (&kid, &claims) {
        let visit = |rule, holds| judged.note(Rule::List(rule), holds);
        let Continue(()) = list.visit_rules(kid, claims, visit);
    }
    Report {
        findings: judged.complete(),
        header: header.and_then(Result::ok),
        payload,
        claims,
        key_is_expected: kid.is_some_and(|kid| list.trusts(&kid)),
    }
}

impl Report {
    /// What came of `rule`.
    #[must_use]
    pub fn outcome(&self, rule: Rule) -> Outcome {
        outcome(&self.findings, rule)
    }

    /// The first broken rule: the one that the edge stops at.
    #[must_use]
    pub fn first_broken(&self) -> Option<Rule> {
        let broken = |(_, outcome): &&(Rule, Outcome)| matches!(outcome, Outcome::Broken(_));
        self.findings.iter().find(broken).map(|(rule, _)| *rule)
    }

    /// What the edge would do.
    #[must_use]
    pub fn judgement(&self) -> Judgement {
        match self.first_broken() {
            None => Judgement::Passes,
            Some(Rule::Key) if self.key_is_expected => Judgement::Outage(Outage::Service),
            Some(rule) => Judgement::Refused(rule.refusal()),
        }
    }

    /// Whether a renewal would mend it.
    #[must_use]
    pub fn cure(&self) -> Cure {
        match self.judgement() {
            Judgement::Passes => Cure::Unneeded,
            Judgement::Refused(refusal) if admission::is_renewable(refusal) => {
                if self.is_proven() && self.is_revoked() {
                    Cure::Vain
                } else {
                    Cure::Renewal
                }
            }
            Judgement::Refused(_) | Judgement::Outage(_) => Cure::None,
        }
    }

    /// Whether the signature is good, so that the claims are the issuer's word.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.outcome(Rule::Signature) == Outcome::Holds
    }

    fn is_revoked(&self) -> bool {
        let broken = |rule| matches!(self.outcome(Rule::List(rule)), Outcome::Broken(_));
        ListRule::ALL
            .into_iter()
            .any(|rule| rule.refusal() == Refusal::SessionRevoked && broken(rule))
    }
}

/// What has been judged so far, in any order.
#[derive(Default)]
struct Judged(Vec<(Rule, Outcome)>);

impl Judged {
    fn take<T>(&mut self, rule: Rule, judged: Result<T, Why>) -> Option<T> {
        let outcome = match &judged {
            Ok(_) => Outcome::Holds,
            Err(why) => Outcome::Broken(*why),
        };
        self.0.push((rule, outcome));
        judged.ok()
    }

    fn note(&mut self, rule: Rule, holds: bool) -> ControlFlow<Infallible> {
        self.take(rule, if holds { Ok(()) } else { Err(Why::Plain) });
        Continue(())
    }

    /// The first step judges two rules.
    fn take_form<T>(&mut self, split: Result<T, Malformed>) -> Option<T> {
        if let Err(Malformed::TooLong) = split {
            return self.take(Rule::Length, split.map_err(Why::Form));
        }
        self.take(Rule::Length, Ok(()));
        self.take(Rule::Form, split.map_err(Why::Form))
    }

    fn judge_signature<C>(
        &mut self,
        asked: Result<SignatureQuestion<C>, KeyMismatch>,
        verify: impl FnOnce(&SignatureQuestion<C>) -> jws::Verdict,
    ) {
        let known = !matches!(asked, Err(KeyMismatch::UnknownKid));
        self.take(Rule::Key, if known { Ok(()) } else { Err(Why::Plain) });
        if known {
            let question = self.take(Rule::Algorithm, asked.map_err(|_| Why::Plain));
            if let Some(question) = question {
                let verdict = verify(&question);
                let answered = question.answered(verdict).map_err(|_| Why::Plain);
                self.take(Rule::Signature, answered);
            }
        }
    }

    /// Every rule in order, those that could not be judged with the reason.
    fn complete(self) -> Vec<(Rule, Outcome)> {
        let mut findings = Vec::new();
        for rule in Rule::all() {
            let blocked = rule
                .needs()
                .iter()
                .find_map(|need| match outcome(&findings, *need) {
                    Outcome::Holds => None,
                    Outcome::Broken(_) => Some(*need),
                    Outcome::Unjudged(broken) => Some(broken),
                });
            let outcome = blocked.map_or_else(|| outcome(&self.0, rule), Outcome::Unjudged);
            findings.push((rule, outcome));
        }
        findings
    }
}

/// What came of `rule`; a rule that nobody judged holds for nobody.
fn outcome(findings: &[(Rule, Outcome)], rule: Rule) -> Outcome {
    let found = findings.iter().find(|(judged, _)| *judged == rule);
    found.map_or(Outcome::Broken(Why::Plain), |(_, outcome)| *outcome)
}
