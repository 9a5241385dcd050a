//! Somebody's manifest names a layer of somebody else's with another size. Sizes were once kept by digest alone.

use super::restarted;
use crate::client::{End, Got};
use crate::node::{Node, REPOSITORY, Setup, TIERED, target};
use crate::support::{Cold, FakeRegistry, Image};
use harbor_pilot::telemetry::{EventName, RequestOutcome};

const SIZE: usize = 300_000;

/// What the attacker's manifests say of a layer of that size.
fn lies(size: usize) -> [u64; 6] {
    let size = size as u64;
    [size - 1, size + 1, 0, 1, 1 << 63, u64::MAX]
}

/// Two tiers and docker.io's registry with the victim's image, and the attacker's at each of them and at a registry of its own.
struct Lab {
    first: FakeRegistry,
    second: FakeRegistry,
    _registries: [FakeRegistry; 2],
    image: Image,
    setup: Setup,
}

impl Lab {
    async fn new(seed: u64, size: usize) -> Self {
        let image = Image::with_layers(seed, &[size]);
        let with_lies = |mut registry: crate::support::Builder, repository: &str| {
            for (number, lie) in lies(size).into_iter().enumerate() {
                registry =
                    registry.with_image(repository, &number.to_string(), &image.claiming(lie));
            }
            registry
        };
        let tier = || {
            let tier = FakeRegistry::builder()
                .harbor()
                .with_image(TIERED, "1", &image);
            with_lies(tier, "proxy-docker-io/evil/app").start()
        };
        let (first, second) = (tier().await, tier().await);
        let upstream = FakeRegistry::builder().with_image(REPOSITORY, "1", &image);
        let upstream = with_lies(upstream, "evil/app").start().await;
        let foreign = with_lies(FakeRegistry::builder(), "evil/app").start().await;
        let setup = Setup::of(&[&first, &second], &upstream).and(&format!(
            "[[registry]]\nname = \"evil.example\"\nupstream = \"{}\"\n",
            foreign.base_url()
        ));
        Self {
            first,
            second,
            _registries: [upstream, foreign],
            image,
            setup,
        }
    }

    fn blob(&self) -> String {
        format!("blobs/{}", self.image.layer().digest)
    }

    /// Pulls every lie of every registry.
    async fn teach(&self, node: &Node) {
        for number in 0..lies(SIZE).len() {
            for registry in ["docker.io", "evil.example"] {
                let path = format!("/v2/evil/app/manifests/{number}?ns={registry}");
                assert_eq!(node.get(&path).await.status, 200, "{path}");
            }
        }
    }

    /// The victim's layer comes whole, from the first tier, at the first try, and nobody was called ill.
    async fn assert_the_victim_pulls(&self, node: &Node) {
        for method in ["GET", "HEAD"] {
            let got = node.ask(method, &target(&self.blob()), &[]).await;
            assert_eq!((got.status, got.end), (200, End::Clean), "{got:?}");
            let length = got.header("content-length");
            assert_eq!(length, Some(&*self.image.layer().body.len().to_string()));
            if method == "GET" {
                self.assert_from_the_first(node, &got).await;
            }
        }
        self.assert_nobody_is_marked(node);
    }

    async fn assert_from_the_first(&self, node: &Node, got: &Got) {
        assert!(got.body == self.image.layer().body);
        let record = node.record(got).await;
        assert_eq!(record.outcome, RequestOutcome::Served, "{record:?}");
        assert_eq!((&*record.tier, record.attempts), ("t1", 1), "{record:?}");
    }

    fn assert_nobody_is_marked(&self, node: &Node) {
        for event in [EventName::DigestMismatch, EventName::EndpointEjected] {
            assert_eq!(node.count(event), 0, "{:#?}", node.journal.events());
        }
    }
}

/// The victim's manifest was read before, after, or in an earlier run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_repositorys_size_of_a_layer_is_nobody_elses() {
    let lab = Lab::new(61, SIZE).await;
    let node = lab.setup.start().await;
    lab.teach(&node).await;
    assert_eq!(node.pull("manifests/1").await.status, 200);
    lab.assert_the_victim_pulls(&node).await;
    lab.teach(&node).await;
    lab.assert_the_victim_pulls(&node).await;
    let node = restarted(node, &lab.setup).await;
    lab.assert_the_victim_pulls(&node).await;
    lab.teach(&node).await;
    let node = restarted(node, &lab.setup).await;
    lab.assert_the_victim_pulls(&node).await;
}

/// Containerd has the manifest already, so that the agent never saw it: no size is known at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_whose_own_manifest_nobody_read_has_no_size_of_others() {
    for size in [SIZE, 50_000] {
        let lab = Lab::new(62, size).await;
        let node = lab.setup.start().await;
        lab.teach(&node).await;
        let got = node.pull(&lab.blob()).await;
        assert_eq!((got.status, got.end), (200, End::Clean), "{got:?}");
        lab.assert_from_the_first(&node, &got).await;
        lab.assert_nobody_is_marked(&node);
    }
}

/// The attacker pulls its own image, whose manifest lies, from a tier that streams without a length: whatever becomes of that pull,
/// the tier is not called ill, and the victim's pull begins there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lie_about_a_layer_penalises_no_source() {
    for size in [SIZE, 50_000] {
        let lab = Lab::new(63, size).await;
        for tier in [&lab.first, &lab.second] {
            tier.change(|it| {
                it.cold = Cold::Chunked;
                it.warms_up = false;
            });
        }
        let node = lab.setup.start().await;
        for number in 0..lies(size).len() {
            let path = format!("/v2/evil/app/manifests/{number}?ns=docker.io");
            assert_eq!(node.get(&path).await.status, 200);
            let path = format!("/v2/evil/app/{}?ns=docker.io", lab.blob());
            for _ in 0..2 {
                node.get(&path).await;
                node.ask("GET", &path, &[("Range", "bytes=100-")]).await;
            }
        }
        lab.assert_nobody_is_marked(&node);
        assert_eq!(node.pull("manifests/1").await.status, 200);
        lab.assert_the_victim_pulls(&node).await;
    }
}

/// Two sources agree against a manifest of the very repository: the size goes, and they serve.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_size_that_two_sources_contradict_is_dropped_and_they_are_not() {
    let lab = Lab::new(64, SIZE).await;
    let node = lab.setup.start().await;
    for number in [0, 1, 4] {
        let path = format!("/v2/evil/app/manifests/{number}?ns=docker.io");
        assert_eq!(node.get(&path).await.status, 200);
        let path = format!("/v2/evil/app/{}?ns=docker.io", lab.blob());
        for (tier, attempts) in [("t2", 2), ("t1", 1)] {
            let got = node.get(&path).await;
            assert_eq!((got.status, got.end), (200, End::Clean), "{got:?}");
            assert!(got.body == lab.image.layer().body);
            let record = node.record(&got).await;
            assert_eq!(
                (&*record.tier, record.attempts),
                (tier, attempts),
                "{record:?}"
            );
        }
    }
    lab.assert_nobody_is_marked(&node);
}
