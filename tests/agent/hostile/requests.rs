//! What a client may try.

use super::Canaries;
use crate::client::End;
use crate::node::{REPOSITORY, Setup, TIERED};
use crate::support::{FakeRegistry, Image};
use harbor_pilot::telemetry::RequestOutcome;

/// How it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// By a status.
    Status(u16),
    /// It is no HTTP/1.1, or too long: 400 and the end, before anybody knows what is asked.
    NoHttp,
}

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// `ns` as it stands in the query, for a request that is right otherwise.
const NAMES: &[&str] = &[
    "169.254.169.254",
    "169.254.169.254:80",
    "127.0.0.1:22",
    "127.0.0.1:CANARY",
    "127.1:CANARY",
    "2130706433:CANARY",
    "0x7f000001:CANARY",
    "0:CANARY",
    "localhost:CANARY",
    "LOCALHOST:CANARY",
    "%5B::1%5D:CANARY",
    "[::1]:CANARY",
    "[::ffff:127.0.0.1]:CANARY",
    "[fe80::1%25eth0]:CANARY",
    "[fd00:ec2::254]",
    "metadata.google.internal",
    "user:password@127.0.0.1:CANARY",
    "docker.io@127.0.0.1:CANARY",
    "docker.io%40127.0.0.1:CANARY",
    "docker.io:CANARY",
    "docker.io.",
    ".docker.io",
    "docker.io/",
    "docker.io/../127.0.0.1:CANARY",
    "docker.io%2F..",
    "docker.io%00",
    "docker.io%0d%0aHost:%20127.0.0.1:CANARY",
    "docker.io%09",
    "docker.io%20",
    "http://127.0.0.1:CANARY",
    "//127.0.0.1:CANARY",
    "docker%E3%80%82io",
    "%EF%BD%84ocker.io",
    "docker.io%E2%80%8B",
    "xn--dcker-jua.io",
    "evil.example.com",
    "docker.io.evil.example.com",
    "",
    "%",
    "%zz",
    "%ff",
    "*",
    "docker.io&ns=127.0.0.1:CANARY",
    "127.0.0.1:CANARY&ns=docker.io",
];

/// Targets.
const TARGETS: &[(&str, Due)] = &[
    ("/v2/../v2/library/app/manifests/1", Due::Status(404)),
    ("/v2/library/../../etc/passwd/manifests/1", Due::Status(404)),
    ("/v2/library/..%2f..%2fapp/manifests/1", Due::Status(404)),
    ("/v2/library%2fapp/manifests/1", Due::Status(404)),
    ("/v2/library/%2e%2e/app/manifests/1", Due::Status(404)),
    ("/v2/%2e%2e/%2e%2e/manifests/1", Due::Status(404)),
    ("/v2/library/./app/manifests/1", Due::Status(404)),
    ("/v2//library//app/manifests/1", Due::Status(404)),
    (
        "//127.0.0.1:CANARY/v2/library/app/manifests/1",
        Due::Status(404),
    ),
    ("/v2/library/app/manifests/..", Due::Status(404)),
    ("/v2/library/app/manifests/1%0d%0aX:%20y", Due::Status(404)),
    ("/v2/library/app/manifests/1%00", Due::Status(404)),
    ("/v2/library/app/blobs/sha256:..%2f..", Due::Status(404)),
    (
        "/v2/library/app/blobs/sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
        Due::Status(404),
    ),
    ("/v2/Library/App/manifests/1", Due::Status(404)),
    (
        "/v2/127.0.0.1:CANARY/library/app/manifests/1",
        Due::Status(404),
    ),
    ("/v2/169.254.169.254/latest/manifests/1", Due::Status(404)),
    ("/v2/localhost:CANARY/app/manifests/1", Due::Status(404)),
    (
        "/v2/user:pw@127.0.0.1:CANARY/app/manifests/1",
        Due::Status(404),
    ),
    (
        "/v2/library/app;ns=127.0.0.1:CANARY/manifests/1",
        Due::Status(404),
    ),
    ("/v2/_catalog", Due::Status(404)),
    ("/v1/search?q=x", Due::Status(404)),
    ("/", Due::Status(404)),
    ("*", Due::Status(404)),
    (
        "http://127.0.0.1:CANARY/v2/library/app/manifests/1",
        Due::Status(404),
    ),
    (
        "http://docker.io/v2/library/app/manifests/1",
        Due::Status(404),
    ),
    ("http://user:pw@127.0.0.1:CANARY/v2/", Due::Status(404)),
    (
        "https://127.0.0.1:CANARY/v2/library/app/manifests/1",
        Due::Status(404),
    ),
    ("127.0.0.1:CANARY", Due::Status(404)),
    ("/v2/library/app\tx/manifests/1", Due::NoHttp),
    ("/v2/library/app x/manifests/1", Due::NoHttp),
    ("/v2/library/app\0/manifests/1", Due::NoHttp),
    ("/v2/library/app\rx/manifests/1", Due::NoHttp),
    ("/v2/library/app\nHost: 127.0.0.1/manifests/1", Due::NoHttp),
    ("/v2/library/app\u{7f}/manifests/1", Due::NoHttp),
];

/// Whole requests.
const REQUESTS: &[(&str, Due)] = &[
    (
        "CONNECT 127.0.0.1:CANARY HTTP/1.1\r\nHost: 127.0.0.1:CANARY\r\n\r\n",
        Due::Status(405),
    ),
    (
        "POST /v2/library/app/blobs/uploads/?ns=127.0.0.1:CANARY HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        Due::Status(405),
    ),
    (
        "DELETE /v2/library/app/manifests/1 HTTP/1.1\r\nHost: x\r\n\r\n",
        Due::Status(405),
    ),
    ("TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", Due::Status(405)),
    ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", Due::Status(405)),
    (
        "GET /v2/library/app/manifests/1?ns=docker.io HTTP/1.1\r\n\r\n",
        Due::Status(400),
    ),
    (
        "GET /v2/library/app/manifests/1?ns=docker.io HTTP/1.1\r\nHost: a\r\nHost: 127.0.0.1:CANARY\r\n\r\n",
        Due::Status(400),
    ),
    (
        "GET /v2/library/app/manifests/1 HTTP/1.1\r\nHost: x\r\nX-A: b\0c\r\n\r\n",
        Due::NoHttp,
    ),
    (
        "GET /v2/library/app/manifests/1 HTTP/1.1\r\nHost: x\r\nX A: b\r\n\r\n",
        Due::NoHttp,
    ),
    (
        "GET /v2/library/app/manifests/1 HTTP/9.9\r\nHost: x\r\n\r\n",
        Due::NoHttp,
    ),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Due::NoHttp),
    (
        "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03",
        Due::NoHttp,
    ),
    ("SSH-2.0-OpenSSH_9.2\r\n", Due::NoHttp),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_and_nobody_is_dialled() {
    let image = Image::random(1, 1);
    let tier = FakeRegistry::builder().harbor();
    let tier = tier.with_image(TIERED, "1", &image).start().await;
    let upstream = FakeRegistry::builder();
    let upstream = upstream.with_image(REPOSITORY, "1", &image).start().await;
    let canaries = Canaries::start().await;
    let node = Setup::of(&[&tier], &upstream).start().await;

    let mut table: Vec<(String, Due)> = Vec::new();
    for ns in NAMES {
        let target = format!("/v2/library/app/manifests/1?ns={ns}");
        table.push((get(&target), Due::Status(404)));
    }
    for (target, due) in TARGETS {
        table.push((get(target), *due));
    }
    let long = "a".repeat(3000);
    table.push((get(&format!("/v2/{long}/manifests/1")), Due::Status(404)));
    table.push((
        get(&format!("/v2/library/app/manifests/1?ns={long}")),
        Due::Status(404),
    ));
    let longer = format!("/v2/library/app/blobs/{DIGEST}?{}", "x".repeat(70_000));
    table.push((get(&longer), Due::NoHttp));
    for (request, due) in REQUESTS {
        table.push(((*request).to_owned(), *due));
    }
    assert!(table.len() >= 60);

    for (request, due) in &table {
        let request = request.replace("CANARY", &canaries.port().to_string());
        let mut client = node.client().await;
        client.send(&request).await;
        let got = client.answer(false).await;
        let shown: String = request.chars().take(120).collect();
        let status = match due {
            Due::Status(status) => *status,
            Due::NoHttp => 400,
        };
        assert_eq!(got.status, status, "{shown:?}: {got:?}");
        assert_eq!(got.end, End::Clean, "{shown:?}");
        assert!(got.message().len() <= 256, "{shown:?}: {got:?}");
        let record = node.record(&got).await;
        assert_eq!(record.outcome, RequestOutcome::Refused, "{shown:?}");
        assert_eq!(record.attempts, 0, "{shown:?}");
        if *due == Due::NoHttp {
            let (_, end) = client.rest().await;
            assert_ne!(end, End::Clean, "{shown:?}: the connection ends");
        }
    }
    assert_eq!(
        node.journal.accesses().len(),
        table.len(),
        "one record for each"
    );
    assert_eq!(canaries.calls(), 0);
    assert_eq!(tier.connections() + upstream.connections(), 0);
    // The table refuses because of what it holds, not because nothing works.
    assert_eq!(node.pull("manifests/1").await.body, image.top.body);
}

/// What a client sends of its own goes no further: not its credentials, its cookies, nor its name for us.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clients_headers_stay_here() {
    let image = Image::random(1, 1);
    let upstream = FakeRegistry::builder();
    let upstream = upstream.with_image(REPOSITORY, "1", &image).start().await;
    let node = Setup::of(&[], &upstream).start().await;
    let mine = [
        ("Authorization", "Bearer of-the-pod"),
        ("Cookie", "a=b"),
        ("X-Forwarded-For", "10.0.0.1"),
        ("X-Forwarded-Host", "evil.example.com"),
        ("If-None-Match", "\"x\""),
        ("Accept-Encoding", "gzip"),
        ("User-Agent", "harbor-registry-client"),
    ];
    let got = node
        .ask("GET", &crate::node::target("manifests/1"), &mine)
        .await;
    assert_eq!(got.status, 200);
    let asked = &upstream.requests()[0];
    for name in [
        "authorization",
        "cookie",
        "x-forwarded-for",
        "x-forwarded-host",
        "if-none-match",
    ] {
        assert_eq!(asked.header(name), None);
    }
    assert_eq!(asked.header("accept-encoding"), Some("identity"));
    assert!(
        !asked
            .header("user-agent")
            .unwrap()
            .contains("harbor-registry-client")
    );
    assert_eq!(
        asked.header("host"),
        Some(upstream.addr.to_string().as_str())
    );
    assert_eq!(
        asked.header("x-request-id"),
        got.header("x-harbor-pilot-request-id")
    );
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:290\r\n\r\n")
}
