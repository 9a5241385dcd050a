//! Real sockets on the loopback; each test has an address of its own there, so that port 1337 is free.

use super::*;
use crate::config::{ProbeKind, Timeouts};
use crate::health::testing;
use crate::lifecycle::spawn_detached;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const HEALTHY: &str = r#"{"components":[{"name":"core","status":"healthy"}],"status":"healthy"}"#;

/// A server that gives every request the same answer, and what it saw.
#[derive(Clone, Default)]
struct Server {
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// Sends `answer` to each request; with an empty `answer` it never answers.
    async fn start(ip: IpAddr, port: u16, answer: String) -> (Self, u16) {
        let listener = TcpListener::bind((ip, port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self::default();
        let seen = server.clone();
        spawn_detached("server", async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                seen.connections.fetch_add(1, Ordering::SeqCst);
                let (seen, answer) = (seen.clone(), answer.clone());
                spawn_detached("connection", async move {
                    let mut buffer = vec![0_u8; 4096];
                    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                        let request = String::from_utf8_lossy(&buffer[..length]).into_owned();
                        seen.requests.lock().unwrap().push(request);
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                        if answer.starts_with("HTTP/1.0") {
                            return;
                        }
                    }
                });
            }
        });
        (server, port)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// 127.N.x.y of this process: tests of several processes do not meet.
fn loopback(second: u8) -> IpAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, second, high, low.max(1)).into()
}

fn http(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
}

fn prober() -> HttpProber {
    let seconds = Duration::from_secs;
    HttpProber::new(Client::new(Timeouts {
        connect_race: Duration::from_millis(250),
        connect: seconds(2),
        tls: seconds(3),
        first_byte: seconds(4),
        upstream_joins: seconds(3),
        total: seconds(20),
        stall: seconds(2),
        floor_window: seconds(10),
        client: seconds(60),
        client_idle: seconds(75),
        drain: seconds(3),
    }))
}

fn tier(ip: IpAddr, port: u16, kind: ProbeKind) -> (Arc<Source>, EndpointId) {
    let id = crate::topology::testing::tier("replica");
    let mut source = testing::source(id.clone(), kind);
    source.url = BaseUrl {
        https: false,
        host: ip.to_string(),
        port,
        prefix: "/harbor".to_owned(),
    };
    let endpoint = EndpointId {
        source: id,
        address: SocketAddr::new(ip, port),
    };
    (Arc::new(source), endpoint)
}

#[tokio::test]
async fn keeps_its_connection_and_the_endpoints_own_session() {
    let cookies = "set-cookie: other=1; Path=/\r\nset-cookie: sid=abc; Path=/; HttpOnly\r\n";
    let ip = loopback(21);
    let (server, port) = Server::start(ip, 0, http("200 OK", cookies, HEALTHY)).await;
    let (source, endpoint) = tier(ip, port, ProbeKind::Harbor);
    let prober = prober();
    let first = prober.probe(&source, &endpoint, None).await;
    assert_eq!(first.verdict, Verdict::Passed);
    assert_eq!(first.cookie.as_deref(), Some("sid=abc"));
    let second = prober.probe(&source, &endpoint, first.cookie).await;
    assert_eq!(second.verdict, Verdict::Passed);
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    let requests = server.requests();
    assert!(requests[0].starts_with("GET /harbor/api/v2.0/health HTTP/1.1\r\n"));
    assert!(requests[0].contains(&format!("host: {ip}:{port}\r\n")));
    assert!(requests[0].contains("user-agent: harbor-pilot/"));
    assert!(!requests[0].contains("cookie:"));
    assert!(requests[1].contains("cookie: sid=abc\r\n"));
}

#[tokio::test]
async fn says_what_is_wrong() {
    let unhealthy = r#"{"components":[{"name":"redis","status":"unhealthy","error":"gone"}]}"#;
    let long = "x".repeat(70_000);
    let failed = |failure: Failure| Err(failure);
    let table = [
        (http("200 OK", "", unhealthy), Ok("redis: gone")),
        (http("503 Busy", "", ""), failed(Failure::ServerError)),
        (http("200 OK", "", "<html>"), failed(Failure::Content)),
        (http("200 OK", "", &long), failed(Failure::Content)),
        ("HTTP/1.0 ".to_owned(), failed(Failure::Reset)),
    ];
    for (answer, expected) in table {
        let ip = loopback(22);
        let (_, port) = Server::start(ip, 0, answer).await;
        let (source, endpoint) = tier(ip, port, ProbeKind::Harbor);
        let report = prober().probe(&source, &endpoint, None).await;
        match (&report.verdict, expected) {
            (Verdict::Unhealthy(text), Ok(expected)) => assert_eq!(text, expected),
            (Verdict::Failed { failure, .. }, Err(expected)) => assert_eq!(*failure, expected),
            (other, expected) => panic!("{other:?} where {expected:?} was expected"),
        }
    }
}

#[tokio::test]
async fn silence_and_refusal_are_failures() {
    let ip = loopback(23);
    let (_, port) = Server::start(ip, 0, String::new()).await;
    let (source, endpoint) = tier(ip, port, ProbeKind::V2);
    let mut hasty = Source::clone(&source);
    hasty.probe.timeout = Duration::from_millis(100);
    let report = prober().probe(&Arc::new(hasty), &endpoint, None).await;
    let kept = Some("sid=1".to_owned());
    let Verdict::Failed { failure, .. } = report.verdict else {
        panic!("{report:?}");
    };
    assert_eq!(failure, Failure::Timeout);

    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind((ip, 0).into()).unwrap();
    let (source, endpoint) = tier(ip, closed.local_addr().unwrap().port(), ProbeKind::V2);
    let report = prober().probe(&source, &endpoint, kept.clone()).await;
    let Verdict::Failed { failure, .. } = report.verdict else {
        panic!("{report:?}");
    };
    assert_eq!(failure, Failure::Refused);
    assert_eq!(report.cookie, kept, "the session may still be good");
}

#[tokio::test]
async fn v2_takes_401_for_alive() {
    let ip = loopback(24);
    let (server, port) = Server::start(ip, 0, http("401 Unauthorized", "", "{}")).await;
    let (source, endpoint) = tier(ip, port, ProbeKind::V2);
    let report = prober().probe(&source, &endpoint, None).await;
    assert_eq!(report.verdict, Verdict::Passed);
    assert!(server.requests()[0].starts_with("GET /harbor/v2/ HTTP/1.1\r\n"));
}

#[tokio::test]
async fn port_1337_is_a_hint() {
    let answers = [
        // As the responder beside Harbor speaks: HTTP/1.0, no length.
        (Some("HTTP/1.0 503 Service Unavailable\r\n\r\n{}"), true),
        (Some("HTTP/1.0 200 OK\r\n\r\n{}"), false),
        (Some("HTTP/1.0 nonsense"), false),
        (None, false),
    ];
    for (number, (answer, lowered)) in (25_u8..).zip(answers) {
        let ip = loopback(number);
        let (_, port) = Server::start(ip, 0, http("200 OK", "", HEALTHY)).await;
        let extra = match answer {
            Some(answer) => Some(Server::start(ip, EXTRA_PORT, answer.to_owned()).await.0),
            None => None,
        };
        let (source, endpoint) = tier(ip, port, ProbeKind::Port);
        let report = prober().probe(&source, &endpoint, None).await;
        assert_eq!(report.verdict, Verdict::Passed, "{answer:?}");
        assert_eq!(report.lowered, lowered, "{answer:?}");
        if let Some(extra) = extra {
            assert!(extra.requests()[0].starts_with("GET / HTTP/1.1\r\n"));
            let (source, endpoint) = tier(ip, port, ProbeKind::Harbor);
            prober().probe(&source, &endpoint, None).await;
            assert_eq!(extra.requests().len(), 1, "only where it is configured");
        }
    }
}

#[test]
fn sessions() {
    let of = |values: &[&str]| {
        let fields = values.iter().map(|value| ("Set-Cookie", *value));
        session(&fields.collect())
    };
    assert_eq!(of(&[]), None);
    assert_eq!(of(&["sid=abc; Path=/"]).as_deref(), Some("sid=abc"));
    assert_eq!(of(&["a=b", "sid=c"]).as_deref(), Some("sid=c"));
    assert_eq!(of(&["sid=; Path=/"]), None);
    assert_eq!(of(&["xsid=a"]), None);
    assert_eq!(of(&[&format!("sid={}", "a".repeat(600))]), None);
}

#[tokio::test]
async fn a_tier_that_leads_to_https_is_told_what_to_write() {
    let ip = loopback(24);
    for (number, kind) in [ProbeKind::Harbor, ProbeKind::V2].into_iter().enumerate() {
        let to = format!("location: https://{ip}:8443/harbor/v2/\r\n");
        let (_server, port) = Server::start(ip, 0, http("308 Moved", &to, "")).await;
        let (source, endpoint) = tier(ip, port, kind);
        let report = prober().probe(&source, &endpoint, None).await;
        let Verdict::Failed { failure, detail } = report.verdict else {
            panic!("{number}: {:?}", report.verdict);
        };
        assert_eq!(failure, Failure::Content);
        let due = format!("leads to https: write \"https://{ip}:8443/harbor\" in its place");
        assert!(detail.contains(&due), "{detail}");
    }
    // To somebody else, or in no redirect: no advice.
    for (status, location) in [
        ("308 Moved", "https://login.example.com/"),
        ("308 Moved", "/v2/"),
        ("404 Not Found", "https://127.0.0.1/"),
    ] {
        let to = format!("location: {location}\r\n");
        let (_server, port) = Server::start(ip, 0, http(status, &to, "")).await;
        let (source, endpoint) = tier(ip, port, ProbeKind::V2);
        let report = prober().probe(&source, &endpoint, None).await;
        let Verdict::Failed { detail, .. } = report.verdict else {
            panic!("{status}: {:?}", report.verdict);
        };
        assert!(!detail.contains("write"), "{detail}");
    }
}
