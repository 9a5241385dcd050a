//! Many clients that ask for the same manifest at once.

use crate::node::{REPOSITORY, Setup, TIERED, target};
use crate::support::{FakeRegistry, Fault, Image, On};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn equal_requests_at_once_are_one_search_and_a_client_that_leaves_hurts_nobody() {
    let image = Image::random(1, 1);
    let tier = FakeRegistry::builder().with_image(TIERED, "1", &image);
    let upstream = FakeRegistry::builder().with_image(REPOSITORY, "1", &image);
    let (tier, upstream) = (tier.start().await, upstream.start().await);
    let slow = Fault::SlowFirstByte(Duration::from_millis(700));
    tier.set_fault_on(On::Manifests, slow);
    let node = Setup::of(&[&tier], &upstream).start().await;
    // The first one leaves while it waits, one more asks and never reads.
    let (mut first, mut idle) = (node.client().await, node.client().await);
    first.ask("GET", &target("manifests/1"), &[]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    idle.ask("GET", &target("manifests/1"), &[]).await;
    let others = (0..20).map(|_| node.pull("manifests/1"));
    let leaves = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(first);
    };
    let (all, ()) =
        futures_util::future::join(futures_util::future::join_all(others), leaves).await;
    for got in &all {
        assert_eq!((got.status, &got.body), (200, &image.top.body));
    }
    // By tag a HEAD, and what it told by digest.
    assert_eq!(tier.requests().len(), 2, "{:?}", tier.lines());
    let ids: std::collections::HashSet<_> = all
        .iter()
        .map(|got| got.header("x-harbor-pilot-request-id").unwrap())
        .collect();
    assert_eq!(ids.len(), all.len(), "each request has its own number");
    // Later is another question.
    let head = node.head("manifests/1").await;
    assert_eq!(head.status, 200);
    assert_eq!(tier.requests().len(), 3, "{:?}", tier.lines());
    assert_eq!(upstream.requests().len(), 0);
}
