//! Tags that tiers answer without a digest (harbor-facts 3.2): what no digest proves is believed until nothing comes of
//! it, and then others are asked first (design P8, P13).

use crate::client::Got;
use crate::node::{Node, REPOSITORY, Setup, TIERED};
use crate::support::{FakeRegistry, Fault, Image, On, Reply};
use harbor_pilot::telemetry::EventName;
use std::time::Duration;

/// Two pulls are two for the agent after a second.
const NEXT_PULL: Duration = Duration::from_millis(1100);

/// Three tiers that send no digest for tags, an upstream that does, and an image below an index.
struct Lab {
    tiers: Vec<FakeRegistry>,
    upstream: FakeRegistry,
    image: Image,
    node: Node,
}

impl Lab {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&FakeRegistry)) -> Self {
        let image = Image::multi_platform(51, 1, 1);
        let mut tiers = Vec::new();
        for _ in 0..3 {
            let tier = FakeRegistry::builder().harbor();
            tiers.push(tier.with_image(TIERED, "1", &image).start().await);
        }
        let upstream = FakeRegistry::builder().docker_hub();
        let upstream = upstream.with_image(REPOSITORY, "1", &image).start().await;
        change(&upstream);
        let node = Setup::of(&tiers.iter().collect::<Vec<_>>(), &upstream);
        let node = node.start().await;
        Self {
            tiers,
            upstream,
            image,
            node,
        }
    }

    /// One byte of the tag's manifest is wrong at every tier.
    fn corrupt(&self, at: usize) {
        for tier in &self.tiers {
            tier.set_fault_on(On::Ending("/manifests/1".to_owned()), Fault::CorruptAt(at));
        }
    }

    /// Offset in the index of a text.
    fn offset(&self, text: &str) -> usize {
        let top = String::from_utf8(self.image.top.body.clone()).unwrap();
        top.find(text).unwrap()
    }

    /// As containerd pulls: the tag by HEAD, what it stands for, the manifest for this machine, its first layer. False: some of it
    /// is nowhere or not for this machine. Who answered for the tag comes with it.
    async fn pull(&self) -> (bool, String) {
        let head = self.head().await;
        let by = by(&head);
        let digest = head.header("docker-content-digest").unwrap();
        let top = self.node.pull(&format!("manifests/{digest}")).await;
        assert_eq!(top.status, 200, "{top:?}");
        let index: serde_json::Value = serde_json::from_slice(&top.body).unwrap();
        let child = &index["manifests"][0];
        if child["platform"]["architecture"] != "amd64" {
            return (false, by);
        }
        let digest = child["digest"].as_str().unwrap();
        let manifest = self.node.pull(&format!("manifests/{digest}")).await;
        if manifest.status != 200 || child["size"] != manifest.body.len() {
            return (false, by);
        }
        let layer = format!("blobs/{}", self.image.layer().digest);
        assert_eq!(self.node.pull(&layer).await.status, 200);
        (true, by)
    }

    async fn head(&self) -> Got {
        let head = self.node.head("manifests/1").await;
        assert_eq!(head.status, 200, "{head:?}");
        head
    }

    /// Pulls until one succeeds; who answered for the tag each time.
    async fn pulls(&self) -> Vec<String> {
        let mut asked = Vec::new();
        loop {
            let (is_good, by) = self.pull().await;
            assert!(!asked.contains(&by), "{by} once more, after {asked:?}");
            asked.push(by);
            if is_good {
                return asked;
            }
            assert!(asked.len() < 4, "{asked:?}");
            tokio::time::sleep(NEXT_PULL).await;
        }
    }
}

/// The source's name, without its address.
fn by(got: &Got) -> String {
    let by = got.header("x-harbor-pilot-served-by").unwrap();
    by.split('/').next().unwrap().to_owned()
}

/// A digest that nobody has, a size that does not fit, a platform that nobody is: each tier is believed once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_bytes_in_a_tags_manifest_at_all_tiers_cost_one_pull_each() {
    let digit = |lab: &Lab, text: &str| lab.offset(text) + text.len();
    for what in ["a digest", "a size", "a platform"] {
        let lab = Lab::new().await;
        let at = match what {
            "a digest" => {
                // A digit that another digit comes of.
                let from = digit(&lab, "sha256:");
                let digits = lab.image.top.body[from..].iter();
                from + digits.clone().position(u8::is_ascii_digit).unwrap()
            }
            "a size" => digit(&lab, "\"size\":"),
            _ => lab.offset("amd64"),
        };
        lab.corrupt(at);
        assert_eq!(lab.pulls().await, ["t1", "t2", "t3", "upstream"], "{what}");
        assert_eq!(lab.node.count(EventName::TagUnconfirmed), 3, "{what}");
        assert_eq!(lab.node.count(EventName::DigestMismatch), 0, "{what}");
    }
}

/// One wrong tier costs one pull; what it named is then known to be nowhere, and another pull at once goes elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_wrong_tier_costs_one_pull() {
    let lab = Lab::new().await;
    let at = lab.offset("sha256:") + "sha256:".len();
    let digits = lab.image.top.body[at..].iter();
    let at = at + digits.clone().position(u8::is_ascii_digit).unwrap();
    let ending = On::Ending("/manifests/1".to_owned());
    lab.tiers[0].set_fault_on(ending, Fault::CorruptAt(at));
    assert_eq!(lab.pull().await, (false, "t1".to_owned()));
    assert_eq!(lab.pull().await, (true, "t2".to_owned()));
    let event = lab.node.event(EventName::TagUnconfirmed).await;
    assert_eq!(event.tier.as_deref(), Some("t1"));
    assert!(
        event.reason.contains("docker.io/library/app:1"),
        "{event:?}"
    );
    // That one is confirmed, and stays.
    tokio::time::sleep(NEXT_PULL).await;
    assert_eq!(lab.pull().await, (true, "t2".to_owned()));
}

/// What contradicts itself is not even believed once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_that_contradicts_itself_costs_no_pull() {
    for text in [
        "schemaVersion\":2",
        "application/vnd.oci.image.index",
        "digest\":",
        "sha256:",
    ] {
        let lab = Lab::new().await;
        let at = lab.offset(text) + text.len() - 1;
        let ending = On::Ending("/manifests/1".to_owned());
        lab.tiers[0].set_fault_on(ending, Fault::CorruptAt(at));
        assert_eq!(lab.pull().await, (true, "t2".to_owned()), "{text}");
        assert_eq!(lab.node.count(EventName::TagUnconfirmed), 0, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_whose_content_is_served_stays_where_it_is() {
    let lab = Lab::new().await;
    for _ in 0..10 {
        assert_eq!(lab.pull().await, (true, "t1".to_owned()));
        tokio::time::sleep(NEXT_PULL).await;
    }
    assert_eq!(lab.node.count(EventName::TagUnconfirmed), 0);
    assert!(
        lab.upstream.requests().is_empty(),
        "{:?}",
        lab.upstream.lines()
    );
}

/// kubelet with imagePullPolicy: Always, and everything on the node: nothing ever comes of the tag. Upstream's digest ends the
/// doubt, for all tiers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_that_is_only_headed_is_served_every_time() {
    let lab = Lab::new().await;
    let mut served = Vec::new();
    for _ in 0..6 {
        let head = lab.head().await;
        let digest = head.header("docker-content-digest");
        assert_eq!(digest, Some(lab.image.top.digest.as_str()));
        served.push(by(&head));
        tokio::time::sleep(NEXT_PULL).await;
    }
    assert_eq!(served[..4], ["t1", "t2", "t3", "upstream"]);
    let heads = lab.upstream.requests();
    let heads = heads.iter().filter(|r| r.path.ends_with("/manifests/1"));
    // One with the challenge, one with the token.
    assert_eq!(heads.count(), 2, "{:?}", lab.upstream.lines());
}

/// The registry itself denies, does not know the tag any more, or is gone: the tiers serve as they did before the doubt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doubt_makes_no_refusal_of_what_a_tier_serves() {
    let denies = |upstream: &FakeRegistry| {
        upstream.change(|it| it.private = true);
    };
    let forgot = |upstream: &FakeRegistry| {
        let gone = Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown");
        upstream.set_fault_on(On::Manifests, Fault::Reply(gone));
    };
    let dead = |upstream: &FakeRegistry| upstream.set_fault(Fault::CloseInsteadOfAnswer);
    for change in [
        &denies as &dyn Fn(&FakeRegistry),
        &forgot as &dyn Fn(&FakeRegistry),
        &dead as &dyn Fn(&FakeRegistry),
    ] {
        let lab = Lab::with(change).await;
        for _ in 0..5 {
            assert_ne!(by(&lab.head().await), "upstream");
            tokio::time::sleep(NEXT_PULL).await;
        }
        assert_eq!(lab.node.count(EventName::TagUnconfirmed), 3);
    }
}
