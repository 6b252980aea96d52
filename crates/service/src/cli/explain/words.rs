//! Findings in words.
//!
//! What comes from the token is hostile until proven: it is quoted, escaped to printable ASCII and
//! cut (`presented::escaped`). Nothing here has the signature or the compact token.

use hallpass_session::claims::{ClaimFault, PolicyRule, SessionClaims, TokenPolicy};
use hallpass_session::explain::{Cure, Outcome, Report, Rule, Why};
use hallpass_session::jws::Malformed;
use hallpass_session::revocation::ListRule;
use hallpass_session::time::{Seconds, UnixSeconds};
use hallpass_session::token::{MAX_TOKEN_BYTES, TYP};
use serde_json::Value;

use super::evidence::Evidence;
use crate::cli::presented::escaped;
use crate::cli::report::time;

/// A judged token and what it was judged by.
pub(super) struct Case<'a> {
    pub(super) report: &'a Report,
    pub(super) evidence: &'a Evidence,
    pub(super) policy: &'a TokenPolicy,
    pub(super) token_bytes: usize,
    pub(super) now: UnixSeconds,
}

/// A text within quotes, so that it cannot pass for one of ours.
pub(super) fn quoted(escaped: impl AsRef<str>) -> String {
    format!("\"{}\"", escaped.as_ref())
}

fn inert(text: &str) -> String {
    quoted(escaped(text))
}

/// A length of time: its two largest units, and all in seconds.
pub(super) fn span(length: Seconds) -> String {
    let secs = length.get();
    let units = [
        (secs / 86_400, "d"),
        (secs / 3600 % 24, "h"),
        (secs / 60 % 60, "min"),
        (secs % 60, "s"),
    ];
    let shown = units.into_iter().skip_while(|(count, _)| *count == 0);
    let shown: Vec<String> = shown
        .take(2)
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    match shown.as_slice() {
        [] => "0 s".to_owned(),
        [seconds] => seconds.clone(),
        [..] => format!("{} ({secs} s)", shown.join(" ")),
    }
}

/// Whether a renewal mends it.
pub(super) const fn cure(cure: Cure) -> &'static str {
    match cure {
        Cure::Unneeded => "not needed",
        Cure::Renewal => "a good renewal cookie beside it cures this: the edge renews first",
        Cure::Vain => "would be tried and refused, the session is revoked: only signing in helps",
        Cure::None => "would not be tried: it does not cure this",
    }
}

impl Case<'_> {
    /// One finding.
    pub(super) fn finding(&self, rule: Rule, outcome: Outcome) -> String {
        match outcome {
            Outcome::Unjudged(broken) => format!("cannot be judged without {}", broken.name()),
            Outcome::Broken(Why::Form(fault)) => self.form_fault(fault),
            Outcome::Broken(Why::Claim(fault)) => claim_fault(fault),
            Outcome::Broken(Why::Plain) => self.finding_on(rule, false),
            Outcome::Holds => self.finding_on(rule, true),
        }
    }

    fn finding_on(&self, rule: Rule, holds: bool) -> String {
        let claims = self.report.claims.as_ref();
        match rule {
            Rule::Length => format!("{} bytes of at most {MAX_TOKEN_BYTES}", self.token_bytes),
            Rule::Form => "three parts of canonical base64url".to_owned(),
            Rule::Header => format!("alg {}, kid {}, typ {}", self.alg(), self.kid(), self.typ()),
            Rule::Payload => "a JSON object, no member twice".to_owned(),
            Rule::Claims => "all there, each within its bounds".to_owned(),
            Rule::Key if holds => format!("the key set has {}", self.kid()),
            Rule::Key => self.unknown_key(),
            Rule::Algorithm => self.algorithm(),
            Rule::Signature if holds => "good".to_owned(),
            Rule::Signature => format!("not made by key {} over this token", self.kid()),
            Rule::Policy(rule) => {
                claims.map_or_else(String::new, |claims| self.on_policy(rule, claims, holds))
            }
            Rule::List(rule) => {
                claims.map_or_else(String::new, |claims| self.on_list(rule, claims, holds))
            }
        }
    }

    fn unknown_key(&self) -> String {
        let kid = self.header_text("kid").unwrap_or_default();
        let missing = format!("the key set does not have {}", self.kid());
        if self.evidence.list.trusts(kid) {
            format!("{missing}, though the list trusts it: an edge without it answers 503")
        } else {
            missing
        }
    }

    fn algorithm(&self) -> String {
        let key = self
            .header_text("kid")
            .and_then(|kid| self.evidence.keyring.find(kid));
        let of_key = key.map_or("another", |key| key.algorithm().name());
        format!("the token says {}, the key is for {of_key}", self.alg())
    }

    fn on_policy(&self, rule: PolicyRule, claims: &SessionClaims, holds: bool) -> String {
        match rule {
            PolicyRule::Issuer => expected(&claims.iss, &self.policy.issuer, holds),
            PolicyRule::Audience => expected(&claims.aud, &self.policy.audience, holds),
            PolicyRule::TimesInOrder => times(claims, holds),
            PolicyRule::Lifetime => format!(
                "{} of at most {}",
                span(claims.lifetime()),
                span(self.policy.max_token_lifetime)
            ),
            PolicyRule::NotAhead => self.ahead(claims),
            PolicyRule::NotExpired if holds => {
                format!(
                    "expires in {}, at {}",
                    span(claims.exp.since(self.now)),
                    time(claims.exp)
                )
            }
            PolicyRule::NotExpired if claims.exp == self.now => {
                format!("expired this second, at {}", time(claims.exp))
            }
            PolicyRule::NotExpired => {
                format!(
                    "expired {} ago, at {}",
                    span(self.now.since(claims.exp)),
                    time(claims.exp)
                )
            }
        }
    }

    /// The claim furthest ahead of the clock, if one is; else the token's age.
    fn ahead(&self, claims: &SessionClaims) -> String {
        let nbf = claims.nbf.unwrap_or(claims.iat);
        let times = [
            ("iat", claims.iat),
            ("auth_time", claims.auth_time),
            ("nbf", nbf),
        ];
        let latest = times.into_iter().rev().max_by_key(|(_, at)| *at);
        match latest {
            Some((name, at)) if at > self.now => format!(
                "{name} is {} ahead of the clock, at most {} is tolerated",
                span(at.since(self.now)),
                span(self.policy.clock_skew)
            ),
            _ => format!(
                "made {} ago, at {}",
                span(self.now.since(claims.iat)),
                time(claims.iat)
            ),
        }
    }

    fn on_list(&self, rule: ListRule, claims: &SessionClaims, holds: bool) -> String {
        let not = if holds { "not " } else { "" };
        match rule {
            ListRule::KeyTrusted if holds => format!("the list trusts key {}", self.kid()),
            ListRule::KeyTrusted => format!("the list does not trust key {}: removed", self.kid()),
            ListRule::NotRevoked => format!("index {} is {not}on the list", claims.idx),
            ListRule::NotRevokedBefore => {
                format!("index {} is {not}on the list of an older epoch", claims.idx)
            }
            ListRule::AfterWatermark => self.watermark(claims, holds),
        }
    }

    fn watermark(&self, claims: &SessionClaims, holds: bool) -> String {
        let at = self.evidence.list.revoked_before();
        if at == UnixSeconds::new(0) {
            "everybody was never signed out at once".to_owned()
        } else if holds {
            format!(
                "made {} after everybody was signed out, at {}",
                span(claims.iat.since(at)),
                time(at)
            )
        } else {
            format!(
                "made {} before everybody was signed out, at {}",
                span(at.since(claims.iat)),
                time(at)
            )
        }
    }

    fn form_fault(&self, fault: Malformed) -> String {
        match fault {
            Malformed::TooLong => {
                format!("{} bytes, more than {MAX_TOKEN_BYTES}", self.token_bytes)
            }
            Malformed::Parts => "not three parts with two dots between".to_owned(),
            Malformed::PartTooLong => "header or signature is longer than any of ours".to_owned(),
            Malformed::Alphabet => "a character beside A-Z a-z 0-9 - _ and two dots".to_owned(),
            Malformed::SignatureEncoding => "the signature is no canonical base64url".to_owned(),
            Malformed::HeaderEncoding => {
                "the header is no canonical base64url of at most 512 bytes".to_owned()
            }
            Malformed::HeaderJson => {
                "the header is no JSON object, or has a member twice".to_owned()
            }
            Malformed::HeaderMembers => self.header_members(),
            Malformed::Typ => format!("typ is {}, not \"{TYP}\"", self.typ()),
            Malformed::Kid => format!("kid {} is not 1 to 64 printable bytes", self.kid()),
            Malformed::PayloadEncoding => "the payload is no canonical base64url".to_owned(),
            Malformed::PayloadJson => {
                "the payload is no JSON object, has a member twice or is too deep".to_owned()
            }
        }
    }

    fn header_members(&self) -> String {
        let header = self.report.header.as_ref();
        let names = header.map(|header| header.keys().map(String::as_str).collect::<Vec<_>>());
        let names = inert(&names.unwrap_or_default().join(" "));
        format!("has the members {names}, must have exactly the texts alg, kid, typ")
    }

    pub(super) fn header_text(&self, name: &str) -> Option<&str> {
        self.report.header.as_ref()?.get(name)?.as_str()
    }

    fn alg(&self) -> String {
        inert(self.header_text("alg").unwrap_or_default())
    }

    fn kid(&self) -> String {
        inert(self.header_text("kid").unwrap_or_default())
    }

    fn typ(&self) -> String {
        inert(self.header_text("typ").unwrap_or_default())
    }

    /// A text of the payload, escaped, whether or not the claims are good.
    pub(super) fn claim_text(&self, name: &str) -> Option<String> {
        self.report
            .payload
            .as_ref()?
            .get(name)?
            .as_str()
            .map(escaped)
    }

    /// A number of the payload, whether or not the claims are good.
    pub(super) fn claim_number(&self, name: &str) -> Option<u64> {
        self.report
            .payload
            .as_ref()?
            .get(name)
            .and_then(Value::as_u64)
    }
}

fn expected(said: &str, wanted: &str, holds: bool) -> String {
    if holds {
        inert(said)
    } else {
        format!("{}, not {}", inert(said), inert(wanted))
    }
}

fn times(claims: &SessionClaims, holds: bool) -> String {
    let SessionClaims {
        auth_time,
        iat,
        exp,
        nbf,
        ..
    } = claims;
    if holds {
        "auth_time, iat, exp follow one another".to_owned()
    } else if auth_time > iat {
        format!("auth_time is {} after iat", span(auth_time.since(*iat)))
    } else if iat >= exp {
        format!("exp is {} before iat, or the same", span(iat.since(*exp)))
    } else {
        let late = nbf.map_or_else(String::new, |nbf| span(nbf.since(*exp)));
        format!("nbf is {late} after exp")
    }
}

fn claim_fault(fault: ClaimFault) -> String {
    match fault {
        ClaimFault::Missing(claim) => format!("{claim} is missing"),
        ClaimFault::Form(claim) => {
            let must = match claim {
                "iss" | "aud" => "one text",
                "sub" => "1 to 255 printable ASCII bytes without space \" , ; \\",
                "sid" => "16 bytes in base64url",
                "idx" => "an integer from 0 to 4294967295",
                "amr" => "at most 8 short ASCII texts",
                "ext" => "an object of at most 1024 bytes",
                _ => "seconds since 1970 as a plain integer",
            };
            format!("{claim} must be {must}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::span;
    use hallpass_session::time::Seconds;

    #[test]
    fn span_shows_two_units_and_the_seconds() {
        for (secs, shown) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min 0 s (60 s)"),
            (252, "4 min 12 s (252 s)"),
            (90_000, "1 d 1 h (90000 s)"),
        ] {
            assert_eq!(span(Seconds::new(secs)), shown);
        }
    }
}
