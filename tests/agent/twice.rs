//! Bytes that are fetched twice (design P7): the first byte that the next source is asked for stands at most one hold-back buffer
//! before the last one that came of the broken source.

use crate::client::End;
use crate::node::{Node, Setup, TIERED};
use crate::support::{FakeRegistry, Fault, Image, On};
use harbor_pilot::telemetry::RequestOutcome;

const SIZE: usize = 6_000_000;
/// No boundary of any buffer.
const MIDDLE: usize = 3_456_789;
/// What the agent holds back.
const WINDOW: usize = 32 * 1024;

struct Lab {
    first: FakeRegistry,
    second: FakeRegistry,
    _upstream: FakeRegistry,
    image: Image,
    node: Node,
}

/// Where a body broke, and went on.
struct Broken {
    /// So far its bytes came, as the record says.
    came: usize,
    /// The first byte that the next source was asked for.
    asked: usize,
}

impl Lab {
    async fn new() -> Self {
        let image = Image::with_layers(41, &[SIZE]);
        let tier = || FakeRegistry::builder().with_image(TIERED, "1", &image);
        let (first, second) = (tier().start().await, tier().start().await);
        let upstream = FakeRegistry::builder().start().await;
        let node = Setup::of(&[&first, &second], &upstream)
            .and("[timeouts]\nstall = \"300ms\"\n")
            .start()
            .await;
        assert_eq!(node.pull("manifests/1").await.status, 200);
        Self {
            first,
            second,
            _upstream: upstream,
            image,
            node,
        }
    }

    /// Pulls the layer, which comes whole, with this fault at the first tier.
    async fn pull(&self, fault: &Fault) -> Broken {
        self.first.set_fault_on(On::Blobs, fault.clone());
        let path = format!("blobs/{}", self.image.layer().digest);
        let got = self.node.pull(&path).await;
        assert_eq!((got.status, got.end), (200, End::Clean), "{fault:?}");
        assert!(got.body == self.image.layer().body, "{fault:?}");
        let record = self.node.record(&got).await;
        let outcome = (record.outcome, record.resumes);
        assert_eq!(outcome, (RequestOutcome::Resumed, 1), "{record:?}");
        let words: Vec<&str> = record.error.split_whitespace().collect();
        let number = words.last().unwrap().trim_end_matches(')');
        assert!(record.error.starts_with("t1/"), "{record:?}");
        let requests = self.second.requests();
        let blobs = requests
            .iter()
            .filter(|request| request.path.contains("/blobs/"));
        let ranges: Vec<&str> = blobs.map(|r| r.header("range").unwrap()).collect();
        let [range] = ranges.as_slice() else {
            panic!("not one request for the rest: {ranges:?}");
        };
        let first = range.trim_start_matches("bytes=").trim_end_matches('-');
        Broken {
            came: number.parse().unwrap(),
            asked: first.parse().unwrap(),
        }
    }
}

/// Whoever stops or closes has had all of its bytes read before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_and_a_close_cost_exactly_one_window() {
    for fault in [
        Fault::SilentAt(MIDDLE),
        Fault::CloseAt(MIDDLE),
        Fault::HalfCloseAt(MIDDLE),
    ] {
        let broken = Lab::new().await.pull(&fault).await;
        assert_eq!(broken.came, MIDDLE, "{fault:?}");
        assert_eq!(broken.asked, MIDDLE - WINDOW, "{fault:?}");
    }
}

/// A reset throws away what the kernel holds and nobody has read; of what was read no more than a hold-back buffer comes twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_costs_exactly_one_window_of_what_was_read() {
    let broken = Lab::new().await.pull(&Fault::ResetAt(MIDDLE)).await;
    assert!(broken.came <= MIDDLE, "{}", broken.came);
    assert_eq!(broken.asked, broken.came - WINDOW);
}
