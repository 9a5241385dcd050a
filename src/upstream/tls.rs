//! rustls settings of each source (design S4): TLS 1.2 and 1.3 with AES first, HTTP/1.1 by ALPN, resumption, the
//! system's roots beside the source's CA, client certificates.

mod judge;
mod verify;

pub use judge::CertificateFault;
pub(super) use judge::{judge, unverified};
pub(super) use verify::Seen;

use super::guard;
use crate::config::{BaseUrl, Tls};
use crate::printable::chain;
use crate::topology::{Source, SourceId};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{CipherSuite, ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};
use verify::{SourceVerifier, Unverified};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

/// Sessions kept per source: one host, its addresses, and the few hosts that it names.
const SESSIONS: usize = 32;

/// How TLS is spoken for one source.
#[derive(Clone, Debug)]
pub(super) struct SourceTls {
    /// To the source's own host.
    own: Arc<ClientConfig>,
    /// To hosts that it names: always verified, and without the source's client certificate.
    named: Arc<ClientConfig>,
}

/// Why a source's TLS settings are of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum BuildError {
    #[error("reading the PEM of `ca_file`")]
    Ca(#[source] rustls_pki_types::pem::Error),
    #[error("`ca_file` holds no certificate")]
    NoCa,
    #[error("a certificate in `ca_file` is of no use as an authority or as a server's own")]
    UselessCa(#[source] rustls::Error),
    #[error("reading the PEM of `client_cert_file`")]
    ClientChain(#[source] rustls_pki_types::pem::Error),
    #[error("reading the PEM of `client_key_file`")]
    ClientKey(#[source] rustls_pki_types::pem::Error),
    #[error("`client_cert_file` and `client_key_file` do not go together")]
    Client(#[source] rustls::Error),
    #[error("setting up TLS")]
    Setup(#[source] rustls::Error),
}

// === impl SourceTls ===

impl SourceTls {
    /// Builds the settings. Reads the system's roots from disk the first time. `also`: what a certificate of the source's own host
    /// may be for as well ([`other_name`]).
    pub(super) fn new(tls: &Tls, also: Option<ServerName<'static>>) -> Result<Self, BuildError> {
        let alone = also.is_none();
        let named = Arc::new(source_verifier(tls, None)?);
        let verifier: Arc<dyn ServerCertVerifier> = match also {
            Some(_) => Arc::new(source_verifier(tls, also)?),
            None => named.clone(),
        };
        let named = Arc::new(client_config(named, None)?);
        let own = if tls.insecure_skip_verify {
            let unverified = Arc::new(Unverified::default());
            Arc::new(client_config(unverified, tls.client.as_ref())?)
        } else if tls.client.is_some() || !alone {
            Arc::new(client_config(verifier, tls.client.as_ref())?)
        } else {
            named.clone()
        };
        Ok(Self { own, named })
    }

    /// For the source itself.
    pub(super) fn own(&self) -> &Arc<ClientConfig> {
        &self.own
    }

    /// For a host that the source named: its own settings only where it is the same host.
    pub(super) fn for_target(&self, source: &Source, target: &BaseUrl) -> &Arc<ClientConfig> {
        if source.url.https && source.url.host == target.host {
            &self.own
        } else {
            &self.named
        }
    }
}

/// For a server that is no source: always verified, with this one protocol.
///
/// # Errors
/// Why the settings are of no use.
pub(crate) fn verified(tls: &Tls, protocol: &[u8]) -> Result<Arc<ClientConfig>, String> {
    let config = source_verifier(tls, None)
        .and_then(|verifier| client_config(Arc::new(verifier), tls.client.as_ref()));
    let mut config = config.map_err(|error| chain(&error))?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}

/// The name that a certificate must fit: a DNS name or an IP address.
pub(crate) fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    if let Some(address) = guard::literal(host) {
        return Ok(ServerName::IpAddress(address.into()));
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    ServerName::try_from(host.to_owned()).map_err(|error| format!("{host:?}: {error}"))
}

/// Where a registry's `upstream` is an IP address, its certificate may be for the registry's name instead: who has that one is the
/// registry, and certificates for addresses are rare.
pub(super) fn other_name(source: &Source) -> Option<ServerName<'static>> {
    let SourceId::Upstream(registry) = &source.id else {
        return None;
    };
    guard::literal(&source.url.host)?;
    let host = registry.as_str().split(':').next()?;
    let name = server_name(host).ok()?;
    matches!(name, ServerName::DnsName(_)).then_some(name)
}

/// When a certificate ends.
pub(super) fn not_after(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(time(parsed.validity().not_after))
}

/// A certificate's time, as far as a clock holds it.
pub(super) fn time(time: ASN1Time) -> SystemTime {
    let epoch = SystemTime::UNIX_EPOCH;
    epoch.checked_add(since_1970(time)).unwrap_or(epoch)
}

/// A time before 1970 counts as 1970.
fn since_1970(time: ASN1Time) -> Duration {
    Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or_default())
}

/// aws-lc-rs with the ChaCha20 suites last: they cost twice the CPU of AES where the processor knows AES, and every
/// server prefers for itself where it does not.
fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites.sort_by_key(|suite| {
            matches!(
                suite.suite(),
                CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
                    | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
                    | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
            )
        });
        Arc::new(provider)
    })
}

/// The system's roots, read once; `None` where there are none (a node that only knows its own CA).
fn system_roots() -> Option<Arc<WebPkiServerVerifier>> {
    static ROOTS: OnceLock<Option<Arc<WebPkiServerVerifier>>> = OnceLock::new();
    ROOTS
        .get_or_init(|| {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!(%error, "reading the system's certificates");
            }
            let mut roots = RootCertStore::empty();
            let (_, ignored) = roots.add_parsable_certificates(found.certs);
            if ignored > 0 {
                tracing::debug!(ignored, "system certificates that cannot be read");
            }
            web_pki(roots)
        })
        .clone()
}

fn web_pki(roots: RootCertStore) -> Option<Arc<WebPkiServerVerifier>> {
    // Fails only for an empty store.
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider().clone())
        .build()
        .ok()
}

fn source_verifier(
    tls: &Tls,
    also: Option<ServerName<'static>>,
) -> Result<SourceVerifier, BuildError> {
    let Some(pem) = &tls.ca else {
        return Ok(SourceVerifier {
            ca: None,
            system: system_roots(),
            pinned: Vec::new(),
            also,
        });
    };
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(BuildError::Ca)?;
    if certificates.is_empty() {
        return Err(BuildError::NoCa);
    }
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots
            .add(certificate.clone())
            .map_err(BuildError::UselessCa)?;
    }
    Ok(SourceVerifier {
        ca: web_pki(roots),
        system: system_roots(),
        pinned: certificates,
        also,
    })
}

fn client_config(
    verifier: Arc<dyn ServerCertVerifier>,
    client: Option<&(Arc<[u8]>, crate::config::Secret)>,
) -> Result<ClientConfig, BuildError> {
    let builder = ClientConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(BuildError::Setup)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = CertificateDer::pem_slice_iter(chain)
                .collect::<Result<Vec<_>, _>>()
                .map_err(BuildError::ClientChain)?;
            let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes())
                .map_err(BuildError::ClientKey)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(BuildError::Client)?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(config)
}

#[cfg(test)]
mod tests;
