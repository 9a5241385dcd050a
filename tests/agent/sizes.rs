//! HEAD of a blob: known for its own repository, or searched for once in ten seconds, and never by a HEAD at a Harbor.

use crate::node::{REPOSITORY, Setup, TIERED};
use crate::support::{FakeRegistry, Fault, Image, On, Reply};
use harbor_pilot::telemetry::RequestOutcome;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// What a source was asked for of blobs: method and range; the first 401 left out.
fn asked(source: &FakeRegistry) -> Vec<String> {
    let requests = source.requests();
    let of_blobs = requests.iter().filter(|it| it.path.contains("/blobs/"));
    let of_blobs = of_blobs.filter(|it| {
        let has_token = it.header("authorization").is_some();
        has_token || !it.path.contains("proxy-docker-io")
    });
    let shown = of_blobs.map(|it| match it.header("range") {
        Some(range) => format!("{} {range}", it.method),
        None => it.method.clone(),
    });
    shown.collect()
}

async fn tier(image: &Image) -> FakeRegistry {
    let tier = FakeRegistry::builder().harbor();
    tier.with_image(TIERED, "1", image).start().await
}

/// A layer of one repository is nothing that another repository has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_repository_has_is_searched_for() {
    let image = Image::with_layers(1, &[300_000]);
    let upstream = FakeRegistry::builder().with_image(REPOSITORY, "1", &image);
    let upstream = upstream.start().await;
    upstream.script(|request| {
        let is_other = request.path.contains("/library/other/blobs/");
        is_other.then(|| Reply::error(404, "BLOB_UNKNOWN", "blob unknown to registry"))
    });
    let node = Setup::of(&[], &upstream).start().await;
    assert_eq!(node.pull("manifests/1").await.status, 200);
    let blob = format!("blobs/{}", image.layer().digest);
    assert_eq!(node.head(&blob).await.status, 200);
    assert!(asked(&upstream).is_empty(), "it is known");
    let other = format!("/v2/library/other/{blob}?ns=docker.io");
    for _ in 0..2 {
        let got = node.ask("HEAD", &other, &[]).await;
        assert_eq!(got.status, 404, "{got:?}");
        let record = node.record(&got).await;
        assert_eq!(record.outcome, RequestOutcome::NotFound);
    }
    assert_eq!(asked(&upstream), ["HEAD"], "once in ten seconds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_harbor_is_asked_for_the_first_byte_once_for_all() {
    let image = Image::with_layers(2, &[300_000]);
    let tier = tier(&image).await;
    tier.set_fault_on(On::Blobs, Fault::SlowFirstByte(Duration::from_millis(200)));
    let upstream = FakeRegistry::builder().start().await;
    let node = Setup::of(&[&tier], &upstream).start().await;
    let blob = format!("blobs/{}", image.layer().digest);
    let heads = (0..8).map(|_| node.head(&blob));
    for got in futures_util::future::join_all(heads).await {
        let length = got.header("content-length");
        assert_eq!((got.status, length), (200, Some("300000")), "{got:?}");
        let digest = got.header("docker-content-digest");
        assert_eq!(digest, Some(image.layer().digest.as_str()));
        let by = got.header("x-harbor-pilot-served-by");
        assert!(by.is_some_and(|by| by.starts_with("t1/")), "{got:?}");
        assert_eq!(&*node.record(&got).await.tier, "t1");
    }
    assert_eq!(node.head(&blob).await.status, 200);
    assert_eq!(asked(&tier), ["GET bytes=0-0"]);
    let lines = tier.lines();
    assert!(
        !lines.iter().any(|line| line.starts_with("HEAD")),
        "{lines:?}"
    );
    assert!(asked(&upstream).is_empty());
}

/// Ten seconds are the agent's own clock, on its own threads, so that they pass here. What was told lives from a moment
/// between the request and its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_ten_seconds_the_source_is_asked_again_and_within_them_not() {
    let life = Duration::from_secs(10);
    let image = Image::with_layers(5, &[300_000]);
    let tier = tier(&image).await;
    let upstream = FakeRegistry::builder().start().await;
    let node = Setup::of(&[&tier], &upstream).start().await;
    let blob = format!("blobs/{}", image.layer().digest);
    let began = Instant::now();
    assert_eq!(node.head(&blob).await.status, 200);
    let told = Instant::now();

    sleep_until(began + life - Duration::from_secs(2)).await;
    assert_eq!(node.head(&blob).await.status, 200);
    assert!(began.elapsed() < life, "this machine is too slow to tell");
    assert_eq!(asked(&tier), ["GET bytes=0-0"], "within ten seconds");

    sleep_until(told + life).await;
    assert_eq!(node.head(&blob).await.status, 200);
    assert_eq!(
        asked(&tier),
        ["GET bytes=0-0", "GET bytes=0-0"],
        "after them"
    );
}

/// Upstream's 403 to HEAD alone: asked again for one byte, not for the whole blob.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_403_to_head_is_asked_again_for_one_byte() {
    let image = Image::with_layers(3, &[300_000]);
    let upstream = FakeRegistry::builder().with_image(REPOSITORY, "1", &image);
    let upstream = upstream.start().await;
    upstream.script(|request| {
        let is_head = request.method == "HEAD" && request.path.contains("/blobs/");
        is_head.then(|| Reply::error(403, "DENIED", "no HEAD here"))
    });
    let node = Setup::of(&[], &upstream).start().await;
    let blob = format!("blobs/{}", image.layer().digest);
    let got = node.head(&blob).await;
    let length = got.header("content-length");
    assert_eq!((got.status, length), (200, Some("300000")), "{got:?}");
    assert_eq!(asked(&upstream), ["HEAD", "GET bytes=0-0"]);
    let got = node.pull(&blob).await;
    assert!(got.status == 200 && got.body == image.layer().body);
}

/// A source that ignores the range is given up at its head; the blob of no bytes has no first one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_ignores_the_range_tells_the_size_all_the_same() {
    let image = Image::with_layers(4, &[300_000]);
    let tier = tier(&image).await;
    let (layer, nothing) = (
        image.layer().body.clone(),
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    );
    tier.script(move |request| {
        let body = match request.path.split_once("/blobs/")?.1 == nothing {
            true => Vec::new(),
            false => layer.clone(),
        };
        Some(Reply::new(200).body("application/octet-stream", body))
    });
    let upstream = FakeRegistry::builder().start().await;
    let node = Setup::of(&[&tier], &upstream).start().await;
    for (digest, length) in [(image.layer().digest.as_str(), "300000"), (nothing, "0")] {
        let got = node.head(&format!("blobs/{digest}")).await;
        let told = got.header("content-length");
        assert_eq!((got.status, told), (200, Some(length)), "{got:?}");
    }
}
