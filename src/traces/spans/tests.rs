//! Tests of traces/spans.

use super::*;
use crate::telemetry::{Journal, RequestId, Tracer};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::advance;

const CLIENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

struct Traced {
    journal: Journal,
    tracer: Arc<Tracer>,
    queue: mpsc::Receiver<Finished>,
}

impl Traced {
    fn new(ratio: f64) -> Self {
        let (tracer, queue) = Tracer::new(ratio, 7);
        Self {
            journal: Journal::discarding(),
            tracer,
            queue,
        }
    }

    fn request(&self, client: Option<&str>) -> RequestId {
        let client = client.and_then(TraceParent::parse);
        let state = TraceParent::state(["a=b"].into_iter());
        RequestId::from("17").traced(Some(self.tracer.begin(client, state)))
    }

    fn over(&self, request_id: &RequestId, fill: impl FnOnce(&mut AccessRecord)) {
        let mut record = AccessRecord {
            request_id: request_id.clone(),
            kind: "manifest",
            method: "GET",
            status: 200,
            outcome: RequestOutcome::Served,
            ..AccessRecord::default()
        };
        fill(&mut record);
        self.journal.access(Box::new(record));
    }

    fn spans(&mut self) -> Vec<SpanData> {
        let mut spans = Vec::new();
        while let Ok(finished) = self.queue.try_recv() {
            spans.extend(make(finished));
        }
        spans
    }
}

fn attempt() -> What {
    What::Attempt {
        source: "replica".into(),
        address: "192.0.2.7:443".parse().unwrap(),
    }
}

fn attribute(span: &SpanData, key: &str) -> Option<String> {
    let mut attributes = span.attributes.iter();
    let found = attributes.find(|attribute| attribute.key.as_str() == key)?;
    Some(found.value.to_string())
}

fn named<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    let mut found = spans.iter().filter(|span| span.name == name);
    let one = found.next().unwrap_or_else(|| panic!("{name}: {spans:#?}"));
    assert!(found.next().is_none(), "{name} twice");
    one
}

#[tokio::test(start_paused = true)]
async fn a_request_is_a_server_span_with_its_attempts_below() {
    let mut traced = Traced::new(0.0);
    let id = traced.request(Some(CLIENT));
    let begin = Duration::from_millis(5);
    advance(begin).await;
    let first = id.begin(attempt).unwrap();
    first.asks(&Method::GET);
    let token = first.begin(What::Token);
    advance(Duration::from_millis(20)).await;
    drop(token);
    first.answered(503);
    first.ended(Some("server_error"));
    drop(first);
    let second = id.begin(attempt).unwrap();
    second.asks(&Method::GET);
    advance(Duration::from_millis(40)).await;
    second.answered(200);
    second.ended(None);
    drop(second);
    traced.over(&id, |record| {
        record.duration = Duration::from_millis(70);
        record.time_to_first_byte = Some(Duration::from_millis(66));
        (record.attempts, record.outcome) = (2, RequestOutcome::Failover);
        record.repository = "library/app".into();
    });

    let spans = traced.spans();
    assert_eq!(spans.len(), 4);
    let server = spans.last().unwrap();
    assert_eq!(server.name, "GET /v2/{name}/manifests/{reference}");
    assert_eq!(server.span_kind, SpanKind::Server);
    let trace_id = server.span_context.trace_id();
    assert_eq!(trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(server.parent_span_id.to_string(), "b7ad6b7169203331");
    assert!(server.parent_span_is_remote);
    assert_eq!(server.status, Status::Unset);
    assert_eq!(server.span_context.trace_state().get("a"), Some("b"));
    let took = server.end_time.duration_since(server.start_time).unwrap();
    assert_eq!(took, Duration::from_millis(70));
    let first_byte = server.events.events.first().unwrap();
    assert_eq!(
        first_byte.timestamp,
        after(server.start_time, Duration::from_millis(66))
    );
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("http.route", "/v2/{name}/manifests/{reference}"),
        ("harbor_pilot.request_id", "17"),
        ("harbor_pilot.outcome", "failover"),
        ("harbor_pilot.repository", "library/app"),
    ] {
        assert_eq!(attribute(server, key).as_deref(), Some(value), "{key}");
    }
    let attempts: Vec<_> = spans
        .iter()
        .filter(|span| span.span_kind == SpanKind::Client)
        .collect();
    let [failed, good] = attempts[..] else {
        panic!("{attempts:#?}");
    };
    for attempt in &attempts {
        assert_eq!(*attempt.span_context.trace_state(), TraceState::NONE);
        assert_eq!(attempt.parent_span_id, server.span_context.span_id());
        assert_eq!(attempt.span_context.trace_id(), trace_id);
        assert_eq!(
            attribute(attempt, "server.address").as_deref(),
            Some("192.0.2.7")
        );
        assert_eq!(
            attribute(attempt, "peer.service").as_deref(),
            Some("replica")
        );
    }
    assert_eq!(failed.start_time, after(server.start_time, begin));
    assert_eq!(
        failed.end_time,
        after(failed.start_time, Duration::from_millis(20))
    );
    assert_eq!(failed.status, Status::error("server_error"));
    assert_eq!(
        attribute(failed, "error.type").as_deref(),
        Some("server_error")
    );
    assert_eq!(
        attribute(failed, "http.response.status_code").as_deref(),
        Some("503")
    );
    assert_eq!(attribute(failed, "http.request.resend_count"), None);
    assert_eq!(good.status, Status::Unset);
    assert_eq!(
        attribute(good, "http.request.resend_count").as_deref(),
        Some("1")
    );
    let token = named(&spans, "token exchange");
    assert_eq!(token.parent_span_id, failed.span_context.span_id());
    assert_eq!(token.span_kind, SpanKind::Internal);
}

#[tokio::test(start_paused = true)]
async fn what_a_resumption_asks_is_below_it_and_what_is_late_comes_alone() {
    let mut traced = Traced::new(1.0);
    let id = traced.request(None);
    let late = id.begin(attempt).unwrap();
    let resume = id.begin(|| What::Resume { offset: 9 }).unwrap().scoped();
    let other = id.begin(attempt).unwrap();
    other.asks(&Method::GET);
    other.ended(None);
    drop((other, resume));
    drop(id.begin(|| What::Dns {
        source: "replica".into(),
    }));
    traced.over(&id, |record| record.kind = "blob");
    let spans = traced.spans();
    let server = spans.last().unwrap();
    assert_eq!(server.parent_span_id, SpanId::INVALID);
    let own = server.span_context.span_id();
    let resume = named(&spans, "resume");
    assert_eq!(resume.parent_span_id, own);
    assert_eq!(
        attribute(resume, "harbor_pilot.offset").as_deref(),
        Some("9")
    );
    let below: Vec<_> = spans
        .iter()
        .filter(|span| span.span_kind == SpanKind::Client)
        .collect();
    assert_eq!(below.len(), 1);
    assert_eq!(below[0].parent_span_id, resume.span_context.span_id());
    assert_eq!(named(&spans, "DNS").parent_span_id, own);

    drop(late);
    let spans = traced.spans();
    assert_eq!(spans.len(), 1);
    assert_eq!(named(&spans, "connect").parent_span_id, own);
    assert_eq!(
        attribute(&spans[0], "error.type").as_deref(),
        Some(CANCELLED)
    );
    assert_eq!(spans[0].status, Status::Unset);
}

#[tokio::test(start_paused = true)]
async fn a_failed_request_is_an_error_and_a_shared_search_is_linked() {
    let mut traced = Traced::new(1.0);
    let (first, id) = (traced.request(None), traced.request(None));
    traced.over(&id, |record| {
        (record.status, record.outcome) = (503, RequestOutcome::Failed);
        record.error = "replica refused".to_owned();
        record.asked_by = first.trace().map(|trace| trace.own);
    });
    let spans = traced.spans();
    assert_eq!(spans[0].status, Status::error("failed"));
    assert_eq!(
        attribute(&spans[0], "error.type").as_deref(),
        Some("failed")
    );
    let link = spans[0].links.links.first().unwrap();
    assert_eq!(
        link.span_context.trace_id().to_string(),
        first.trace().unwrap().id()
    );
}

#[tokio::test(start_paused = true)]
async fn who_is_not_sampled_is_not_exported_and_passes_that_on() {
    let unsampled = CLIENT.replace("-01", "-00");
    let table = [
        (0.0, None, false),
        (1.0, None, true),
        (0.0, Some(CLIENT), true),
        (1.0, Some(&*unsampled), false),
        (0.0, Some("00-nonsense"), false),
    ];
    for (ratio, client, is_exported) in table {
        let mut traced = Traced::new(ratio);
        let id = traced.request(client);
        let span = id.begin(attempt).unwrap();
        let sent = TraceParent::parse(&span.traceparent()).unwrap();
        let own = id.trace().unwrap().own;
        assert_eq!(sent.is_sampled, is_exported, "{ratio} {client:?}");
        assert_eq!(sent.trace_id, own.trace_id);
        assert_ne!(sent.span_id, own.span_id);
        let is_known = client.and_then(TraceParent::parse).is_some();
        assert_eq!(span.tracestate(), is_known.then_some("a=b"));
        drop(span);
        traced.over(&id, |_| {});
        assert_eq!(traced.spans().len(), if is_exported { 2 } else { 0 });
    }
}

#[tokio::test(start_paused = true)]
async fn about_as_many_are_sampled_as_was_said() {
    let traced = Traced::new(0.25);
    let sampled = |_: &u32| traced.request(None).trace().unwrap().own.is_sampled;
    let count = (0..4000).filter(sampled).count();
    assert!((850..1150).contains(&count), "{count}");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_is_dropped_and_counted() {
    let mut traced = Traced::new(1.0);
    for _ in 0..2000 {
        let id = traced.request(None);
        traced.over(&id, |_| {});
    }
    let kept = traced.spans().len() as u64;
    assert_eq!(kept, 512);
    assert_eq!(traced.tracer.spans_lost(), 2000 - kept);
    // The spans of a second, however fast they are taken.
    for _ in 0..2000 {
        let id = traced.request(None);
        traced.over(&id, |_| {});
        let _ = traced.queue.try_recv();
    }
    assert_eq!(traced.tracer.spans_lost(), 4000 - 1000);
    advance(Duration::from_secs(1)).await;
    let id = traced.request(None);
    for _ in 0..70 {
        drop(id.begin(attempt));
    }
    traced.over(&id, |_| {});
    assert_eq!(traced.spans().len(), 65);
    assert_eq!(traced.tracer.spans_lost(), 3000 + 6);
}

/// However many parts the requests have: what waits has a bound in bytes.
#[tokio::test(start_paused = true)]
async fn what_waits_for_the_collector_is_bounded_by_its_spans() {
    let mut traced = Traced::new(1.0);
    let fill = |traced: &Traced| {
        for _ in 0..15 {
            let id = traced.request(None);
            for _ in 0..63 {
                drop(id.begin(attempt));
            }
            traced.over(&id, |_| {});
        }
    };
    fill(&traced);
    assert_eq!(traced.tracer.spans_lost(), 0);
    advance(Duration::from_secs(1)).await;
    // One more request has a place.
    fill(&traced);
    assert_eq!(traced.tracer.spans_lost(), 14 * 64);
    assert_eq!(traced.spans().len(), 1024);
    // Their places are free again.
    advance(Duration::from_secs(1)).await;
    fill(&traced);
    assert_eq!(traced.spans().len(), 15 * 64);
    // 512 requests with the longest names, and parts besides.
    let texts = 255 + 135 + 512 + 3 * 256;
    let request = size_of::<Finished>() + size_of::<AccessRecord>() + size_of::<Trace>() + texts;
    // A vector that grows takes twice as much.
    let parts = 2 * 1024 * size_of::<Step>();
    assert!(512 * request + parts < 2 << 20, "{request} {parts}");
}
