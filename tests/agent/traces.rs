//! Traces (`[otel]`): what a collector is sent, what tiers are told, and that neither costs a pull.

use crate::client::{End, Got};
use crate::collector::{CLIENT, Collector, Mood, SERVER, attribute, hex};
use crate::node::{Node, Setup, TIERED, target};
use crate::support::{FakeDns, FakeRegistry, Fault, Image, On, TestCa, free_address};
use harbor_pilot::lifecycle::RawSignal;
use std::time::{Duration, Instant};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

struct Lab {
    tier: FakeRegistry,
    upstream: FakeRegistry,
    image: Image,
    node: Node,
}

impl Lab {
    async fn new(otel: &str) -> Self {
        let image = Image::with_layers(31, &[600_000]);
        let tier = FakeRegistry::builder().harbor();
        let tier = tier.with_image(TIERED, "1", &image).start().await;
        let upstream = FakeRegistry::builder().docker_hub();
        let upstream = upstream
            .with_image("library/app", "1", &image)
            .start()
            .await;
        let setup = Setup::of(&[&tier], &upstream).and(otel);
        let node = setup.start().await;
        Self {
            tier,
            upstream,
            image,
            node,
        }
    }

    /// With a collector at that address, of which everything is wanted.
    async fn at(collector: &Collector, keys: &str) -> Self {
        let endpoint = format!("http://{}", collector.addr);
        Self::new(&format!("[otel]\nendpoint = \"{endpoint}\"\n{keys}\n")).await
    }

    /// A pull in the client's trace.
    async fn traced(&self) -> Got {
        let headers = [("traceparent", PARENT)];
        let target = target("manifests/1");
        self.node.ask("GET", &target, &headers).await
    }

    fn layer(&self) -> String {
        format!("blobs/{}", self.image.layer().digest)
    }

    /// `traceparent` of each request that a source got.
    fn parents(of: &FakeRegistry) -> Vec<Option<String>> {
        let requests = of.requests();
        let parents = requests.iter().map(|it| it.header("traceparent"));
        parents
            .map(|parent| parent.map(ToOwned::to_owned))
            .collect()
    }
}

fn was_asked_and_not_told(registry: &FakeRegistry) {
    assert!(!registry.requests().is_empty());
    for request in registry.requests() {
        assert_eq!(request.header("traceparent"), None, "{request:?}");
        assert_eq!(request.header("tracestate"), None, "{request:?}");
    }
}

/// What `/status` says of traces.
async fn status(node: &Node) -> serde_json::Value {
    let mut admin = crate::client::Client::connect(node.admin).await;
    admin.ask("GET", "/status", &[]).await;
    let status = admin.answer(false).await.text();
    let mut status: serde_json::Value = serde_json::from_str(&status).unwrap();
    status["traces"].take()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_is_one_trace_from_the_client_to_the_tier() {
    for is_grpc in [false, true] {
        let collector = match is_grpc {
            false => Collector::http().await,
            true => Collector::grpc().await,
        };
        let protocol = if is_grpc { "grpc" } else { "http" };
        let keys = format!("protocol = \"{protocol}\"\nsample_ratio = 1.0");
        let lab = Lab::at(&collector, &keys).await;
        let headers = [("traceparent", PARENT), ("tracestate", "a=1")];
        let got = lab.node.ask("GET", &target("manifests/1"), &headers).await;
        assert_eq!((got.status, got.end), (200, End::Clean));
        let record = lab.node.record(&got).await;
        let spans = collector.trace(TRACE).await;
        let server: Vec<_> = spans.iter().filter(|span| span.kind == SERVER).collect();
        let [server] = server[..] else {
            panic!("{spans:#?}");
        };
        // The record and the trace lead to each other.
        assert_eq!(record.request_id.trace().unwrap().id(), TRACE);
        let number = attribute(server, "harbor_pilot.request_id");
        assert_eq!(number.as_deref(), Some(&*record.request_id));
        assert_eq!(hex(&server.parent_span_id), "b7ad6b7169203331");
        assert_eq!(server.name, "GET /v2/{name}/manifests/{reference}");
        assert!(server.end_time_unix_nano > server.start_time_unix_nano);
        let resource = collector.resource();
        assert!(
            resource
                .attributes
                .iter()
                .any(|it| it.key == "service.name")
        );
        // HEAD by tag, then GET by digest; a token before the first.
        let attempts: Vec<_> = spans.iter().filter(|span| span.kind == CLIENT).collect();
        assert_eq!(attempts.len(), record.attempts as usize, "{spans:#?}");
        for attempt in &attempts {
            assert_eq!(attempt.parent_span_id, server.span_id);
            assert_eq!(attribute(attempt, "peer.service").as_deref(), Some("t1"));
            let status = attribute(attempt, "http.response.status_code");
            assert_eq!(status.as_deref(), Some("200"));
            assert!(attempt.start_time_unix_nano >= server.start_time_unix_nano);
        }
        let token = spans.iter().find(|span| span.name == "token exchange");
        assert_eq!(token.unwrap().parent_span_id, attempts[0].span_id);
        // What the tier is asked for says whose it is; its token endpoint is not told.
        let asked = lab.tier.requests();
        let parents = asked.iter().filter(|it| it.path.contains("/manifests/"));
        for request in parents {
            let parent = request.header("traceparent").unwrap();
            let of = attempts
                .iter()
                .map(|it| format!("00-{TRACE}-{}-01", hex(&it.span_id)));
            assert!(of.into_iter().any(|due| due == parent), "{parent}");
            assert_eq!(request.header("tracestate"), Some("a=1"));
        }
        let tokens = asked.iter().filter(|it| !it.path.starts_with("/v2/"));
        assert!(
            tokens
                .into_iter()
                .all(|it| it.header("traceparent").is_none())
        );
        let path = match is_grpc {
            false => "/v1/traces",
            true => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        };
        assert_eq!(collector.paths()[0], path);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_registry_is_never_told() {
    let collector = Collector::http().await;
    let lab = Lab::at(&collector, "sample_ratio = 1").await;
    lab.tier.set_fault(Fault::CloseInsteadOfAnswer);
    let headers = [("traceparent", PARENT), ("tracestate", "a=1")];
    let got = lab.node.ask("GET", &target("manifests/1"), &headers).await;
    assert_eq!(got.status, 200);
    was_asked_and_not_told(&lab.upstream);
    let spans = collector.trace(TRACE).await;
    let of = |source: &str| {
        let attempts = spans.iter().filter(|span| span.kind == CLIENT);
        let of = attempts.filter(|it| attribute(it, "peer.service").as_deref() == Some(source));
        of.cloned().collect::<Vec<_>>()
    };
    let failed = of("t1");
    assert!(!failed.is_empty(), "{spans:#?}");
    for attempt in failed {
        assert_eq!(attempt.status.unwrap().code, 2, "an error");
    }
    assert!(!of("upstream").is_empty(), "{spans:#?}");
}

/// As Harbor's storage in S3: the tier is told, the host behind it is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_behind_a_redirect_is_never_told() {
    let collector = Collector::http().await;
    let lab = Lab::at(&collector, "sample_ratio = 1").await;
    let storage = FakeRegistry::builder().cdn();
    let storage = storage.with_image(TIERED, "1", &lab.image).start().await;
    lab.tier
        .change(|it| it.blobs_redirect_to = Some(storage.base_url()));
    let headers = [("traceparent", PARENT), ("tracestate", "a=1")];
    let got = lab.node.ask("GET", &target(&lab.layer()), &headers).await;
    assert!(got.status == 200 && got.body == lab.image.layer().body);
    assert_eq!(&*lab.node.record(&got).await.tier, "t1");
    assert!(Lab::parents(&lab.tier).iter().any(Option::is_some));
    was_asked_and_not_told(&storage);
}

/// What a source or a redirect says is in the record, and in no span.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_text_from_outside_goes_to_the_collector() {
    let collector = Collector::http().await;
    let lab = Lab::at(&collector, "sample_ratio = 1").await;
    for registry in [&lab.tier, &lab.upstream] {
        registry.change(|it| it.blobs_redirect_to = Some("ftp://storage.example.com".to_owned()));
    }
    let headers = [("traceparent", PARENT)];
    let got = lab.node.ask("GET", &target(&lab.layer()), &headers).await;
    assert_eq!(got.status, 503);
    let error = lab.node.record(&got).await.error.clone();
    let spans = collector.trace(TRACE).await;
    let failed = spans
        .iter()
        .filter_map(|span| Some((span, span.status.as_ref()?)));
    let failed: Vec<_> = failed.filter(|(_, status)| status.code == 2).collect();
    assert!(failed.len() >= 2, "{error}: {spans:#?}");
    for (span, status) in failed {
        assert_eq!(
            attribute(span, "error.type").as_ref(),
            Some(&status.message)
        );
    }
    assert!(error.contains("is not followed"), "{error}");
    assert!(!format!("{spans:?}").contains("is not followed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resumption_is_a_span_with_the_attempt_that_went_on() {
    let collector = Collector::http().await;
    let lab = Lab::at(&collector, "sample_ratio = 1").await;
    lab.tier.set_fault_on(On::Blobs, Fault::CloseAt(200_000));
    let headers = [("traceparent", PARENT)];
    let got = lab.node.ask("GET", &target(&lab.layer()), &headers).await;
    assert!(got.status == 200 && got.body == lab.image.layer().body);
    assert_eq!(lab.node.record(&got).await.resumes, 1);
    let spans = collector.trace(TRACE).await;
    let resume = spans.iter().find(|span| span.name == "resume").unwrap();
    let attempts = spans.iter().filter(|span| span.kind == CLIENT);
    let below: Vec<_> = attempts
        .filter(|it| it.parent_span_id == resume.span_id)
        .collect();
    assert!(!below.is_empty(), "{spans:#?}");
    assert_eq!(
        attribute(below[0], "peer.service").as_deref(),
        Some("upstream")
    );
}

/// Upstream's name has no address when the pull comes: that DNS was waited for is a span.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_without_an_address_is_a_span_of_dns() {
    let (collector, dns) = (Collector::http().await, FakeDns::start().await);
    let tier = FakeRegistry::builder().harbor().start().await;
    let setup = Setup::default().tier(&tier.base_url(), "");
    let setup = setup.registry("http://registry.example.test:5000", "");
    let setup = setup.and(&format!(
        "[dns]\nnameservers = [\"{}\"]\n[otel]\nendpoint = \"http://{}\"\nsample_ratio = 1.0\n",
        dns.addr, collector.addr
    ));
    let node = setup.start().await;
    let headers = [("traceparent", PARENT)];
    let got = node.ask("GET", &target("manifests/1"), &headers).await;
    assert_ne!(got.status, 200);
    let spans = collector.trace(TRACE).await;
    let server = spans.iter().find(|span| span.kind == SERVER).unwrap();
    let looked_up = spans.iter().find(|span| span.name == "DNS");
    let looked_up = looked_up.unwrap_or_else(|| panic!("{spans:#?}"));
    assert_eq!(looked_up.parent_span_id, server.span_id);
    let source = attribute(looked_up, "peer.service");
    assert_eq!(source.as_deref(), Some("upstream"));
}

/// A client's decision holds; by itself the agent samples nothing here, and tiers are told that as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_sample_only_a_client_has_its_trace() {
    let collector = Collector::http().await;
    let lab = Lab::at(&collector, "sample_ratio = 0.0").await;
    let record = lab.node.pull(&lab.layer()).await;
    let record = lab.node.record(&record).await;
    let own = record.request_id.trace().unwrap().id();
    let invalid = PARENT.replace("00-0af", "00-0AF");
    let got = lab
        .node
        .ask("GET", &target(&lab.layer()), &[("traceparent", &invalid)])
        .await;
    assert_ne!(
        lab.node.record(&got).await.request_id.trace().unwrap().id(),
        TRACE
    );
    for parent in Lab::parents(&lab.tier).into_iter().flatten() {
        assert!(parent.ends_with("-00"), "{parent}");
    }
    let parents = Lab::parents(&lab.tier);
    assert!(parents.iter().flatten().any(|parent| parent.contains(&own)));
    let got = lab
        .node
        .ask("GET", &target(&lab.layer()), &[("traceparent", PARENT)])
        .await;
    assert_eq!(got.status, 200);
    let spans = collector.trace(TRACE).await;
    assert_eq!(spans.len(), collector.spans().len(), "of no other trace");
    let sampled = format!("00-{TRACE}-");
    let parents = Lab::parents(&lab.tier);
    let parents = parents.iter().flatten();
    let mut told = parents.filter(|parent| parent.starts_with(&sampled));
    assert!(told.all(|parent| parent.ends_with("-01")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_table_nothing_is_traced_and_nothing_is_passed_on() {
    let lab = Lab::new("").await;
    let got = lab.traced().await;
    assert_eq!(got.status, 200);
    assert!(lab.node.record(&got).await.request_id.trace().is_none());
    assert!(Lab::parents(&lab.tier).iter().all(Option::is_none));
}

/// Whatever the collector does, pulls take no longer, and what is lost is counted and said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_collector_costs_a_pull() {
    let collector = Collector::http().await;
    let nobody = format!(
        "[otel]\nendpoint = \"http://{}\"\nsample_ratio = 1\n",
        free_address()
    );
    for mood in [
        None,
        Some(Mood::Refuses),
        Some(Mood::Silent),
        Some(Mood::Endless),
    ] {
        let lab = match mood {
            None => Lab::new(&nobody).await,
            Some(mood) => {
                collector.mood(mood);
                Lab::at(&collector, "sample_ratio = 1").await
            }
        };
        assert_eq!(lab.node.pull("manifests/1").await.status, 200);
        let since = Instant::now();
        for _ in 0..200 {
            assert_eq!(lab.node.pull("manifests/1").await.status, 200);
        }
        assert!(since.elapsed() < Duration::from_secs(5), "{mood:?}");
        let status = loop {
            let status = status(&lab.node).await;
            if !status["failing"].is_null() {
                break status;
            }
            assert!(
                since.elapsed() < Duration::from_secs(20),
                "{mood:?} {status}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let why = status["failing"].as_str().unwrap();
        let due = match mood {
            None => "refused",
            Some(Mood::Refuses) => "503",
            Some(Mood::Endless) => "limit",
            _ => "no answer within 5 s",
        };
        assert!(why.contains(due), "{mood:?}: {why}");
        assert!(status["dropped"].as_u64().unwrap() > 0, "{status}");
        assert_eq!(status["exported"], 0);
    }
}

/// The spans of the last requests are sent before the end, and a collector that takes nothing does not hold it up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_spans_are_sent_before_the_end() {
    for mood in [Mood::Takes, Mood::Silent] {
        let collector = Collector::http().await;
        collector.mood(mood);
        let mut lab = Lab::at(&collector, "sample_ratio = 1").await;
        let got = lab.traced().await;
        lab.node.record(&got).await;
        let since = Instant::now();
        lab.node.signal(RawSignal::Terminate).await;
        lab.node.ended().await.unwrap();
        // The spans have 300 ms; the rest of a stop takes little.
        assert!(since.elapsed() < Duration::from_secs(1), "{mood:?}");
        assert!(collector.exports() > 0, "{mood:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_of_an_own_authority_is_reached_over_tls() {
    let ca = TestCa::new();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("ca.pem");
    crate::node::write(&file, ca.pem());
    for is_grpc in [false, true] {
        let collector = Collector::https(&ca, is_grpc).await;
        let protocol = if is_grpc { "grpc" } else { "http" };
        let otel = format!(
            "[otel]\nendpoint = \"https://{}\"\nprotocol = \"{protocol}\"\nca_file = \"{}\"\n",
            collector.addr,
            file.display()
        );
        let lab = Lab::new(&otel).await;
        let got = lab.traced().await;
        assert_eq!(got.status, 200);
        collector.trace(TRACE).await;
    }
}
