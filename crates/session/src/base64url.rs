//! base64url without padding, canonical only (RFC 4648 §5, RFC 7515 §2).
//!
//! Decoding refuses padding, white space, other alphabets, impossible lengths and non-zero spare
//! bits, so that two different texts never mean the same bytes.

use ct_codecs::{Base64UrlSafeNoPadding, Decoder, Encoder};

/// Whether `byte` may stand in base64url.
#[must_use]
pub const fn is_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// Decodes canonical base64url; `None` for anything else.
///
/// Allocates at most the length of `text`: bound that first.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    Base64UrlSafeNoPadding::decode_to_vec(text, None).ok()
}

/// Encodes without padding.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    // The encoder fails only when 4/3 of the length overflows a usize.
    Base64UrlSafeNoPadding::encode_to_string(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{decode, encode, is_character};

    #[test]
    fn decode_returns_what_encode_wrote() {
        for length in 0..70_u8 {
            let bytes: Vec<u8> = (0..length).collect();
            assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }
    }

    #[test]
    fn is_character_takes_the_sixty_four_and_no_other() {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        for byte in 0..=u8::MAX {
            assert_eq!(is_character(byte), alphabet.contains(&byte), "{byte}");
        }
    }

    #[test]
    fn decode_refuses_every_form_that_is_not_canonical() {
        for text in [
            "QQ==", "Q", "QR", "QUJ", "QUI=", "+/+/", " QUI", "QUI\n", "QU I", "QUI#",
        ] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }
}
