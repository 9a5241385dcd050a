//! What a source's own rules say of a certificate, apart from any connection: for reports that must tell a wrong
//! authority from an expired certificate.

use super::{
    BuildError, Seen, Unverified, client_config, other_name, server_name, source_verifier,
};
use crate::config::Tls;
use crate::topology::Source;
use rustls::client::danger::ServerCertVerifier;
use rustls::{CertificateError, ClientConfig, Error, OtherError};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Why a certificate is refused.
#[derive(Clone, Debug, PartialEq)]
pub enum CertificateFault {
    /// Nobody in `ca_file` or among the system's roots signed it.
    UnknownIssuer,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It is for other names.
    WrongName,
    /// It is an authority's own (CA:TRUE), issued by another one.
    Authority,
    /// What else rustls refuses.
    Other(Error),
}

/// Settings with which a handshake always succeeds; what was shown is judged afterwards. Nothing secret may be sent
/// over such a connection.
pub(in crate::upstream) fn unverified(tls: &Tls) -> Result<(Arc<ClientConfig>, Seen), BuildError> {
    let verifier = Unverified::default();
    let seen = verifier.seen.clone();
    let config = client_config(Arc::new(verifier), tls.client.as_ref())?;
    Ok((Arc::new(config), seen))
}

/// Why the source would refuse this chain at `now`; `None`: it would not.
pub(in crate::upstream) fn judge(
    source: &Source,
    chain: &[CertificateDer<'_>],
    now: SystemTime,
) -> Result<Option<CertificateFault>, BuildError> {
    let Some((own, rest)) = chain.split_first() else {
        let none = Error::NoCertificatesPresented;
        return Ok(Some(CertificateFault::Other(none)));
    };
    let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let now = UnixTime::since_unix_epoch(since);
    let verifier = source_verifier(&source.tls, other_name(source))?;
    let Ok(name) = server_name(&source.url.host) else {
        return Ok(Some(CertificateFault::WrongName));
    };
    let verified = verifier.verify_server_cert(own, rest, &name, &[], now);
    Ok(verified.err().map(fault))
}

fn fault(error: Error) -> CertificateFault {
    use CertificateError as Wrong;
    match error {
        Error::InvalidCertificate(Wrong::UnknownIssuer) => CertificateFault::UnknownIssuer,
        Error::InvalidCertificate(Wrong::Expired | Wrong::ExpiredContext { .. }) => {
            CertificateFault::Expired
        }
        Error::InvalidCertificate(Wrong::NotValidYet | Wrong::NotValidYetContext { .. }) => {
            CertificateFault::NotYetValid
        }
        Error::InvalidCertificate(
            Wrong::NotValidForName | Wrong::NotValidForNameContext { .. },
        ) => CertificateFault::WrongName,
        Error::InvalidCertificate(Wrong::Other(ref other)) if is_an_authoritys(other) => {
            CertificateFault::Authority
        }
        other => CertificateFault::Other(other),
    }
}

/// webpki takes no certificate for a server's that says of itself that it is an authority (CA:TRUE).
fn is_an_authoritys(other: &OtherError) -> bool {
    other.to_string().contains("CaUsedAsEndEntity")
}
