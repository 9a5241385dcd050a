//! What is learned of a server whose certificate would be refused.

use super::certificates::{Issued, authority, certificate, issue, params, serving, source_at};
use super::support::{Server, timeouts};
use crate::topology::EndpointId;
use crate::upstream::{CertificateFault, Client, Shown};
use rcgen::date_time_ymd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const ANSWER: &[u8] = b"HTTP/1.1 401 Unauthorized\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n";

async fn shown(issued: &Issued, ca: Option<&str>) -> Shown {
    let server = Server::answering(Some(serving(issued)), ANSWER).await;
    let source = Arc::new(source_at(&server, ca));
    let endpoint = EndpointId {
        source: source.id.clone(),
        address: server.address,
    };
    let client = Client::new(timeouts());
    client
        .inspect(&source, &endpoint, SystemTime::now)
        .await
        .unwrap()
}

#[tokio::test]
async fn each_fault_has_its_name_and_the_answer_is_read_all_the_same() {
    let authority = authority();
    let ca = authority.pem();
    let stranger = certificate(&["127.0.0.1"]);
    let of = |change: fn(&mut rcgen::CertificateParams), names: &[&str]| {
        let mut params = params(names);
        change(&mut params);
        issue(&authority, &params)
    };
    let expired =
        |params: &mut rcgen::CertificateParams| params.not_after = date_time_ymd(2020, 1, 1);
    let future =
        |params: &mut rcgen::CertificateParams| params.not_before = date_time_ymd(2200, 1, 1);
    let own = ["127.0.0.1"];
    let rows = [
        (of(|_| {}, &own), Some(ca.as_str()), None),
        (
            of(|_| {}, &own),
            Some(&stranger.pem),
            Some(CertificateFault::UnknownIssuer),
        ),
        (
            of(|_| {}, &own),
            None,
            Some(CertificateFault::UnknownIssuer),
        ),
        (
            certificate(&own),
            None,
            Some(CertificateFault::UnknownIssuer),
        ),
        (
            of(expired, &own),
            Some(&ca),
            Some(CertificateFault::Expired),
        ),
        (
            of(future, &own),
            Some(&ca),
            Some(CertificateFault::NotYetValid),
        ),
        (
            of(|_| {}, &["elsewhere.example.com"]),
            Some(&ca),
            Some(CertificateFault::WrongName),
        ),
    ];
    for (number, (issued, ca, due)) in rows.into_iter().enumerate() {
        let shown = shown(&issued, ca).await;
        let certificate = shown.certificate.unwrap();
        assert_eq!(certificate.fault, due, "row {number}");
        assert_eq!(shown.status, Some(401), "row {number}");
        let (theirs, ours) = shown.date.unwrap();
        assert!(ours.duration_since(theirs).unwrap() > Duration::from_secs(86_400 * 365));
    }
    let issued = of(expired, &own);
    let certificate = shown(&issued, Some(&ca)).await.certificate.unwrap();
    let new_year_2020 = SystemTime::UNIX_EPOCH + Duration::from_secs(1_577_836_800);
    assert_eq!(certificate.ends, new_year_2020);
    assert_eq!(certificate.names, ["127.0.0.1"]);
    assert!(
        certificate.issuer.contains("test authority"),
        "{certificate:?}"
    );
}

#[tokio::test]
async fn a_plain_server_has_no_certificate_and_a_dead_one_nothing() {
    let server = Server::answering(None, ANSWER).await;
    let mut source = source_at(&server, None);
    source.url.https = false;
    let source = Arc::new(source);
    let endpoint = |address| EndpointId {
        source: source.id.clone(),
        address,
    };
    let client = Client::new(timeouts());
    let at = endpoint(server.address);
    let shown = client.inspect(&source, &at, SystemTime::now).await.unwrap();
    assert_eq!((shown.certificate, shown.status), (None, Some(401)));
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let gone = client
        .inspect(&source, &endpoint(address), SystemTime::now)
        .await;
    assert!(gone.unwrap_err().detail.contains("connecting to"));
}
