//! The page at `/`: who you are, what the app received, what it made of it, and things to try.

use maud::{Markup, html};
use serde_json::Value;

use super::layout;
use crate::assertion::{ASSERTION_HEADER, Caller, VerifiedAssertion};
use crate::clock;
use crate::who::ReceivedHeaders;

/// How much of the raw assertion is shown, in characters; `/whoami` has all of it.
const SHOWN_ASSERTION_CHARS: usize = 28;

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
    use super::{plain, shown};

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
