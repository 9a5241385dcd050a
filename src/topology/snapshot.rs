//! The one published view of all endpoints: made by the health task, read by everybody, never changed.

use super::endpoint::{EndpointGauges, EndpointId};
use super::outcome::Failure;
use super::source::{Source, SourceId};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// All sources with their endpoints at one moment. A request takes the newest for each attempt and logs its
/// generation.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The number of this publication; access records carry it.
    pub generation: u64,
    /// Tiers in order of preference, then upstreams.
    pub sources: Vec<Arc<SourceState>>,
}

/// A source, its readiness and its endpoints.
#[derive(Clone, Debug)]
pub struct SourceState {
    /// The source as the configuration has it.
    pub source: Arc<Source>,
    /// Its addresses, sorted.
    pub endpoints: Vec<EndpointState>,
    /// At least one endpoint may be used normally. Changes only with hysteresis (design F1).
    pub ready: bool,
    /// The addresses are from before the last failed lookup.
    pub dns_stale: bool,
    /// Why DNS gave nothing, for people.
    pub dns_error: Option<Arc<str>>,
    /// It refuses everything that it was asked lately, and how it says so.
    pub refused: Option<Arc<str>>,
}

/// An endpoint: whether it may be used, and why.
#[derive(Clone, Debug)]
pub struct EndpointState {
    /// The source and the address.
    pub id: EndpointId,
    /// Whether it may be used.
    pub status: EndpointStatus,
    /// The extra signal (port 1337) says: prefer another.
    pub lowered: bool,
    /// Since when the status holds.
    pub since: Instant,
    /// When it is tried next, where time decides that and it is not healthy.
    pub next_try: Option<Instant>,
    /// Slow start after readmission: `Some(since)` while its share grows.
    pub readmitted: Option<Instant>,
    /// Requests and slow connects at it, counted as they come and go.
    pub gauges: Arc<EndpointGauges>,
    /// Last reason for people, such as "connect_timeout: no answer within 2.5 s".
    pub reason: Option<Arc<str>>,
    /// The moving average of the first byte's time, if known.
    pub latency: Option<Duration>,
}

/// Whether an endpoint may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointStatus {
    /// It is used in its turn.
    Healthy,
    /// Not used unless a request has nothing better (fail open).
    Ejected {
        /// When probation begins at the earliest.
        until: Instant,
        /// The newest hard failure or failed probe; [`Failure::Probe`] also after something went well.
        cause: Failure,
        /// How often in a row.
        strikes: u32,
    },
    /// One real request at a time is let through.
    Probation {
        /// Successes so far; three readmit.
        successes: u32,
    },
}

// === impl Snapshot ===

impl Snapshot {
    /// The state of one source.
    #[must_use]
    pub fn source(&self, id: &SourceId) -> Option<&Arc<SourceState>> {
        self.sources.iter().find(|state| state.source.id == *id)
    }
}
