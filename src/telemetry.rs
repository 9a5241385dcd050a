//! What the daemon says: access records, state changes and diagnostics, through one bounded queue and one
//! writer thread, to journald natively or to stderr (design H6, O1).
//!
//! Senders never wait: a full queue drops and counts, and the writer says so with a `log_dropped` event as
//! soon as the log takes records again. All formatting of access records happens on the writer thread.

mod emit;
mod history;
mod init;
mod layer;
mod queue;
mod record;
mod refusals;
mod sentence;
mod sink;
mod text;
mod timeline;
mod writer;

pub(crate) use history::FirstBytes;
pub use history::Pull;
pub use init::{Destination, Error, Guard, init};
pub use record::{
    AccessRecord, CANCELLED, End, EventName, Finished, RequestId, RequestOutcome, Span,
    StateChange, Step, Trace, TraceParent, Tracer, What,
};
pub use sentence::{EXPIRES_SOON, expires_soon, human_bytes, human_days, human_duration};
pub use text::Text;
pub(crate) use timeline::{Timeline, Timelines};

use crate::budget::Budget;
use history::History;
use parking_lot::Mutex;
use queue::Queue;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tracing::Level;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{self, FormatTime as _};

/// The filter target of access records.
const ACCESS: &str = "harbor_pilot::access";

/// The filter target of state changes.
const EVENT: &str = "harbor_pilot::event";

/// State changes that are kept for `status`.
const RECENT: usize = 20;

/// The way into the queue. Cheap to clone; never blocks; a full queue drops and counts.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    to: To,
    recent: Arc<Mutex<VecDeque<RecentChange>>>,
    history: Arc<History>,
    tracer: Arc<OnceLock<Arc<Tracer>>>,
}

/// A state change with the time at which it was reported.
#[derive(Clone, Debug)]
pub struct RecentChange {
    /// When, as [`utc_now`] writes it.
    pub at: String,
    /// The change as it was written.
    pub change: StateChange,
}

/// What a capturing journal was given, for tests.
#[derive(Clone, Debug, Default)]
pub struct Captured(Arc<Mutex<Said>>);

#[derive(Clone, Debug, Default)]
enum To {
    #[default]
    Nowhere,
    Queue(Queue),
    Captured(Captured),
}

#[derive(Debug, Default)]
struct Said {
    accesses: Vec<AccessRecord>,
    events: Vec<StateChange>,
}

// === impl Journal ===

impl Journal {
    /// Says nothing: for tests and for commands that only print a report.
    #[must_use]
    pub fn discarding() -> Self {
        Self::default()
    }

    /// Keeps everything, unfiltered, for tests.
    #[must_use]
    pub fn capturing() -> (Self, Captured) {
        let captured = Captured::default();
        let journal = Self {
            to: To::Captured(captured.clone()),
            ..Self::default()
        };
        (journal, captured)
    }

    fn queued(queue: Queue) -> Self {
        Self {
            history: queue.state.history.clone(),
            to: To::Queue(queue),
            ..Self::default()
        }
    }

    /// Queues the one record of a finished request. Costs a filter check and a queue slot. Of refused ones 100 per second
    /// have a record of their own; the rest is summed up in one.
    pub fn access(&self, record: Box<AccessRecord>) {
        if let Some(trace) = record.request_id.trace() {
            trace.finish(&record);
        }
        match &self.to {
            To::Nowhere => {}
            To::Captured(captured) => {
                self.history.note(std::iter::once(&*record));
                captured.0.lock().accesses.push(*record);
            }
            To::Queue(queue) => match queue.lets_through(&record) {
                true => queue.access(record),
                // What the filter keeps out of the log is still shown by the page.
                false => self.history.note(std::iter::once(&*record)),
            },
        }
    }

    /// A record that was written, to be filled anew; `None`: there is none.
    #[must_use]
    pub fn recycled(&self) -> Option<Box<AccessRecord>> {
        match &self.to {
            To::Queue(queue) => queue.state.pool.take(),
            To::Nowhere | To::Captured(_) => None,
        }
    }

    /// Queues a state change, for which places are kept in the queue, and keeps it among the recent ones.
    pub fn event(&self, change: StateChange) {
        {
            let mut recent = self.recent.lock();
            recent.truncate(RECENT - 1);
            recent.push_front(RecentChange {
                at: utc_now(),
                change: change.clone(),
            });
        }
        match &self.to {
            To::Nowhere => {}
            To::Captured(captured) => captured.0.lock().events.push(change),
            To::Queue(queue) => {
                if !queue.filtered || event_enabled(change.event.level()) {
                    queue.event(change);
                }
            }
        }
    }

    /// The last 20 state changes, oldest first.
    #[must_use]
    pub fn recent(&self) -> Vec<RecentChange> {
        self.recent.lock().iter().rev().cloned().collect()
    }

    /// The last 200 finished requests, the newest first; pings are none.
    #[must_use]
    pub fn pulls(&self) -> Vec<Pull> {
        self.history.pulls()
    }

    /// How long first bytes took, and for how long that has been counted.
    #[must_use]
    pub(crate) fn first_bytes(&self) -> (Timelines<FirstBytes>, Duration) {
        self.history.first_bytes()
    }

    /// What waits for the log is counted in that budget from now on.
    pub fn count_in(&self, budget: &Budget) {
        if let To::Queue(queue) = &self.to {
            queue.state.count_in(budget);
        }
    }

    /// Requests are traced from now on. Only the first one counts.
    pub fn trace_by(&self, tracer: Arc<Tracer>) {
        self.tracer.get_or_init(|| tracer);
    }

    /// Who begins traces; `None`: requests are not traced.
    #[must_use]
    pub fn tracer(&self) -> Option<&Arc<Tracer>> {
        self.tracer.get()
    }

    /// Records lost since the start: the queue was full, or the log did not take them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        match &self.to {
            To::Queue(queue) => queue.state.drops.total(),
            To::Nowhere | To::Captured(_) => 0,
        }
    }
}

/// The time now, as `2026-11-21T01:31:08Z`.
#[must_use]
pub fn utc_now() -> String {
    let mut text = String::new();
    // Writing into a String cannot fail. To the second: `2026-11-21T01:31:08` of `2026-11-21T01:31:08.123456Z`.
    let _ = time::SystemTime.format_time(&mut Writer::new(&mut text));
    text.truncate(19);
    text + "Z"
}

/// Whether the filter lets access records of this level pass. The macro wants a constant level.
fn access_enabled(level: Level) -> bool {
    match level {
        Level::WARN => tracing::enabled!(target: ACCESS, Level::WARN),
        Level::DEBUG => tracing::enabled!(target: ACCESS, Level::DEBUG),
        _ => tracing::enabled!(target: ACCESS, Level::INFO),
    }
}

/// Whether the filter lets state changes of this level pass.
fn event_enabled(level: Level) -> bool {
    match level {
        Level::ERROR => tracing::enabled!(target: EVENT, Level::ERROR),
        Level::WARN => tracing::enabled!(target: EVENT, Level::WARN),
        _ => tracing::enabled!(target: EVENT, Level::INFO),
    }
}

// === impl Captured ===

impl Captured {
    /// The access records so far, in order.
    #[must_use]
    pub fn accesses(&self) -> Vec<AccessRecord> {
        self.0.lock().accesses.clone()
    }

    /// The state changes so far, in order.
    #[must_use]
    pub fn events(&self) -> Vec<StateChange> {
        self.0.lock().events.clone()
    }
}

#[cfg(test)]
mod tests;
