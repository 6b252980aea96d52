//! The key that seals the other keys at rest.
//!
//! XChaCha20-Poly1305 with a random nonce, 24 bytes written before the sealed bytes. The label, a
//! row's kind and id, is associated data: a sealed secret moved to another row does not open.

use std::path::Path;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hallpass_session::base64url;

use crate::clock::random_bytes;
use crate::failure::Fault;

const NONCE_BYTES: usize = 24;

/// Seals keys at rest.
pub struct MasterKey([u8; 32]);

impl MasterKey {
    /// A key of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads 32 bytes in base64url from a file.
    ///
    /// # Errors
    ///
    /// In words, naming the file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("master_key_file {shown}: {error}"))?;
        base64url::decode(text.trim())
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| format!("master_key_file {shown}: must hold 32 bytes in base64url"))
    }

    /// What `judge` says of its bytes.
    pub(crate) fn weakness(
        &self,
        judge: impl Fn(&[u8]) -> Option<&'static str>,
    ) -> Option<&'static str> {
        judge(&self.0)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.0.into())
    }

    /// Seals `secret`; only the same `label` opens it.
    ///
    /// # Errors
    ///
    /// `Fault::Randomness`.
    pub(crate) fn seal(&self, secret: &[u8], label: &[u8]) -> Result<Vec<u8>, Fault> {
        let nonce: [u8; NONCE_BYTES] = random_bytes().map_err(Fault::Randomness)?;
        let payload = Payload {
            msg: secret,
            aad: label,
        };
        let sealed = self.cipher().encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| Fault::Keys("a key could not be sealed".to_owned()))?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// Opens what `seal` made under the same `label`.
    pub(crate) fn open(&self, sealed: &[u8], label: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload {
            msg: sealed,
            aad: label,
        };
        self.cipher().decrypt(&XNonce::from(*nonce), payload).ok()
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey([redacted])")
    }
}
