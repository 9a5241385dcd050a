//! Endpoint health: the one task that owns it, fed by endpoint sets, probes and outcomes, publishing
//! snapshots (design H2–H5).

mod latency;
mod machine;
mod probe;
mod readiness;
mod refusals;
mod schedule;
mod table;
mod task;
#[cfg(test)]
pub(crate) mod testing;
mod window;

#[cfg(test)]
pub(crate) use probe::ProbeReport;
pub(crate) use probe::{Answered, HttpProber, Prober, Verdict, session};

use crate::discovery::EndpointSets;
use crate::lifecycle::Tasks;
use crate::metrics::Metrics;
use crate::telemetry::Journal;
use crate::topology::{EndpointState, EndpointStatus, OutcomeReport, Snapshot, Sources};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use task::{Inputs, Outputs, Task};
use tokio::sync::{mpsc, watch};

/// Outcomes that wait for the task. It takes all of them in one turn; more than this within a turn are dropped:
/// what they say was said by the others.
const OUTCOMES: usize = 1024;

/// How long successes of healthy endpoints may wait for the task, so that they wake it seldom: beside a failure they
/// are no news.
const SAMPLES_REST: Duration = Duration::from_millis(20);

/// Talks to the health task. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Health {
    snapshot: watch::Receiver<Arc<Snapshot>>,
    outcomes: mpsc::Sender<OutcomeReport>,
    samples: mpsc::Sender<OutcomeReport>,
    counters: Arc<Counters>,
}

/// Counted by the requests.
#[derive(Debug, Default)]
struct Counters {
    pulls: AtomicU64,
    successes: AtomicU64,
}

impl Health {
    /// Starts the task. `seed` spreads probes and ejections: another one on every node and start.
    #[must_use]
    pub fn start(
        sources: watch::Receiver<Arc<Sources>>,
        sets: watch::Receiver<Arc<EndpointSets>>,
        prober: impl Prober,
        journal: Journal,
        metrics: Arc<Metrics>,
        tasks: &Tasks,
        seed: u64,
    ) -> Self {
        let (publish, snapshot) = watch::channel(Arc::default());
        let (outcomes, inbox) = mpsc::channel(OUTCOMES);
        let (samples, sampled) = mpsc::channel(OUTCOMES);
        let counters = Arc::new(Counters::default());
        let inputs = Inputs {
            sources,
            sets,
            outcomes: inbox,
            samples: sampled,
            counters: counters.clone(),
        };
        let outputs = Outputs {
            snapshot: publish,
            journal,
            metrics,
        };
        let task = Task::new(prober, inputs, outputs, seed);
        tasks.spawn("health", task.run());
        Self {
            snapshot,
            outcomes,
            samples,
            counters,
        }
    }

    #[must_use]
    pub fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.clone()
    }

    /// Reports what a request learned. Never waits: a full queue drops it.
    pub fn report(&self, report: OutcomeReport) {
        // What it says was said by those in the queue.
        let _ = self.outcomes.try_send(report);
    }

    /// Reports that a request went well, and counts it as a pull of this node. Of endpoints that the snapshot shows
    /// healthy, that already have a latency and whose source has denied nothing since, one success in 16 is reported, and may
    /// wait a little.
    pub fn report_success(
        &self,
        endpoint: Option<&EndpointState>,
        report: impl FnOnce() -> OutcomeReport,
    ) {
        self.counters.pulls.fetch_add(1, Ordering::Relaxed);
        let is_well = |endpoint: &EndpointState| {
            let is_proven =
                endpoint.status == EndpointStatus::Healthy && endpoint.latency.is_some();
            is_proven && !endpoint.gauges.is_denied()
        };
        if !endpoint.is_some_and(is_well) {
            return self.report(report());
        }
        let count = self.counters.successes.fetch_add(1, Ordering::Relaxed);
        if count.is_multiple_of(machine::SAMPLING.into()) {
            let _ = self.samples.try_send(report());
        }
    }
}
