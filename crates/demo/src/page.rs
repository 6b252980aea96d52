//! Every page of the app, as HTML.
//!
//! Values come in as plain text and are escaped by the template macro; nothing here builds HTML
//! from strings, and nothing may be marked as already escaped. Pages work without script: what
//! needs it is hidden until the script has started.

use maud::{DOCTYPE, Markup, html};
use serde_json::Value;

use crate::assertion::{ASSERTION_HEADER, Caller, VerifiedAssertion};
use crate::clock;
use crate::return_path::ReturnPath;
use crate::who::ReceivedHeaders;

/// How much of the raw assertion is shown, in characters; `/whoami` has all of it.
const SHOWN_ASSERTION_CHARS: usize = 28;

/// What the sign-in form shows.
pub(crate) struct SignInForm<'a> {
    /// The user name typed before, if any.
    pub(crate) user: &'a str,
    /// Where to go afterwards.
    pub(crate) return_path: &'a ReturnPath,
    /// What was wrong with the last attempt.
    pub(crate) error: Option<&'a str>,
}

/// `/`: who you are, what the app received, and things to try.
pub(crate) fn home(
    assertion: &VerifiedAssertion,
    received: &ReceivedHeaders,
    now_secs: u64,
) -> Markup {
    let caller = assertion.caller();
    let degraded = received.contains_key("hallpass-degraded");
    layout(
        "Hallpass demo",
        &html! {
            (pass(caller, now_secs))
            @if degraded { (degraded_notice()) }
            (how_it_got_here(assertion))
            (received_table(received))
            (assertion_table(assertion, now_secs))
            (things_to_try())
            script type="module" src="/public/live.js" {}
        },
    )
}

/// `/sign-in`, for the first time or with what was wrong.
pub(crate) fn sign_in(form: &SignInForm<'_>, caller: Option<&Caller>) -> Markup {
    layout(
        "Sign in – Hallpass demo",
        &html! {
            section.narrow.card {
                h1 { "Sign in" }
                @if let Some(caller) = caller {
                    p.notice {
                        "You are signed in as " strong { (caller.subject) } ". "
                        a href=(form.return_path.as_str()) { "Carry on" }
                        ", or sign in as somebody else."
                    }
                }
                @if let Some(error) = form.error {
                    p.notice.wrong #error role="alert" { (error) }
                }
                (sign_in_fields(form))
                p.hint {
                    "Any user name will do. The password is " code { "demo" } "."
                }
            }
        },
    )
}

/// `/public/…`.
pub(crate) fn public(assertion: &VerifiedAssertion) -> Markup {
    layout(
        "A public page – Hallpass demo",
        &html! {
            section.narrow.card {
                h1 { "A public page" }
                p {
                    "Anybody may see this. The edge forwarded the request for "
                    code { (assertion.target()) }
                    " without telling this app who you are, even if you are signed in."
                }
                p {
                    "It still signed the request, so this app knows that it came through the edge: \
                     a request that goes around it is refused here too."
                }
                p.actions {
                    a.button href="/" { "Your page" }
                    a.button.quiet href="/sign-in" { "Sign in" }
                }
            }
        },
    )
}

/// Where signing out leads.
pub(crate) fn signed_out() -> Markup {
    layout(
        "Signed out – Hallpass demo",
        &html! {
            section.narrow.card {
                h1 { "You are signed out" }
                p { "The session has ended, and its two cookies are gone from this browser." }
                p.actions {
                    a.button href="/sign-in" { "Sign in again" }
                    a.button.quiet href="/public/" { "A public page" }
                }
            }
        },
    )
}

/// Any refusal.
pub(crate) fn refused(title: &str, detail: &str, code: &str) -> Markup {
    layout(
        &format!("{title} – Hallpass demo"),
        &html! {
            section.narrow.card {
                h1 { (title) }
                p { (detail) }
                p.hint { "Code: " code { (code) } }
                p.actions { a.button href="/" { "Back to the start" } }
            }
        },
    )
}

fn layout(title: &str, main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="stylesheet" href="/public/demo.css";
                link rel="icon" href="/public/icon.svg" type="image/svg+xml";
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                (masthead())
                main #main tabindex="-1" { (main) }
                footer {
                    p {
                        "A demo app behind Hallpass. It has no session store, reads no cookie and "
                        "sees no token."
                    }
                }
            }
        }
    }
}

fn masthead() -> Markup {
    html! {
        header.masthead {
            a.brand href="/" {
                img src="/public/icon.svg" alt="" width="28" height="28";
                "Hallpass demo"
            }
            nav aria-label="Pages" {
                a href="/" { "Your page" }
                a href="/public/" { "A public page" }
            }
        }
    }
}

fn sign_in_fields(form: &SignInForm<'_>) -> Markup {
    let describes = form.error.map(|_| "error");
    html! {
        form.stack method="post" action="/sign-in" {
            label for="user" { "User name" }
            input #user name="user" type="text" value=(form.user) required maxlength="255"
                autocomplete="username" autocapitalize="none" spellcheck="false"
                autofocus[form.user.is_empty()];
            label for="password" { "Password" }
            input #password name="password" type="password" required maxlength="255"
                autocomplete="current-password" autofocus[!form.user.is_empty()]
                aria-invalid=[describes.map(|_| "true")] aria-describedby=[describes];
            input type="hidden" name="return_to" value=(form.return_path.as_str());
            button type="submit" { "Sign in" }
        }
    }
}

/// The card at the top: a pass, with a stub that says whose it is.
fn pass(caller: Option<&Caller>, now_secs: u64) -> Markup {
    html! {
        section.pass.card aria-labelledby="who" {
            div.stub aria-hidden="true" {
                span.initial { (caller.and_then(initial).unwrap_or('?')) }
                span.stub-label { "Hall pass" }
            }
            div.holder {
                @if let Some(caller) = caller {
                    h1 #who { "Signed in as " span.subject { (caller.subject) } }
                    (facts(caller, now_secs))
                    div.actions {
                        a.button href="/.session/" { "Your sessions" }
                        form method="post" action="/sign-out" {
                            button.quiet type="submit" { "Sign out" }
                        }
                    }
                } @else {
                    h1 #who { "You are anonymous" }
                    p { "The edge let this request through without a session and said so." }
                    p.actions { a.button href="/sign-in?return_to=/" { "Sign in" } }
                }
            }
        }
    }
}

fn initial(caller: &Caller) -> Option<char> {
    caller
        .subject
        .chars()
        .next()
        .map(|first| first.to_ascii_uppercase())
}

fn facts(caller: &Caller, now_secs: u64) -> Markup {
    html! {
        dl.facts {
            div { dt { "Signed in" } dd { (time(caller.auth_time, now_secs)) } }
            div { dt { "Session" } dd { code { (caller.session) } } }
            @if !caller.amr.is_empty() {
                div { dt { "Method" } dd { (caller.amr.join(", ")) } }
            }
            @for (name, value) in &caller.ext {
                div { dt { (name) } dd { (plain(value)) } }
            }
        }
    }
}

fn degraded_notice() -> Markup {
    html! {
        p.notice role="status" {
            strong { "Degraded. " }
            "The edge cannot reach the session service and honours your session on what it knew \
             last. A careful app would now put off what must not be done by a session that was \
             ended a moment ago."
        }
    }
}

fn how_it_got_here(assertion: &VerifiedAssertion) -> Markup {
    let signed_in = assertion.caller().is_some();
    html! {
        section aria-labelledby="path" {
            h2 #path { "How this request got here" }
            ol.journey {
                li.card {
                    h3 { "Your browser" }
                    p {
                        @if signed_in { "sent two cookies that no script can read." }
                        @else { "sent it without a session." }
                    }
                }
                li.card {
                    h3 { "The edge" }
                    p {
                        @if signed_in {
                            "checked the session token on the spot, kept the cookies to itself and "
                        } @else {
                            "found that this path needs no session, and "
                        }
                        "signed the request: "
                        code { (assertion.method()) " " (assertion.target()) }
                        "."
                    }
                }
                li.card {
                    h3 { "This app" }
                    p {
                        "checked that signature: issuer, audience, method, path and age. It asked \
                         nobody."
                    }
                }
            }
        }
    }
}

fn received_table(received: &ReceivedHeaders) -> Markup {
    html! {
        section aria-labelledby="received" {
            h2 #received { "What this app received" }
            table.card {
                thead { tr { th scope="col" { "Header" } th scope="col" { "Value" } th scope="col" { "Meaning" } } }
                tbody {
                    @for (name, value) in received {
                        tr {
                            th scope="row" { code { (name) } }
                            td { code { (shown(name, value)) } }
                            td { (meaning_of_header(name)) }
                        }
                    }
                }
            }
            p.hint { "The same for programs: " a href="/whoami" { "/whoami" } "." }
        }
    }
}

fn assertion_table(assertion: &VerifiedAssertion, now_secs: u64) -> Markup {
    let lifetime_secs = assertion.expires_at().saturating_sub(assertion.issued_at());
    html! {
        section aria-labelledby="assertion" {
            h2 #assertion { "The assertion, verified" }
            table.card {
                thead { tr { th scope="col" { "Claim" } th scope="col" { "Value" } th scope="col" { "What this app did with it" } } }
                tbody {
                    (claim("iss", &html! { code { (assertion.issuer()) } }, "Compared with the issuer it was told."))
                    (claim("aud", &html! { code { (assertion.audience()) } }, "Compared with the audience it was told."))
                    (claim("iat", &time(assertion.issued_at(), now_secs), "Read the clock. Reload, and it is new."))
                    (claim("exp", &html! { (lifetime_secs) " seconds later" }, "Refused from that second on."))
                    (claim("jti", &html! { code { (assertion.id()) } }, "Nothing. It is new on every request."))
                    (claim("htm", &html! { code { (assertion.method()) } }, "Compared with the method."))
                    (claim("htu", &html! { code { (assertion.target()) } }, "Compared with path and query."))
                    @if let Some(caller) = assertion.caller() { (caller_claims(caller, now_secs)) }
                }
            }
            p.hint {
                "Reload the page: "
                code { "iat" } " and " code { "jti" }
                " change with every request, " code { "sid" } " and " code { "auth_time" }
                " never do. Every few minutes the edge renews the session token on the way; neither \
                 this page nor this app can tell."
            }
        }
    }
}

fn caller_claims(caller: &Caller, now_secs: u64) -> Markup {
    html! {
        (claim("sub", &html! { code { (caller.subject) } }, "This is you. Compared with Hallpass-Subject."))
        (claim("sid", &html! { code { (caller.session) } }, "Compared with Hallpass-Session."))
        (claim("auth_time", &time(caller.auth_time, now_secs), "When you last entered the password."))
        @if !caller.amr.is_empty() {
            (claim("amr", &html! { code { (caller.amr.join(" ")) } }, "How you signed in."))
        }
        @if !caller.ext.is_empty() {
            (claim("ext", &html! { code { (Value::Object(caller.ext.clone())) } }, "This app's own claims, given at sign-in."))
        }
    }
}

fn claim(name: &str, value: &Markup, use_of_it: &str) -> Markup {
    html! {
        tr { th scope="row" { code { (name) } } td { (value) } td { (use_of_it) } }
    }
}

fn things_to_try() -> Markup {
    html! {
        section aria-labelledby="try" {
            h2 #try { "Try it" }
            noscript { p.notice { "The echo works as it is; the rest needs script." } }
            div.grid {
                (live_card("watch", "Watch this session", "Asks /whoami every two seconds. End the session on your sessions page, in another browser, and see how long it takes.", "Watch"))
                (live_card("events", "Event stream", "One event a second from /events, through the edge.", "Listen"))
                (socket_card())
                (echo_card())
            }
        }
    }
}

fn live_card(id: &str, title: &str, text: &str, start: &str) -> Markup {
    html! {
        article.card.live id=(id) {
            h3 { (title) }
            p { (text) }
            p.actions hidden { button type="button" aria-pressed="false" { (start) } }
            output aria-live="polite" {}
        }
    }
}

fn socket_card() -> Markup {
    html! {
        article.card.live #socket {
            h3 { "WebSocket" }
            p { "What you send to /ws comes back." }
            form.row hidden {
                label.visually-hidden for="message" { "Message" }
                input #message name="message" type="text" value="Hello" maxlength="1000" autocomplete="off";
                button type="submit" { "Send" }
            }
            output aria-live="polite" {}
        }
    }
}

fn echo_card() -> Markup {
    html! {
        article.card.live #echo {
            h3 { "Echo" }
            p { "Posts to /echo, which answers with the body it received." }
            form.row method="post" action="/echo" enctype="text/plain" {
                label.visually-hidden for="body" { "Body" }
                input #body name="message" type="text" value="Hello" maxlength="1000" autocomplete="off";
                button type="submit" { "Post" }
            }
            output aria-live="polite" {}
        }
    }
}

fn time(secs: u64, now_secs: u64) -> Markup {
    html! {
        time datetime=[clock::to_rfc3339(secs)] { (clock::to_words(secs)) }
        " " span.age { "(" (clock::to_age(secs, now_secs)) ")" }
    }
}

/// A claim's value without quotes where it is text.
fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// A header's value as shown: the assertion is long, and good for half a minute.
fn shown(name: &str, value: &str) -> String {
    if name == ASSERTION_HEADER {
        let start: String = value.chars().take(SHOWN_ASSERTION_CHARS).collect();
        format!("{start}… ({} bytes)", value.len())
    } else {
        value.to_owned()
    }
}

fn meaning_of_header(name: &str) -> &'static str {
    match name {
        "hallpass-assertion" => "Everything below, signed for this one request. What counts.",
        "hallpass-auth-time" => "When you last proved who you are, in seconds since 1970.",
        "hallpass-degraded" => "The session service is out of reach.",
        "hallpass-ext" => "The app's own claims, as base64url of JSON.",
        "hallpass-request" => "Names this request. A sign-in is only taken as its answer.",
        "hallpass-session" => "The session's public id. It opens nothing.",
        "hallpass-subject" => "Who you are.",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::{SignInForm, plain, refused, shown, sign_in};
    use crate::return_path::ReturnPath;

    const HOSTILE: &str = "/<script>alert('1')</script>\"><img src=x onerror=alert(1)>&amp;";

    #[test]
    fn sign_in_escapes_what_was_typed() {
        let form = SignInForm {
            user: HOSTILE,
            return_path: &ReturnPath::parse(HOSTILE),
            error: Some(HOSTILE),
        };
        let page = sign_in(&form, None).into_string();
        assert!(!page.contains("<script"), "{page}");
        assert!(!page.contains("<img src=x"), "{page}");
        assert!(!page.contains("\">&lt;"), "{page}");
        assert!(page.contains("&lt;script&gt;"), "{page}");
        assert!(page.contains("&amp;amp;"), "{page}");
    }

    #[test]
    fn refused_escapes_its_texts() {
        let page = refused(HOSTILE, HOSTILE, HOSTILE).into_string();
        assert!(
            !page.contains("<script") && !page.contains("<img src=x"),
            "{page}"
        );
    }

    #[test]
    fn shown_abridges_the_assertion_only() {
        let long = "é".repeat(40);
        assert_eq!(
            shown("hallpass-assertion", &long),
            format!("{}… (80 bytes)", "é".repeat(28))
        );
        assert_eq!(shown("hallpass-subject", &long), long);
    }

    #[test]
    fn plain_unquotes_text_and_keeps_the_rest() {
        assert_eq!(plain(&serde_json::json!("admin")), "admin");
        assert_eq!(plain(&serde_json::json!(["a", 1])), "[\"a\",1]");
    }
}
