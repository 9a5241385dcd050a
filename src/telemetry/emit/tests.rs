//! Tests of telemetry/emit.

use super::*;
use crate::telemetry::tests::{change, record};
use crate::telemetry::{EventName, Text, TraceParent, Tracer};
use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::{Subscriber, dispatcher};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// An event as a layer sees it.
#[derive(Clone, Debug, Default)]
struct Seen {
    metadata: Option<&'static Metadata<'static>>,
    fields: Vec<(String, String)>,
}

impl Visit for Seen {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields
            .push((field.name().to_owned(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

impl Seen {
    fn value(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|field| field.0 == name);
        let value = found.next().map(|field| field.1.as_str());
        assert!(found.next().is_none(), "{name} twice");
        value
    }

    fn metadata(&self) -> &'static Metadata<'static> {
        self.metadata.unwrap()
    }
}

#[derive(Clone, Default)]
struct Eye(Arc<Mutex<Vec<Seen>>>);

impl<S: Subscriber> Layer<S> for Eye {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut seen = Seen {
            metadata: Some(event.metadata()),
            fields: Vec::new(),
        };
        event.record(&mut seen);
        self.0.lock().unwrap().push(seen);
    }
}

/// What a layer sees of this entry.
fn seen(entry: &Entry) -> Seen {
    let eye = Eye::default();
    let subscriber = tracing_subscriber::registry().with(eye.clone());
    let dispatch = dispatcher::Dispatch::new(subscriber);
    dispatcher::with_default(&dispatch, || Emitter::default().emit(entry));
    let seen = eye.0.lock().unwrap();
    let [one] = &seen[..] else {
        panic!("{seen:?}");
    };
    one.clone()
}

fn access(record: AccessRecord) -> Seen {
    seen(&Entry::Access(Box::new(record)))
}

fn of_event(change: StateChange) -> Seen {
    seen(&Entry::Event(Box::new(change)))
}

#[test]
fn an_access_record_has_the_fields_of_the_interface() {
    let mut full = record();
    full.error = "reset after 4 KiB".to_owned();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let trace = Tracer::new(1.0, 1)
        .0
        .begin(TraceParent::parse(parent), None);
    full.request_id = full.request_id.traced(Some(trace));
    let reference = full.reference.clone();
    let seen = access(full);
    let expected = [
        (
            "message",
            "blob docker.io/library/nginx@sha256:ab12ab12ab12… 200 served by replica/203.0.113.7:443 in 35 ms, 12.3 MiB: reset after 4 KiB",
        ),
        ("request_id", "0123abcd"),
        ("registry", "docker.io"),
        ("repository", "library/nginx"),
        ("reference", &*reference),
        ("kind", "blob"),
        ("method", "GET"),
        ("status", "200"),
        ("outcome", "served"),
        ("tier", "replica"),
        ("endpoint", "203.0.113.7:443"),
        ("attempts", "1"),
        ("resumes", "0"),
        ("bytes", "12897485"),
        ("ttfb_ms", "4"),
        ("duration_ms", "35"),
        ("generation", "7"),
        ("error", "reset after 4 KiB"),
        ("trace_id", "0af7651916cd43dd8448eb211c80319c"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(seen.fields, expected);
    let metadata = seen.metadata();
    assert_eq!(metadata.target(), "harbor_pilot::access");
    assert_eq!((metadata.file(), metadata.line()), (None, None));
}

#[test]
fn empty_values_are_left_out() {
    let mut refused = record();
    refused.registry = None;
    refused.tier = "".into();
    refused.endpoint = Text::default();
    refused.time_to_first_byte = None;
    let seen = access(refused);
    for absent in [
        "registry", "tier", "endpoint", "ttfb_ms", "error", "trace_id",
    ] {
        assert_eq!(seen.value(absent), None, "{absent}");
    }
    let mut bare = change(EventName::Drain);
    (bare.tier, bare.endpoint) = (None, None);
    bare.reason.clear();
    let seen = of_event(bare);
    let names: Vec<&str> = seen.fields.iter().map(|field| field.0.as_str()).collect();
    assert_eq!(names, ["event", "message", "message_id"]);
}

#[test]
fn an_event_has_the_fields_of_the_interface() {
    let seen = of_event(change(EventName::TierDown));
    assert_eq!(seen.value("event"), Some("tier_down"));
    assert_eq!(seen.value("message"), Some("replica: tier_down"));
    assert_eq!(seen.value("tier"), Some("replica"));
    assert_eq!(seen.value("endpoint"), Some("203.0.113.7:443"));
    assert_eq!(seen.value("reason"), Some("connect_timeout"));
    let id = EventName::TierDown.message_id();
    assert_eq!(seen.value("message_id"), Some(id));
    assert_eq!(seen.metadata().target(), "harbor_pilot::event");
}

#[test]
fn a_sum_of_refused_requests_has_its_number() {
    let seen = seen(&Entry::Refused(95_448));
    let expected = [
        (
            "message",
            "95448 more requests were refused within a second",
        ),
        ("outcome", "refused"),
        ("count", "95448"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(seen.fields, expected);
    assert_eq!(*seen.metadata().level(), Level::INFO);
    assert_eq!(seen.metadata().target(), "harbor_pilot::access");
}

#[test]
fn message_ids_are_distinct_and_journald_accepts_them() {
    let ids: HashSet<_> = EventName::ALL
        .iter()
        .map(|event| event.message_id())
        .collect();
    assert_eq!(ids.len(), EventName::ALL.len());
    let words: HashSet<_> = EventName::ALL.iter().map(|event| event.word()).collect();
    assert_eq!(words.len(), EventName::ALL.len());
    for id in ids {
        assert_eq!(id.len(), 32, "{id}");
        assert!(
            id.bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)),
            "{id}"
        );
    }
}

#[test]
fn no_text_steers_whoever_reads_it() {
    let hostile = "a\nPRIORITY=0\u{1b}[2J\u{202e}";
    let harmless = r"a\nPRIORITY=0\u{1b}[2J\u{202e}";
    let mut forged = record();
    forged.repository = hostile.into();
    forged.reference = hostile.into();
    forged.error = hostile.to_owned();
    let seen = access(forged);
    for field in ["repository", "reference", "error"] {
        assert_eq!(seen.value(field), Some(harmless), "{field}");
    }
    let message = seen.value("message").unwrap();
    assert_eq!(message.matches(harmless).count(), 3, "{message}");
    assert!(!message.contains(['\n', '\u{1b}', '\u{202e}']), "{message}");

    let mut forged = change(EventName::DigestMismatch);
    forged.message = hostile.to_owned();
    forged.reason = hostile.to_owned();
    (forged.tier, forged.endpoint) = (Some(hostile.to_owned()), Some(hostile.to_owned()));
    let seen = of_event(forged);
    for field in ["message", "reason", "tier", "endpoint"] {
        assert_eq!(seen.value(field), Some(harmless), "{field}");
    }
}

#[test]
fn long_texts_are_whole() {
    let long = "ä".repeat(100_000);
    let mut record = record();
    record.error = long.clone();
    let seen = access(record);
    assert_eq!(seen.value("error"), Some(long.as_str()));
    assert!(seen.value("message").unwrap().ends_with(&long));
}

#[test]
fn levels() {
    let mut record = record();
    record.outcome = RequestOutcome::Failed;
    assert_eq!(*access(record.clone()).metadata().level(), Level::WARN);
    record.outcome = RequestOutcome::Served;
    assert_eq!(*access(record.clone()).metadata().level(), Level::INFO);
    record.kind = "other";
    record.repository = Text::default();
    assert_eq!(*access(record).metadata().level(), Level::DEBUG);
    for &event in EventName::ALL {
        let seen = of_event(change(event));
        assert_eq!(*seen.metadata().level(), event.level(), "{event:?}");
    }
}

#[test]
fn a_diagnostic_keeps_its_place_and_level() {
    let metadata = site!("hyper::client", Level::WARN, &["status", "message"]);
    let message = "slow\nsource tier=replica".to_owned();
    let said = Diagnostic { metadata, message };
    let seen_one = seen(&Entry::Diagnostic(Box::new(said)));
    assert_eq!(
        seen_one.value("message"),
        Some(r"slow\nsource tier=replica")
    );
    assert_eq!(seen_one.fields.len(), 1, "{seen_one:?}");
    assert_eq!(seen_one.metadata().callsite(), metadata.callsite());

    // Of fields alone.
    let metadata = site!("hyper::client", Level::TRACE, &["status"]);
    let message = " status=5".to_owned();
    let said = Diagnostic { metadata, message };
    let seen_one = seen(&Entry::Diagnostic(Box::new(said)));
    assert_eq!(seen_one.value("message"), Some(" status=5"));
    let metadata = seen_one.metadata();
    assert_eq!(
        (*metadata.level(), metadata.target()),
        (Level::TRACE, OTHER)
    );
}
