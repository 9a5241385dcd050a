//! What the gateway's listeners have that containerd's own have not: TLS, two health pages, and the name that clients dialled as
//! the registry that they mean.

use super::Answer;
use super::request::plain;
use super::socket::Stream;
use crate::admission::Slot;
use crate::config;
use crate::http1::Request;
use crate::lifecycle::Socket;
use crate::router::Dispatcher;
use http::header::HOST;
use http::{Method, StatusCode};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The settings of such a listener. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gateway {
    /// With the newest certificate.
    pub tls: watch::Receiver<Arc<ServerConfig>>,
    /// What `/readyz` of the admin endpoint says.
    pub is_ready: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// Why there is no TLS with a certificate and its key, which the configuration has checked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("reading the PEM of [server.gateway]")]
    Pem(#[from] rustls_pki_types::pem::Error),
    #[error("setting up TLS for [server.gateway]")]
    Setup(#[from] rustls::Error),
}

/// TLS 1.2 and 1.3, HTTP/1.1.
pub(crate) fn tls(of: &config::Gateway) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = CertificateDer::pem_slice_iter(&of.chain).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(of.key.reveal().as_bytes())?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(tls))
}

// === impl Gateway ===

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").finish_non_exhaustive()
    }
}

impl Gateway {
    /// The connection behind its handshake; `None`: there was none in time, or its slot is another's.
    pub(super) async fn shake_hands(&self, socket: Socket, slot: &Slot) -> Option<Stream> {
        slot.reads_head(Instant::now());
        let acceptor = TlsAcceptor::from(self.tls.borrow().clone());
        let shaken = tokio::select! {
            // Not cancel safe, and needs not be: the connection ends with it.
            shaken = timeout(HANDSHAKE, acceptor.accept(socket)) => shaken,
            // Cancel safe: it only waits.
            () = slot.evicted() => return None,
        };
        match shaken {
            Ok(Ok(stream)) => Some(Stream::Right(Box::new(stream))),
            Ok(Err(error)) => {
                tracing::debug!("TLS handshake of a client: {error}");
                None
            }
            Err(_) => {
                tracing::debug!("a client's TLS handshake took too long");
                None
            }
        }
    }

    /// The health pages: of those that balance load, who know no key and need no reasons.
    pub(super) fn health(&self, request: &Request, dispatcher: &Dispatcher) -> Option<Answer> {
        let is_well = match request.target.as_str() {
            "/healthz" => dispatcher.has_projects(),
            "/readyz" => (self.is_ready)(),
            _ => return None,
        };
        let head = request.method == Method::HEAD;
        if !head && request.method != Method::GET {
            return None;
        }
        let (status, text) = match is_well {
            true => (StatusCode::OK, "ok\n"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "not ok\n"),
        };
        Some(plain(
            dispatcher.relay(),
            (status, "text/plain"),
            text,
            head,
        ))
    }

    /// The router's name that the client has dialled, where it says no other: behind it stands the registry's `?ns=`.
    pub(super) fn dialled(request: &Request, dispatcher: &Dispatcher) -> Option<String> {
        let host = request.fields.text(&HOST)?;
        dispatcher.name_of(host)
    }
}
