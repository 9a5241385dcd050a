//! Tags at Harbor tiers: asked for as containerd asks, so that Harbor attaches them (harbor-facts 13.1), with as few requests; and
//! what happens where a HEAD tells too little, or names what is nowhere (design P6, P13).

use crate::client::Got;
use crate::node::{Node, REPOSITORY, Setup, TIERED};
use crate::support::{FakeRegistry, Fault, Image, On, Recorded, Reply};
use harbor_pilot::lifecycle::RawSignal;
use harbor_pilot::telemetry::EventName;
use std::time::{Duration, Instant};

/// Tiers with an image below an index, and its registry.
struct Lab {
    tiers: Vec<FakeRegistry>,
    upstream: FakeRegistry,
    image: Image,
    node: Node,
}

impl Lab {
    async fn new(tiers: usize) -> Self {
        Self::of(Image::multi_platform(51, 1, 1), tiers).await
    }

    async fn of(image: Image, tiers: usize) -> Self {
        let started = (0..tiers).map(|_| harbor(&image));
        let tiers = futures_util::future::join_all(started).await;
        let upstream = FakeRegistry::builder().docker_hub();
        let upstream = upstream.with_image(REPOSITORY, "1", &image).start().await;
        let setup = Setup::of(&tiers.iter().collect::<Vec<_>>(), &upstream);
        let node = setup.start().await;
        Self {
            tiers,
            upstream,
            image,
            node,
        }
    }

    fn by_digest(&self) -> String {
        format!("manifests/{}", self.image.top.digest)
    }

    /// As containerd resolves an image and fetches what it names.
    async fn head_and_get(&self) -> [Got; 2] {
        let head = self.head().await;
        let got = self.node.pull(&self.by_digest()).await;
        assert_eq!((got.status, &got.body), (200, &self.image.top.body));
        [head, got]
    }

    async fn head(&self) -> Got {
        let head = self.node.head("manifests/1").await;
        assert_eq!(head.status, 200, "{head:?}");
        let digest = head.header("docker-content-digest");
        assert_eq!(digest, Some(self.image.top.digest.as_str()));
        let length = self.image.top.body.len().to_string();
        assert_eq!(head.header("content-length"), Some(length.as_str()));
        assert_eq!(head.header("content-type"), Some(self.image.top.media_type));
        head
    }

    /// What the first tier was asked for, but tokens and challenges, once that many came; then it is forgotten.
    async fn asked(&self, requests: usize) -> Vec<String> {
        asked(&self.tiers[0], requests).await
    }
}

async fn harbor(image: &Image) -> FakeRegistry {
    let tier = FakeRegistry::builder().harbor();
    tier.with_image(TIERED, "1", image).start().await
}

async fn asked(registry: &FakeRegistry, requests: usize) -> Vec<String> {
    let is_one = |request: &Recorded| {
        request.path.contains("/manifests/") && request.header("authorization").is_some()
    };
    let since = Instant::now();
    loop {
        let asked = registry.requests().into_iter().filter(is_one);
        let asked: Vec<_> = asked
            .map(|request| {
                let (_, what) = request.path.split_once("/manifests/").unwrap();
                let what = if what == "1" { "tag" } else { "digest" };
                format!("{} {what}", request.method)
            })
            .collect();
        // A request that is not to come would come within this time.
        let is_late = since.elapsed() > Duration::from_millis(300);
        if is_late || asked.len() > requests {
            registry.forget_requests();
            return asked;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The source's name, without its address.
fn by(got: &Got) -> String {
    let by = got.header("x-harbor-pilot-served-by").unwrap();
    by.split('/').next().unwrap().to_owned()
}

/// Harbor's upstream is out: what was pulled through the agent before is served under its tag, to a node that asks for the first
/// time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pulled_through_the_agent_gets_its_tag_in_harbor() {
    for image in [Image::multi_platform(52, 2, 1), Image::random(53, 1)] {
        for by_head in [true, false] {
            let lab = Lab::of(image.clone(), 1).await;
            if by_head {
                lab.head_and_get().await;
            } else {
                let got = lab.node.pull("manifests/1").await;
                assert_eq!((got.status, &got.body), (200, &image.top.body));
            }
            let harbor = &lab.tiers[0];
            harbor.change(|it| it.upstream_out = true);
            let setup = Setup::default().tier(&harbor.base_url(), "");
            let setup = setup.registry(&lab.upstream.base_url(), "direct = false");
            let fresh = setup.start().await;
            let got = fresh.pull("manifests/1").await;
            assert_eq!((got.status, &got.body), (200, &image.top.body));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tier_gets_the_requests_that_containerd_would_send() {
    let lab = Lab::new(1).await;
    // A new image: the GET by digest is sent once, whoever needs it first.
    lab.head_and_get().await;
    assert_eq!(lab.asked(2).await, ["HEAD tag", "GET digest"]);
    // imagePullPolicy: Always, on a node that has it.
    for _ in 0..3 {
        lab.head().await;
    }
    assert_eq!(lab.asked(3).await, ["HEAD tag"; 3]);
    // Another client's GET by tag, moments later.
    let got = lab.node.pull("manifests/1").await;
    assert_eq!(got.body, lab.image.top.body);
    assert_eq!(lab.asked(1).await, ["HEAD tag"]);

    let lab = Lab::new(1).await;
    let got = lab.node.pull("manifests/1").await;
    assert_eq!(got.body, lab.image.top.body);
    assert_eq!(lab.asked(2).await, ["HEAD tag", "GET digest"]);
    let record = lab.node.record(&got).await;
    assert_eq!((&*record.tier, record.attempts), ("t1", 2));
    assert!(lab.upstream.requests().is_empty());
}

/// A HEAD alone of what the node does not know brings the whole: it is needed when nobody answers any more. After a restart the
/// node knows it from its disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_does_not_know_is_fetched_ahead_and_kept() {
    let mut lab = Lab::new(1).await;
    lab.head().await;
    assert_eq!(lab.asked(2).await, ["HEAD tag", "GET digest"]);
    let kept = lab.node.home.path().join("state/manifests/trusted");
    let files = || {
        let folders = std::fs::read_dir(&kept).into_iter().flatten();
        let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
        files.count()
    };
    let since = Instant::now();
    while files() < 2 {
        assert!(since.elapsed() < Duration::from_secs(15), "nothing is kept");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    lab.node.signal(RawSignal::Terminate).await;
    lab.node.ended().await.unwrap();
    let home = std::mem::replace(&mut lab.node.home, tempfile::tempdir().unwrap());
    let setup = Setup::of(&[&lab.tiers[0]], &lab.upstream);
    lab.node = Node::start(&setup, home).await;
    lab.head().await;
    assert_eq!(lab.asked(1).await, ["HEAD tag"]);
    lab.tiers[0].refuse().await;
    lab.upstream.refuse().await;
    let stale = lab.node.head("manifests/1").await;
    assert_eq!(stale.status, 200, "{stale:?}");
    assert!(stale.header("x-harbor-pilot-stale").is_some(), "{stale:?}");
}

/// Harbor's addresses are separate caches: the GET by digest goes to the one whose HEAD told it, whatever its tier.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_get_by_digest_goes_where_the_head_was_answered() {
    let lab = Lab::new(2).await;
    lab.tiers[0].script(|request| {
        let may_pull = request.header("authorization").is_some();
        let gone = Reply::error(404, "NOT_FOUND", "artifact not found");
        (may_pull && request.path.ends_with("/manifests/1")).then_some(gone)
    });
    let [head, got] = lab.head_and_get().await;
    assert_eq!((by(&head), by(&got)), ("t2".to_owned(), "t2".to_owned()));
    // Why it has not got it is said to GET alone.
    assert_eq!(lab.asked(2).await, ["HEAD tag", "GET tag"]);
    assert_eq!(asked(&lab.tiers[1], 2).await, ["HEAD tag", "GET digest"]);
    // A client's GET by tag goes the same way, for what this node has not got.
    let lab = Lab::new(2).await;
    lab.tiers[0].script(|request| {
        let may_pull = request.header("authorization").is_some();
        let gone = Reply::error(404, "NOT_FOUND", "artifact not found");
        (may_pull && request.path.ends_with("/manifests/1")).then_some(gone)
    });
    let got = lab.node.pull("manifests/1").await;
    assert_eq!(
        (by(&got), &got.body),
        ("t2".to_owned(), &lab.image.top.body)
    );
    assert_eq!(lab.asked(2).await, ["HEAD tag", "GET tag"]);
    assert_eq!(asked(&lab.tiers[1], 2).await, ["HEAD tag", "GET digest"]);
}

/// HEADs and GETs by tag of many clients at once are one HEAD, and a Harbor that takes its time has half a second before another
/// one is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_are_one_head_at_one_harbor() {
    let lab = Lab::new(2).await;
    // So that tokens and the tier's usual time are known.
    for _ in 0..10 {
        lab.head().await;
    }
    lab.asked(11).await;
    let slow = Fault::SlowFirstByte(Duration::from_millis(400));
    let ending = On::Ending("/manifests/1".to_owned());
    lab.tiers[0].set_fault_on(ending, slow);
    let clients = (0..8).map(|n| {
        let node = &lab.node;
        let method = if n % 2 == 0 { "HEAD" } else { "GET" };
        async move {
            let got = node
                .ask(method, &crate::node::target("manifests/1"), &[])
                .await;
            assert_eq!((got.status, by(&got)), (200, "t1".to_owned()));
        }
    });
    futures_util::future::join_all(clients).await;
    assert_eq!(lab.asked(1).await, ["HEAD tag"]);
    assert!(lab.tiers[1].requests().is_empty());
    // Who takes other kinds of manifest may mean another one by the tag.
    let kinds = [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json",
    ];
    let clients = (0..8).map(|n| {
        let (node, accept) = (&lab.node, [("Accept", kinds[n % 2])]);
        async move {
            let what = crate::node::target("manifests/1");
            let got = node.ask("HEAD", &what, &accept).await;
            assert_eq!(got.status, 200);
        }
    });
    futures_util::future::join_all(clients).await;
    assert_eq!(lab.asked(2).await, ["HEAD tag"; 2]);
}

/// What cannot be believed is asked for by GET, at the same address and in the same request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_tells_too_little_is_followed_by_a_get() {
    let image = Image::multi_platform(51, 1, 1);
    let (digest, length) = (image.top.digest.to_string(), image.top.body.len());
    let answer = |digest: &str, kind: &str, length: usize| {
        let mut reply = Reply::new(200).body(kind, vec![b' '; length]);
        if !digest.is_empty() {
            reply = reply.header("Docker-Content-Digest", digest);
        }
        reply
    };
    let mut no_type = answer(&digest, "", length);
    no_type.headers.retain(|(name, _)| name != "Content-Type");
    let mut no_length = answer(&digest, image.top.media_type, length);
    no_length.framing = crate::support::Framing::Chunked;
    let sha512 = format!("sha512:{}", "a".repeat(128));
    for (what, reply) in [
        ("no digest", answer("", image.top.media_type, length)),
        ("no sense", answer("sha256:0", image.top.media_type, length)),
        (
            "another digest",
            answer(&sha512, image.top.media_type, length),
        ),
        ("no type", no_type),
        ("no length", no_length),
        ("nothing", answer(&digest, image.top.media_type, 0)),
        (
            "too much",
            answer(&digest, image.top.media_type, (4 << 20) + 1),
        ),
        (
            "a blob",
            answer(&digest, "application/octet-stream", length),
        ),
        (
            "a page",
            answer(&digest, "text/html; charset=utf-8", length),
        ),
        (
            "packed",
            answer(&digest, image.top.media_type, length).header("Content-Encoding", "gzip"),
        ),
        ("no HEAD", Reply::error(405, "UNSUPPORTED", "no HEAD")),
        ("forbidden", Reply::error(403, "DENIED", "no HEAD")),
    ] {
        let lab = Lab::of(image.clone(), 2).await;
        lab.tiers[0].script(move |request| {
            let is_head = request.method == "HEAD" && request.header("authorization").is_some();
            is_head.then(|| reply.clone())
        });
        let head = lab.head().await;
        assert_eq!(by(&head), "t1", "{what}");
        assert_eq!(lab.asked(2).await, ["HEAD tag", "GET tag"], "{what}");
        assert_eq!(lab.node.record(&head).await.attempts, 1, "{what}");
        let got = lab.node.pull("manifests/1").await;
        assert_eq!((by(&got), &got.body), ("t1".to_owned(), &image.top.body));
        assert_eq!(lab.node.count(EventName::EndpointEjected), 0, "{what}");
    }
}

/// A node that has the image never asks upstream for want of a proof.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_that_is_only_headed_stays_where_it_is() {
    let lab = Lab::new(2).await;
    for _ in 0..4 {
        assert_eq!(by(&lab.head().await), "t1");
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    assert_eq!(lab.node.count(EventName::TagUnconfirmed), 0);
    let [second, upstream] = [&lab.tiers[1], &lab.upstream].map(FakeRegistry::lines);
    assert!(second.is_empty() && upstream.is_empty(), "{upstream:?}");
}

/// The tier answers HEAD by tag with this image's manifest.
fn names(tier: &FakeRegistry, image: &Image) {
    let (digest, length) = (image.top.digest.to_string(), image.top.body.len());
    let media_type = image.top.media_type;
    tier.script(move |request| {
        let is_tag = request.path.ends_with("/manifests/1");
        let may_pull = request.header("authorization").is_some();
        let told = Reply::new(200).body(media_type, vec![b' '; length]);
        let told = told.header("Docker-Content-Digest", &*digest);
        (is_tag && may_pull && request.method == "HEAD").then_some(told)
    });
}

/// The tag's manifest is another one at the first tier, and that is nowhere: the next pull begins elsewhere. Where the registry
/// itself denies, does not know the tag any more, or is gone, the tier serves it as before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_whose_content_is_nowhere_is_asked_for_elsewhere() {
    let lost = Image::random(54, 1);
    let forgot = Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown");
    for what in ["healthy", "denies", "forgot", "dead"] {
        let lab = Lab::new(2).await;
        let digest = lost.top.digest.to_string();
        let wrong = if what == "healthy" { 1 } else { 2 };
        lab.tiers[..wrong]
            .iter()
            .for_each(|tier| names(tier, &lost));
        let head = lab.node.head("manifests/1").await;
        assert_eq!(head.header("docker-content-digest"), Some(&*digest));
        let nowhere = lab.node.pull(&format!("manifests/{digest}")).await;
        assert_eq!(nowhere.status, 404, "{nowhere:?}");
        match what {
            "denies" => lab.upstream.change(|it| it.private = true),
            "forgot" => lab
                .upstream
                .set_fault_on(On::Manifests, Fault::Reply(forgot.clone())),
            "dead" => lab.upstream.set_fault(Fault::CloseInsteadOfAnswer),
            _ => {}
        }
        let head = lab.node.head("manifests/1").await;
        let event = lab.node.event(EventName::TagUnconfirmed).await;
        assert_eq!(event.tier.as_deref(), Some("t1"));
        assert!(
            event.reason.contains("docker.io/library/app:1"),
            "{event:?}"
        );
        if what == "healthy" {
            assert_eq!(by(&head), "t2");
            let [_, got] = lab.head_and_get().await;
            assert_eq!(by(&got), "t2");
        } else {
            assert_eq!(head.status, 200, "{what}: {head:?}");
            assert_ne!(by(&head), "upstream", "{what}");
        }
    }
}

/// The same at both tiers: the second one's answer is known to be wrong when it comes, and the next pull goes past both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_repeats_an_answer_that_is_refuted_is_asked_last_too() {
    let (lab, lost) = (Lab::new(2).await, Image::random(55, 1));
    lab.tiers.iter().for_each(|tier| names(tier, &lost));
    assert_eq!(by(&lab.node.head("manifests/1").await), "t1");
    let nowhere = format!("manifests/{}", lost.top.digest);
    assert_eq!(lab.node.pull(&nowhere).await.status, 404);
    assert_eq!(by(&lab.node.head("manifests/1").await), "t2");
    assert_eq!(by(&lab.head().await), "upstream");
    assert_eq!(lab.node.count(EventName::TagUnconfirmed), 2);
}
