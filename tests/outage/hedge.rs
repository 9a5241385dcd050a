//! A tier that reads requests for manifests and never answers (design P6).

use crate::metric;
use crate::node::{Node, REPOSITORY, Setup, TIERED};
use crate::support::{FakeRegistry, Fault, Image, On};
use std::time::{Duration, Instant};

async fn silent_and_good(image: &Image) -> (FakeRegistry, FakeRegistry, FakeRegistry) {
    let tier = || FakeRegistry::builder().with_image(TIERED, "1", image);
    let (silent, good) = (tier().start().await, tier().start().await);
    silent.set_fault_on(On::Manifests, Fault::NoAnswer);
    let upstream = FakeRegistry::builder().with_image(REPOSITORY, "1", image);
    (silent, good, upstream.start().await)
}

async fn until_metric(node: &Node, series: &str, due: &str) {
    let since = Instant::now();
    while metric(node, series).await.as_deref() != Some(due) {
        assert!(
            since.elapsed() < Duration::from_secs(15),
            "{series} is not {due}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_tiers_manifest_comes_from_the_next_tier_and_the_silent_one_is_known() {
    let image = Image::multi_platform(1, 2, 1);
    let (silent, good, upstream) = silent_and_good(&image).await;
    let node = Setup::of(&[&silent, &good], &upstream).start().await;
    let got = node.pull("manifests/1").await;
    assert_eq!((got.status, &got.body), (200, &image.top.body));
    let served_by = got.header("x-harbor-pilot-served-by").unwrap();
    assert!(served_by.starts_with("t2/"), "{served_by}");
    // Who fell silent is not asked first any more, long before its time is over.
    for child in &image.children {
        let got = node.pull(&format!("manifests/{}", child.digest)).await;
        assert_eq!((got.status, &got.body), (200, &child.body));
    }
    assert_eq!(silent.requests().len(), 1, "{:?}", silent.lines());
    assert_eq!(upstream.requests().len(), 0, "{:?}", upstream.lines());
    let series = r#"attempts_total{tier="t1",result="timeout"}"#;
    until_metric(&node, series, "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_in_ten_is_hedged_and_the_others_wait_for_upstream() {
    let images: Vec<Image> = (0..5).map(|seed| Image::random(seed, 1)).collect();
    let (mut silent, mut good) = (FakeRegistry::builder(), FakeRegistry::builder());
    let mut upstream = FakeRegistry::builder();
    for (index, image) in images.iter().enumerate() {
        silent = silent.with_image(TIERED, &format!("{index}"), image);
        good = good.with_image(TIERED, &format!("{index}"), image);
        upstream = upstream.with_image(REPOSITORY, &format!("{index}"), image);
    }
    let silent = silent.start().await;
    let (good, upstream) = (good.start().await, upstream.start().await);
    silent.set_fault_on(On::Manifests, Fault::NoAnswer);
    let node = Setup::of(&[&silent, &good], &upstream).start().await;
    // All at once: none of them can know from another that the first tier is silent.
    let pulls = (0..images.len()).map(|index| {
        let node = &node;
        async move { node.pull(&format!("manifests/{index}")).await }
    });
    for (got, image) in futures_util::future::join_all(pulls)
        .await
        .iter()
        .zip(&images)
    {
        assert_eq!((got.status, &got.body), (200, &image.top.body));
    }
    let heads = |registry: &FakeRegistry| {
        let asked = registry.requests();
        let heads = asked.iter().filter(|it| it.method == "HEAD").count();
        (heads, asked.len() - heads)
    };
    // Each HEAD with the GET of what it told, at the same address.
    assert_eq!(heads(&good), (3, 3), "{:?}", good.lines());
    assert_eq!(heads(&upstream), (2, 2), "{:?}", upstream.lines());
}
