//! Endpoint health: the one task that owns it, fed by endpoint sets, probes and outcomes, publishing
//! snapshots (design H2–H5).

use crate::topology::{OutcomeReport, Snapshot};
use std::sync::Arc;
use tokio::sync::watch;

/// Talks to the health task. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Health {}

impl Health {
    /// The published snapshot.
    #[must_use]
    pub fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        watch::channel(Arc::default()).1
    }

    /// Reports what a request learned. Never waits: a full queue drops and counts. Callers leave out successes
    /// at endpoints that the snapshot shows healthy and that already have a latency, except one in 16.
    pub fn report(&self, _report: OutcomeReport) {}
}
