//! A tier of two addresses that fails in the same way at both, as a pull of many layers meets it: what is learned of one address,
//! and by one layer, is not learned again (design P6, P13).

use crate::client::{Client, End};
use crate::node::{Node, REPOSITORY, Setup, TIERED};
use crate::support::{FakeDns, FakeRegistry, Fault, Framing, Image, On, Reply};
use futures_util::stream::{self, StreamExt as _};
use harbor_pilot::telemetry::EventName;
use std::time::{Duration, Instant};

const NAME: &str = "replica.example.com";

/// REPLICA with two addresses, CORE, and the registry.
struct Lab {
    replica: [FakeRegistry; 2],
    core: Option<FakeRegistry>,
    upstream: FakeRegistry,
    image: Image,
    node: Node,
    _dns: FakeDns,
}

impl Lab {
    async fn new(image: Image, has_core: bool) -> Self {
        let tier = || {
            FakeRegistry::builder()
                .harbor()
                .with_image(TIERED, "1", &image)
        };
        let first = tier().start().await;
        let port = first.addr.port();
        let second = tier().bind(([127, 0, 0, 2], port).into()).start().await;
        let upstream = FakeRegistry::builder().with_image(REPOSITORY, "1", &image);
        let upstream = upstream.start().await;
        let core = if has_core {
            Some(tier().start().await)
        } else {
            None
        };
        let dns = FakeDns::start().await;
        dns.set(NAME, &["127.0.0.1", "127.0.0.2"]);
        let mut setup = Setup::default().tier(&format!("http://{NAME}:{port}"), "");
        if let Some(core) = &core {
            setup = setup.tier(&core.base_url(), "");
        }
        let setup = setup.registry(&upstream.base_url(), "");
        let setup = setup.and(&format!("[dns]\nnameservers = [\"{}\"]\n", dns.addr));
        Self {
            node: setup.start().await,
            replica: [first, second],
            core,
            upstream,
            image,
            _dns: dns,
        }
    }

    fn strike(&self, on: &On, fault: &Fault) {
        for address in &self.replica {
            address.set_fault_on(on.clone(), fault.clone());
        }
    }

    fn heal(&self) {
        for address in &self.replica {
            address.heal();
            address.forget_requests();
        }
    }

    /// How often the tier's addresses were asked for what ends so.
    fn asked(&self, part: &str) -> usize {
        let all = self.replica.iter().flat_map(FakeRegistry::requests);
        all.filter(|request| request.path.contains(part)).count()
    }

    /// As containerd pulls: HEAD, the manifest by its digest, then the blobs, three at a time. `false`: something of it failed.
    async fn pull(&self) -> (bool, Duration) {
        let since = Instant::now();
        let head = self.node.head("manifests/1").await;
        let manifest = format!("manifests/{}", self.image.top.digest);
        let manifest = self.node.pull(&manifest).await;
        let is_complete = |status, end: End| (status, end) == (200, End::Clean);
        let mut is_all_complete = head.status == 200 && is_complete(manifest.status, manifest.end);
        let blobs = stream::iter(&self.image.blobs).map(|blob| async {
            let got = self.node.pull(&format!("blobs/{}", blob.digest)).await;
            is_complete(got.status, got.end) && got.body == blob.body
        });
        let mut blobs = blobs.buffer_unordered(3);
        while let Some(is_complete) = blobs.next().await {
            is_all_complete &= is_complete;
        }
        (is_all_complete, since.elapsed())
    }
}

fn thirty_layers(seed: u64) -> Image {
    Image::with_layers(seed, &[150_000; 30])
}

/// Two layers fail their pull, one at each address; then nothing of the repository comes from there, though each address has told
/// the right manifest. It comes from the next tier, or from upstream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_wrong_bytes_the_next_pull_succeeds_though_both_addresses_spoil_every_layer() {
    for has_core in [true, false] {
        let lab = Lab::new(thirty_layers(61), has_core).await;
        lab.strike(&On::Blobs, &Fault::CorruptAt(1000));
        let (first, _) = lab.pull().await;
        assert!(!first, "wrong bytes are not taken for right");
        lab.heal();
        lab.strike(&On::Blobs, &Fault::CorruptAt(1000));
        let (second, _) = lab.pull().await;
        assert!(second, "the next pull of the same client");
        assert_eq!(
            lab.asked("/v2/"),
            0,
            "the tier stands behind the next source"
        );
        // The last source stays a source, whatever the others say: that changes the order alone.
        lab.heal();
        let no = Reply::error(404, "MANIFEST_UNKNOWN", "deleted");
        for fault in [Fault::CloseInsteadOfAnswer, Fault::Reply(no)] {
            for other in lab.core.iter().chain([&lab.upstream]) {
                other.heal();
                other.set_fault(fault.clone());
            }
            assert_eq!(lab.node.head("manifests/1").await.status, 200, "{fault:?}");
        }
    }
}

/// An address that sent wrong bytes stands behind the other addresses of tiers for everything: each repository has a first address
/// of its own, and none is asked first at that one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_wrong_bytes_an_address_stands_behind_for_other_repositories_too() {
    let lab = Lab::new(Image::with_layers(62, &[150_000]), true).await;
    let other = Image::with_layers(63, &[150_000]);
    let names: Vec<String> = (0..12)
        .map(|number| format!("library/other-{number}"))
        .collect();
    for tier in lab.replica.iter().chain(&lab.core) {
        for name in &names {
            let name = format!("proxy-docker-io/{name}");
            tier.change_content(|content| content.add(&name, "1", &other));
        }
    }
    lab.strike(&On::Blobs, &Fault::CorruptAt(1000));
    lab.pull().await;
    lab.heal();
    let event = lab.node.event(EventName::DigestMismatch).await;
    let spoiled = format!("t1/{}", event.endpoint.unwrap());
    for name in &names {
        let target = format!("/v2/{name}/manifests/1?ns=docker.io");
        let got = lab.node.get(&target).await;
        assert_eq!((got.status, &got.body), (200, &other.top.body));
        let by = got.header("x-harbor-pilot-served-by").unwrap();
        assert_ne!(by, spoiled, "{name}");
        assert!(by.starts_with("t1/"), "the other address of its tier: {by}");
    }
    // It is seen why.
    let mut client = Client::connect(lab.node.admin).await;
    client.ask("GET", "/status", &[]).await;
    let body = client.answer(false).await.body;
    let status: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let rows = status["reputation"].as_array().unwrap();
    let due = |row: &&serde_json::Value| row["reason"] == "wrong_bytes";
    let effects: Vec<_> = rows.iter().filter(due).map(|row| &row["effect"]).collect();
    assert_eq!(effects, ["behind", "last", "never"], "{rows:#?}");
}

/// What is no proof against an address: the JSON of a Harbor whose upstream broke behind the part that came (harbor-facts 0.3).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_error_of_a_broken_cold_blob_is_held_against_nobody() {
    let lab = Lab::new(Image::with_layers(64, &[150_000]), true).await;
    let layer = lab.image.layer();
    let json = br#"{"errors":[{"code":"UNKNOWN","message":"unknown: unexpected EOF"}]}"#;
    // As long as the whole, or longer: no length was told, and only the bytes show what happened.
    for missing in [json.len(), 20] {
        let broken = [&layer.body[..layer.body.len() - missing], json].concat();
        let reply = Reply::new(200)
            .framing(Framing::Chunked)
            .body("application/octet-stream", broken);
        let path = format!("blobs/{}", layer.digest);
        lab.strike(&On::Ending(layer.digest.to_string()), &Fault::Reply(reply));
        let got = lab.node.pull(&path).await;
        assert_eq!((got.status, got.end), (200, End::Clean), "{missing}");
        assert!(got.body == layer.body);
    }
    let mismatches = lab.node.count(EventName::DigestMismatch);
    assert_eq!(mismatches, 0);
    lab.heal();
    lab.pull().await;
    assert_ne!(lab.asked("/blobs/"), 0, "the tier is asked as ever");
}

/// The layers of a pull stall at both addresses: the pull waits for that once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tier_that_stalls_costs_a_pull_one_wait() {
    let healthy = Lab::new(thirty_layers(65), true).await.pull().await;
    let lab = Lab::new(thirty_layers(65), true).await;
    lab.strike(&On::Blobs, &Fault::SilentAt(50_000));
    let (is_complete, took) = lab.pull().await;
    println!("healthy {:.1?}, stalling {took:.1?}", healthy.1);
    assert!(healthy.0 && is_complete);
    assert!(took < healthy.1 + Duration::from_secs(3), "{took:?}");
}

/// They drip at both addresses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tier_that_drips_costs_a_pull_one_judgement() {
    let healthy = Lab::new(thirty_layers(66), true).await.pull().await;
    let lab = Lab::new(thirty_layers(66), true).await;
    let drip = Fault::Drip {
        bytes: 100,
        every: Duration::from_secs(1),
    };
    lab.strike(&On::Blobs, &drip);
    let (is_complete, took) = lab.pull().await;
    println!("healthy {:.1?}, dripping {took:.1?}", healthy.1);
    assert!(healthy.0 && is_complete);
    assert!(took < healthy.1 + Duration::from_secs(13), "{took:?}");
}

/// A tier that was silent to a pull's HEAD is not waited for by what follows, be there another tier or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tier_that_is_silent_costs_a_pull_one_wait() {
    for has_core in [true, false] {
        let lab = Lab::new(Image::with_layers(67, &[150_000; 3]), has_core).await;
        lab.strike(&On::All, &Fault::NoAnswer);
        let since = Instant::now();
        assert_eq!(lab.node.head("manifests/1").await.status, 200);
        let head = since.elapsed();
        let (is_complete, took) = lab.pull().await;
        println!("HEAD {head:.1?}, then {took:.1?}; another tier: {has_core}");
        assert!(is_complete);
        assert!(head < Duration::from_secs(4), "{head:?}");
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

/// Its upstream limits a Harbor for one repository; what it has of others it serves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_a_harbors_upstream_is_of_one_repository() {
    const OTHER: &str = "library/other";
    let lab = Lab::new(Image::with_layers(68, &[150_000]), true).await;
    let other = Image::with_layers(69, &[150_000]);
    for tier in lab.replica.iter().chain(&lab.core) {
        let name = format!("proxy-docker-io/{OTHER}");
        tier.change_content(|content| content.add(&name, "1", &other));
    }
    for address in &lab.replica {
        let said = "too many requests to upstream registry";
        let reply = Reply::error(429, "TOO_MANY_REQUEST", said);
        address.script(move |request| {
            let is_limited = request.path.contains(&format!("{TIERED}/"));
            is_limited.then(|| reply.clone())
        });
    }
    for _ in 0..2 {
        let (is_complete, _) = lab.pull().await;
        assert!(is_complete);
    }
    let limited = lab.asked(&format!("{TIERED}/"));
    assert!(limited <= 2, "it is not asked again and again: {limited}");
    let target = format!("/v2/{OTHER}/manifests/1?ns=docker.io");
    let got = lab.node.get(&target).await;
    assert_eq!((got.status, &got.body), (200, &other.top.body));
    let by = got.header("x-harbor-pilot-served-by").unwrap();
    assert!(by.starts_with("t1/"), "{by}");
}

/// `verify = "suspect"`, one tier with one address, and a client that asks for the whole blob as a range, as containerd 2.1 does where
/// it fetches in parallel: what went out unhashed and wrong is hashed when it is asked for anew, and the third pull is upstream's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_of_everything_that_was_wrong_is_hashed_when_it_is_asked_for_anew() {
    let image = Image::with_layers(131, &[300_000]);
    let tier = FakeRegistry::builder();
    let tier = tier.with_image(TIERED, "1", &image).start().await;
    let upstream = FakeRegistry::builder().with_image(REPOSITORY, "1", &image);
    let upstream = upstream.start().await;
    let setup = Setup::of(&[&tier], &upstream).and("[relay]\nverify = \"suspect\"\n");
    let node = setup.start().await;
    assert_eq!(node.pull("manifests/1").await.status, 200);
    let layer = image.layer();
    let blob = format!("blobs/{}", layer.digest);
    tier.set_fault_on(On::Blobs, Fault::CorruptAt(7));
    let first = node.range(&blob, "bytes=0-").await;
    assert_eq!(first.status, 206);
    let by = first.header("x-harbor-pilot-served-by").unwrap().to_owned();
    assert!(first.body != layer.body, "it went out unhashed, by {by}");
    assert_eq!(node.count(EventName::DigestMismatch), 0);
    let second = node.range(&blob, "bytes=0-").await;
    assert!(second.end != End::Clean || second.body == layer.body);
    node.event(EventName::DigestMismatch).await;
    let third = node.range(&blob, "bytes=0-").await;
    assert!(third.end == End::Clean && third.body == layer.body);
}

/// `verify = "suspect"`: a whole blob as a range that comes in chunks is hashed, though its Content-Range tells a total (design P8).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_of_everything_in_chunks_is_hashed_at_once() {
    let image = Image::with_layers(132, &[300_000]);
    let tier = FakeRegistry::builder();
    let tier = tier.with_image(TIERED, "1", &image).start().await;
    let upstream = FakeRegistry::builder().with_image(REPOSITORY, "1", &image);
    let upstream = upstream.start().await;
    let setup = Setup::of(&[&tier], &upstream).and("[relay]\nverify = \"suspect\"\n");
    let node = setup.start().await;
    assert_eq!(node.pull("manifests/1").await.status, 200);
    let layer = image.layer();
    let blob = format!("blobs/{}", layer.digest);
    let (path, mut wrong) = (blob.clone(), layer.body.clone());
    wrong[7] ^= 1;
    let last = wrong.len() - 1;
    tier.script(move |request| {
        let (path, wrong) = (&path, wrong.clone());
        request.path.ends_with(path).then(|| {
            let range = format!("bytes 0-{last}/{}", last + 1);
            let part = Reply::new(206).body("application/octet-stream", wrong);
            part.header("Content-Range", range)
                .framing(Framing::Chunked)
        })
    });
    let got = node.range(&blob, &format!("bytes=0-{last}")).await;
    let record = node.record(&got).await;
    assert!(
        got.end != End::Clean || got.body == layer.body,
        "{record:?}"
    );
    let event = node.event(EventName::DigestMismatch).await;
    assert_eq!(event.tier.as_deref(), Some("t1"), "{record:?}");
}
