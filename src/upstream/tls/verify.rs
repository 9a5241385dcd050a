//! Certificate checks: the source's CA, then the system's roots, then the one case that webpki alone refuses, a
//! self-signed server certificate that stands byte for byte in `ca_file` (design S4).

use super::{provider, since_1970};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

/// Signatures of handshakes are always checked, with the provider's algorithms.
macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, cert, dss, algorithms())
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, cert, dss, algorithms())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            algorithms().supported_schemes()
        }
    };
}

fn algorithms() -> &'static WebPkiSupportedAlgorithms {
    &provider().signature_verification_algorithms
}

/// Checks a source's certificate. Signatures of the handshake are always checked.
#[derive(Debug)]
pub(super) struct SourceVerifier {
    /// The authorities of `ca_file`, tried before `system`.
    pub(super) ca: Option<Arc<WebPkiServerVerifier>>,
    /// Shared by all sources.
    pub(super) system: Option<Arc<WebPkiServerVerifier>>,
    /// What stands in `ca_file`.
    pub(super) pinned: Vec<CertificateDer<'static>>,
    /// Instead of an IP address a certificate may be for this name.
    pub(super) also: Option<ServerName<'static>>,
}

/// Checks no certificate, for `insecure_skip_verify`. The handshake's signature is still checked: it costs
/// nothing and shows broken servers.
#[derive(Debug, Default)]
pub(super) struct Unverified {
    /// The certificate of one handshake.
    pub(super) seen: Seen,
}

/// The certificate that a server showed, also where its handshake failed.
#[derive(Clone, Debug, Default)]
pub(in crate::upstream) struct Seen(Arc<OnceLock<CertificateDer<'static>>>);

// === impl SourceVerifier ===

impl SourceVerifier {
    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.pinned.iter().any(|pin| pin == end_entity) {
            return check_pinned(end_entity, server_name, now);
        }
        let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let mut first = None;
        for roots in [&self.ca, &self.system].into_iter().flatten() {
            match roots.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ) {
                Ok(verified) => return Ok(verified),
                // Of two refusals the one that got further says more.
                Err(error) if error == unknown => {}
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or(unknown))
    }
}

impl ServerCertVerifier for SourceVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |name| self.verify(end_entity, intermediates, name, ocsp_response, now);
        let verified = verify(server_name);
        match (&verified, server_name, &self.also) {
            (Err(error), ServerName::IpAddress(_), Some(also)) if is_of_the_name(error) => {
                verify(also).or(verified)
            }
            _ => verified,
        }
    }

    signatures!();
}

/// Whether nothing but the name was wrong.
fn is_of_the_name(error: &Error) -> bool {
    use CertificateError as Wrong;
    matches!(
        error,
        Error::InvalidCertificate(Wrong::NotValidForName | Wrong::NotValidForNameContext { .. })
    )
}

/// A certificate that was written down byte for byte needs no issuer, but its name and its time must fit.
fn check_pinned(
    certificate: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let refused = |error| Error::InvalidCertificate(error);
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|_| refused(CertificateError::BadEncoding))?;
    let not_before = UnixTime::since_unix_epoch(since_1970(parsed.validity().not_before));
    let not_after = UnixTime::since_unix_epoch(since_1970(parsed.validity().not_after));
    if now < not_before {
        let time = now;
        return Err(refused(CertificateError::NotValidYetContext {
            time,
            not_before,
        }));
    }
    if now > not_after {
        let time = now;
        return Err(refused(CertificateError::ExpiredContext {
            time,
            not_after,
        }));
    }
    let alternatives = parsed
        .subject_alternative_name()
        .map_err(|_| refused(CertificateError::BadEncoding))?;
    if alternatives.is_some() {
        verify_server_name(&ParsedCertificate::try_from(certificate)?, server_name)?;
    } else if !common_name_fits(&parsed, server_name) {
        return Err(refused(CertificateError::NotValidForName));
    }
    Ok(ServerCertVerified::assertion())
}

/// `openssl req -x509 -subj /CN=host` writes no alternative names at all; only then the common name counts, whole.
fn common_name_fits(certificate: &X509Certificate<'_>, server_name: &ServerName<'_>) -> bool {
    let mut names = certificate.subject().iter_common_name();
    names.any(|name| match (name.as_str(), server_name) {
        (Ok(name), ServerName::DnsName(wanted)) => name.eq_ignore_ascii_case(wanted.as_ref()),
        (Ok(name), ServerName::IpAddress(wanted)) => name
            .parse::<IpAddr>()
            .is_ok_and(|address| address == IpAddr::from(*wanted)),
        _ => false,
    })
}

// === impl Seen ===

impl Seen {
    /// The bits of its RSA key, if it is one with which no server is believed: rustls takes 2048 and more.
    pub(in crate::upstream) fn weak_key(&self) -> Option<usize> {
        let (_, parsed) = X509Certificate::from_der(self.0.get()?).ok()?;
        match parsed.public_key().parsed().ok()? {
            PublicKey::RSA(key) => Some(key.key_size()).filter(|bits| *bits < 2048),
            _ => None,
        }
    }
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The first one stays: each inspection has settings of its own.
        self.seen.0.get_or_init(|| end_entity.clone().into_owned());
        Ok(ServerCertVerified::assertion())
    }

    signatures!();
}
