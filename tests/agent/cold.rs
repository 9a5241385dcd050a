//! Harbor's manners with what it has not cached yet (harbor-facts 0 and 3.4), each met by the whole agent.

use crate::client::End;
use crate::node::{Node, REPOSITORY, Setup, TIERED};
use crate::support::{Blob, Cold, FakeRegistry, Image};
use harbor_pilot::telemetry::{EventName, RequestOutcome};

/// A cold tier, a warm one behind it, and upstream; one image with a layer of 300 kB.
struct Lab {
    cold: FakeRegistry,
    warm: FakeRegistry,
    upstream: FakeRegistry,
    image: Image,
    node: Node,
}

impl Lab {
    async fn new(cold: Cold) -> Self {
        let image = Image::with_layers(3, &[300_000]);
        let tier = || {
            FakeRegistry::builder()
                .harbor()
                .with_image(TIERED, "1", &image)
        };
        let never_warm = |it: &mut crate::support::Behaviour| {
            it.cold = cold;
            it.warms_up = false;
        };
        let cold = tier().with(never_warm).start().await;
        let warm = tier().start().await;
        let upstream = FakeRegistry::builder().with_image(REPOSITORY, "1", &image);
        let upstream = upstream.start().await;
        let node = Setup::of(&[&cold, &warm], &upstream).start().await;
        Self {
            cold,
            warm,
            upstream,
            image,
            node,
        }
    }

    async fn knows_sizes(self) -> Self {
        assert_eq!(self.node.pull("manifests/1").await.status, 200);
        self
    }

    fn layer(&self) -> &Blob {
        self.image.layer()
    }

    fn path(&self) -> String {
        format!("blobs/{}", self.layer().digest)
    }

    fn asked_for_blobs(&self, registry: &FakeRegistry) -> usize {
        let asked = registry.requests();
        let blobs = asked.iter().filter(|it| it.path.contains("/blobs/"));
        // The first one of all is answered 401.
        blobs
            .filter(|it| it.header("authorization").is_some())
            .count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_cascade_is_left_for_the_next_tier_without_a_mark() {
    let lab = Lab::new(Cold::EmptyCascade).await;
    let got = lab.node.pull(&lab.path()).await;
    assert_eq!((got.status, got.end), (200, End::Clean));
    assert!(got.body == lab.layer().body);
    let record = lab.node.record(&got).await;
    assert_eq!(record.outcome, RequestOutcome::Failover);
    assert_eq!((&*record.tier, record.attempts), ("t2", 2));
    assert!(record.error.contains("cold_cascade"), "{record:?}");
    // It is asked first again, and was never called ill.
    lab.cold.change(|it| it.cold = Cold::Warm);
    let got = lab.node.pull(&lab.path()).await;
    assert_eq!(&*lab.node.record(&got).await.tier, "t1");
    assert_eq!(lab.node.count(EventName::EndpointEjected), 0);
}

/// CORE is dead: REPLICA says 502 in JSON of each blob that it has not (harbor-facts 13.8), which says nothing of those that it
/// has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_core_leaves_replica_in_use_for_what_it_has() {
    let image = |seed| Image::with_layers(seed, &[1000]);
    let (warm, cold): (Vec<_>, Vec<_>) = (0..33).map(|n| (image(100 + n), image(200 + n))).unzip();
    let (mut replica, mut upstream) = (FakeRegistry::builder().harbor(), FakeRegistry::builder());
    for (n, image) in warm.iter().chain(&cold).enumerate() {
        replica = replica.with_image(TIERED, &n.to_string(), image);
        upstream = upstream.with_image(REPOSITORY, &n.to_string(), image);
    }
    let replica = replica
        .with(|it| it.cold = Cold::UpstreamFails)
        .start()
        .await;
    replica.change_content(|content| {
        for blob in warm.iter().flat_map(|image| &image.blobs) {
            content.warm_up(blob.digest.as_str());
        }
    });
    let (mut core, upstream) = (
        FakeRegistry::builder().start().await,
        upstream.start().await,
    );
    core.refuse().await;
    let node = Setup::of(&[&replica, &core], &upstream).start().await;
    for (n, (warm, cold)) in warm.iter().zip(&cold).enumerate() {
        let got = node.pull(&format!("blobs/{}", cold.layer().digest)).await;
        assert_eq!(&*node.record(&got).await.tier, "upstream", "cold {n}");
        let wanted = [
            format!("manifests/{}", warm.top.digest),
            format!("blobs/{}", warm.blobs[1].digest),
            format!("blobs/{}", warm.layer().digest),
        ];
        for what in &wanted {
            let got = node.pull(what).await;
            let record = node.record(&got).await;
            assert_eq!((got.status, &*record.tier), (200, "t1"), "{n}: {what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunked_blob_has_its_length_from_the_manifest() {
    let lab = Lab::new(Cold::Chunked).await;
    let got = lab.node.pull(&lab.path()).await;
    assert_eq!(got.header("content-length"), None, "nobody knows it yet");
    assert_eq!(got.header("transfer-encoding"), Some("chunked"));
    assert!(got.end == End::Clean && got.body == lab.layer().body);
    let lab = lab.knows_sizes().await;
    let got = lab.node.pull(&lab.path()).await;
    assert_eq!(got.header("content-length"), Some("300000"));
    assert!(got.end == End::Clean && got.body == lab.layer().body);
    assert_eq!(lab.asked_for_blobs(&lab.cold), 2);
    assert_eq!(lab.asked_for_blobs(&lab.warm), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn error_json_in_the_tail_is_never_content() {
    let lab = Lab::new(Cold::ErrorJsonAt(180_000))
        .await
        .knows_sizes()
        .await;
    let got = lab.node.pull(&lab.path()).await;
    assert!(got.end == End::Clean && got.body == lab.layer().body);
    let record = lab.node.record(&got).await;
    assert_eq!(record.outcome, RequestOutcome::Resumed);
    assert_eq!(
        (record.resumes, &*record.tier, record.bytes),
        (1, "t2", 300_000)
    );
    let asked = lab.warm.requests();
    let range = asked.last().unwrap().header("range").unwrap().to_owned();
    let first: u64 = range
        .strip_prefix("bytes=")
        .unwrap()
        .split('-')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(
        (100_000..=180_000).contains(&first),
        "at the released offset: {range}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_that_is_ignored_is_skipped_to() {
    let lab = Lab::new(Cold::Chunked).await.knows_sizes().await;
    let got = lab.node.range(&lab.path(), "bytes=250000-250099").await;
    assert_eq!(got.status, 206);
    assert_eq!(
        got.header("content-range"),
        Some("bytes 250000-250099/300000")
    );
    assert!(got.body == lab.layer().body[250_000..250_100] && got.end == End::Clean);
    let got = lab.node.range(&lab.path(), "bytes=250000-").await;
    assert!(got.body == lab.layer().body[250_000..] && got.end == End::Clean);
    assert_eq!(lab.asked_for_blobs(&lab.warm), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_of_a_blob_is_never_harbors_404() {
    let lab = Lab::new(Cold::Chunked).await;
    // Nobody has told a size: the source that knows it is found.
    let got = lab.node.head(&lab.path()).await;
    assert_eq!(
        (got.status, got.header("content-length")),
        (200, Some("300000"))
    );
    let lab = lab.knows_sizes().await;
    lab.cold.forget_requests();
    lab.warm.forget_requests();
    let got = lab.node.head(&lab.path()).await;
    assert_eq!(
        (got.status, got.header("content-length")),
        (200, Some("300000"))
    );
    assert_eq!(
        got.header("docker-content-digest"),
        Some(lab.layer().digest.as_str())
    );
    assert!(lab.cold.requests().is_empty() && lab.warm.requests().is_empty());
    let got = lab.node.range(&lab.path(), "bytes=300000-").await;
    assert_eq!(
        (got.status, got.header("content-range")),
        (416, Some("bytes */300000"))
    );
    assert!(lab.cold.requests().is_empty() && lab.upstream.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trimmed_index_is_served_under_its_own_digest() {
    let image = Image::multi_platform(5, 3, 1);
    let tier = FakeRegistry::builder()
        .harbor()
        .with(|it| it.trimmed_index = true);
    let tier = tier.with_image(TIERED, "1", &image).start().await;
    let upstream = FakeRegistry::builder().start().await;
    let node = Setup::of(&[&tier], &upstream).start().await;
    let trimmed = image.trimmed();
    for got in [
        node.head("manifests/1").await,
        node.pull("manifests/1").await,
    ] {
        // By tag Harbor sends this header empty (harbor-facts 3.2).
        assert_eq!(
            got.header("docker-content-digest"),
            Some(trimmed.digest.as_str())
        );
        let length = trimmed.body.len().to_string();
        assert_eq!(got.header("content-length"), Some(length.as_str()));
    }
    // The whole one by its digest is another matter, and not this tier's.
    let got = node.pull(&format!("manifests/{}", trimmed.digest)).await;
    assert_eq!(got.body, trimmed.body);
}
