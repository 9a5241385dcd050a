//! A certificate authority of the test's own.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

/// Two certificates and which of them is shown.
#[derive(Debug)]
struct Ageing {
    good: Arc<CertifiedKey>,
    old: Arc<CertifiedKey>,
    expired: Arc<AtomicBool>,
}

impl ResolvesServerCert for Ageing {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let expired = self.expired.load(Ordering::SeqCst);
        Some(if expired { &self.old } else { &self.good }.clone())
    }
}

/// Issues certificates for fake registries.
pub struct TestCa {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl TestCa {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    /// For `ca_file`.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A server that shows a certificate for these names and addresses, over TLS 1.2 or 1.3.
    pub fn acceptor(&self, names: &[&str]) -> TlsAcceptor {
        self.ageing_acceptor(names, Arc::default())
    }

    /// The same, only its certificate has expired while `expired` is set.
    pub fn ageing_acceptor(&self, names: &[&str], expired: Arc<AtomicBool>) -> TlsAcceptor {
        let certificates = Ageing {
            good: self.certificate(names, false),
            old: self.certificate(names, true),
            expired,
        };
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certificates));
        TlsAcceptor::from(Arc::new(config))
    }

    /// A certificate and its key, as PEM.
    #[allow(dead_code, reason = "the agent's own listener wants files")]
    pub fn pair(&self, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn certificate(&self, names: &[&str], expired: bool) -> Arc<CertifiedKey> {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        if expired {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2020, 2, 1);
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
        Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key))
    }
}

impl Default for TestCa {
    fn default() -> Self {
        Self::new()
    }
}
