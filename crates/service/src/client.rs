//! HTTP requests that this program makes itself: the webhook's, and those of commands.
//!
//! One request on one connection. Certificates are judged as the machine does; `SSL_CERT_FILE` names
//! others. Time limits are the caller's.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Asks one server.
pub(crate) struct Client {
    uri: Uri,
    tls: Option<TlsConnector>,
}

/// What it said.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// A client of the server in `uri`, `https` or `http`.
    ///
    /// # Errors
    ///
    /// In words: when this machine trusts no certificate at all.
    pub(crate) fn of(uri: Uri) -> Result<Self, String> {
        let tls = uri.scheme_str() == Some("https");
        Ok(Self {
            tls: tls.then(trusting).transpose()?,
            uri,
        })
    }

    /// The address as it was given.
    pub(crate) const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Host and port, for the header `Host`.
    pub(crate) fn authority(&self) -> &str {
        let authority = self.uri.authority();
        authority.map_or("", axum::http::uri::Authority::as_str)
    }

    /// Sends a request and reads the whole answer, of which the body is at most so long.
    ///
    /// # Errors
    ///
    /// In words: what did not work.
    pub(crate) async fn send(
        &self,
        request: Request<Body>,
        body_max_bytes: usize,
    ) -> Result<Answer, String> {
        let (parts, body) = self.exchange(request).await?.into_parts();
        let body = Limited::new(body, body_max_bytes).collect().await;
        let body = body.map_err(|error| format!("the answer broke off: {error}"))?;
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes().to_vec(),
        })
    }

    /// Sends a request of whose answer only the status matters.
    ///
    /// # Errors
    ///
    /// As [`Client::send`].
    pub(crate) async fn status(&self, request: Request<Body>) -> Result<StatusCode, String> {
        Ok(self.exchange(request).await?.status())
    }

    async fn exchange(&self, request: Request<Body>) -> Result<Response<Incoming>, String> {
        let host = self.uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let default_port = if self.tls.is_some() { 443 } else { 80 };
        let port = self.uri.port_u16().unwrap_or(default_port);
        let stream = TcpStream::connect((host, port)).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let Some(tls) = &self.tls else {
            return exchange(TokioIo::new(stream), request).await;
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let stream = tls.connect(name, stream).await;
        let stream = stream.map_err(|error| format!("TLS: {error}"))?;
        exchange(TokioIo::new(stream), request).await
    }
}

/// The connection ends with its answer.
async fn exchange<S>(stream: S, request: Request<Body>) -> Result<Response<Incoming>, String>
where
    S: Read + Write + Unpin + Send + 'static,
{
    let connected = http1::handshake(stream).await;
    let (mut sender, connection) = connected.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let answer = sender.send_request(request).await;
    answer.map_err(|error| error.to_string())
}

fn trusting() -> Result<TlsConnector, String> {
    let mut trusted = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = trusted.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err("this machine trusts no certificate".to_owned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
