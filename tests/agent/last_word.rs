//! Upstream says no, and a tier that stands behind it may have what is wanted (design P3).

use crate::node::{Node, Setup, TIERED};
use crate::support::{FakeDns, FakeRegistry, Fault, Image, On, Reply};
use harbor_pilot::telemetry::EventName;
use std::time::{Duration, Instant};

async fn tier(image: &Image) -> FakeRegistry {
    let tier = FakeRegistry::builder().harbor();
    tier.with_image(TIERED, "1", image).start().await
}

/// An agent with a first tier at 127.0.0.1 and 127.0.0.2, this second one, and this upstream.
async fn behind_two_addresses(
    port: u16,
    second: &FakeRegistry,
    upstream: &FakeRegistry,
) -> (Node, FakeDns) {
    let dns = FakeDns::start().await;
    let name = "replica.example.com";
    dns.set(name, &["127.0.0.1", "127.0.0.2"]);
    let setup = Setup::default().tier(&format!("http://{name}:{port}"), "");
    let setup = setup.tier(&second.base_url(), "");
    let setup = setup.registry(&upstream.base_url(), "");
    let setup = setup.and(&format!("[dns]\nnameservers = [\"{}\"]\n", dns.addr));
    (setup.start().await, dns)
}

/// Health says in which order sources are asked. It makes no "not found" of what a tier has: an address that was ejected is asked
/// before upstream's 404 counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstreams_404_is_not_final_while_an_ejected_tier_has_not_been_asked() {
    let image = Image::random(1, 1);
    let mut tier = tier(&image).await;
    let lacks_it = FakeRegistry::builder().start().await;
    let node = Setup::of(&[&tier], &lacks_it).start().await;
    tier.refuse().await;
    assert_eq!(node.pull("manifests/1").await.status, 404);
    node.event(EventName::EndpointEjected).await;
    tier.listen_again().await;
    for (what, body) in [
        ("manifests/1".to_owned(), &image.top.body),
        (
            format!("blobs/{}", image.layer().digest),
            &image.layer().body,
        ),
    ] {
        let got = node.pull(&what).await;
        assert_eq!((got.status, &got.body), (200, body), "{what}: {got:?}");
        assert_eq!(&*node.record(&got).await.tier, "t1");
    }
    // What neither has is upstream's "not found".
    let got = node.pull("manifests/2").await;
    assert_eq!((got.status, got.code().as_str()), (404, "MANIFEST_UNKNOWN"));
    assert!(got.message().contains("not found at upstream"), "{got:?}");
}

/// To ask an address that was ejected because it said nothing means to wait: upstream's 404 is told at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstreams_404_does_not_wait_for_a_tier_that_says_nothing() {
    let image = Image::random(1, 1);
    let tier = tier(&image).await;
    let lacks_it = FakeRegistry::builder().start().await;
    let clock = "[timeouts]\nfirst_byte = \"300ms\"\nstall = \"200ms\"\nconnect = \"400ms\"\ntls = \"400ms\"\nupstream_joins = \"400ms\"\ntotal = \"900ms\"\n";
    let node = Setup::of(&[&tier], &lacks_it).and(clock).start().await;
    tier.set_fault_on(On::Registry, Fault::NoAnswer);
    for _ in 0..3 {
        assert_eq!(node.pull("manifests/1").await.status, 404);
    }
    let ejected = node.event(EventName::EndpointEjected).await;
    assert!(ejected.reason.contains("timeout"), "{ejected:?}");
    // The event may be a moment before the snapshot.
    assert_eq!(node.pull("manifests/1").await.status, 404);
    tier.forget_requests();
    assert_eq!(node.pull("manifests/1").await.status, 404);
    assert_eq!(tier.lines(), [""; 0]);
}

/// Nobody knows of an address that was ejected for something else that it says nothing now: it has 2 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstreams_404_is_told_within_seconds_whatever_an_ejected_tier_does() {
    let image = Image::random(1, 1);
    let tier = tier(&image).await;
    let lacks_it = FakeRegistry::builder().start().await;
    let node = Setup::of(&[&tier], &lacks_it).start().await;
    tier.set_fault_on(On::Registry, Fault::Reply(Reply::html_502()));
    for _ in 0..3 {
        assert_eq!(node.pull("manifests/1").await.status, 404);
    }
    node.event(EventName::EndpointEjected).await;
    tier.heal();
    tier.set_fault_on(On::Registry, Fault::NoAnswer);
    let since = Instant::now();
    assert_eq!(node.pull("manifests/1").await.status, 404);
    let took = since.elapsed();
    println!("404 after {took:?}");
    assert!(took < Duration::from_secs(6), "{took:?}");
}

/// After upstream's 404 another tier is asked before the other addresses of one that said no.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_upstreams_404_another_tier_is_asked_before_one_that_said_no() {
    let image = Image::random(1, 1);
    let empty = FakeRegistry::builder().harbor().start().await;
    let port = empty.addr.port();
    let other = FakeRegistry::builder().harbor();
    let other = other.bind(([127, 0, 0, 2], port).into()).start().await;
    let mut ejected = tier(&image).await;
    let lacks_it = FakeRegistry::builder().start().await;
    let (node, _dns) = behind_two_addresses(port, &ejected, &lacks_it).await;
    ejected.refuse().await;
    assert_eq!(node.pull("manifests/1").await.status, 404);
    node.event(EventName::EndpointEjected).await;
    ejected.listen_again().await;
    let got = node.pull("manifests/1").await;
    assert_eq!((got.status, &got.body), (200, &image.top.body), "{got:?}");
    let asked = [&empty, &other].map(|address| !address.requests().is_empty());
    assert_eq!(asked.iter().filter(|asked| **asked).count(), 1, "{asked:?}");
}

/// Where nobody else is left, what all have said no to costs no further requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_tier_has_is_asked_for_once_at_each() {
    let first = FakeRegistry::builder().harbor().start().await;
    let port = first.addr.port();
    let second = FakeRegistry::builder().harbor();
    let second = second.bind(([127, 0, 0, 2], port).into()).start().await;
    let core = FakeRegistry::builder().harbor().start().await;
    let lacks_it = FakeRegistry::builder().start().await;
    let (node, _dns) = behind_two_addresses(port, &core, &lacks_it).await;
    assert_eq!(node.pull("manifests/none").await.status, 404);
    let asked = [&first, &second].map(|address| !address.requests().is_empty());
    assert_eq!(asked.iter().filter(|asked| **asked).count(), 1, "{asked:?}");
}

/// Where somebody else is asked after upstream's 404, the other addresses of a tier that said no follow: they are separate caches.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_upstreams_404_a_tier_that_said_no_is_asked_last() {
    let (image, wanted) = (Image::random(1, 1), Image::random(2, 1));
    let both = || {
        let tier = FakeRegistry::builder().harbor();
        let tier = tier.with_image(TIERED, "1", &image);
        tier.with_image(TIERED, "2", &wanted)
    };
    let first = both().start().await;
    let port = first.addr.port();
    let second = both().bind(([127, 0, 0, 2], port).into()).start().await;
    let mut core = FakeRegistry::builder().harbor().start().await;
    let lacks_it = FakeRegistry::builder().start().await;
    let (node, _dns) = behind_two_addresses(port, &core, &lacks_it).await;
    assert_eq!(node.pull("manifests/1").await.status, 200);
    // CORE is ejected.
    core.refuse().await;
    assert_eq!(node.pull("manifests/none").await.status, 404);
    node.event(EventName::EndpointEjected).await;
    core.listen_again().await;
    // Who is asked first, REPLICA's address that has served, says no.
    let has_served = |address: &&FakeRegistry| {
        let requests = address.requests();
        requests
            .iter()
            .any(|request| request.path.ends_with("manifests/1"))
    };
    let sticky = [&first, &second].into_iter().find(has_served).unwrap();
    let no = Reply::error(412, "PROJECTPOLICYVIOLATION", "no");
    sticky.set_fault_on(On::Registry, Fault::Reply(no));
    let got = node.pull("manifests/2").await;
    assert_eq!((got.status, &got.body), (200, &wanted.top.body), "{got:?}");
}
