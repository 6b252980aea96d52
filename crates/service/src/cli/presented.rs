//! A session token that somebody hands to a command: by file or standard input, never as an
//! argument, which shells and process lists keep. Its texts are printed [`escaped`].
//!
//! Taken as people copy it: bare, as a `Bearer` line, or as the pair of our cookie among others. A
//! renewal token is told apart and never printed: whoever has one has the session.

use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use hallpass_session::cookie::{self, Found, RENEWAL_COOKIE, SESSION_COOKIE};
use hallpass_session::renewal;

use super::CommandError;

/// Longest input that is read, in bytes: sixteen times the longest token that passes.
const INPUT_MAX_BYTES: u64 = 64 << 10;
const NEVER_AN_ARGUMENT: &str = "tokens are given by standard input or by file, never as an \
                                 argument, which the shell's history keeps";
/// Most characters of a text that is not ours.
const INERT_MAX_CHARACTERS: usize = 80;

/// Where a command finds its session token.
#[derive(clap::Args)]
pub(super) struct TokenFile {
    /// File with the session token, bare, as a Bearer line or as a cookie; - is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    pub(super) file: PathBuf,
    /// Arguments too many, such as a pasted Bearer line: clap would repeat them in its complaint.
    #[arg(hide = true)]
    surplus: Vec<OsString>,
}

impl TokenFile {
    /// Reads the session token.
    pub(super) fn read(&self) -> Result<String, CommandError> {
        if !self.surplus.is_empty() {
            return Err(CommandError::Usage(format!(
                "one file only; {NEVER_AN_ARGUMENT}"
            )));
        }
        let bytes = read_bounded(&self.file, INPUT_MAX_BYTES)?;
        find_session_token(&String::from_utf8_lossy(&bytes))
    }
}

/// Reads a whole file, or standard input for `-`.
pub(super) fn read_bounded(file: &Path, max_bytes: u64) -> Result<Vec<u8>, CommandError> {
    let mut bytes = Vec::new();
    let read = if is_standard_input(file) {
        if std::io::stdin().is_terminal() {
            eprintln!("reading standard input; end it with Ctrl-D");
        }
        std::io::stdin()
            .lock()
            .take(max_bytes + 1)
            .read_to_end(&mut bytes)
    } else {
        let opened = std::fs::File::open(file);
        opened.and_then(|file| file.take(max_bytes + 1).read_to_end(&mut bytes))
    };
    let name = name(file);
    read.map_err(|error| CommandError::Usage(format!("{name}: {error}")))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= max_bytes) {
        Ok(bytes)
    } else {
        let text = format!("{name}: more than {max_bytes} bytes");
        Err(CommandError::Usage(text))
    }
}

/// A text that cannot steer a terminal: printable ASCII, bounded.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped: String = text.escape_default().take(INERT_MAX_CHARACTERS).collect();
    if text.escape_default().nth(INERT_MAX_CHARACTERS).is_some() {
        escaped.push_str("...");
    }
    escaped
}

/// Whether `file` stands for standard input.
pub(super) fn is_standard_input(file: &Path) -> bool {
    file == Path::new("-")
}

/// A file's name for messages; what may be a credential is not repeated.
fn name(file: &Path) -> String {
    let shown = file.display().to_string();
    if is_standard_input(file) {
        "standard input".to_owned()
    } else if ["eyJ", "hp1.", "Bearer", "__Host-"]
        .iter()
        .any(|start| shown.starts_with(start))
    {
        format!("this looks like a token; {NEVER_AN_ARGUMENT}")
    } else {
        shown.escape_debug().to_string()
    }
}

fn find_session_token(text: &str) -> Result<String, CommandError> {
    let text = ["authorization:", "set-cookie:", "cookie:"]
        .into_iter()
        .find_map(|header| strip_prefix_in_any_case(text.trim_ascii(), header))
        .unwrap_or(text)
        .trim_ascii();
    let bearer = strip_prefix_in_any_case(text, "bearer");
    let bearer = bearer.filter(|rest| rest.is_empty() || rest.starts_with(' '));
    let text = bearer.map_or(text, str::trim_ascii);
    let no = |text: &str| Err(CommandError::Usage(text.to_owned()));
    match cookie::find(text, SESSION_COOKIE) {
        Found::One(token) => return Ok(token.to_owned()),
        Found::Conflict => {
            return no(
                "two different values of __Host-session: the edge refuses both, \
                       credentials_conflict",
            );
        }
        Found::Absent => {}
    }
    let is_renewal = cookie::find(text, RENEWAL_COOKIE) != Found::Absent;
    if is_renewal || text.starts_with(renewal::PREFIX) {
        return no(
            "this is a renewal token; give the session token, the value of __Host-session. \
                   Only the session service can judge a renewal token, and whoever has read it has \
                   the session: end it if others have",
        );
    }
    if text.is_empty() {
        return no("no token; give it by standard input or name a file");
    }
    Ok(text.to_owned())
}

fn strip_prefix_in_any_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::{escaped, find_session_token};
    use crate::cli::CommandError;

    fn found(text: &str) -> Option<String> {
        find_session_token(text).ok()
    }

    #[test]
    fn escaped_leaves_nothing_that_steers_a_terminal() {
        let shown = escaped("\u{1b}]0;x\u{7}\r\n\u{202e}\u{85}\0\"ü");

        let printable = |byte| (b' '..=b'~').contains(&byte);
        assert!(shown.bytes().all(printable), "{shown}");
        assert!(
            shown.starts_with("\\u{1b}]0;x\\u{7}\\r\\n\\u{202e}"),
            "{shown}"
        );
        assert_eq!(escaped(&"a".repeat(5000)).len(), 83);
        assert_eq!(escaped(&"a".repeat(80)).len(), 80);
    }

    #[test]
    fn find_session_token_takes_what_people_copy() {
        for text in [
            "a.b.c",
            " a.b.c\r\n",
            "Bearer a.b.c",
            "bearer  a.b.c\n",
            "Authorization: Bearer a.b.c",
            "__Host-session=a.b.c",
            "Cookie: x=1; __Host-session=a.b.c; __Host-renewal=hp1.AAAA",
            "Set-Cookie: __Host-session=a.b.c; Max-Age=60; Path=/",
        ] {
            assert_eq!(found(text).as_deref(), Some("a.b.c"), "{text:?}");
        }
    }

    #[test]
    fn find_session_token_never_repeats_a_renewal_token() {
        for text in [
            "hp1.AAAA",
            "__Host-renewal=hp1.AAAA",
            "Bearer hp1.AAAA",
            "Cookie: __Host-renewal=AAAA",
        ] {
            let Err(CommandError::Usage(said)) = find_session_token(text) else {
                panic!("{text}")
            };
            assert!(
                said.contains("renewal token") && !said.contains("AAAA"),
                "{said}"
            );
        }
    }

    #[test]
    fn find_session_token_refuses_nothing_and_two_values() {
        for text in ["", " \n", "Bearer ", "__Host-session=a; __Host-session=b"] {
            assert_eq!(found(text), None, "{text:?}");
        }
    }
}
