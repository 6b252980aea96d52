//! A session as the table knows it, and whether it lives.
//!
//! Pure: the one place that says when a session has ended and why, for renewal, the portal, the app
//! and the command line alike. It leaves to the store how the parts are fetched.
//!
//! Source: docs/protocol.md §3 (Session), §4 rule 1.

use hallpass_session::base64url;
use hallpass_session::renewal::Confirmed;
use hallpass_session::time::{Seconds, UnixSeconds};
use hallpass_session::wire::{Device, Ended, EndedBy, Place, Session};
use serde_json::{Map, Value};

/// A session id: 16 random bytes.
pub type Sid = [u8; 16];

/// Where a client is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Address as text.
    pub ip: Option<String>,
    /// Where that is.
    pub place: Place,
    /// Autonomous system number.
    pub asn: Option<u32>,
}

/// Everything the table knows of one session.
#[derive(Clone, Debug)]
pub struct SessionRecord {
    /// Its id.
    pub sid: Sid,
    /// Its place in the bitmaps.
    pub idx: u32,
    /// Who signed in.
    pub subject: String,
    /// When it was created.
    pub created_at: UnixSeconds,
    /// When the user proved who they are.
    pub auth_time: UnixSeconds,
    /// Its absolute end.
    pub ends_at: UnixSeconds,
    /// How long it may go unused.
    pub idle: Seconds,
    /// Whether cookies outlive the browser.
    pub persistent: bool,
    /// What it was created on.
    pub device: Device,
    /// How the user signed in.
    pub amr: Vec<String>,
    /// The app's own claims.
    pub ext: Option<Map<String, Value>>,
    /// The confirmed renewal; its time is when the session was last seen.
    pub confirmed: Confirmed,
    /// Where it was last seen.
    pub origin: Origin,
    /// How it was revoked.
    pub revocation: Option<Ended>,
    /// The watermark at the time of reading.
    pub revoked_before: UnixSeconds,
}

/// How a session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may be renewed.
    Live,
    /// Somebody ended it.
    Revoked(Ended),
    /// Its time is over.
    Expired(Ended),
}

impl SessionRecord {
    /// First second in which the session is over if it is not renewed before.
    #[must_use]
    pub fn idle_ends_at(&self) -> UnixSeconds {
        self.confirmed
            .confirmed_at
            .plus(self.idle)
            .min(self.ends_at)
    }

    /// How the session stands at `now`. What came first counts: an expired session that a mass
    /// sign-out then covered has expired.
    #[must_use]
    pub fn standing(&self, now: UnixSeconds) -> Standing {
        if let Some(ended) = &self.revocation {
            return Standing::Revoked(ended.clone());
        }
        let over = self.idle_ends_at();
        if self.created_at < self.revoked_before && self.revoked_before <= over {
            let at = self.revoked_before.minus(Seconds::new(1)).get();
            let reason = "signed_out_everywhere".to_owned();
            return Standing::Revoked(Ended {
                at,
                by: EndedBy::Admin,
                reason,
            });
        }
        if now < over {
            return Standing::Live;
        }
        let reason = if over == self.ends_at {
            "expired"
        } else {
            "idle"
        };
        Standing::Expired(Ended {
            at: over.get(),
            by: EndedBy::System,
            reason: reason.to_owned(),
        })
    }

    /// Whether the session is live at `now`.
    #[must_use]
    pub fn is_live(&self, now: UnixSeconds) -> bool {
        self.standing(now) == Standing::Live
    }

    /// The session as users and operators see it; `current` is the id of the one that asks.
    #[must_use]
    pub fn describe(&self, current: Option<&Sid>, now: UnixSeconds) -> Session {
        let ended = match self.standing(now) {
            Standing::Live => None,
            Standing::Revoked(ended) | Standing::Expired(ended) => Some(ended),
        };
        Session {
            sid: base64url::encode(&self.sid),
            created_at: self.created_at.get(),
            auth_time: self.auth_time.get(),
            last_seen_at: self.confirmed.confirmed_at.get(),
            ends_at: self.ends_at.get(),
            idle_ends_at: self.idle_ends_at().get(),
            device: self.device.clone(),
            ip: self.origin.ip.clone(),
            place: self.origin.place.clone(),
            amr: self.amr.clone(),
            ended,
            current: current == Some(&self.sid),
        }
    }
}

/// Reads a session id as it stands in URLs and tokens.
#[must_use]
pub fn parse_sid(text: &str) -> Option<Sid> {
    if text.len() != 22 {
        return None;
    }
    base64url::decode(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::{SessionRecord, Standing, parse_sid};
    use hallpass_session::renewal::{Branch, Confirmed};
    use hallpass_session::time::{Seconds, UnixSeconds};
    use hallpass_session::wire::{Device, Ended, EndedBy};

    fn at(second: u64) -> UnixSeconds {
        UnixSeconds::new(second)
    }

    /// Created at 1000, absolute end 2000, idle limit 300, last seen 1500.
    fn record() -> SessionRecord {
        let branch = Branch {
            generation: 1,
            branch: [1; 8],
        };
        SessionRecord {
            sid: [1; 16],
            idx: 1,
            subject: "ada".into(),
            created_at: at(1000),
            auth_time: at(1000),
            ends_at: at(2000),
            idle: Seconds::new(300),
            persistent: true,
            device: Device::default(),
            amr: Vec::new(),
            ext: None,
            confirmed: Confirmed {
                branch,
                confirmed_at: at(1500),
                agent: [0; 32],
            },
            origin: super::Origin::default(),
            revocation: None,
            revoked_before: at(0),
        }
    }

    fn reason(standing: &Standing) -> (&str, u64) {
        match standing {
            Standing::Live => ("live", 0),
            Standing::Revoked(ended) | Standing::Expired(ended) => (&ended.reason, ended.at),
        }
    }

    #[test]
    fn standing_expires_at_the_idle_second() {
        assert_eq!(reason(&record().standing(at(1799))), ("live", 0));
        assert_eq!(reason(&record().standing(at(1800))), ("idle", 1800));
        assert_eq!(reason(&record().standing(at(1801))), ("idle", 1800));
    }

    #[test]
    fn standing_expires_at_the_absolute_second() {
        let mut record = record();
        record.confirmed.confirmed_at = at(1900);

        assert_eq!(reason(&record.standing(at(1999))), ("live", 0));
        assert_eq!(reason(&record.standing(at(2000))), ("expired", 2000));
        assert_eq!(reason(&record.standing(at(2001))), ("expired", 2000));
    }

    #[test]
    fn standing_is_revoked_for_creation_before_the_watermark_only() {
        let mut record = record();
        for (watermark, verdict) in [
            (1000, "live"),
            (1001, "signed_out_everywhere"),
            (1600, "signed_out_everywhere"),
        ] {
            record.revoked_before = at(watermark);
            assert_eq!(reason(&record.standing(at(1700))).0, verdict, "{watermark}");
        }
    }

    #[test]
    fn standing_stays_expired_when_the_watermark_came_later() {
        let mut record = record();
        record.revoked_before = at(1801);

        assert_eq!(reason(&record.standing(at(1900))), ("idle", 1800));
    }

    #[test]
    fn standing_names_the_revocation_before_everything_else() {
        let mut record = record();
        let ended = Ended {
            at: 1600,
            by: EndedBy::User,
            reason: "signed_out".into(),
        };
        record.revocation = Some(ended);

        assert_eq!(reason(&record.standing(at(9999))), ("signed_out", 1600));
        assert!(record.describe(Some(&[1; 16]), at(1700)).current);
    }

    #[test]
    fn parse_sid_refuses_other_lengths_and_alphabets() {
        assert!(parse_sid("AAAAAAAAAAAAAAAAAAAAAA").is_some());
        for bad in [
            "",
            "AAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAA+A",
        ] {
            assert!(parse_sid(bad).is_none(), "{bad}");
        }
    }
}
