//! What is learned of a server whose certificate would be refused.

use super::certificates::{Issued, authority, certificate, issue, params, serving, source_at};
use super::support::{Server, endpoint, tier_at, timeouts};
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
    let as_authority = |params: &mut rcgen::CertificateParams| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let name = rcgen::DnType::CommonName;
        params.distinguished_name.push(name, "a server");
    };
    let rows = [
        (
            of(as_authority, &own),
            Some(ca.as_str()),
            Some(CertificateFault::Authority),
        ),
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
async fn what_is_answered_is_shown_where_it_is_http() {
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT";
    let end = "\r\n\r\n";
    let rows = [
        (
            format!("HTTP/1.1 401 Unauthorized\r\n{date}{end}"),
            (Some(401), Some(then)),
        ),
        (
            format!("HTTP/1.0 200 OK\r\nX: y\r\ndate:{}{end}", &date[5..]),
            (Some(200), Some(then)),
        ),
        (format!("HTTP/1.1 204{end}"), (Some(204), None)),
        (format!("HTTP/1.1 200 OK{end}{date}"), (Some(200), None)),
        (
            format!("HTTP/1.1 200 OK\r\nDate: yesterday{end}"),
            (Some(200), None),
        ),
        (format!("SSH-2.0\r\n{date}{end}"), (None, None)),
    ];
    for (answer, due) in rows {
        let answer: &'static str = answer.leak();
        let server = Server::answering(None, answer.as_bytes()).await;
        let source = tier_at(&server);
        let client = Client::new(timeouts());
        let endpoint = endpoint(&source, server.address);
        let shown = client.inspect(&source, &endpoint, SystemTime::now);
        let shown = shown.await.unwrap();
        let date = shown.date.map(|(date, _)| date);
        assert_eq!((shown.status, date), due, "{answer}");
        assert_eq!(client.idle_connections(), 0, "{answer}");
    }
}

/// OpenSSL's own server. It ends with the value.
struct OpenSsl {
    address: std::net::SocketAddr,
    child: std::process::Child,
    _home: tempfile::TempDir,
}

impl OpenSsl {
    fn serving(key: &str, more: &[&str]) -> Self {
        use std::io::{BufRead as _, BufReader};
        use std::process::{Command, Stdio};
        let home = tempfile::tempdir().unwrap();
        let file = |name: &str| home.path().join(name).display().to_string();
        let (certificate, private) = (file("certificate.pem"), file("key.pem"));
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                key,
                "-nodes",
                "-subj",
                "/CN=127.0.0.1",
            ])
            .args(["-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"])
            .args(["-keyout", &private, "-out", &certificate])
            .stderr(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-www"])
            .args(["-cert", &certificate, "-key", &private])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut listening = lines.map_while(Result::ok);
        let address = listening.find_map(|line| line.strip_prefix("ACCEPT ")?.parse().ok());
        Self {
            address: address.expect("it says where it listens"),
            child,
            _home: home,
        }
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What keeps a server from being spoken to at all is told apart, by OpenSSL's own server.
#[tokio::test]
async fn why_there_is_no_handshake() {
    let rows: [(&str, &[&str], Result<(), &str>); 4] = [
        ("rsa:2048", &[], Ok(())),
        (
            "rsa:1024",
            &["-cipher", "DEFAULT@SECLEVEL=0"],
            Err("the RSA key of its certificate has 1024 bits"),
        ),
        (
            "rsa:1024",
            &["-tls1_2", "-cipher", "DEFAULT@SECLEVEL=0"],
            Err("the RSA key of its certificate has 1024 bits"),
        ),
        (
            "rsa:2048",
            &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA:AES128-SHA"],
            Err("HandshakeFailure"),
        ),
    ];
    for (key, more, due) in rows {
        let server = OpenSsl::serving(key, more);
        let mut source = super::support::upstream("https://127.0.0.1:1");
        source.url.port = server.address.port();
        let source = Arc::new(source);
        let endpoint = EndpointId {
            source: source.id.clone(),
            address: server.address,
        };
        let client = Client::new(timeouts());
        let shown = client.inspect(&source, &endpoint, SystemTime::now).await;
        let said = shown.map(drop).map_err(|error| error.detail());
        match due {
            Ok(()) => assert_eq!(said, Ok(()), "{key} {more:?}"),
            Err(due) => {
                let why = said.expect_err(due);
                assert!(why.starts_with("TLS") && why.contains(due), "{why}");
            }
        }
    }
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
    assert!(gone.unwrap_err().detail().contains("connecting to"));
}
