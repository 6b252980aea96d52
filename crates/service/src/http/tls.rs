//! The service's certificate and key, if it speaks TLS itself.
//!
//! TLS 1.2 and 1.3 by rustls with ring, HTTP/1.1 inside. Both files are read at the start, where a
//! bad one is refused in words, and again on SIGHUP, where a bad one leaves the old pair in force.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use crate::config::TlsFiles;

/// A certificate with its key, and the files they came from.
pub struct Tls {
    files: TlsFiles,
    current: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads certificate and key.
    ///
    /// # Errors
    ///
    /// Names the file that cannot be used, and why.
    pub fn read(files: &TlsFiles) -> Result<Self, String> {
        Ok(Self {
            current: RwLock::new(Arc::new(configure(files)?)),
            files: files.clone(),
        })
    }

    /// Reads both files again; connections from now on get what they have.
    ///
    /// # Errors
    ///
    /// As at the start; what was read before stays in force.
    pub fn reload(&self) -> Result<(), String> {
        let fresh = Arc::new(configure(&self.files)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// What answers a handshake now.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&current))
    }
}

fn configure(files: &TlsFiles) -> Result<ServerConfig, String> {
    let chain = read_chain(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| unreadable("tls_key", &files.key, "private key", &error))?;
    let unfit = |error: rustls::Error| {
        let (certificate, key) = (files.certificate.display(), files.key.display());
        format!("tls_certificate {certificate} and tls_key {key} do not go together: {error}")
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unfit)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unfit)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unreadable = |error: &pem::Error| unreadable("tls_certificate", file, "certificate", error);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file)
        .map_err(|error| unreadable(&error))?
        .collect();
    let chain = chain.map_err(|error| unreadable(&error))?;
    if chain.is_empty() {
        return Err(unreadable(&pem::Error::NoItemsFound));
    }
    Ok(chain)
}

fn unreadable(setting: &str, file: &Path, what: &str, error: &pem::Error) -> String {
    let why = match error {
        pem::Error::NoItemsFound => format!("has no {what} in PEM form"),
        pem::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    };
    format!("{setting}: {}: {why}", file.display())
}
