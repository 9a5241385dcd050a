//! Records as tracing events with the fields of the journal (docs/observability.md), for whichever layer the
//! writer thread has: journald's or that of lines on stderr. A layer makes the names upper case.

use super::record::{AccessRecord, RequestOutcome, StateChange};
use super::record::{Diagnostic, Entry};
use super::sentence;
use super::{ACCESS, EVENT};
use crate::printable::printable;
use std::borrow::Cow;
use std::time::Duration;
use tracing::callsite::{Callsite, Identifier};
use tracing::field::{FieldSet, Value, display};
use tracing::metadata::Kind;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata};

/// Of an access record. What lines show of it comes first.
const ACCESS_FIELDS: &[&str] = &[
    "message",
    "request_id",
    "registry",
    "repository",
    "reference",
    "kind",
    "method",
    "status",
    "outcome",
    "tier",
    "endpoint",
    "attempts",
    "resumes",
    "bytes",
    "ttfb_ms",
    "duration_ms",
    "generation",
    "error",
    "trace_id",
];

/// Of a state change.
const EVENT_FIELDS: &[&str] = &[
    "event",
    "message",
    "message_id",
    "tier",
    "endpoint",
    "reason",
];

/// The target of a diagnostic whose own event has no message.
const OTHER: &str = "harbor_pilot::diagnostic";

/// A place in the code from which events come, with what is the same for each of them. The macros of tracing would name
/// this file and line in every record; the events are of other places, and nobody looks for them here.
macro_rules! site {
    ($target:expr, $level:expr, $fields:expr) => {{
        struct Site;
        static SITE: Site = Site;
        static METADATA: Metadata<'static> = Metadata::new(
            "record",
            $target,
            $level,
            None,
            None,
            None,
            FieldSet::new($fields, Identifier(&SITE)),
            Kind::EVENT,
        );
        impl Callsite for Site {
            fn set_interest(&self, _: Interest) {}
            fn metadata(&self) -> &Metadata<'_> {
                &METADATA
            }
        }
        &METADATA
    }};
}

/// Gives entries to the thread's current subscriber, and keeps the buffer for their sentences.
#[derive(Debug, Default)]
pub(super) struct Emitter {
    sentence: String,
}

// === impl Emitter ===

impl Emitter {
    /// Gives one entry away.
    pub(super) fn emit(&mut self, entry: &Entry) {
        match entry {
            Entry::Access(record) => self.access(record),
            Entry::Event(change) => event(change),
            Entry::Diagnostic(said) => diagnostic(said),
            Entry::Refused(count) => refused(*count),
            Entry::Wake | Entry::Flush(_) => {}
        }
    }

    fn access(&mut self, record: &AccessRecord) {
        let metadata = match record.level() {
            Level::WARN => site!(ACCESS, Level::WARN, ACCESS_FIELDS),
            Level::DEBUG => site!(ACCESS, Level::DEBUG, ACCESS_FIELDS),
            _ => site!(ACCESS, Level::INFO, ACCESS_FIELDS),
        };
        self.sentence.clear();
        sentence::access(&mut self.sentence, record);
        let (message, request_id) = (display(&self.sentence), display(&record.request_id));
        let registry = record.registry.as_ref().map(|registry| registry.as_str());
        let (repository, reference) = (shown(&record.repository), shown(&record.reference));
        let (tier, endpoint) = (shown(&record.tier), shown(&record.endpoint));
        let error = shown(&record.error);
        let first_byte = record.time_to_first_byte.map(millis);
        let duration = millis(record.duration);
        let trace = record.request_id.trace().map(|trace| trace.id());
        tell(
            metadata,
            &[
                Some(&message),
                Some(&request_id),
                Some(&registry),
                Some(&repository.as_deref()),
                Some(&reference.as_deref()),
                Some(&record.kind),
                Some(&record.method),
                Some(&record.status),
                Some(&record.outcome.word()),
                Some(&tier.as_deref()),
                Some(&endpoint.as_deref()),
                Some(&record.attempts),
                Some(&record.resumes),
                Some(&record.bytes),
                Some(&first_byte),
                Some(&duration),
                Some(&record.generation),
                Some(&error.as_deref()),
                Some(&trace.as_deref()),
            ],
        );
    }
}

fn refused(count: u64) {
    let metadata = site!(ACCESS, Level::INFO, &["message", "outcome", "count"]);
    let message = format_args!("{count} more requests were refused within a second");
    let outcome = RequestOutcome::Refused.word();
    tell(metadata, &[Some(&message), Some(&outcome), Some(&count)]);
}

fn event(change: &StateChange) {
    let metadata = match change.event.level() {
        Level::ERROR => site!(EVENT, Level::ERROR, EVENT_FIELDS),
        Level::WARN => site!(EVENT, Level::WARN, EVENT_FIELDS),
        _ => site!(EVENT, Level::INFO, EVENT_FIELDS),
    };
    let (word, id) = (display(change.event.word()), change.event.message_id());
    let message = printable(&change.message);
    let tier = shown(change.tier.as_deref().unwrap_or_default());
    let endpoint = shown(change.endpoint.as_deref().unwrap_or_default());
    let reason = shown(&change.reason);
    tell(
        metadata,
        &[
            Some(&word),
            Some(&display(message)),
            Some(&id),
            Some(&tier.as_deref()),
            Some(&endpoint.as_deref()),
            Some(&reason.as_deref()),
        ],
    );
}

/// As if it came from where it came from, but with one text.
fn diagnostic(said: &Diagnostic) {
    let message = display(printable(&said.message));
    let fields = said.metadata.fields();
    if let Some(field) = fields.field("message") {
        let values = [(&field, Some(&message as &dyn Value))];
        Event::dispatch(said.metadata, &fields.value_set(&values));
        return;
    }
    const FIELDS: &[&str] = &["message"];
    let metadata = match *said.metadata.level() {
        Level::ERROR => site!(OTHER, Level::ERROR, FIELDS),
        Level::WARN => site!(OTHER, Level::WARN, FIELDS),
        Level::INFO => site!(OTHER, Level::INFO, FIELDS),
        Level::DEBUG => site!(OTHER, Level::DEBUG, FIELDS),
        Level::TRACE => site!(OTHER, Level::TRACE, FIELDS),
    };
    tell(metadata, &[Some(&message)]);
}

/// The values stand in the order of the fields.
fn tell(metadata: &'static Metadata<'static>, values: &[Option<&dyn Value>]) {
    Event::dispatch(metadata, &metadata.fields().value_set_all(values));
}

/// A text as it may stand in a field; `None`: there is none.
fn shown(text: &str) -> Option<Cow<'_, str>> {
    (!text.is_empty()).then(|| printable(text))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
