//! Blobs that break: resumed, reset, quarantined (design P7, P8); and what the records say of all requests (O1).

use crate::client::End;
use crate::node::{Node, REPOSITORY, Setup, TIERED, target};
use crate::support::{FakeRegistry, Fault, Image, On};
use harbor_pilot::telemetry::{EventName, RequestOutcome};
use std::time::Duration;

const SIZE: usize = 1_000_000;

struct Lab {
    first: FakeRegistry,
    second: FakeRegistry,
    _upstream: FakeRegistry,
    image: Image,
    node: Node,
}

impl Lab {
    async fn new() -> Self {
        let image = Image::with_layers(8, &[SIZE]);
        let tier = || {
            FakeRegistry::builder()
                .harbor()
                .with_image(TIERED, "1", &image)
                .start()
        };
        let (first, second) = (tier().await, tier().await);
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

    fn path(&self) -> String {
        format!("blobs/{}", self.image.layer().digest)
    }
}

/// However the first source's body breaks, the second goes on where it stopped: exact bytes, one answer (P13).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_body_is_resumed_from_the_next_source() {
    let faults = [
        Fault::ResetAt(400_000),
        Fault::CloseAt(400_000),
        Fault::CloseAt(SIZE - 1),
        Fault::ResetAt(0),
        Fault::SilentAt(400_000),
        Fault::SilentAfterHead,
    ];
    for fault in faults {
        let lab = Lab::new().await;
        lab.first.set_fault_on(On::Blobs, fault.clone());
        let got = lab.node.pull(&lab.path()).await;
        assert_eq!((got.status, got.end), (200, End::Clean), "{fault:?}");
        assert!(got.body == lab.image.layer().body, "{fault:?}");
        let record = lab.node.record(&got).await;
        assert_eq!(&*record.tier, "t2", "{fault:?}");
        assert_eq!(record.bytes, SIZE as u64, "{fault:?}");
        let resumed = !matches!(fault, Fault::ResetAt(0) | Fault::SilentAfterHead);
        if resumed {
            assert_eq!(record.outcome, RequestOutcome::Resumed, "{fault:?}");
            assert_eq!(record.resumes, 1, "{fault:?}");
        }
        // A part of a part, too.
        let got = lab.node.range(&lab.path(), "bytes=100000-899999").await;
        assert_eq!((got.status, got.end), (206, End::Clean), "{fault:?}");
        assert!(
            got.body == lab.image.layer().body[100_000..900_000],
            "{fault:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_nobody_can_end_ends_with_fin() {
    let lab = Lab::new().await;
    lab.first.set_fault_on(On::Blobs, Fault::CloseAt(400_000));
    lab.second
        .set_fault_on(On::Blobs, Fault::CloseInsteadOfAnswer);
    let got = lab.node.pull(&lab.path()).await;
    assert_eq!((got.status, got.end), (200, End::Fin));
    assert!(!got.body.is_empty() && lab.image.layer().body.starts_with(&got.body));
    let record = lab.node.record(&got).await;
    assert_eq!(record.outcome, RequestOutcome::Failed);
    // Everybody who had a part in it is named.
    for part in [
        "t1/",
        "at byte 4",
        "the body broke after",
        "t2/",
        "upstream/",
    ] {
        assert!(record.error.contains(part), "{part}: {}", record.error);
    }
    // containerd asks again from there.
    lab.second.heal();
    let from = got.body.len();
    let got = lab.node.range(&lab.path(), &format!("bytes={from}-")).await;
    assert_eq!((got.status, got.end), (206, End::Clean));
    assert!(got.body == lab.image.layer().body[from..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_bytes_end_with_a_reset_and_are_not_asked_for_there_again() {
    let lab = Lab::new().await;
    lab.first.set_fault_on(On::Blobs, Fault::CorruptAt(500_000));
    let got = lab.node.pull(&lab.path()).await;
    assert_eq!((got.status, got.end), (200, End::Reset));
    assert!(got.body.len() < SIZE);
    assert_eq!(lab.node.record(&got).await.outcome, RequestOutcome::Failed);
    let event = lab.node.event(EventName::DigestMismatch).await;
    assert_eq!(event.tier.as_deref(), Some("t1"));
    assert!(
        event.reason.contains(lab.image.layer().digest.as_str()),
        "{event:?}"
    );
    lab.first.forget_requests();
    let got = lab.node.pull(&lab.path()).await;
    assert!(got.end == End::Clean && got.body == lab.image.layer().body);
    assert_eq!(&*lab.node.record(&got).await.tier, "t2");
    assert!(lab.first.requests().is_empty(), "{:?}", lab.first.lines());
}

/// Only the end is wrong, and it is still held back: another source's end is sent instead, and nobody notices (P8).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_tail_is_fixed_and_the_pull_does_not_fail() {
    for at in [SIZE - 1, SIZE - 30_000] {
        let lab = Lab::new().await;
        lab.first.set_fault_on(On::Blobs, Fault::CorruptAt(at));
        lab.second.forget_requests();
        let got = lab.node.pull(&lab.path()).await;
        assert_eq!((got.status, got.end), (200, End::Clean), "{at}");
        assert!(got.body == lab.image.layer().body, "{at}");
        let record = lab.node.record(&got).await;
        assert_eq!(
            (record.outcome, record.resumes),
            (RequestOutcome::Resumed, 1)
        );
        assert_eq!((&*record.tier, record.bytes), ("t2", SIZE as u64));
        let event = lab.node.event(EventName::DigestMismatch).await;
        assert_eq!(event.tier.as_deref(), Some("t1"));
        assert_eq!(lab.node.count(EventName::DigestMismatch), 1);
        // Nothing but the rest was fetched again.
        let asked = lab.second.requests();
        let asked = asked
            .iter()
            .find(|request| request.path.contains("/blobs/"));
        let range = asked.and_then(|request| request.header("range")).unwrap();
        let first = range.trim_start_matches("bytes=").trim_end_matches('-');
        let first: usize = first.parse().unwrap();
        assert!(
            first > SIZE - 200_000 && first <= SIZE - 32 * 1024,
            "{range}"
        );
        lab.first.forget_requests();
        let got = lab.node.pull(&lab.path()).await;
        assert_eq!(got.end, End::Clean);
        assert!(lab.first.requests().is_empty(), "it is quarantined");
    }
}

/// What may be wrong never ends with FIN: containerd would go on from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_tail_that_nobody_can_fix_ends_with_a_reset() {
    let lab = Lab::new().await;
    lab.first
        .set_fault_on(On::Blobs, Fault::CorruptAt(SIZE - 1));
    lab.second.set_fault_on(On::Blobs, Fault::CloseAt(100));
    let got = lab.node.pull(&lab.path()).await;
    assert_eq!((got.status, got.end), (200, End::Reset));
    let record = lab.node.record(&got).await;
    assert_eq!(record.outcome, RequestOutcome::Failed);
    assert!(record.error.contains("could not be fixed"), "{record:?}");
    let event = lab.node.event(EventName::DigestMismatch).await;
    assert_eq!(event.tier.as_deref(), Some("t1"));
}

/// A part cannot be proved: it goes out as it comes, and is fetched once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_is_not_held_up_by_anothers_wrong_bytes() {
    let lab = Lab::new().await;
    lab.first.set_fault_on(On::Blobs, Fault::CorruptAt(699_999));
    lab.second.forget_requests();
    let got = lab.node.range(&lab.path(), "bytes=100000-899999").await;
    assert_eq!(
        (got.status, got.end, got.body.len()),
        (206, End::Clean, 800_000)
    );
    assert_eq!(lab.node.count(EventName::DigestMismatch), 0);
    assert!(lab.second.requests().is_empty());
}

/// What is small is proved before the status line: the same request is answered by the next source.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_wrong_bytes_are_never_seen() {
    let image = Image::with_layers(9, &[60_000]);
    let tier = || {
        FakeRegistry::builder()
            .harbor()
            .with_image(TIERED, "1", &image)
            .start()
    };
    let (first, second) = (tier().await, tier().await);
    first.set_fault_on(On::Blobs, Fault::CorruptAt(59_999));
    let node = Setup::of(&[&first, &second], &FakeRegistry::builder().start().await);
    let node = node.start().await;
    let got = node.pull(&format!("blobs/{}", image.layer().digest)).await;
    assert_eq!((got.status, got.end), (200, End::Clean));
    assert!(got.body == image.layer().body);
    assert!(node.record(&got).await.error.contains("wrong_digest"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_outcome_has_its_word() {
    let lab = Lab::new().await;
    let ask = |target: String| {
        let node = &lab.node;
        async move {
            let got = node.get(&target).await;
            node.record(&got).await
        }
    };
    let record = ask(target(&lab.path())).await;
    assert_eq!(record.outcome, RequestOutcome::Served);
    assert_eq!(record.registry.as_ref().unwrap().as_str(), "docker.io");
    assert_eq!(&*record.repository, REPOSITORY);
    assert_eq!(&*record.reference, lab.image.layer().digest.as_str());
    assert_eq!(
        (record.kind, record.method, record.status),
        ("blob", "GET", 200)
    );
    assert_eq!(
        (&*record.tier, &*record.endpoint),
        ("t1", lab.first.addr.to_string().as_str())
    );
    assert_eq!(
        (record.attempts, record.resumes, record.bytes),
        (1, 0, SIZE as u64)
    );
    assert!(record.time_to_first_byte.unwrap() <= record.duration);
    assert!(record.generation > 0 && record.error.is_empty());
    lab.first
        .set_fault_on(On::Blobs, Fault::CloseInsteadOfAnswer);
    assert_eq!(
        ask(target(&lab.path())).await.outcome,
        RequestOutcome::Failover
    );
    assert_eq!(
        ask(target("manifests/nosuchtag")).await.outcome,
        RequestOutcome::NotFound
    );
    let refused = ask("/v2/a/b/manifests/1?ns=example.com".to_owned()).await;
    assert_eq!(refused.outcome, RequestOutcome::Refused);
    assert_eq!((refused.registry, &*refused.repository), (None, "a/b"));
    // The first choice is upstream where no tier has the registry, or the repository goes round them.
    let upstream = FakeRegistry::builder().with_image(REPOSITORY, "1", &lab.image);
    let upstream = upstream.start().await;
    let direct = Setup::of(&[], &upstream).start().await;
    let got = direct.pull("manifests/1").await;
    assert_eq!(direct.record(&got).await.outcome, RequestOutcome::Direct);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_is_recorded_and_the_source_is_left() {
    let lab = Lab::new().await;
    let every = Duration::from_millis(20);
    lab.first.set_fault_on(
        On::Blobs,
        Fault::Drip {
            bytes: 20_000,
            every,
        },
    );
    let mut client = lab.node.client().await;
    client.ask("GET", &target(&lab.path()), &[]).await;
    let head = client.head_of_answer().await;
    client.some(1).await;
    drop(client);
    let record = lab.node.record(&head).await;
    assert_eq!(record.outcome, RequestOutcome::ClientClosed);
    assert!(record.bytes < SIZE as u64);
    // Of an open range that is everyday life (P12): containerd closes what it has enough of.
    let mut client = lab.node.client().await;
    client
        .ask("GET", &target(&lab.path()), &[("Range", "bytes=10-")])
        .await;
    let head = client.head_of_answer().await;
    client.some(1).await;
    drop(client);
    assert_eq!(lab.node.record(&head).await.outcome, RequestOutcome::Served);
    assert_eq!(lab.node.count(EventName::EndpointEjected), 0);
}

/// Sizes outlive a restart: HEAD needs no source, and a cold cascade is seen before the first byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_sizes_are_kept() {
    let mut lab = Lab::new().await;
    lab.node
        .signal(harbor_pilot::lifecycle::RawSignal::Terminate)
        .await;
    lab.node.ended().await.unwrap();
    let home = std::mem::replace(&mut lab.node.home, tempfile::tempdir().unwrap());
    let node = Node::start_with_files(home).await;
    lab.first.forget_requests();
    let got = node.head(&lab.path()).await;
    assert_eq!(
        got.header("content-length"),
        Some(SIZE.to_string().as_str())
    );
    assert!(lab.first.requests().is_empty());
}
