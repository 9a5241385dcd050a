//! Sources of a blob that say nothing, or drip, one after the other (design P6, P13), and what the next blob makes of it.

use crate::client::End;
use crate::node::{Node, REPOSITORY, Setup, TIERED};
use crate::support::{FakeRegistry, Fault, Image, On, Reply};
use harbor_pilot::telemetry::{AccessRecord, RequestOutcome};
use std::time::{Duration, Instant};

const SIZE: usize = 300_000;

/// Three tiers that can only fail and an upstream that serves.
struct Lab {
    tiers: Vec<FakeRegistry>,
    upstream: FakeRegistry,
    image: Image,
    node: Node,
}

impl Lab {
    async fn new(clock: &str) -> Self {
        Self::of(&[SIZE, SIZE], clock).await
    }

    async fn of(layers: &[usize], clock: &str) -> Self {
        let image = Image::with_layers(31, layers);
        let mut tiers = Vec::new();
        for _ in 0..3 {
            let tier = FakeRegistry::builder().with_image(TIERED, "1", &image);
            tiers.push(tier.start().await);
        }
        let upstream = FakeRegistry::builder().with_image(REPOSITORY, "1", &image);
        let upstream = upstream.start().await;
        let node = Setup::of(&tiers.iter().collect::<Vec<_>>(), &upstream);
        let node = node.and(clock).start().await;
        assert_eq!(node.pull("manifests/1").await.status, 200);
        for tier in &tiers {
            tier.forget_requests();
        }
        Self {
            tiers,
            upstream,
            image,
            node,
        }
    }

    fn strike(&self, fault: &Fault) {
        for tier in &self.tiers {
            tier.set_fault_on(On::Blobs, fault.clone());
        }
    }

    fn path(&self, layer: usize) -> String {
        format!("blobs/{}", self.image.blobs[layer].digest)
    }

    /// Pulls a layer, which comes whole; how long it took.
    async fn pull(&self, layer: usize) -> Duration {
        let since = Instant::now();
        let got = self.node.pull(&self.path(layer)).await;
        assert_eq!((got.status, got.end), (200, End::Clean));
        assert!(got.body == self.image.blobs[layer].body);
        since.elapsed()
    }

    fn asked(&self) -> Vec<usize> {
        let tiers = self.tiers.iter();
        tiers.map(|tier| tier.requests().len()).collect()
    }
}

/// The design's own times: 2 s, 1 s and 1 s; with three times 4 s the pull would be over its contract.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_silent_sources_cost_four_seconds_and_the_next_blob_nothing() {
    let lab = Lab::new("").await;
    lab.strike(&Fault::NoAnswer);
    let took = lab.pull(0).await;
    println!("three silent sources: {:.1} s", took.as_secs_f32());
    assert!(took < Duration::from_secs(3 * 4), "{took:?}");
    assert_eq!(lab.asked(), [1, 1, 1], "each is asked once");
    assert_eq!(lab.upstream.requests().len(), 1);
}

/// Who is only slow is not dropped: its answer is taken when nobody else has a better one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_first_byte_is_waited_for_beside_the_others() {
    let clock = "[timeouts]\nfirst_byte = \"1s\"\nstall = \"400ms\"\n";
    let lab = Lab::new(clock).await;
    lab.tiers[0].set_fault_on(On::Blobs, Fault::SlowFirstByte(Duration::from_secs(3)));
    for other in lab.tiers[1..].iter().chain([&lab.upstream]) {
        other.set_fault_on(On::Blobs, Fault::NoAnswer);
    }
    lab.pull(0).await;
    assert_eq!(lab.asked(), [1, 1, 1]);
    assert_eq!(lab.upstream.requests().len(), 1);
}

/// After one drip the next is judged sooner, and the next blob begins where none was seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drips_in_a_row_are_left_and_not_begun_with_again() {
    let lab = Lab::new("[timeouts]\nfloor_window = \"4s\"\n").await;
    lab.strike(&Fault::Drip {
        bytes: 1000,
        every: Duration::from_millis(250),
    });
    let took = lab.pull(0).await;
    println!("three drips, 4 s the first: {:.1} s", took.as_secs_f32());
    assert!(took < Duration::from_secs(3 * 6), "{took:?}");
    assert_eq!(lab.asked(), [1, 1, 1]);
    for tier in &lab.tiers {
        tier.heal();
        tier.forget_requests();
    }
    // All three dripped: they stand behind each other as before, and before upstream.
    lab.pull(1).await;
    assert_eq!(lab.asked().iter().sum::<usize>(), 1);
}

/// An address that is known to be slow is not asked first: the other tier's address is healthy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_drip_stands_behind_the_next_tier() {
    let lab = Lab::new("[timeouts]\nfloor_window = \"2s\"\n").await;
    lab.tiers[0].set_fault_on(
        On::Blobs,
        Fault::Drip {
            bytes: 1000,
            every: Duration::from_millis(250),
        },
    );
    lab.pull(0).await;
    assert_eq!(lab.asked(), [1, 1, 0]);
    lab.pull(1).await;
    assert_eq!(lab.asked(), [1, 2, 0], "the first tier is not asked again");
}

/// `verify = "suspect"`: what went out unproven, here of two sources, is asked for again: hashed, and of somebody else, so that
/// the second try succeeds (design P8, P13).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stitched_blob_that_nobody_hashed_comes_from_others_the_second_time() {
    let lab = Lab::new("[relay]\nverify = \"suspect\"\n").await;
    // The first breaks after 200,000 bytes of which one is wrong; the second goes on.
    let wrong = {
        let mut wrong = lab.image.blobs[0].body.clone();
        wrong[100] ^= 1;
        wrong
    };
    lab.tiers[0].script({
        let (path, wrong) = (lab.path(0), wrong.clone());
        move |request| {
            request.path.ends_with(&path).then(|| {
                Reply::new(200)
                    .body("application/octet-stream", wrong.clone())
                    .fault(Fault::CloseAt(200_000))
            })
        }
    });
    let got = lab.node.pull(&lab.path(0)).await;
    assert_eq!((got.status, got.end), (200, End::Clean));
    assert!(got.body == wrong, "nobody looked: containerd does");
    assert_eq!(lab.node.record(&got).await.resumes, 1);
    lab.tiers[0].heal();
    lab.tiers[0].set_fault_on(On::Blobs, Fault::CorruptAt(100));
    let before = lab.asked();
    lab.pull(0).await;
    let after = lab.asked();
    assert_eq!(after, [before[0], before[1], before[2] + 1]);
}

/// A drip is better than nothing: the last living source is not cut (design P6).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_living_source_is_never_cut_for_slowness() {
    let slow = "[timeouts]\nfloor_window = \"400ms\"\nstall = \"300ms\"\n\
                [limits]\nfloor_bytes_per_second = \"10MiB\"\n";
    let lab = Lab::new(slow).await;
    let faults = [
        Fault::Drip {
            bytes: 20_000,
            every: Duration::from_millis(150),
        },
        Fault::CloseInsteadOfAnswer,
        Fault::ResetInsteadOfAnswer,
    ];
    for (tier, fault) in lab.tiers.iter().zip(faults) {
        tier.set_fault_on(On::Blobs, fault);
    }
    lab.upstream
        .set_fault_on(On::Blobs, Fault::CloseInsteadOfAnswer);
    lab.pull(0).await;
    assert_eq!(lab.asked()[0], 1, "it was never left");
    assert!(
        lab.asked()[1] > 0,
        "another was looked for: {:?}",
        lab.asked()
    );
}

/// What containerd does not read it does not want: that is nobody's stall.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_makes_no_source_slow() {
    const LONG: usize = 24 << 20;
    let image = Image::with_layers(32, &[LONG]);
    let tier = || FakeRegistry::builder().with_image(TIERED, "1", &image);
    let (first, second) = (tier().start().await, tier().start().await);
    let upstream = FakeRegistry::builder().start().await;
    let node = Setup::of(&[&first, &second], &upstream)
        .and("[timeouts]\nstall = \"300ms\"\nfloor_window = \"500ms\"\n");
    let node = node.start().await;
    let mut client = node.client().await;
    let path = crate::node::target(&format!("blobs/{}", image.layer().digest));
    client.ask("GET", &path, &[]).await;
    let head = client.head_of_answer().await;
    // More than the sockets between hold is still to come.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut got = client.some(1).await;
    while got.len() < LONG {
        got.extend(client.some(1).await);
    }
    assert!(got == image.layer().body);
    let record = node.record(&head).await;
    assert_eq!((record.resumes, &*record.tier), (0, "t1"));
    assert!(second.requests().is_empty(), "{:?}", second.lines());
}

/// Above the low-speed limit, whatever the machine does meanwhile.
const LOW_FLOOR: &str = "[limits]\nfloor_bytes_per_second = \"1KiB\"\n";

/// A twentieth of what others gave is too slow, though the low-speed limit is far below: 20 kB/s for 600 KB would be 30 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_far_below_the_others_is_left() {
    let lab = Lab::of(&[1_000_000, 600_000], LOW_FLOOR).await;
    lab.the_second_tier_has_given_the_first_layer_quickly()
        .await;
    lab.tiers[0].set_fault_on(On::Blobs, DRIP);
    let took = lab.pull(1).await;
    println!("600 KB, begun at 20 kB/s: {:.1} s", took.as_secs_f32());
    assert!(took < Duration::from_secs(3 * 3), "{took:?}");
    assert_eq!(lab.asked(), [1, 1, 0], "the next is asked for the rest");
    let record = lab.last_record().await;
    assert_eq!(record.outcome, RequestOutcome::Resumed, "{record:?}");
    assert!(record.error.contains("a twentieth"), "{}", record.error);
}

/// Nobody else has it: it is asked for elsewhere once, and comes as slowly as it comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_source_is_not_left_for_the_others_sake() {
    let clock = format!("[timeouts]\nfloor_window = \"2s\"\n{LOW_FLOOR}");
    let lab = Lab::of(&[1_000_000, 60_000 + 70_000], &clock).await;
    lab.the_second_tier_has_given_the_first_layer_quickly()
        .await;
    let layer = On::Ending(lab.image.blobs[1].digest.to_string());
    for other in lab.tiers[1..].iter().chain([&lab.upstream]) {
        let not_here = Reply::error(404, "BLOB_UNKNOWN", "no such blob");
        other.set_fault_on(layer.clone(), Fault::Reply(not_here));
    }
    lab.upstream.forget_requests();
    lab.tiers[0].set_fault_on(On::Blobs, DRIP);
    lab.pull(1).await;
    assert_eq!(lab.asked(), [1, 1, 1], "each is asked once");
    assert_eq!(lab.upstream.requests().len(), 1);
    let record = lab.last_record().await;
    assert_eq!(record.outcome, RequestOutcome::Served, "{record:?}");
}

/// 20 kB/s.
const DRIP: Fault = Fault::Drip {
    bytes: 1000,
    every: Duration::from_millis(50),
};

impl Lab {
    /// The first tier has not got the first layer; the second gives it at 60 MB/s.
    async fn the_second_tier_has_given_the_first_layer_quickly(&self) {
        let layer = On::Ending(self.image.blobs[0].digest.to_string());
        let not_here = Reply::error(404, "BLOB_UNKNOWN", "no such blob");
        self.tiers[0].set_fault_on(layer.clone(), Fault::Reply(not_here));
        let quickly = Fault::Drip {
            bytes: 60_000,
            every: Duration::from_millis(1),
        };
        self.tiers[1].set_fault_on(layer, quickly);
        self.pull(0).await;
        for tier in &self.tiers {
            tier.heal();
            tier.forget_requests();
        }
    }

    /// Of the last blob.
    async fn last_record(&self) -> AccessRecord {
        let digest = self.image.blobs[1].digest.to_string();
        self.node
            .until(|journal| {
                let mut records = journal.accesses().into_iter();
                records.find(|record| record.reference.to_string() == digest)
            })
            .await
    }
}
