//! Every page of the app, as HTML: the frame and the short pages here, the long one in `home`.
//!
//! Values come in as plain text and are escaped by the template macro; nothing here builds HTML
//! from strings, and nothing may be marked as already escaped. Pages work without script: what
//! needs it is hidden until the script has started.

use maud::{DOCTYPE, Markup, html};

use crate::assertion::{Caller, VerifiedAssertion};
use crate::return_path::ReturnPath;

mod home;

pub(crate) use home::home;

/// What the sign-in form shows.
pub(crate) struct SignInForm<'a> {
    /// The user name typed before, if any.
    pub(crate) user: &'a str,
    /// Where to go afterwards.
    pub(crate) return_path: &'a ReturnPath,
    /// What was wrong with the last attempt.
    pub(crate) error: Option<&'a str>,
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

#[cfg(test)]
mod tests {
    use super::{SignInForm, refused, sign_in};
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
}
