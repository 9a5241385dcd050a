//! Where a source may try to lead: by redirects, by the realm of its challenge, by what its name resolves to.

use super::Canaries;
use crate::node::{Node, REPOSITORY, Setup, TIERED};
use crate::support::{FakeDns, FakeRegistry, Image, Reply};
use harbor_pilot::telemetry::RequestOutcome;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

/// Places that neither a redirect nor a realm may lead to, for a source that is not on loopback itself, or for any.
/// CANARY is a port that listens.
const NOWHERE: &[&str] = &[
    "http://169.254.169.254/latest/meta-data/",
    "http://[fe80::1]:CANARY/x",
    "http://[fd00:ec2::254]/latest/",
    "http://[::ffff:169.254.169.254]/x",
    "http://[64:ff9b::a9fe:a9fe]/x",
    "http://0.0.0.0:CANARY/x",
    "http://[::]:CANARY/x",
    "http://255.255.255.255/x",
    "http://224.0.0.1/x",
    "http://100.100.100.200/x",
    "http://168.63.129.16/x",
    "http://10.0.0.1:CANARY/x",
    "http://192.168.1.1:CANARY/x",
    "http://172.16.0.1:CANARY/x",
    "http://[fc00::1]:CANARY/x",
    "http://user:pw@127.0.0.1:CANARY/x",
    "ftp://127.0.0.1:CANARY/x",
    "file:///etc/passwd",
    "gopher://127.0.0.1:CANARY/x",
    "http://loopback.example.com:CANARY/x",
    "http://metadata.example.com/x",
    "http://private.example.com:CANARY/x",
];

/// An upstream at its literal loopback address is trusted with loopback; so names are what it may not lead by, and
/// private and link-local addresses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_and_realms_lead_nowhere() {
    let dns = names().await;
    let canaries = Canaries::start().await;
    for place in NOWHERE {
        let place = place.replace("CANARY", &canaries.port().to_string());
        // Names that resolve to loopback are a loopback source's own business.
        if place.contains("loopback.example.com") {
            continue;
        }
        let by_redirect = Reply::to(307, place.clone());
        refused(&dns, by_redirect, &place).await;
        let challenge = format!("Bearer realm=\"{place}\",service=\"x\",scope=\"y\"");
        let by_realm =
            Reply::error(401, "UNAUTHORIZED", "who are you").header("WWW-Authenticate", challenge);
        refused(&dns, by_realm, &place).await;
    }
    assert_eq!(canaries.calls(), 0);
}

async fn refused(dns: &FakeDns, reply: Reply, place: &str) {
    let image = Image::random(1, 1);
    let upstream = FakeRegistry::builder().start().await;
    upstream.script(move |_| Some(reply.clone()));
    let node = with_dns(Setup::of(&[], &upstream), dns).await;
    for what in [
        "manifests/1".to_owned(),
        format!("blobs/{}", image.layer().digest),
    ] {
        let got = node.pull(&what).await;
        assert!(matches!(got.status, 404 | 503), "{place}: {got:?}");
        let record = node.record(&got).await;
        assert!(
            matches!(
                record.outcome,
                RequestOutcome::Failed | RequestOutcome::Refused
            ),
            "{place}: {record:?}"
        );
        assert_eq!(record.attempts, 1, "{place}: {record:?}");
        assert!(!record.error.contains("meta-data"), "{place}: {record:?}");
    }
}

/// Names that resolve to where nothing may be dialled: as upstream, and as tier.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_resolve_to_nowhere_are_not_dialled() {
    let dns = names().await;
    let canaries = Canaries::start().await;
    let dead = FakeRegistry::builder().start().await;
    for host in ["metadata", "this", "broadcast"] {
        let url = format!("http://{host}.example.com:{}", canaries.port());
        let node = with_dns(Setup::default().registry(&url, ""), &dns).await;
        let got = node.pull("manifests/1").await;
        assert_eq!(got.status, 503, "{host}: {got:?}");
        let record = node.record(&got).await;
        assert_eq!(record.outcome, RequestOutcome::Failed, "{host}: {record:?}");
        assert!(record.error.contains("address"), "{host}: {record:?}");
        let setup = Setup::default()
            .tier(&url, "")
            .registry(&dead.base_url(), "");
        let node = with_dns(setup, &dns).await;
        let got = node.pull("manifests/1").await;
        assert_eq!(got.status, 404, "{host}: upstream says so: {got:?}");
        let record = node.record(&got).await;
        assert!(record.error.contains("t1/"), "{host}: {record:?}");
    }
    assert_eq!(canaries.calls(), 0);
}

/// A registry or a tier on this very host, by its name. Of several addresses those that may be dialled are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configured_name_may_lead_to_loopback() {
    let dns = names().await;
    let image = Image::random(1, 1);
    let registry = FakeRegistry::builder()
        .with_image(REPOSITORY, "1", &image)
        .with_image(TIERED, "1", &image)
        .start()
        .await;
    for host in ["loopback", "mixed"] {
        let url = format!("http://{host}.example.com:{}", registry.addr.port());
        for setup in [
            Setup::default().registry(&url, ""),
            Setup::default()
                .tier(&url, "")
                .and("[direct]\nenabled = false\n"),
        ] {
            let node = with_dns(setup, &dns).await;
            let got = node.pull("manifests/1").await;
            assert_eq!(got.status, 200, "{host}: {got:?}");
        }
    }
}

/// A registry that leads back to the agent: the request does not go round.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_leads_to_the_agent_itself() {
    let port = Arc::new(AtomicU16::new(0));
    let upstream = FakeRegistry::builder().start().await;
    let to = port.clone();
    upstream.script(move |request| {
        let port = to.load(Ordering::SeqCst);
        let place = format!("http://127.0.0.1:{port}{}?ns=docker.io", request.path);
        Some(Reply::to(307, place))
    });
    let node = Setup::of(&[], &upstream).start().await;
    port.store(node.addr.port(), Ordering::SeqCst);
    let got = node.pull("manifests/1").await;
    assert_eq!(got.status, 503, "{got:?}");
    let record = node.record(&got).await;
    assert!(record.error.contains("own listener"), "{record:?}");
    assert_eq!(upstream.requests().len(), 1, "{:?}", upstream.lines());
}

async fn names() -> FakeDns {
    let dns = FakeDns::start().await;
    dns.set("loopback.example.com", &["127.0.0.1"]);
    dns.set("metadata.example.com", &["169.254.169.254"]);
    dns.set("mixed.example.com", &["169.254.169.254", "127.0.0.1"]);
    dns.set("private.example.com", &["10.255.255.1"]);
    dns.set("this.example.com", &["0.0.0.0"]);
    dns.set("broadcast.example.com", &["255.255.255.255"]);
    dns
}

async fn with_dns(setup: Setup, dns: &FakeDns) -> Node {
    assert!(!setup.text(std::path::Path::new("/x")).contains(REPOSITORY));
    setup
        .and(&format!("[dns]\nnameservers = [\"{}\"]\n", dns.addr))
        .start()
        .await
}
