//! The user's devices: this one, the others with a way to sign each out, those that have ended.
//!
//! Every action is a plain form; `www/portal.js` betters them where it runs. What the page says
//! about time is what the gate guarantees: in force within `bound_secs` wherever the session service
//! is reached, and no promise for places cut off from it.

use hallpass_session::time::{Seconds, UnixSeconds};
use hallpass_session::wire::{Session, Sessions};
use maud::{Markup, PreEscaped, html};

use super::frame::{Frame, Script, Style, stranger, time_ago, time_exact};
use super::notice::Notice;
use super::settings::PortalSettings;
use super::words;

/// How long a stolen session is warned of on top: seven days, so that it is seen on a next visit.
const REPLAY_WARNING: Seconds = Seconds::new(7 * 24 * 3600);
/// Ended sessions shown at once; the next are folded away.
const ENDED_SHOWN: usize = 5;
/// Ended sessions on the page at most: a screenful unfolded, not a month of an automaton's.
const ENDED_MAX: usize = 50;

/// The page at `GET /.session/`.
pub(crate) struct PortalPage<'a> {
    /// How the portal looks.
    pub(crate) settings: &'a PortalSettings,
    /// The service's answer.
    pub(crate) sessions: &'a Sessions,
    /// What the user has just done.
    pub(crate) notice: Option<&'a Notice>,
    /// Path and query of the sign-in page that comes back to the portal.
    pub(crate) sign_in_path: &'a str,
    /// The bound on revocation while the service answers.
    pub(crate) bound_secs: u64,
    /// Now.
    pub(crate) now: UnixSeconds,
}

/// A session of another device, and its number among those of the same name.
struct Other<'a> {
    session: &'a Session,
    name: String,
    nth: Option<(usize, usize)>,
}

impl PortalPage<'_> {
    /// The whole document.
    pub(crate) fn render(&self) -> String {
        let notice = self
            .notice
            .and_then(|notice| notice.text(self.sessions, self.bound_secs));
        let title = notice.as_ref().map_or_else(
            || "Your devices".to_owned(),
            |notice| format!("{}. Your devices", notice.title),
        );
        let main = html! {
            main data-now=(self.now.get()) data-bound=(self.bound_secs) {
                h1 { "Your devices" }
                p.lead {
                    "You are signed in on these devices. If you do not recognise one, sign it out."
                }
                div.status role="status" { @if let Some(notice) = notice { (notice.status) } }
                (self.replay_warning())
                (self.this_device())
                (self.other_devices())
                (self.ended_devices())
                (self.small_print())
            }
            (confirmation())
        };
        let frame = Frame {
            settings: self.settings,
            title: &title,
            script: Script::Loaded,
            style: Style::Linked,
            main,
        };
        frame.render()
    }

    fn this_device(&self) -> Markup {
        let this = self
            .sessions
            .sessions
            .iter()
            .find(|session| session.current);
        html! {
            @if let Some(session) = this {
                section aria-labelledby="this" {
                    h2 #this { "This device" }
                    ul.devices {
                        li.device.this {
                            (icon(&session.device.kind))
                            div.what {
                                h3 { (stranger(&words::device(session))) }
                                p.about {
                                    strong { "Active now" } ", " (stranger(&words::place(session)))
                                }
                                (details(session, "this device"))
                            }
                            form method="post" action="/.session/sign-out" {
                                button type="submit" { "Sign out here" }
                            }
                        }
                    }
                }
            }
        }
    }

    fn other_devices(&self) -> Markup {
        let others = others(self.sessions);
        let count = others.len();
        html! {
            section aria-labelledby="others" {
                div.bar {
                    h2 #others tabindex="-1" {
                        "Other devices" @if count > 0 { " (" span.count { (count) } ")" }
                    }
                    @if count > 0 { (self.end_others(count)) }
                }
                @if others.is_empty() {
                    p.empty { "This is your only session. You are not signed in anywhere else." }
                } @else {
                    ul.devices { @for (i, other) in others.iter().enumerate() { (self.other(i, other)) } }
                }
            }
        }
    }

    fn other(&self, i: usize, other: &Other<'_>) -> Markup {
        let session = other.session;
        let nth = other
            .nth
            .map(|(nth, of)| format!(" {nth} of {of}"))
            .unwrap_or_default();
        let about = format!("about-{i}");
        html! {
            li.device {
                (icon(&session.device.kind))
                div.what {
                    h3.name { (stranger(&other.name)) @if !nth.is_empty() { span.nth { (nth) } } }
                    p.about id=(about) {
                        (stranger(&words::place(session)))
                        " " span.part { "last seen " (time_ago(at(session.last_seen_at), self.now)) }
                        " " span.part { "signed in " (time_ago(at(session.created_at), self.now)) }
                    }
                    (details(session, &format!("{}{nth}", other.name)))
                }
                form method="post" action="/.session/end" data-end=(session.sid) {
                    input type="hidden" name="sid" value=(session.sid);
                    button type="submit" aria-describedby=(about) {
                        "Sign out" span.unseen { " " (stranger(&other.name)) (nth) }
                    }
                }
            }
        }
    }

    fn end_others(&self, count: usize) -> Markup {
        let current = self
            .sessions
            .sessions
            .iter()
            .find(|session| session.current);
        let is_stale = current.is_some_and(|session| {
            self.settings
                .needs_sign_in_to_end_others(at(session.auth_time), self.now)
        });
        html! {
            @if is_stale {
                p.all {
                    "To sign out all other devices at once, first show that it is you: "
                    a href=(words::local_path(self.sign_in_path)) { "sign in again" } "."
                }
            } @else {
                form.all method="post" action="/.session/end" data-end="others" {
                    input type="hidden" name="others" value="1";
                    button.main type="submit" {
                        "Sign out all other devices (" span.count { (count) } ")"
                    }
                }
            }
        }
    }

    fn ended_devices(&self) -> Markup {
        let ended = &self.sessions.ended;
        let folded = ended.len().min(ENDED_MAX).saturating_sub(ENDED_SHOWN);
        html! {
            @if !ended.is_empty() {
                section aria-labelledby="ended" {
                    h2 #ended { "Recently ended" }
                    ul.ended { @for session in ended.iter().take(ENDED_SHOWN) { (self.ended(session)) } }
                    @if folded > 0 {
                        details {
                            summary { "Show " (folded) " more" }
                            ul.ended {
                                @for session in ended.iter().skip(ENDED_SHOWN).take(folded) {
                                    (self.ended(session))
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn ended(&self, session: &Session) -> Markup {
        html! {
            @if let Some(ended) = &session.ended {
                li.warned[words::is_replay(session)] {
                    (icon(&session.device.kind))
                    div.what {
                        h3 { (stranger(&words::device(session))) }
                        p { (words::ending(ended)) }
                        p.about {
                            "ended " (time_ago(at(ended.at), self.now))
                            " " span.part { (stranger(&words::place(session))) }
                        }
                    }
                }
            }
        }
    }

    fn replay_warning(&self) -> Markup {
        let replayed = self.sessions.ended.iter().find(|session| {
            let ended_at = session.ended.as_ref().map_or(0, |ended| ended.at);
            words::is_replay(session) && self.now.since(at(ended_at)) < REPLAY_WARNING
        });
        html! {
            @if let Some((session, ended)) = replayed.and_then(|s| Some((s, s.ended.as_ref()?))) {
                section.warning aria-labelledby="warning" {
                    h2 #warning { "Somebody else may have been signed in as you" }
                    p {
                        "The cookies of " (stranger(&words::device(session)))
                        " were used from two places, " (time_ago(at(ended.at), self.now))
                        ". That session is ended for both. Sign out every device below that you do \
                         not know, and do not use the browser they were taken from until it is clean."
                    }
                    @if let Some(help) = &self.settings.replay_help_url {
                        p { a href=(help.as_str()) { "What to do now" } }
                    }
                }
            }
        }
    }

    fn small_print(&self) -> Markup {
        html! {
            p.fine {
                "Signing a device out takes effect within " (words::counted(self.bound_secs, "second"))
                " wherever this site reaches the service that keeps your sessions. A place that is \
                 cut off from it may let the device in until its short-lived pass runs out. “Last \
                 seen” is noted every few minutes while a device is in use, and places are guessed \
                 from network addresses."
            }
        }
    }
}

/// What is folded away: exact times and the address.
fn details(session: &Session, whose: &str) -> Markup {
    let (end, idle_end) = (at(session.ends_at), at(session.idle_ends_at));
    html! {
        details {
            summary { "Details" span.unseen { " of " (stranger(whose)) } }
            dl {
                dt { "Signed in" } dd { (time_exact(at(session.created_at))) }
                @if session.auth_time != session.created_at {
                    dt { "Identity last proved" } dd { (time_exact(at(session.auth_time))) }
                }
                dt { "Last seen" } dd { (time_exact(at(session.last_seen_at))) }
                @if let Some(ip) = &session.ip {
                    dt { "Address" } dd { (stranger(&words::shown(ip))) }
                }
                dt { "Ends by itself" }
                dd {
                    @if idle_end < end { (time_exact(idle_end)) " if not used, " }
                    (time_exact(end)) " at the latest"
                }
            }
        }
    }
}

/// The other devices, each with a name no other has.
fn others(sessions: &Sessions) -> Vec<Other<'_>> {
    let others: Vec<(&Session, String)> = sessions
        .sessions
        .iter()
        .filter(|session| !session.current)
        .map(|session| (session, words::device(session)))
        .collect();
    let namesakes = |name: &str, before: usize| {
        others
            .iter()
            .take(before)
            .filter(|(_, other)| other == name)
            .count()
    };
    others
        .iter()
        .enumerate()
        .map(|(i, (session, name))| {
            let of = namesakes(name, usize::MAX);
            let nth = (of > 1).then(|| (namesakes(name, i).saturating_add(1), of));
            Other {
                session,
                name: name.clone(),
                nth,
            }
        })
        .collect()
}

/// Asked by `portal.js` before a device is signed out; closed, and so unseen, without script.
fn confirmation() -> Markup {
    html! {
        dialog #confirm aria-labelledby="question" aria-describedby="consequence" {
            h2 #question {}
            p #consequence {}
            form method="dialog" {
                button value="cancel" autofocus { "Cancel" }
                button.main value="end" { "Sign out" }
            }
        }
    }
}

/// A drawing for the device's kind; the words beside it say the same.
fn icon(kind: &str) -> Markup {
    let drawing = match kind {
        "desktop" => {
            r#"<rect x="3" y="4" width="18" height="12" rx="2"/><path d="M9 20h6M12 16v4"/>"#
        }
        "phone" => r#"<rect x="7" y="2.5" width="10" height="19" rx="2.5"/><path d="M11 18.5h2"/>"#,
        "tablet" => {
            r#"<rect x="4.5" y="2.5" width="15" height="19" rx="2.5"/><path d="M11 18.5h2"/>"#
        }
        _ => {
            r#"<circle cx="12" cy="12" r="9"/><path d="M9.6 9.5a2.5 2.5 0 1 1 3.6 2.2c-.8.4-1.2 1-1.2 1.8M12 16.5v.1"/>"#
        }
    };
    html! {
        svg.icon viewBox="0 0 24 24" width="24" height="24" aria-hidden="true" {
            (PreEscaped(drawing))
        }
    }
}

fn at(seconds: u64) -> UnixSeconds {
    UnixSeconds::new(seconds)
}

#[cfg(test)]
mod tests;
