//! What the daemon says: access records, state changes and diagnostics, through one bounded queue and one
//! writer thread, to journald natively or to stderr (design H6, O1).

mod record;

pub use record::{AccessRecord, EventName, RequestOutcome, StateChange};

/// The way into the queue. Cheap to clone; never blocks; a full queue drops and counts.
#[derive(Clone, Debug, Default)]
pub struct Journal {}

impl Journal {
    /// Says nothing: for tests and for commands that only print a report.
    #[must_use]
    pub fn discarding() -> Self {
        Self {}
    }

    /// Queues the one record of a finished request.
    pub fn access(&self, _record: Box<AccessRecord>) {}

    /// Queues a state change.
    pub fn event(&self, _change: StateChange) {}
}
