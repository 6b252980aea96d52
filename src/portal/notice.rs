//! What the page says after a device was signed out without script.
//!
//! The form's answer is a redirect to [`Notice::location`], so that a reload repeats nothing. Since
//! anybody can write that address into a link, nothing in it is believed: a notice is shown only
//! where the sessions on the page bear it out.

use hallpass_session::wire::{Position, Sessions};
use maud::{Markup, html};

use super::frame::{PORTAL_PATH, stranger};
use super::words;

/// Length of a session id: 16 bytes in base64url.
const SID_CHARS: usize = 22;
/// Longest epoch repeated in an address, in bytes: a UUID has 36.
const MAX_EPOCH_BYTES: usize = 64;

/// What the user has just done, and where in the revocation log it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    ended: Ended,
    list: Option<Position>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Ended {
    One { sid: String },
    Others,
}

/// A notice in words.
pub(super) struct NoticeText {
    /// For the tab: it is read out first.
    pub(super) title: String,
    /// For the page's status.
    pub(super) status: Markup,
}

impl Notice {
    /// One session was ended, `list` being the service's answer.
    pub(crate) fn one(sid: &str, list: Position) -> Self {
        Self {
            ended: Ended::One {
                sid: sid.to_owned(),
            },
            list: Some(list),
        }
    }

    /// All others were ended, `list` being the service's answer.
    pub(crate) fn others(list: Position) -> Self {
        Self {
            ended: Ended::Others,
            list: Some(list),
        }
    }

    /// Where the browser is sent to see the notice (303).
    pub(crate) fn location(&self) -> String {
        let ended = match &self.ended {
            Ended::One { sid } if is_sid(sid) => sid,
            Ended::One { .. } => return PORTAL_PATH.to_owned(),
            Ended::Others => "others",
        };
        match self.list.as_ref().filter(|list| is_epoch(&list.epoch)) {
            Some(Position { epoch, to }) => {
                format!("{PORTAL_PATH}?ended={ended}&epoch={epoch}&to={to}")
            }
            None => format!("{PORTAL_PATH}?ended={ended}"),
        }
    }

    /// Reads the query (without `?`) of such an address; what is not one is no notice.
    pub(crate) fn parse_query(query: &str) -> Option<Self> {
        let value = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find_map(|(key, value)| (key == name).then_some(value))
        };
        let ended = match value("ended")? {
            "others" => Ended::Others,
            sid if is_sid(sid) => Ended::One {
                sid: sid.to_owned(),
            },
            _ => return None,
        };
        let epoch = value("epoch")
            .filter(|epoch| is_epoch(epoch))
            .map(ToOwned::to_owned);
        let to = value("to").and_then(|to| to.parse().ok());
        let list = epoch.zip(to).map(|(epoch, to)| Position { epoch, to });
        Some(Self { ended, list })
    }

    /// The notice in words, if `sessions` bear it out; `bound_secs` as on the page.
    pub(super) fn text(&self, sessions: &Sessions, bound_secs: u64) -> Option<NoticeText> {
        let (name, verb) = self.subject(sessions)?;
        let within = words::counted(bound_secs, "second");
        let epoch = self.list.as_ref().map(|list| &list.epoch);
        let to = self.list.as_ref().map(|list| list.to);
        Some(NoticeText {
            title: format!("{name} {verb} signed out"),
            status: html! {
                p data-epoch=[epoch] data-to=[to] data-is={ (name) " " (verb) } {
                    (stranger(&name)) " " (verb) " signed out. It takes effect everywhere within "
                    (within) "."
                }
            },
        })
    }

    fn subject(&self, sessions: &Sessions) -> Option<(String, &'static str)> {
        match &self.ended {
            Ended::One { sid } => {
                let session = sessions.ended.iter().find(|session| session.sid == *sid)?;
                Some((words::device(session), "is"))
            }
            Ended::Others => {
                let alone = sessions.sessions.iter().all(|session| session.current);
                (alone && !sessions.ended.is_empty())
                    .then(|| ("All other devices".to_owned(), "are"))
            }
        }
    }
}

fn is_sid(text: &str) -> bool {
    text.len() == SID_CHARS && is_url_safe(text)
}

fn is_epoch(text: &str) -> bool {
    (1..=MAX_EPOCH_BYTES).contains(&text.len()) && is_url_safe(text)
}

fn is_url_safe(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::{Notice, Position};

    const SID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

    fn at(epoch: &str, to: u64) -> Position {
        Position {
            epoch: epoch.to_owned(),
            to,
        }
    }

    #[test]
    fn parse_query_reads_what_location_writes() {
        for notice in [
            Notice::one(SID, at("6f1c-e_0", 7)),
            Notice::others(at("e", u64::MAX)),
        ] {
            let location = notice.location();
            let query = location.strip_prefix("/.session/?").expect("the portal");
            assert_eq!(Notice::parse_query(query), Some(notice));
        }
    }

    #[test]
    fn location_repeats_nothing_that_could_leave_the_query() {
        assert_eq!(
            Notice::one("a\r\nX: y", at("e", 1)).location(),
            "/.session/"
        );
        let location = Notice::one(SID, at("e&to=9#", 1)).location();
        assert_eq!(location, format!("/.session/?ended={SID}"));
    }

    #[test]
    fn parse_query_takes_no_other_words() {
        for query in [
            "",
            "ended",
            "ended=",
            "ended=<b>",
            "ended=AAAA",
            "Ended=others",
            "?ended=others",
        ] {
            assert_eq!(Notice::parse_query(query), None, "{query}");
        }
        let bare = Notice::parse_query("ended=others&epoch=%3Cb%3E&to=x").expect("a notice");
        assert_eq!(bare.location(), "/.session/?ended=others");
    }
}
