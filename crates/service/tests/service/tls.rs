//! The service speaking TLS with a certificate of this hour's making.

use std::path::Path;
use std::sync::Arc;

use crate::database::Database;
use crate::running::Running;
use hallpass_service::config::TlsFiles;
use hallpass_service::http::{Listening, Tls, router, serve};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

pub(crate) const OK: &str = "HTTP/1.1 200 OK";

/// A folder with `cert.pem` and `key.pem` for `localhost`.
pub(crate) fn certified() -> (TempDir, TlsFiles) {
    let folder = tempfile::tempdir().unwrap();
    let files = TlsFiles {
        certificate: folder.path().join("cert.pem"),
        key: folder.path().join("key.pem"),
    };
    renew_certificate(&files);
    (folder, files)
}

pub(crate) fn renew_certificate(files: &TlsFiles) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
}

/// The status line of `GET /healthz`, asked by a client that trusts this certificate only.
pub(crate) async fn health(port: u16, certificate: &Path) -> std::io::Result<String> {
    let mut trusted = RootCertStore::empty();
    trusted
        .add(CertificateDer::from_pem_file(certificate).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(trusted)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await?;
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn tls_serves_with_the_certificate_and_takes_a_new_one() {
    let service = Running::start(Database::Sqlite).await;
    let (_folder, files) = certified();
    let tls = Arc::new(Tls::read(&files).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let routes = router(Arc::clone(&service.service));
    let listening = Listening::new(listener, Some(Arc::clone(&tls)));
    let server = tokio::spawn(serve(listening, routes, std::future::pending()));
    assert_eq!(health(port, &files.certificate).await.unwrap(), OK);

    let old = files.certificate.with_file_name("old.pem");
    std::fs::copy(&files.certificate, &old).unwrap();
    renew_certificate(&files);
    tls.reload().unwrap();
    assert_eq!(health(port, &files.certificate).await.unwrap(), OK);
    assert!(health(port, &old).await.is_err(), "the old one is gone");

    std::fs::write(&files.key, "spoiled").unwrap();
    assert!(tls.reload().unwrap_err().starts_with("tls_key"));
    assert_eq!(health(port, &files.certificate).await.unwrap(), OK);

    let plain = reqwest::get(format!("http://localhost:{port}/healthz")).await;
    assert!(plain.is_err(), "nothing in clear on this port");
    server.abort();
}

#[tokio::test]
async fn tls_refuses_bad_files_by_setting_and_reason() {
    let (folder, files) = certified();
    let (_other_folder, other) = certified();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing here").unwrap();
    let refused = |certificate: &Path, key: &Path| {
        let files = TlsFiles {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        };
        Tls::read(&files).map(drop).unwrap_err()
    };

    let absent = refused(Path::new("/nowhere.pem"), &files.key);
    assert!(
        absent.starts_with("tls_certificate: /nowhere.pem: "),
        "{absent}"
    );
    let no_certificate = refused(&empty, &files.key);
    assert!(
        no_certificate.contains("has no certificate"),
        "{no_certificate}"
    );
    let no_key = refused(&files.certificate, &empty);
    assert!(no_key.contains("has no private key"), "{no_key}");
    let foreign = refused(&files.certificate, &other.key);
    assert!(foreign.contains("do not go together"), "{foreign}");
}
