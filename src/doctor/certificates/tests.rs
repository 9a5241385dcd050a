//! Tables of certificates and connections.

use super::super::testing::{endpoint, tier, upstream};
use super::*;
use crate::topology::Failure;
use crate::upstream::Shown;
use std::sync::Arc;

const DAY: Duration = Duration::from_secs(86_400);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + DAY * 20_000
}

fn certificate(fault: Option<CertificateFault>, life: u32, left: u32) -> Certificate {
    Certificate {
        subject: "CN=replicas".to_owned(),
        issuer: "CN=site authority".to_owned(),
        names: vec!["replicas.example.com".to_owned()],
        begins: now() + DAY * left - DAY * life,
        ends: now() + DAY * left,
        fault,
    }
}

fn of(shown: Result<Certificate, &str>, change: impl FnOnce(&mut SourceFacts)) -> Check {
    let mut one = tier("replica", "https://replicas.example.com");
    let mut at = endpoint(&one, "192.0.2.1:443");
    at.shown = shown.map_err(str::to_owned).map(|certificate| Shown {
        certificate: Some(certificate),
        status: Some(401),
        date: None,
        moved: None,
    });
    one.endpoints.push(at);
    change(&mut one);
    connections(&[one], now(), 0)
}

#[test]
fn every_fault_has_its_code() {
    use CertificateFault as Fault;
    let none: &[&str] = &[];
    let table = [
        (Ok(certificate(None, 365, 300)), none),
        (Ok(certificate(None, 365, 15)), none),
        (Ok(certificate(None, 365, 13)), &["tls-expiring"]),
        (Ok(certificate(None, 7, 5)), none),
        (Ok(certificate(None, 7, 2)), &["tls-expiring"]),
        (
            Ok(certificate(Some(Fault::UnknownIssuer), 365, 300)),
            &["tls-unknown-issuer"],
        ),
        (
            Ok(certificate(Some(Fault::Expired), 365, 0)),
            &["tls-expired"],
        ),
        (
            Ok(certificate(Some(Fault::NotYetValid), 1, 3)),
            &["tls-not-yet-valid"],
        ),
        (
            Ok(certificate(Some(Fault::WrongName), 365, 300)),
            &["tls-wrong-name"],
        ),
        (
            Ok(certificate(
                Some(Fault::Other(rustls::CertificateError::BadSignature.into())),
                365,
                300,
            )),
            &["tls-fails"],
        ),
        (
            Err("TLS handshake with replica/192.0.2.1:443: not finished within 3s"),
            &["tls-fails"],
        ),
        (
            Err("connecting to replica/192.0.2.1:443: refused"),
            &["endpoint-unreachable"],
        ),
    ];
    for (shown, due) in table {
        let text = format!("{shown:?}");
        let check = of(shown, |_| {});
        assert_eq!(check.codes(), due, "{text}");
        let severities = check.findings.iter().map(|one| one.severity);
        for severity in severities {
            assert_eq!(
                severity == Severity::Warning,
                due == ["tls-expiring"],
                "{text}"
            );
        }
    }
}

#[test]
fn the_remedy_names_what_is_to_be_done() {
    let unknown = of(
        Ok(certificate(Some(CertificateFault::UnknownIssuer), 9, 9)),
        |_| {},
    );
    let finding = &unknown.findings[0];
    assert!(
        finding.what.contains("CN=site authority")
            && finding.instead.contains("ca_file of tier replica"),
        "{finding:?}"
    );
    let name = of(
        Ok(certificate(Some(CertificateFault::WrongName), 9, 9)),
        |_| {},
    );
    assert!(
        name.findings[0]
            .what
            .contains("is for replicas.example.com"),
        "{name:?}"
    );
}

/// The remedy is for what is wrong, and a pinned certificate is named only where it helps (S4).
#[test]
fn the_remedy_of_a_failed_handshake_is_for_its_reason() {
    let pinned = "ca_file of tier replica";
    let authority = of(
        Ok(certificate(Some(CertificateFault::Authority), 9, 9)),
        |_| {},
    );
    assert_eq!(authority.codes(), ["tls-fails"]);
    let finding = &authority.findings[0];
    assert!(finding.what.contains("CA:TRUE"), "{finding:?}");
    assert!(finding.instead.contains(pinned), "{finding:?}");
    let table = [
        (
            "TLS with replica/192.0.2.1:443: the RSA key of its certificate has 1024 bits",
            "2048 bits",
        ),
        (
            "TLS handshake with replica/192.0.2.1:443: received fatal alert: HandshakeFailure",
            "cipher suites",
        ),
        (
            "TLS handshake with replica/192.0.2.1:443: received fatal alert: ProtocolVersion",
            "ssl_protocols",
        ),
        (
            "TLS handshake with replica/192.0.2.1:443: tls handshake eof",
            "takes TLS apart",
        ),
    ];
    for (why, due) in table {
        let check = of(Err(why), |_| {});
        assert_eq!(check.codes(), ["tls-fails"], "{why}");
        let finding = &check.findings[0];
        assert!(finding.instead.contains(due), "{finding:?}");
        assert!(!finding.instead.contains(pinned), "{finding:?}");
    }
}

#[test]
fn unchecked_certificates_are_said_once_and_not_judged() {
    let check = of(
        Ok(certificate(Some(CertificateFault::Expired), 9, 0)),
        |one| {
            Arc::make_mut(&mut one.source).tls.insecure_skip_verify = true;
        },
    );
    assert_eq!(check.codes(), ["tls-not-checked"]);
}

#[test]
fn health_counts() {
    let failed = Verdict::Failed {
        failure: Failure::Timeout,
        detail: "late".to_owned(),
    };
    for (verdict, due) in [
        (Verdict::Passed, 0),
        (Verdict::Unhealthy("redis: gone".to_owned()), 1),
        (failed, 1),
    ] {
        let check = of(Ok(certificate(None, 365, 300)), |one| {
            one.endpoints[0].probe = Some(verdict)
        });
        assert_eq!(check.codes(), vec!["endpoint-unhealthy"; due]);
    }
}

#[test]
fn an_upstreams_certificate_is_a_warning_beside_tiers_and_its_silence_said_elsewhere() {
    let mut hub = upstream("docker.io", "https://registry-1.docker.io");
    let mut at = endpoint(&hub, "192.0.2.9:443");
    at.shown = Ok(Shown {
        certificate: Some(certificate(Some(CertificateFault::UnknownIssuer), 9, 9)),
        status: None,
        date: None,
        moved: None,
    });
    hub.endpoints.push(at);
    let mut silent = endpoint(&hub, "192.0.2.10:443");
    silent.shown = Err("connecting to …: refused".to_owned());
    hub.endpoints.push(silent);
    let alone = connections(std::slice::from_ref(&hub), now(), 0);
    assert_eq!(
        (alone.codes(), alone.findings[0].severity),
        (vec!["tls-unknown-issuer"], Severity::Error)
    );
    let replica = tier("replica", "https://replicas.example.com");
    let beside = connections(&[replica, hub], now(), 0);
    assert_eq!(beside.findings[0].severity, Severity::Warning);
    assert_eq!(beside.said, "1 of 2 addresses reached");
}

#[test]
fn what_a_right_clock_would_cure_is_said_of_the_clock() {
    let day = 86_400;
    let table = [
        (CertificateFault::NotYetValid, (2, 3), 0, true),
        (CertificateFault::NotYetValid, (2, 3), 2 * day, false),
        // A clock is measured in whole seconds.
        (CertificateFault::NotYetValid, (2, 3), day - 1, false),
        (CertificateFault::NotYetValid, (2, 3), day - 5, true),
        (CertificateFault::NotYetValid, (2, 3), -2 * day, true),
        (CertificateFault::NotYetValid, (2, 3), 9 * day, true),
        (CertificateFault::UnknownIssuer, (2, 3), 2 * day, true),
    ];
    for (fault, (life, left), ahead, said) in table {
        let mut one = tier("replica", "https://replicas.example.com");
        let mut at = endpoint(&one, "192.0.2.1:443");
        at.shown = Ok(Shown {
            certificate: Some(certificate(Some(fault.clone()), life, left)),
            status: Some(401),
            date: None,
            moved: None,
        });
        one.endpoints.push(at);
        let check = connections(&[one], now(), ahead);
        assert_eq!(!check.findings.is_empty(), said, "{fault:?} {ahead}");
    }
}

#[test]
fn a_tier_that_leads_to_https_is_told_what_to_write() {
    let advice = "http://replicas.example.com leads to https: write \"https://replicas.example.com\" in its place";
    let mut one = tier("replica", "http://replicas.example.com");
    let mut at = endpoint(&one, "192.0.2.1:80");
    at.shown = Ok(Shown {
        certificate: None,
        status: Some(308),
        date: None,
        moved: Some(advice.to_owned()),
    });
    at.probe = Some(Verdict::Failed {
        failure: Failure::Content,
        detail: "status 308".to_owned(),
    });
    one.endpoints.push(at);
    let check = connections(&[one], now(), 0);
    assert_eq!(check.codes(), ["endpoint-unhealthy"], "said once");
    assert_eq!(check.findings[0].instead, advice);
}
