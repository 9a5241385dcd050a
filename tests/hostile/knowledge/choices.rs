//! What a client asks for, and how often, reorders nothing for others: a tier is not left for what somebody asked of it.

use crate::client::{End, Got};
use crate::node::{Node, REPOSITORY, Setup, TIERED, target};
use crate::support::{FakeRegistry, Image};
use harbor_pilot::telemetry::EventName;

struct Lab {
    _tiers: [FakeRegistry; 2],
    _upstream: FakeRegistry,
    image: Image,
    node: Node,
}

impl Lab {
    /// Two tiers that send no digest for tags (harbor-facts 3.2), an image below an index, and its registry.
    async fn new() -> Self {
        let image = Image::multi_platform(81, 1, 1);
        let tier = || {
            FakeRegistry::builder()
                .harbor()
                .with_image(TIERED, "1", &image)
                .start()
        };
        let tiers = [tier().await, tier().await];
        let upstream = FakeRegistry::builder().with_image(REPOSITORY, "1", &image);
        let upstream = upstream.start().await;
        let setup = Setup::of(&[&tiers[0], &tiers[1]], &upstream);
        let node = setup.start().await;
        Self {
            _tiers: tiers,
            _upstream: upstream,
            image,
            node,
        }
    }

    fn child(&self) -> String {
        self.image.children[0].digest.to_string()
    }

    fn layer(&self) -> String {
        format!("blobs/{}", self.image.layer().digest)
    }

    /// As containerd pulls, from the first tier.
    async fn pulls(&self) {
        let child = format!("manifests/{}", self.child());
        for what in ["manifests/1", &*child, &*self.layer()] {
            let got = self.node.pull(what).await;
            assert_eq!((got.status, got.end), (200, End::Clean), "{got:?}");
            self.assert_by_the_first(&got);
        }
    }

    #[track_caller]
    fn assert_by_the_first(&self, got: &Got) {
        let by = got.header("x-harbor-pilot-served-by").unwrap();
        assert!(by.starts_with("t1/"), "{by}: {got:?}");
    }

    async fn stranger(&self, path: &str) -> u16 {
        self.node.ask_as_stranger(path, &[]).await.status
    }
}

/// What is nowhere in another repository says nothing of the tag that names it in this one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_404_in_a_foreign_repository_refutes_nothing() {
    let lab = Lab::new().await;
    lab.pulls().await;
    let foreign = format!("/v2/evil/app/manifests/{}?ns=docker.io", lab.child());
    assert_eq!(lab.stranger(&foreign).await, 404);
    assert_eq!(lab.node.get(&foreign).await.status, 404);
    lab.assert_by_the_first(&lab.node.head("manifests/1").await);
    assert_eq!(lab.node.count(EventName::TagUnconfirmed), 0);
}

/// Asked for a layer again from its first byte, the agent suspects who gave ranges of it; it is the stranger that asks again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_that_strangers_pull_again_stays_where_it_is() {
    let lab = Lab::new().await;
    lab.pulls().await;
    let path = target(&lab.layer());
    let first = lab
        .node
        .ask("GET", &path, &[("Range", "bytes=0-9999")])
        .await;
    assert_eq!(first.status, 206);
    lab.assert_by_the_first(&first);
    for _ in 0..3 {
        assert_eq!(lab.stranger(&path).await, 200);
    }
    let second = lab
        .node
        .ask("GET", &path, &[("Range", "bytes=10000-19999")])
        .await;
    assert_eq!(second.status, 206);
    lab.assert_by_the_first(&second);
}
