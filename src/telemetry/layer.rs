//! The tracing layer: diagnostics are formatted where they arise and queued like everything else.

use super::queue::Queue;
use super::record::{Diagnostic, Entry};
use std::fmt::{self, Write};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

#[derive(Debug)]
pub(super) struct JournalLayer(pub(super) Queue);

/// `the message key=value key=value`
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl<S: Subscriber> Layer<S> for JournalLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        text.message.push_str(&text.fields);
        self.0.ordinary(Entry::Diagnostic(Box::new(Diagnostic {
            metadata: event.metadata(),
            message: text.message,
        })));
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing into a String cannot fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}
