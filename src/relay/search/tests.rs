//! What a panic costs: the attempt that it happened in, and nothing else. Over real sockets, because an attempt has a connection;
//! the panics are those of a `FetchSpec`, and of bytes that do not like to be let go of.

use super::*;
use crate::budget::Budget;
use crate::cache::Trust;
use crate::config::Config;
use crate::discovery::Discovery;
use crate::exchange::{Exchanger, SourceRequest, SourceResponse};
use crate::health::{Health, HttpProber};
use crate::lifecycle::{self, Tasks};
use crate::oci::{Digest, ResourcePath};
use crate::relay::blob::body::BlobBody;
use crate::relay::blob::{BlobFetch, BlobSource};
use crate::relay::memory::Image;
use crate::relay::network::LiveNetwork;
use crate::relay::record::RequestRecord;
use crate::relay::reputation::Subject;
use crate::relay::transfer::HoldBack;
use crate::relay::{Context, Relay};
use crate::route::{RouteTable, Target};
use crate::telemetry::{Captured, EventName, Journal, RequestOutcome};
use crate::topology::select::Why;
use crate::topology::{EndpointStatus, Snapshot, Source, SourceId, Sources};
use bytes::{Buf as _, Bytes};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;

const CONTENT: &[u8] = &[7; 100_000];

/// A pull path between two sources that have the content: the tier t1, and the registry itself.
struct Bench {
    parts: Arc<Context>,
    route: Arc<Route>,
    journal: Captured,
    tier: EndpointId,
    tasks: Tasks,
    _home: tempfile::TempDir,
    _open: (
        watch::Sender<Arc<Sources>>,
        watch::Sender<crate::config::Dns>,
    ),
}

/// Every request on every connection is answered with the content.
async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    lifecycle::spawn_detached("scripted server", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            lifecycle::spawn_detached("scripted connection", async move {
                let mut head = Vec::new();
                while let Ok(byte) = stream.read_u8().await {
                    head.push(byte);
                    if head.ends_with(b"\r\n\r\n") {
                        head.clear();
                        let length = CONTENT.len();
                        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                        let _ = stream.write_all(answer.as_bytes()).await;
                        let _ = stream.write_all(CONTENT).await;
                    }
                }
            });
        }
    });
    address
}

impl Bench {
    async fn start() -> Self {
        let (at, upstream) = (server().await, server().await);
        let text = format!(
            "[[tier]]\nname = \"t1\"\nurl = \"http://{at}\"\n[tier.projects]\n\"docker.io\" = \"proxy\"\n\
             [tier.health]\nprobe = \"none\"\n[[registry]]\nname = \"docker.io\"\nupstream = \"http://{upstream}\"\n"
        );
        let home = tempfile::tempdir().unwrap();
        let mut config = Config::from_toml(&text).unwrap();
        config.state_directory = home.path().to_owned();
        let config = Arc::new(config);
        let sources = Arc::new(Sources::from_config(&config, 1));
        let client = upstream::Client::new(config.timeouts);
        client.update(&sources);
        let (journal, captured) = Journal::capturing();
        let (metrics, tasks) = (Arc::default(), Tasks::default());
        let (send_sources, all) = watch::channel(sources);
        let (send_dns, dns) = watch::channel(config.dns.clone());
        let directory = config.state_directory.clone();
        let (journal_of, metrics_of) = (|| journal.clone(), || Arc::clone(&metrics));
        let discovery = Discovery::start(
            all.clone(),
            dns,
            directory,
            journal_of(),
            metrics_of(),
            &tasks,
        );
        let health = Health::start(
            all,
            discovery.endpoint_sets(),
            HttpProber::new(client.clone()),
            journal_of(),
            metrics_of(),
            &tasks,
            1,
        );
        let is_there = |snapshot: &Arc<Snapshot>| {
            let sources = snapshot.sources.iter();
            sources.map(|source| source.endpoints.len()).sum::<usize>() == 2
        };
        health.snapshot().wait_for(is_there).await.unwrap();
        let exchanger = Exchanger::new(
            client.clone(),
            Arc::new(discovery.clone()),
            metrics_of(),
            &Budget::unlimited(),
        );
        let sizes = home.path().join("sizes");
        let relay = Relay::new(Context::new(
            config.clone(),
            client,
            exchanger,
            discovery,
            health,
            journal_of(),
            metrics_of(),
            Budget::unlimited(),
            &sizes,
            1,
        ));
        let path = format!("/v2/library/a/blobs/{}", Digest::sha256(CONTENT));
        let Ok(ResourcePath::Resource { name, kind }) = ResourcePath::parse(&path) else {
            panic!("it is a blob's");
        };
        let route = RouteTable::new(config).route(Some("docker.io"), &name, &kind);
        Self {
            parts: relay.parts().clone(),
            route: route.unwrap(),
            journal: captured,
            tier: EndpointId {
                source: SourceId::Tier("t1".into()),
                address: at,
            },
            tasks,
            _home: home,
            _open: (send_sources, send_dns),
        }
    }

    fn timing(&self) -> Timing {
        Timing::for_document(&self.parts.timeouts)
    }

    fn search<S: FetchSpec>(&self, spec: S) -> Search<Arc<LiveNetwork>, S> {
        let (parts, route) = (self.parts.clone(), self.route.clone());
        let (network, spec, timing) = (&parts.network, Arc::new(spec), self.timing());
        Search::new(network, &parts, route, spec, timing, &"1".into())
    }

    /// The tier's attempt was the only one that failed; it is said so, and nothing is held against the address.
    fn assert_it_was_an_attempt(&self) {
        let events = self.journal.events();
        let failed: Vec<_> = events
            .iter()
            .filter(|said| said.event == EventName::AttemptFailed)
            .collect();
        assert_eq!(failed.len(), 1, "{events:?}");
        assert_eq!(failed[0].tier.as_deref(), Some("t1"));
        assert!(failed[0].reason.contains("over the edge"), "{failed:?}");
        let snapshot = self.parts.snapshots.borrow().clone();
        let tier = snapshot.source(&self.tier.source).unwrap();
        let status = tier.endpoints[0].status;
        assert_eq!(status, EndpointStatus::Healthy);
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

/// Where it panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    /// Over the answer of the tier.
    Answer,
    /// Before anybody is asked: in the search itself.
    Ask,
}

struct Falls {
    at: Edge,
    digest: Digest,
}

impl FetchSpec for Falls {
    type Good = Bytes;

    fn request(&self, target: &Target, _: &Source) -> SourceRequest {
        assert_ne!(self.at, Edge::Ask, "over the edge");
        let accept = http::header::HeaderValue::from_static("*/*");
        let (of, id) = (format!("/blobs/{}", self.digest), "1".into());
        crate::relay::head::request(target, &of, http::Method::GET, accept, &id, Trust::Trusted)
    }

    async fn examine(
        &self,
        _: Authority,
        endpoint: &EndpointId,
        answer: SourceResponse,
    ) -> Result<Bytes, Rejection> {
        let body = answer.body.read_to(1 << 20).await;
        assert_ne!(endpoint.source.label(), "t1", "over the edge");
        Ok(body.unwrap())
    }

    fn subject(&self, route: &Route) -> Subject {
        Subject::new(route, None, Trust::Trusted)
    }
}

#[tokio::test]
async fn a_panic_in_an_attempt_is_its_failure_and_the_next_source_serves() {
    let (bench, before) = (Bench::start().await, lifecycle::panics());
    let digest = Digest::sha256(CONTENT);
    let at = Edge::Answer;
    let ended = bench.search(Falls { at, digest }).run().await;
    let found = ended.result.unwrap();
    assert_eq!(found.good, CONTENT);
    assert_eq!(found.endpoint.source.label(), "upstream");
    assert_eq!(ended.log.failed.len(), 1, "{:?}", ended.log.failed);
    assert_eq!(ended.log.failed[0].cause.word(), "internal");
    assert!(lifecycle::panics() > before, "it is counted");
    bench.assert_it_was_an_attempt();
}

#[tokio::test]
async fn a_panic_in_the_search_itself_is_a_failed_search() {
    let bench = Bench::start().await;
    let (at, digest) = (Edge::Ask, Digest::sha256(CONTENT));
    let ended = bench.search(Falls { at, digest }).run().await;
    assert!(matches!(ended.result, Err(NotFound::Failed)));
    assert_eq!(ended.log.failed[0].cause.word(), "internal");
}

/// `direct = false`: at the time when upstream would join, who is superseded for a hedge stays so, and the hedge has its turn when
/// it is connected.
#[tokio::test]
async fn where_no_source_is_upstream_nobody_joins() {
    let mut bench = Bench::start().await;
    let mut route = Route::clone(&bench.route);
    route.targets.retain(|target| !target.authoritative);
    bench.route = Arc::new(route);
    let (at, digest) = (Edge::Answer, Digest::sha256(CONTENT));
    let mut machine = bench.search(Falls { at, digest }).machine;
    let began = Instant::now();
    let after = |millis| began + Duration::from_millis(millis);
    assert_eq!(machine.poll(began), Order::Start(Want::Next));
    let first = machine.started(false, began);
    machine.connected(first);
    assert_eq!(machine.poll(began), Order::Send(first));
    machine.hedge_after(Some(Duration::from_secs(2)));
    assert_eq!(machine.poll(after(2_000)), Order::Start(Want::Tier));
    let hedge = machine.started(false, after(2_000));
    let waits = machine.poll(after(3_500));
    assert!(matches!(waits, Order::WaitUntil(_)), "{waits:?}");
    machine.connected(hedge);
    assert_eq!(machine.poll(after(3_500)), Order::Send(hedge));
}

/// Bytes whose memory cannot be given back.
struct Bomb([u8; 10]);

impl AsRef<[u8]> for Bomb {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("over the edge");
    }
}

#[tokio::test]
async fn a_panic_in_a_body_is_its_sources_end_and_another_goes_on() {
    let bench = Bench::start().await;
    let size = CONTENT.len() as u64;
    let digest = Digest::sha256(CONTENT);
    let (registry, repository) = (&bench.route.registry_label, &bench.route.repository);
    let blob = Image::content(registry.clone(), repository.clone(), digest.clone());
    let fetch = BlobFetch::new(&bench.parts, &bench.route, blob);
    // The first source has bytes to throw away, which do not go.
    let good = BlobSource {
        ready: Bytes::from_owner(Bomb([1; 10])),
        body: None,
        skip: 10,
        total: Some(size),
        tells_total: true,
        has_length: true,
        is_coded: false,
    };
    let snapshot = bench.parts.snapshots.borrow().clone();
    let tier = snapshot.source(&bench.tier.source).unwrap();
    let in_flight = tier.endpoints[0].gauges.enter(Trust::Trusted);
    let source = Found {
        good: Box::new(good),
        endpoint: bench.tier.clone(),
        in_flight,
        outcome: RequestOutcome::Served,
    };
    let sinks = bench.parts.sinks.clone();
    let mut record = RequestRecord::new(sinks, "1".into(), "GET", Instant::now());
    record.answers(200, RequestOutcome::Served, Instant::now());
    let hold_back = HoldBack::hashed(digest, Some(size));
    let mut body = BlobBody::new(fetch, 0, hold_back, source, record);
    let mut got = Vec::new();
    while let Some(bytes) = body.next().await {
        let mut bytes = bytes.unwrap();
        got.extend_from_slice(&bytes.copy_to_bytes(bytes.remaining()));
    }
    assert!(got == CONTENT, "{} bytes", got.len());
    drop(body);
    bench.assert_it_was_an_attempt();
    let record = bench.journal.accesses().remove(0);
    assert_eq!(record.outcome, RequestOutcome::Resumed);
    assert!(record.error.contains("internal"), "{}", record.error);
}

#[tokio::test]
async fn a_record_that_a_panic_lets_go_of_does_not_blame_the_client() {
    let (journal, captured) = Journal::capturing();
    let sinks = Arc::new(crate::relay::record::Sinks {
        journal,
        metrics: Arc::default(),
    });
    let record = RequestRecord::new(sinks, "1".into(), "GET", Instant::now());
    let fallen = contained("request", async move {
        let _record = record;
        panic!("over the edge");
    });
    let panicked = fallen.await.map(|()| "it did not fall").unwrap_err();
    assert!(panicked.to_string().contains("over the edge"));
    assert_eq!(captured.accesses()[0].outcome, RequestOutcome::Failed);
}

/// Who comes and goes where an address is dead leaves a connect behind each time.
#[tokio::test]
async fn connects_that_run_on_by_themselves_are_bounded() {
    let bench = Bench::start().await;
    let snapshot = bench.parts.snapshots.borrow().clone();
    let source = snapshot.source(&bench.tier.source).unwrap();
    let candidate = Candidate {
        endpoint: bench.tier.clone(),
        source: source.source.clone(),
        gauges: source.endpoints[0].gauges.clone(),
        target: 0,
        why: Why::Healthy,
        held_back: None,
        makes_wait: false,
    };
    let under_way = Arc::new(());
    let (stop, stopped) = watch::channel(false);
    let never = || {
        let (alive, mut stopped) = (under_way.clone(), stopped.clone());
        async move {
            let _ = stopped.wait_for(|stop| *stop).await;
            drop(alive);
            Ok(())
        }
    };
    let running = || Arc::strong_count(&under_way) - 1;
    let start = |trust| dial::detached(&bench.parts, trust, candidate.clone(), never(), |()| {});
    for (trust, most) in [(Trust::Untrusted, 64), (Trust::Trusted, 256)] {
        let waiting: Vec<_> = (0..1000).map(|_| start(trust)).collect();
        drop(waiting);
        assert_eq!(running(), most, "{trust:?}: their requests have ended");
    }
    let own = start(Trust::Trusted);
    stop.send(true).unwrap();
    own.await
        .expect("one without a place is its request's own work");
    while running() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(
        start(Trust::Untrusted).await.is_ok(),
        "the places are free again"
    );
}
