//! Limits and policies: counted by reason, told to the client where they end the search.

use crate::metric;
use crate::node::{REPOSITORY, Setup, TIERED};
use crate::support::{FakeRegistry, Fault, Image, On, Reply};

#[tokio::test(flavor = "multi_thread")]
async fn the_registrys_quota_is_a_metric() {
    let image = Image::random(1, 1);
    let upstream = FakeRegistry::builder().start().await;
    let top = image.top.clone();
    upstream.script(move |_| {
        let reply = Reply::new(200).header("ratelimit-remaining", "76;w=21600");
        Some(reply.body(top.media_type, top.body.clone()))
    });
    let node = Setup::of(&[], &upstream).start().await;
    assert_eq!(node.pull("manifests/1").await.status, 200);
    let series = r#"upstream_quota_remaining{registry="docker.io"}"#;
    assert_eq!(metric(&node, series).await.as_deref(), Some("76"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_denial_is_counted_by_reason_and_told_where_it_is_final() {
    let image = Image::random(2, 1);
    let reason = "current image with 3 vulnerabilities cannot be pulled";
    for (policy, status) in [("next", 200), ("final", 404)] {
        let tier = FakeRegistry::builder().with_image(TIERED, "1", &image);
        let upstream = FakeRegistry::builder().with_image(REPOSITORY, "1", &image);
        let (tier, upstream) = (tier.start().await, upstream.start().await);
        let denial = Reply::error(412, "PROJECTPOLICYVIOLATION", reason);
        tier.set_fault_on(On::Manifests, Fault::Reply(denial));
        let setup = Setup::of(&[&tier], &upstream);
        let node = setup.and(&format!("[failover]\nharbor_policy = \"{policy}\"\n"));
        let node = node.start().await;
        let got = node.pull("manifests/1").await;
        assert_eq!(got.status, status, "{got:?}");
        if policy == "final" {
            assert!(got.message().contains(reason), "{}", got.message());
        }
        let record = node.record(&got).await;
        assert!(record.error.contains(reason), "{policy}: {record:?}");
        let series = r#"policy_denials_total{tier="t1",reason="vulnerability"}"#;
        assert_eq!(
            metric(&node, series).await.as_deref(),
            Some("1"),
            "{policy}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_limits_us_is_asked_at_one_address_only_and_the_answer_is_503() {
    let upstream = FakeRegistry::builder().start().await;
    let limited = Reply::error(429, "TOOMANYREQUESTS", "slow down").header("retry-after", "30");
    upstream.set_fault_on(On::Manifests, Fault::Reply(limited));
    let node = Setup::of(&[], &upstream).start().await;
    let got = node.pull("manifests/1").await;
    assert_eq!(got.status, 503, "{got:?}");
    assert!(got.message().contains("429"), "{}", got.message());
    assert_eq!(upstream.requests().len(), 1, "{:?}", upstream.lines());
}

/// A tier's 429 for one registry: until its time is over that registry's requests go elsewhere, and only they.
#[tokio::test(flavor = "multi_thread")]
async fn a_tiers_limit_is_of_one_registry_and_holds_for_the_next_requests() {
    const OTHER: &str = "proxy-quay-io/library/app";
    let images: Vec<Image> = (0..3).map(|seed| Image::random(seed, 1)).collect();
    let tier = || {
        let tags = images.iter().zip(["1", "2", "3"]);
        tags.fold(FakeRegistry::builder(), |tier, (image, tag)| {
            tier.with_image(TIERED, tag, image)
                .with_image(OTHER, tag, image)
        })
    };
    let (limited, core) = (tier().start().await, tier().start().await);
    let upstream = FakeRegistry::builder().start().await;
    let reply = Reply::error(
        429,
        "TOO_MANY_REQUEST",
        "too many requests to upstream registry",
    );
    let reply = reply.header("retry-after", "60");
    limited.script(move |request| request.path.contains(TIERED).then(|| reply.clone()));
    let projects = "[tier.projects]\n\"docker.io\" = \"proxy-docker-io\"\n\"quay.io\" = \"proxy-quay-io\"\n\
                    [tier.health]\nprobe = \"none\"\n";
    let tables: String = [&limited, &core]
        .iter()
        .zip(["t1", "t2"])
        .map(|(tier, name)| {
            let url = tier.base_url();
            format!("[[tier]]\nname = \"{name}\"\nurl = \"{url}\"\n{projects}")
        })
        .collect();
    let node = Setup::default()
        .and(&tables)
        .registry(&upstream.base_url(), "")
        .and("[[registry]]\nname = \"quay.io\"\n")
        .start()
        .await;
    for (tag, image) in ["1", "2", "3"].iter().zip(&images) {
        let got = node.pull(&format!("manifests/{tag}")).await;
        assert_eq!((got.status, &got.body), (200, &image.top.body));
    }
    assert_eq!(limited.requests().len(), 1, "{:?}", limited.lines());
    // Of the other registry it is asked as ever.
    let other = format!("/v2/{REPOSITORY}/manifests/1?ns=quay.io");
    assert_eq!(node.get(&other).await.status, 200);
    // A HEAD, and what it told.
    assert_eq!(limited.requests().len(), 3, "{:?}", limited.lines());
}

/// Its token service counts for the registry: nobody is asked again before the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_service_that_limits_us_cools_its_registry_down() {
    let image = Image::random(3, 1);
    let tier = FakeRegistry::builder().harbor();
    let tier = tier.with_image(TIERED, "1", &image).start().await;
    let upstream = FakeRegistry::builder().with_image(REPOSITORY, "1", &image);
    let upstream = upstream.start().await;
    let limited = Reply::error(429, "TOOMANYREQUESTS", "slow down").header("retry-after", "30");
    tier.set_fault_on(On::Tokens, Fault::Reply(limited));
    let node = Setup::of(&[&tier], &upstream).start().await;
    let first = node.pull("manifests/1").await;
    assert_eq!(first.status, 200, "{first:?}");
    let record = node.record(&first).await;
    assert!(record.error.contains("too_many_requests"), "{record:?}");
    let asked = tier.requests().len();
    let digest = format!("manifests/{}", image.top.digest);
    assert_eq!(node.pull(&digest).await.status, 200);
    assert_eq!(tier.requests().len(), asked, "{:?}", tier.lines());
}
