//! What a person sees in place of a page: what happened, what to do, and the request's id.
//!
//! The words never say more than the public code does, and never that nothing happened where that is
//! not known.

use hallpass_session::refusal::Refusal;
use maud::{Markup, html};

use super::frame::{self, Frame, PORTAL_PATH, Script, Style};
use super::settings::{Href, PortalSettings};
use super::words;

/// What there is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// A refusal by its cause.
    Refused(Refusal),
    /// The session service does not answer.
    ServiceUnavailable,
    /// The app does not answer.
    UpstreamUnavailable,
    /// The edge's settings are wrong.
    Misconfigured,
    /// Nothing of that name among the edge's own pages.
    NotFound,
    /// The app's hand-off of a new session was not honoured.
    HandoffRefused,
    /// Signed out: the session is ended.
    SignedOut,
    /// Signed out here, while the service could not be told.
    SignedOutHere,
}

/// A message as a page.
pub(crate) struct MessagePage<'a> {
    /// How the portal looks.
    pub(crate) settings: &'a PortalSettings,
    /// What there is to say.
    pub(crate) message: Message,
    /// Path and query that may be tried again.
    pub(crate) retry_path: &'a str,
    /// Path and query of the sign-in page, with where to come back to.
    pub(crate) sign_in_path: &'a str,
    /// Id of the request in the logs.
    pub(crate) request_id: &'a str,
}

/// One message in words.
struct Words {
    title: &'static str,
    text: &'static str,
    next: Next,
}

/// What helps.
#[derive(Clone, Copy)]
enum Next {
    TryAgain,
    SignIn,
    Home,
    Devices,
    Wait,
}

impl MessagePage<'_> {
    /// The whole document.
    pub(crate) fn render(&self) -> String {
        let words = self.message.words();
        let main = html! {
            main.message {
                h1 { (words.title) }
                p.lead { (words.text) }
                (self.next(words.next))
                @if let Some(help) = self.replay_help() {
                    p { a href=(help.as_str()) { "What to do when somebody else was signed in as you" } }
                }
                @if !self.request_id.is_empty() {
                    p.fine { "If you ask for help, mention this request: " code { (self.request_id) } }
                }
            }
        };
        let frame = Frame {
            settings: self.settings,
            title: words.title,
            script: Script::Absent,
            style: self.style(),
            main,
        };
        frame.render()
    }

    /// The policy the document is sent with.
    pub(crate) fn content_security_policy(&self) -> String {
        match self.style() {
            Style::Linked => self.settings.content_security_policy(),
            Style::Within => frame::policy_within(),
        }
    }

    /// Under another host, and with wrong settings, the portal's files are refused as well.
    fn style(&self) -> Style {
        match self.message {
            Message::Misconfigured | Message::Refused(Refusal::HostUnknown) => Style::Within,
            _ => Style::Linked,
        }
    }

    fn next(&self, next: Next) -> Markup {
        let (path, label) = match next {
            Next::TryAgain => (self.retry_path, "Try again"),
            Next::SignIn => (self.sign_in_path, "Sign in"),
            Next::Home => ("/", "Go to the front page"),
            Next::Devices => (PORTAL_PATH, "Your devices"),
            Next::Wait => return html! {},
        };
        html! { p.next { a.button.main href=(words::local_path(path)) { (label) } } }
    }

    fn replay_help(&self) -> Option<&Href> {
        let is_replay = self.message == Message::Refused(Refusal::RenewalReused);
        self.settings.replay_help_url.as_ref().filter(|_| is_replay)
    }
}

impl Message {
    fn words(self) -> Words {
        match self {
            Self::Refused(refusal) => refused(refusal),
            Self::ServiceUnavailable => say(
                "Your session cannot be checked right now",
                "The service that keeps sessions does not answer. Your sign-in on this device is \
                 kept. Please try again in a moment.",
                Next::TryAgain,
            ),
            Self::UpstreamUnavailable => say(
                "The site does not answer",
                "Please try again in a moment. If you are signed in, you stay so.",
                Next::TryAgain,
            ),
            Self::Misconfigured => say(
                "This site is not set up correctly",
                "Only the people who run it can mend this. Your sign-in is kept until then.",
                Next::Wait,
            ),
            Self::NotFound => say(
                "There is nothing here",
                "The session you asked for is not one of yours, or the address is mistyped.",
                Next::Devices,
            ),
            Self::HandoffRefused => say(
                "Signing in did not work",
                "The site's answer to your sign-in could not be used. Please sign in again.",
                Next::SignIn,
            ),
            Self::SignedOut => say(
                "You are signed out",
                "This browser has forgotten your sign-in, and the session is ended. Other devices \
                 stay signed in.",
                Next::SignIn,
            ),
            Self::SignedOutHere => say(
                "You are signed out on this device only",
                "This browser has forgotten your sign-in, but the session is not yet ended \
                 elsewhere: the service that keeps sessions does not answer. Whoever holds a copy \
                 of this browser's cookies could still use it. Sign in later and look at “Your \
                 devices” to end it.",
                Next::SignIn,
            ),
        }
    }
}

fn refused(refusal: Refusal) -> Words {
    match refusal {
        Refusal::SessionMissing
        | Refusal::TokenMalformed
        | Refusal::TokenUntrusted
        | Refusal::TokenInvalid
        | Refusal::RenewalUnknown
        | Refusal::RenewalMalformed => say(
            "Please sign in",
            "This page is for signed-in users.",
            Next::SignIn,
        ),
        Refusal::TokenExpired | Refusal::SessionExpired => say(
            "Your session has ended",
            "Its time was over, or it was not used for a while. Please sign in again.",
            Next::SignIn,
        ),
        Refusal::SessionRevoked => say(
            "You have been signed out",
            "This session was ended: by you on another device, or by the people who run this site.",
            Next::SignIn,
        ),
        Refusal::RenewalReused => say(
            "You were signed out for your safety",
            "This session's cookies were used from two places, so somebody else may hold a copy of \
             them. The session is ended for both. Please sign in again and look at “Your devices”.",
            Next::SignIn,
        ),
        Refusal::CredentialsConflict => say(
            "Two sign-ins got mixed up",
            "Your browser sent two different sessions at once. Please sign in again.",
            Next::SignIn,
        ),
        Refusal::ReauthenticationRequired => say(
            "Please sign in once more",
            "What you are about to do needs a fresh sign-in, so that nobody else can do it for you.",
            Next::SignIn,
        ),
        Refusal::RequirementUnmet => say(
            "You may not open this page",
            "You are signed in, but your account lacks what this page asks for.",
            Next::Home,
        ),
        Refusal::OriginForbidden => say(
            "This did not come from this site",
            "Another page may have sent it in your name, so it was not carried out. If it was you, \
             open this site and do it there.",
            Next::Home,
        ),
        Refusal::PathAmbiguous => say(
            "This address cannot be opened",
            "It can be read as two different addresses, so it was not passed on. Check the link or \
             start from the front page.",
            Next::Home,
        ),
        Refusal::RequestMalformed => say(
            "This request cannot be read",
            "Something in it is too long or out of form. Start from the front page.",
            Next::Home,
        ),
        Refusal::MethodRefused => say(
            "That cannot be done here",
            "The address is right, but it cannot be opened in this way.",
            Next::Home,
        ),
        Refusal::HostUnknown => say(
            "There is no such site here",
            "The name in the address is not one that is served here. Check the link.",
            Next::Wait,
        ),
    }
}

const fn say(title: &'static str, text: &'static str, next: Next) -> Words {
    Words { title, text, next }
}

#[cfg(test)]
mod tests {
    use super::{Message, MessagePage, PortalSettings, Refusal};

    fn render(message: Message, retry_path: &str, request_id: &str) -> String {
        let settings: PortalSettings = serde_json::from_str(
            r#"{"name": "Ferry Lines", "replay_help_url": "https://help.example/stolen"}"#,
        )
        .expect("settings");
        let sign_in_path = "/sign-in?return_to=%2F.session%2F";
        MessagePage {
            settings: &settings,
            message,
            retry_path,
            sign_in_path,
            request_id,
        }
        .render()
    }

    #[test]
    fn page_has_title_next_step_and_request_id() {
        let html = render(Message::ServiceUnavailable, "/inbox?a=1&b=2", "req-1");
        assert!(
            html.contains("<title>Your session cannot be checked right now – Ferry Lines</title>")
        );
        assert!(html.contains(r#"href="/inbox?a=1&amp;b=2">Try again</a>"#));
        assert!(html.contains("<code>req-1</code>"));
        assert!(
            !html.contains("<script"),
            "a message has no use for a script"
        );
    }

    #[test]
    fn page_without_files_has_its_looks_within() {
        for message in [
            Message::Misconfigured,
            Message::Refused(Refusal::HostUnknown),
        ] {
            let html = render(message, "/", "req-1");
            assert!(html.contains("<style>body{"), "{html}");
            assert!(!html.contains("href="), "{html}");
        }
        let html = render(Message::NotFound, "/", "req-1");
        assert!(!html.contains("<style"), "{html}");
    }

    #[test]
    fn page_never_leads_off_the_site() {
        for path in [
            "//else.example",
            "javascript:alert(1)",
            "/\\else.example",
            "",
        ] {
            let html = render(Message::UpstreamUnavailable, path, "");
            assert!(html.contains(r#"href="/">Try again</a>"#), "{path}");
        }
    }

    #[test]
    fn page_escapes_what_it_is_given() {
        let html = render(
            Message::ServiceUnavailable,
            "/\"><script>x",
            "<img src=x>\"",
        );
        assert!(!html.contains("<script>"), "{html}");
        assert!(!html.contains("<img"), "{html}");
    }

    #[test]
    fn page_offers_replay_help_for_replay_only() {
        let reused = render(Message::Refused(Refusal::RenewalReused), "/", "");
        assert!(reused.contains("https://help.example/stolen"));
        let revoked = render(Message::Refused(Refusal::SessionRevoked), "/", "");
        assert!(!revoked.contains("https://help.example/stolen"));
    }

    #[test]
    fn page_of_identity_refusals_leads_to_sign_in() {
        for refusal in [
            Refusal::SessionMissing,
            Refusal::TokenExpired,
            Refusal::SessionRevoked,
        ] {
            let html = render(Message::Refused(refusal), "/", "");
            assert!(html.contains(r#"href="/sign-in?return_to=%2F.session%2F">Sign in</a>"#));
        }
    }

    #[test]
    fn page_says_when_sign_out_reached_this_device_only() {
        let html = render(Message::SignedOutHere, "/", "");
        assert!(html.contains("not yet ended elsewhere"));
        assert!(!render(Message::SignedOut, "/", "").contains("not yet"));
    }
}
