//! Whether what should be secret is: modes of files, and keys that others may know.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hallpass_session::base64url;

use super::Findings;

/// Bits of a file's mode by which others read it, or others than its owner change it.
const READ_BY_OTHERS: u32 = 0o004;
const WRITTEN_BY_OTHERS: u32 = 0o022;
/// Fewer different bytes than this in 24 or more are no chance: of 32 random ones about 30 differ,
/// and fewer than 16 happen once in 10^14 times.
const DIFFERENT_BYTES_MIN: usize = 12;

/// Secrets that are printed in standards, in base64url: RFC 8037 §A.1 (Ed25519), RFC 7515 §A.3.1
/// (P-256), RFC 7517 §A.3 (HMAC).
const PUBLISHED: [&str; 3] = [
    "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X4fCE9-E9LI",
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
];

/// A file that holds what only its readers may know: its absence is for others to find.
pub(super) fn look_at_secret(path: &Path, what: &str, findings: &mut Findings) {
    look_at_mode(path, what, READ_BY_OTHERS | WRITTEN_BY_OTHERS, findings);
}

/// A file that others may read but not change.
pub(super) fn look_at_readable(path: &Path, what: &str, findings: &mut Findings) {
    look_at_mode(path, what, WRITTEN_BY_OTHERS, findings);
}

fn look_at_mode(path: &Path, what: &str, forbidden: u32, findings: &mut Findings) {
    let Ok(metadata) = std::fs::metadata(path) else {
        return;
    };
    let mode = metadata.permissions().mode() & 0o777;
    let wrong = match mode & forbidden {
        0 => return,
        bits if bits & READ_BY_OTHERS != 0 => "read by everybody on this machine",
        _ => "changed by others than its owner",
    };
    let shown = path.display();
    findings.error(
        "file_mode",
        format!("{shown} ({what}) can be {wrong}: its mode is {mode:04o}"),
        format!("chmod go-w,o-rwx {shown}; if others have read it, replace what it holds"),
    );
}

/// Why a key may be known to others, if it looks like that.
pub(super) fn weakness(key: &[u8]) -> Option<&'static str> {
    let mut different = key.to_vec();
    different.sort_unstable();
    different.dedup();
    let encoded = base64url::encode(key);
    let is_run = key
        .windows(2)
        .all(|pair| pair[0].wrapping_add(1) == pair[1] || pair[0] == pair[1].wrapping_add(1));
    if PUBLISHED.contains(&encoded.as_str()) {
        Some("is printed in a standard")
    } else if different.len() < DIFFERENT_BYTES_MIN || is_run {
        Some("is a pattern")
    } else if key.iter().all(u8::is_ascii_graphic) {
        Some("is text and not random bytes")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{PUBLISHED, weakness};
    use crate::clock::random_bytes;
    use hallpass_session::base64url;

    #[test]
    fn weakness_is_seen_in_keys_that_nobody_drew() {
        let counted: Vec<u8> = (0..32).collect();
        for (key, wanted) in [
            (vec![7; 32], "is a pattern"),
            (counted, "is a pattern"),
            (
                b"correct-horse-battery-staple-123".to_vec(),
                "is text and not random bytes",
            ),
            (
                base64url::decode(PUBLISHED[0]).unwrap(),
                "is printed in a standard",
            ),
        ] {
            assert_eq!(weakness(&key), Some(wanted), "{key:?}");
        }
        for published in PUBLISHED {
            assert!(base64url::decode(published).is_some_and(|key| key.len() >= 32));
        }
        for _ in 0..1000 {
            assert_eq!(weakness(&random_bytes::<32>().unwrap()), None);
            assert_eq!(weakness(&random_bytes::<24>().unwrap()), None);
        }
    }
}
