//! Limits of bandwidth: layers come as slowly as they must, manifests at once, and nobody is taken for a slow source.

use crate::client::{Client, End};
use crate::node::{Node, REPOSITORY, Setup, TIERED, target};
use crate::support::{FakeRegistry, Image};
use futures_util::future::join_all;
use harbor_pilot::lifecycle::RawSignal;
use harbor_pilot::telemetry::{EventName, RequestOutcome};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const LIMIT: u64 = 512 * 1024;

/// A tier and a registry that have an image with such layers.
async fn start(layers: &[usize], tables: &str) -> (Node, Setup, Image, [FakeRegistry; 2]) {
    let image = Image::with_layers(61, layers);
    let tier = FakeRegistry::builder().with_image(TIERED, "1", &image);
    let upstream = FakeRegistry::builder().with_image(REPOSITORY, "1", &image);
    let (tier, upstream) = (tier.start().await, upstream.start().await);
    let setup = Setup::of(&[&tier], &upstream).and(tables);
    let node = setup.start().await;
    (node, setup, image, [tier, upstream])
}

fn path(image: &Image, layer: usize) -> String {
    format!("blobs/{}", image.blobs[layer].digest)
}

/// Two layers share the limit. The stall limit and the low-speed limit are far above what each of them gets, and each layer keeps its source.
#[tokio::test]
async fn layers_take_their_time_and_nobody_is_slow() {
    let tables = "[limits]\nbandwidth = \"512KiB/s\"\nfloor_bytes_per_second = \"100MiB\"\n\
                  [timeouts]\nstall = \"20ms\"\nfloor_window = \"100ms\"\n";
    let size = usize::try_from(LIMIT).unwrap();
    let (node, _, image, _registries) = start(&[size, size], tables).await;
    let since = Instant::now();
    let (first, second) = (path(&image, 0), path(&image, 1));
    let manifest = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let since = Instant::now();
        let got = node.pull("manifests/1").await;
        (got.status, since.elapsed())
    };
    let (first, second, (status, took)) =
        tokio::join!(node.pull(&first), node.pull(&second), manifest);
    let all = since.elapsed();
    assert_eq!(status, 200);
    for (got, blob) in [(&first, &image.blobs[0]), (&second, &image.blobs[1])] {
        assert_eq!((got.status, got.end), (200, End::Clean));
        assert!(got.body == blob.body);
        let record = node.record(got).await;
        assert_eq!(record.outcome, RequestOutcome::Served, "{record:?}");
        assert_eq!(record.attempts, 1, "{record:?}");
    }
    // 1 MiB at 512 KiB/s, less the credit of 100 ms.
    assert!(all >= Duration::from_millis(1850), "{all:?}");
    assert!(
        took < all / 2,
        "a manifest waits for no layer: {took:?} of {all:?}"
    );
    for event in [EventName::EndpointEjected, EventName::AttemptFailed] {
        assert_eq!(node.count(event), 0, "{event:?}");
    }
}

/// A tier's limit holds for its layers alone, and a reload ends it for one that runs.
#[tokio::test]
async fn a_tiers_limit_is_its_own_and_a_reload_changes_it() {
    let image = Image::with_layers(62, &[4 << 20]);
    let tier = FakeRegistry::builder()
        .with_image(TIERED, "1", &image)
        .start()
        .await;
    let upstream = FakeRegistry::builder()
        .with_image(REPOSITORY, "1", &image)
        .start()
        .await;
    let url = tier.base_url();
    let limited = Setup::of(&[], &upstream).tier(&url, "bandwidth = \"64KiB/s\"\n");
    let node = limited.start().await;
    let layer = path(&image, 0);
    let pull = node.pull(&layer);
    let unlimited = Setup::of(&[], &upstream).tier(&url, "");
    let reload = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        node.rewrite(&unlimited);
        node.signal(RawSignal::Hangup).await;
        Instant::now()
    };
    let (got, reloaded) = tokio::join!(pull, reload);
    assert_eq!((got.status, got.end), (200, End::Clean));
    assert!(got.body == image.blobs[0].body);
    // With the limit 4 MiB take 64 s.
    let took = reloaded.elapsed();
    assert!(took < Duration::from_secs(30), "{took:?}");
}

/// Six layers run when a limit begins that has room for four: four go on with 16 KiB/s each, and two wait for their turn.
#[tokio::test]
async fn layers_that_run_when_a_limit_begins_need_a_place_too() {
    let image = Image::with_layers(64, &[1 << 20; 6]);
    let tier = FakeRegistry::builder().with_image(TIERED, "1", &image);
    let (tier, upstream) = (tier.start().await, FakeRegistry::builder().start().await);
    let all = "[limits]\nbandwidth = \"1MiB/s\"\n";
    let with = |keys| {
        Setup::of(&[], &upstream)
            .tier(&tier.base_url(), keys)
            .and(all)
    };
    let node = with("").start().await;
    let counts: Vec<Arc<AtomicUsize>> = (0..6).map(|_| Arc::default()).collect();
    let mut clients = JoinSet::new();
    for (layer, count) in counts.iter().cloned().enumerate() {
        let (to, target) = (node.addr, target(&path(&image, layer)));
        clients.spawn(async move {
            let mut client = Client::connect(to).await;
            client.ask("GET", &target, &[]).await;
            while count.load(Ordering::Relaxed) < 1 << 20 {
                count.fetch_add(client.some(1).await.len(), Ordering::Relaxed);
            }
        });
    }
    let since = Instant::now();
    while counts
        .iter()
        .any(|count| count.load(Ordering::Relaxed) < 64 << 10)
    {
        assert!(since.elapsed() < Duration::from_secs(20), "all run");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    node.rewrite(&with("bandwidth = \"64KiB/s\"\n"));
    node.signal(RawSignal::Hangup).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let counted = || counts.iter().map(|count| count.load(Ordering::Relaxed));
    let before: Vec<usize> = counted().collect();
    tokio::time::sleep(Duration::from_secs(8)).await;
    let came: Vec<usize> = counted()
        .zip(before)
        .map(|(now, then)| now - then)
        .collect();
    // With the same share for all six it would be 85 KiB each.
    let go_on = came.iter().filter(|bytes| **bytes >= 100 << 10).count();
    let wait = came.iter().filter(|bytes| **bytes <= 32 << 10).count();
    assert_eq!((go_on, wait), (4, 2), "{came:?}");
}

/// Four layers have all places of the limit for longer than 10 s. A fifth one asks its source at once, leaves it after 10 s without
/// a byte, and asks it again when there is a place (docs/configuration.md). That is nobody's fault.
#[tokio::test]
async fn a_source_that_waits_too_long_for_a_place_is_asked_again() {
    // 16 KiB/s for each of the four: 13 s.
    let layers = [208 << 10, 208 << 10, 208 << 10, 208 << 10, 8 << 10];
    let tables = "[limits]\nbandwidth = \"64KiB/s\"\n";
    let (node, _, image, [tier, upstream]) = start(&layers, tables).await;
    let asked: Arc<Mutex<Vec<(String, Instant)>>> = Arc::default();
    let heard = asked.clone();
    tier.script(move |request| {
        let (path, now) = (request.path.clone(), Instant::now());
        heard.lock().unwrap().push((path, now));
        None
    });
    let times = |layer: usize| -> Vec<Instant> {
        let digest = image.blobs[layer].digest.to_string();
        let asked = asked.lock().unwrap();
        let of_layer = asked.iter().filter(|(path, _)| path.ends_with(&digest));
        of_layer.map(|(_, at)| *at).collect()
    };
    let paths: Vec<String> = (0..5).map(|layer| path(&image, layer)).collect();
    let four = join_all(paths[..4].iter().map(|path| node.pull(path)));
    let fifth = async {
        while (0..4).any(|layer| times(layer).is_empty()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The four have begun to read by then.
        tokio::time::sleep(Duration::from_millis(500)).await;
        node.pull(&paths[4]).await
    };
    let (mut all, fifth) = tokio::join!(four, fifth);
    all.push(fifth);
    for (layer, got) in all.iter().enumerate() {
        assert_eq!((got.status, got.end), (200, End::Clean), "{layer}");
        assert!(got.body == image.blobs[layer].body, "{layer}");
        let record = node.record(got).await;
        let due = match layer {
            4 => (RequestOutcome::Resumed, 2),
            _ => (RequestOutcome::Served, 1),
        };
        assert_eq!((record.outcome, record.attempts), due, "{record:?}");
        assert_eq!((&*record.tier, &*record.error), ("t1", ""), "{record:?}");
    }
    for layer in 0..4 {
        assert_eq!(times(layer).len(), 1, "{layer} has kept its source");
    }
    let [first, second] = times(4)[..] else {
        panic!("the fifth was asked for {} times", times(4).len());
    };
    assert!(second - first >= Duration::from_secs(10));
    assert!(upstream.requests().is_empty());
    for event in [EventName::EndpointEjected, EventName::AttemptFailed] {
        assert_eq!(node.count(event), 0, "{event:?}");
    }
}
