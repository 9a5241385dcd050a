//! Connections and certificates of every address, and what a tier's health says. Facts in, findings out.

use super::code::Code;
use super::report::{Check, Severity};
use super::sources::{EndpointFacts, SourceFacts};
use crate::health::Verdict;
use crate::printable::{blanked, counted};
use crate::telemetry::{EXPIRES_SOON, human_days};
use crate::upstream::{Certificate, CertificateFault};
use std::time::{Duration, SystemTime};

/// By how much a clock may be measured wrong: a `Date` has whole seconds, and the answer took its time.
const PRECISION: Duration = Duration::from_secs(2);

/// Connections, certificates, health. An upstream without a connection is `environment`'s to say.
/// `ahead` is by how many seconds the sources' clocks are ahead of this node's: what their time would cure is the
/// clock's fault, and said there.
pub(super) fn connections(sources: &[SourceFacts], now: SystemTime, ahead: i64) -> Check {
    let has_tiers = sources.iter().any(SourceFacts::is_tier);
    let endpoints: usize = sources.iter().map(|one| one.endpoints.len()).sum();
    if endpoints == 0 {
        return Check::not_applicable("connections", "no source has an address");
    }
    let shown = |one: &&EndpointFacts| one.shown.is_ok();
    let reached: usize = sources
        .iter()
        .map(|one| one.endpoints.iter().filter(shown).count())
        .sum();
    let mut check = Check::made(
        "connections",
        format!(
            "{reached} of {} reached",
            counted(endpoints as u64, "address", "addresses")
        ),
    );
    for one in sources {
        if one.source.tls.insecure_skip_verify {
            check.warn(
                Code::TlsNotChecked,
                one.name(),
                "its certificate is not checked (insecure_skip_verify): whoever is in between can read its credential and choose its tags",
                "give its authority as ca_file and take insecure_skip_verify out",
            );
        }
        for endpoint in &one.endpoints {
            judge(&mut check, one, endpoint, has_tiers, now, ahead);
        }
    }
    check
}

fn judge(
    check: &mut Check,
    one: &SourceFacts,
    endpoint: &EndpointFacts,
    has_tiers: bool,
    now: SystemTime,
    ahead: i64,
) {
    let essential = one.is_tier() || !has_tiers;
    match &endpoint.shown {
        Err(why) if one.is_tier() && one.source.proxy.is_some() && !why.starts_with("TLS") => {
            let proxy = one.source.dialled().authority();
            check.error(
                Code::ProxyFails,
                endpoint.id.to_string(),
                format!("it is not reached through the proxy {proxy}: {why}"),
                "see that the proxy answers and lets this node ask for that host, or write proxy = \"none\" into that tier",
            );
        }
        Err(why) if one.is_tier() => {
            let tls = why.starts_with("TLS");
            let (code, instead) = if why.starts_with("not dialling") {
                (
                    Code::EndpointUnreachable,
                    "correct url, or what DNS says of its host: docs/security.md has the addresses that are never dialled",
                )
            } else if tls {
                (Code::TlsFails, instead_of_handshake(why))
            } else {
                (
                    Code::EndpointUnreachable,
                    "see that the machine is up and that firewalls let this node through; an address that is gone belongs out of DNS",
                )
            };
            check.error(code, endpoint.id.to_string(), why, instead);
        }
        // With addresses and without a way there: a matter of the way out.
        Err(_) => {}
        Ok(shown) => {
            if let Some(instead) = &shown.moved {
                let severity = Severity::error_if(one.is_tier());
                let said = "it is asked by http and sends its clients on to https, where no credential follows";
                return check.find(
                    severity,
                    Code::EndpointUnhealthy,
                    endpoint.id.to_string(),
                    said,
                    instead,
                );
            }
            if let Some(certificate) = &shown.certificate
                && !one.source.tls.insecure_skip_verify
                && !is_cured(certificate, now, ahead)
            {
                judge_certificate(check, one, endpoint, certificate, essential, now);
            }
        }
    }
    let said = match &endpoint.probe {
        Some(Verdict::Unhealthy(why)) => format!("it says that it is unhealthy: {why}"),
        Some(Verdict::Failed { detail, .. }) => format!("its health cannot be asked: {detail}"),
        Some(Verdict::Passed) | None => return,
    };
    check.error(
        Code::EndpointUnhealthy,
        endpoint.id.to_string(),
        said,
        "look at that Harbor: GET /api/v2.0/health says which component is down; the agent uses other addresses meanwhile",
    );
}

/// What helps where there is no handshake, by what its failure says.
fn instead_of_handshake(why: &str) -> &'static str {
    let says = |words: &[&str]| words.iter().any(|word| why.contains(word));
    if says(&["the RSA key of its certificate"]) {
        "issue a certificate with an RSA key of 2048 bits or more, or an ECDSA key: a smaller one proves nothing, and neither ca_file nor insecure_skip_verify lets it pass"
    } else if says(&["HandshakeFailure", "handshake_failure"]) {
        "the server takes none of the agent's cipher suites: CBC suites, RSA key exchange and the like alone are not spoken. Let it take ECDHE with AES-GCM or ChaCha20-Poly1305 (nginx: ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20), or TLS 1.3; a certificate in ca_file does not help"
    } else if says(&["ProtocolVersion", "protocol_version"]) {
        "the server speaks neither TLS 1.2 nor 1.3: let it (nginx: ssl_protocols TLSv1.2 TLSv1.3)"
    } else {
        "see that the server speaks TLS 1.2 or 1.3 on that port, and that nothing in between takes TLS apart"
    }
}

fn judge_certificate(
    check: &mut Check,
    one: &SourceFacts,
    endpoint: &EndpointFacts,
    certificate: &Certificate,
    essential: bool,
    now: SystemTime,
) {
    let host = &one.source.url.host;
    let Certificate {
        issuer,
        names,
        begins,
        ends,
        fault,
        ..
    } = certificate;
    let issuer = plain(issuer);
    let severity = match fault {
        Some(_) => Severity::error_if(essential),
        None => Severity::Warning,
    };
    let (code, what, instead) = match fault {
        Some(CertificateFault::UnknownIssuer) => {
            let known = match one.source.tls.ca {
                Some(_) => "neither ca_file nor the system's roots know",
                None => "the system's roots do not know",
            };
            (
                Code::TlsUnknownIssuer,
                format!("its certificate was signed by {issuer:?}, whom {known}"),
                format!("put that authority's certificate (or, self-signed, the server's own) into ca_file of {}", one.name()),
            )
        }
        Some(CertificateFault::Expired) => (
            Code::TlsExpired,
            format!("its certificate expired {} ago", span(*ends, now)),
            "renew the certificate on that server; if others find it good, this node's clock is wrong".to_owned(),
        ),
        Some(CertificateFault::NotYetValid) => (
            Code::TlsNotYetValid,
            format!("its certificate becomes valid in {}", span(now, *begins)),
            "see this node's clock first (timedatectl), then the certificate".to_owned(),
        ),
        Some(CertificateFault::WrongName) => {
            let names: Vec<String> = names.iter().map(|name| plain(name)).collect();
            (
                Code::TlsWrongName,
                format!("its certificate is for {}, not for {host}", joined_or_none(&names)),
                format!("issue one that has {host} among its alternative names, or correct url; see that DNS leads to the right machine"),
            )
        }
        Some(CertificateFault::Authority) => (
            Code::TlsFails,
            format!("its certificate is one of an authority (CA:TRUE), signed by {issuer:?}; as a server's it is refused"),
            format!("put that certificate itself into ca_file of {}: what stands there byte for byte is taken while its name and dates are right; or issue one with CA:FALSE", one.name()),
        ),
        Some(CertificateFault::Other(why)) => (
            Code::TlsFails,
            format!("its certificate is refused: {}", plain(&why.to_string())),
            format!("issue another one for that server (RSA of 2048 bits and more or ECDSA, signed with SHA-256 or better); or put the server's own certificate into ca_file of {}, which is then taken while its name, dates and key are right", one.name()),
        ),
        None if is_expiring(*begins, *ends, now) => (
            Code::TlsExpiring,
            format!("its certificate expires in {}", span(now, *ends)),
            "renew it on that server in time".to_owned(),
        ),
        None => return,
    };
    check.find(severity, code, endpoint.id.to_string(), what, instead);
}

/// A right clock on this node would make it good.
fn is_cured(certificate: &Certificate, now: SystemTime, ahead: i64) -> bool {
    use CertificateFault::{Expired, NotYetValid};
    let span = Duration::from_secs(ahead.unsigned_abs());
    let theirs = if ahead > 0 {
        now.checked_add(span)
    } else {
        now.checked_sub(span)
    };
    let is_after = |one: SystemTime, other: SystemTime| {
        let by = one.duration_since(other).unwrap_or_default();
        by > PRECISION
    };
    let fits = theirs.is_some_and(|time| {
        !is_after(certificate.begins, time) && !is_after(time, certificate.ends)
    });
    matches!(certificate.fault, Some(Expired | NotYetValid)) && fits && ahead != 0
}

/// Soon, and in the last third of its life: some are good for a week only, and renewed.
fn is_expiring(begins: SystemTime, ends: SystemTime, now: SystemTime) -> bool {
    let left = ends.duration_since(now).unwrap_or_default();
    let life = ends.duration_since(begins).unwrap_or_default();
    left < EXPIRES_SOON && left < life.div_f64(3.0)
}

/// From one time to another.
fn span(from: SystemTime, to: SystemTime) -> String {
    human_days(to.duration_since(from).unwrap_or_default())
}

fn joined_or_none(names: &[String]) -> String {
    match names {
        [] => "no name at all".to_owned(),
        _ => names.join(", "),
    }
}

/// A stranger's words on one line.
fn plain(text: &str) -> String {
    blanked(text).take(160).collect()
}

#[cfg(test)]
mod tests;
