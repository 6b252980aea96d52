//! The renewal token and what the table does when one is presented.
//!
//! ```text
//! hp1. base64url( key_id 1 ‖ sid 16 ‖ generation 4, big-endian ‖ branch 8 ‖ MAC 32 )
//! MAC = HMAC-SHA256( "hallpass-renewal-1" ‖ 0 ‖ issuer ‖ 0 ‖ key_id ‖ sid ‖ generation ‖ branch )
//! ```
//!
//! This module reads and writes the form and judges a genuine token against the confirmed state of
//! its session. It leaves to the service: the MAC, whether the session lives, the compare-and-set.
//! The edge only asks whether a string may be a renewal token ([`RenewalToken::is_well_formed`]).
//!
//! Source: docs/protocol.md §4.

use crate::base64url;
use crate::time::{Seconds, UnixSeconds};

/// First characters of every renewal token.
pub const PREFIX: &str = "hp1.";
/// Longest renewal token the edge passes on, in bytes; today's form has 86.
pub const MAX_RENEWAL_TOKEN_BYTES: usize = 256;

const SID_BYTES: usize = 16;
const BRANCH_BYTES: usize = 8;
const MAC_BYTES: usize = 32;
/// `key_id` 1 + `sid` 16 + `generation` 4 + `branch` 8 + MAC 32.
const TOKEN_BYTES: usize = 1 + SID_BYTES + 4 + BRANCH_BYTES + MAC_BYTES;
const MAC_CONTEXT: &[u8] = b"hallpass-renewal-1";

/// Which token of its session a renewal token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch {
    /// How many confirmations lie before it.
    pub generation: u32,
    /// Random, so that two children of one token differ.
    pub branch: [u8; BRANCH_BYTES],
}

/// A renewal token's content before its MAC has been checked.
#[derive(Clone, PartialEq, Eq)]
pub struct RenewalToken {
    /// Which renewal key made the MAC.
    pub key_id: u8,
    /// The session.
    pub sid: [u8; SID_BYTES],
    /// Which token of the session.
    pub branch: Branch,
    /// The MAC as presented, or as made by the caller.
    pub mac: [u8; MAC_BYTES],
}

/// What the table keeps of a session's renewals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// The newest token that was presented.
    pub branch: Branch,
    /// When it was first presented.
    pub confirmed_at: UnixSeconds,
    /// SHA-256 of the user agent that presented it.
    pub agent: [u8; 32],
}

/// What to do with a genuine renewal token of a live session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The confirmed one again, or a sibling or parent within the grace: answer with a child of the
    /// confirmed one, write nothing.
    AnswerAgain,
    /// A child presented for the first time: compare-and-set to it, answer with its child.
    Advance,
    /// Two parties hold branches of one session: revoke it.
    Replay,
    /// The table knows less than the token: it lost history.
    RolledBack,
}

impl RenewalToken {
    /// Whether `text` may be a renewal token: bounded, prefixed, in the alphabet.
    ///
    /// This is all the edge knows about one.
    #[must_use]
    pub fn is_well_formed(text: &str) -> bool {
        text.len() <= MAX_RENEWAL_TOKEN_BYTES
            && text
                .strip_prefix(PREFIX)
                .is_some_and(|body| !body.is_empty() && body.bytes().all(base64url::is_character))
    }

    /// Parses the form; `None` is `renewal_malformed`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if !Self::is_well_formed(text) {
            return None;
        }
        let bytes = base64url::decode(text.strip_prefix(PREFIX)?)?;
        let bytes: &[u8; TOKEN_BYTES] = bytes.as_slice().try_into().ok()?;
        let (key_id, rest) = bytes.split_first()?;
        let (sid, rest) = rest.split_first_chunk()?;
        let (generation, rest) = rest.split_first_chunk()?;
        let (branch, rest) = rest.split_first_chunk()?;
        let mac = rest.first_chunk()?;
        let branch = Branch {
            generation: u32::from_be_bytes(*generation),
            branch: *branch,
        };
        Some(Self {
            key_id: *key_id,
            sid: *sid,
            branch,
            mac: *mac,
        })
    }

    /// Writes the token as text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut bytes = Vec::with_capacity(TOKEN_BYTES);
        self.push_content(&mut bytes);
        bytes.extend_from_slice(&self.mac);
        format!("{PREFIX}{}", base64url::encode(&bytes))
    }

    /// The bytes the MAC is made over.
    #[must_use]
    pub fn mac_input(&self, issuer: &str) -> Vec<u8> {
        let mut input = MAC_CONTEXT.to_vec();
        input.push(0);
        input.extend_from_slice(issuer.as_bytes());
        input.push(0);
        self.push_content(&mut input);
        input
    }

    fn push_content(&self, bytes: &mut Vec<u8>) {
        bytes.push(self.key_id);
        bytes.extend_from_slice(&self.sid);
        bytes.extend_from_slice(&self.branch.generation.to_be_bytes());
        bytes.extend_from_slice(&self.branch.branch);
    }
}

impl Verdict {
    /// What it comes to while the operator lets a table that lost history take up what it forgot: a
    /// token ahead of it is confirmed like a child.
    #[must_use]
    pub const fn adopting(self) -> Self {
        match self {
            Self::RolledBack => Self::Advance,
            Self::AnswerAgain | Self::Advance | Self::Replay => self,
        }
    }
}

impl std::fmt::Debug for RenewalToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RenewalToken([redacted])")
    }
}

impl Confirmed {
    /// Judges a genuine token presented at `now` by the client whose user agent hashes to `agent`.
    ///
    /// The grace is half-open: it covers `confirmed_at <= now < confirmed_at + grace`. A clock that
    /// went back is inside the grace.
    #[must_use]
    pub fn judge(
        &self,
        presented: Branch,
        agent: &[u8; 32],
        grace: Seconds,
        now: UnixSeconds,
    ) -> Verdict {
        let known = self.branch.generation;
        if presented == self.branch {
            return Verdict::AnswerAgain;
        }
        if known.checked_add(1) == Some(presented.generation) {
            return Verdict::Advance;
        }
        if presented.generation > known {
            return Verdict::RolledBack;
        }
        let near =
            presented.generation == known || presented.generation.checked_add(1) == Some(known);
        let in_grace = now < self.confirmed_at.plus(grace);
        if near && in_grace && *agent == self.agent {
            Verdict::AnswerAgain
        } else {
            Verdict::Replay
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Branch, Confirmed, RenewalToken, Verdict};
    use crate::time::{Seconds, UnixSeconds};

    const GRACE: Seconds = Seconds::new(10);
    const AGENT: [u8; 32] = [7; 32];

    fn at(generation: u32, branch: u8) -> Branch {
        Branch {
            generation,
            branch: [branch; 8],
        }
    }

    fn confirmed(generation: u32) -> Confirmed {
        Confirmed {
            branch: at(generation, 1),
            confirmed_at: UnixSeconds::new(1000),
            agent: AGENT,
        }
    }

    fn judge(presented: Branch, agent: [u8; 32], now: u64) -> Verdict {
        confirmed(5).judge(presented, &agent, GRACE, UnixSeconds::new(now))
    }

    #[test]
    fn judge_answers_again_for_confirmed_token_at_any_time() {
        assert_eq!(judge(at(5, 1), AGENT, 1000), Verdict::AnswerAgain);
        assert_eq!(judge(at(5, 1), [8; 32], 9_999_999), Verdict::AnswerAgain);
    }

    #[test]
    fn judge_advances_for_any_child() {
        assert_eq!(judge(at(6, 1), [8; 32], 5000), Verdict::Advance);
        assert_eq!(judge(at(6, 9), AGENT, 1000), Verdict::Advance);
    }

    #[test]
    fn judge_tolerates_sibling_and_parent_only_within_grace_and_agent() {
        for late in [at(5, 2), at(4, 3)] {
            assert_eq!(judge(late, AGENT, 1009), Verdict::AnswerAgain);
            assert_eq!(judge(late, AGENT, 1010), Verdict::Replay);
            assert_eq!(judge(late, AGENT, 1011), Verdict::Replay);
            assert_eq!(judge(late, [8; 32], 1001), Verdict::Replay);
        }
    }

    #[test]
    fn judge_finds_replay_for_grandparent_even_within_grace() {
        assert_eq!(judge(at(3, 1), AGENT, 1000), Verdict::Replay);
    }

    #[test]
    fn judge_notices_table_that_lost_history() {
        assert_eq!(judge(at(7, 1), AGENT, 1000), Verdict::RolledBack);
        let last = confirmed(u32::MAX).judge(at(0, 1), &AGENT, GRACE, UnixSeconds::new(9999));
        assert_eq!(last, Verdict::Replay);
    }

    #[test]
    fn adopting_confirms_a_token_ahead_of_the_table_and_changes_nothing_else() {
        for ahead in [at(7, 1), at(u32::MAX, 1)] {
            assert_eq!(judge(ahead, AGENT, 1000).adopting(), Verdict::Advance);
        }
        for verdict in [Verdict::AnswerAgain, Verdict::Advance, Verdict::Replay] {
            assert_eq!(verdict.adopting(), verdict);
        }
    }

    #[test]
    fn parse_returns_what_encode_wrote() {
        let token = RenewalToken {
            key_id: 3,
            sid: [9; 16],
            branch: at(77, 4),
            mac: [5; 32],
        };

        let text = token.encode();

        assert!(text.len() < super::MAX_RENEWAL_TOKEN_BYTES);
        assert!(RenewalToken::parse(&text) == Some(token));
    }

    #[test]
    fn is_well_formed_takes_the_longest_and_refuses_one_more() {
        let of_length = |bytes: usize| format!("hp1.{}", "A".repeat(bytes - 4));
        for text in ["hp1.A", "hp1.-_09azAZ", &of_length(86), &of_length(256)] {
            assert!(RenewalToken::is_well_formed(text), "{text}");
        }
        for text in [
            "",
            "hp1",
            "hp1.",
            "hp2.A",
            "A",
            "hp1.A~",
            "hp1.A ",
            &of_length(257),
        ] {
            assert!(!RenewalToken::is_well_formed(text), "{text}");
        }
    }

    #[test]
    fn mac_input_is_the_context_the_issuer_and_the_content() {
        let token = RenewalToken {
            key_id: 3,
            sid: [9; 16],
            branch: at(0x0102_0304, 4),
            mac: [5; 32],
        };
        let context = b"hallpass-renewal-1\0https://sessions.example\0\x03".as_slice();
        let expected = [context, &[9; 16], &[1, 2, 3, 4], &[4; 8]].concat();

        assert_eq!(token.mac_input("https://sessions.example"), expected);
        assert_eq!(format!("{token:?}"), "RenewalToken([redacted])");
    }

    #[test]
    fn parse_refuses_every_other_length_prefix_and_alphabet() {
        let text = RenewalToken {
            key_id: 0,
            sid: [0; 16],
            branch: at(0, 0),
            mac: [0; 32],
        }
        .encode();
        for bad in [
            "",
            "hp1.",
            "hp2.AAAA",
            &text[4..],
            &text[..text.len() - 1],
            &format!("{text}A"),
        ] {
            assert!(RenewalToken::parse(bad).is_none(), "{bad}");
        }
        assert!(RenewalToken::parse(&text.replace('A', "+")).is_none());
        assert!(RenewalToken::parse(&format!("{text} ")).is_none());
    }
}
