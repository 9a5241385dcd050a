//! Upstream says no, and a tier that stands behind it may have what is wanted (design P3).

use crate::node::{Setup, TIERED};
use crate::support::{FakeRegistry, Fault, Image, On};
use harbor_pilot::telemetry::EventName;

async fn tier(image: &Image) -> FakeRegistry {
    let tier = FakeRegistry::builder().harbor();
    tier.with_image(TIERED, "1", image).start().await
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
