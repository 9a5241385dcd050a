//! The one task that owns endpoint health: brings everything to the table, publishes what comes out.

#[cfg(test)]
mod tests;

use super::probe::{ProbeReport, Prober, Verdict};
use super::table::{DueProbe, Table};
use super::{Counters, OUTCOMES, SAMPLES_REST};
use crate::discovery::EndpointSets;
use crate::lifecycle::{contained, deadline};
use crate::metrics::Metrics;
use crate::telemetry::Journal;
use crate::topology::{EndpointId, Failure, OutcomeReport, Snapshot, Sources};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

/// Probes that run at once.
const PROBES: usize = 4;

/// A probe that does not keep its own limit is ended so much later, so that its place is free again.
const GRACE: Duration = Duration::from_secs(1);

/// What the task follows.
pub(super) struct Inputs {
    pub(super) sources: watch::Receiver<Arc<Sources>>,
    pub(super) sets: watch::Receiver<Arc<EndpointSets>>,
    pub(super) outcomes: mpsc::Receiver<OutcomeReport>,
    pub(super) samples: mpsc::Receiver<OutcomeReport>,
    pub(super) counters: Arc<Counters>,
}

/// Where the task tells.
pub(super) struct Outputs {
    pub(super) snapshot: watch::Sender<Arc<Snapshot>>,
    pub(super) journal: Journal,
    pub(super) metrics: Arc<Metrics>,
}

pub(super) struct Task<P> {
    prober: Arc<P>,
    inputs: Inputs,
    outputs: Outputs,
    table: Table,
    probes: FuturesUnordered<BoxFuture<'static, (EndpointId, ProbeReport)>>,
    batch: Vec<OutcomeReport>,
    /// Successes of healthy endpoints.
    sampled: Vec<OutcomeReport>,
    /// Until then such successes gather, if there were some a moment ago.
    rests_until: Option<Instant>,
    pulls: u64,
}

impl<P: Prober> Task<P> {
    pub(super) fn new(prober: P, inputs: Inputs, outputs: Outputs, seed: u64) -> Self {
        Self {
            prober: Arc::new(prober),
            inputs,
            outputs,
            table: Table::new(seed, Instant::now()),
            probes: FuturesUnordered::new(),
            batch: Vec::with_capacity(OUTCOMES),
            sampled: Vec::new(),
            rests_until: None,
            pulls: 0,
        }
    }

    /// Runs until whoever sends sources or sets, or every handle, is gone.
    pub(super) async fn run(mut self) {
        let sets = self.inputs.sets.borrow_and_update().clone();
        let sources = self.inputs.sources.borrow_and_update().clone();
        self.table.set_addresses(sets, Instant::now());
        self.table.set_sources(sources, Instant::now());
        loop {
            self.publish();
            self.start_probes();
            if !self.turn().await {
                return;
            }
        }
    }

    /// Waits for one thing to happen and takes it over; `false` at the end.
    async fn turn(&mut self) -> bool {
        let wake = self.table.wakes(PROBES.saturating_sub(self.probes.len()));
        let Inputs {
            sources,
            sets,
            outcomes,
            samples,
            ..
        } = &mut self.inputs;
        // All arms are cancel-safe: `changed` and `recv_many` say so, `next` leaves the others in the set, and
        // time is computed anew. Outcomes come first: a dead endpoint is to be seen by the next request.
        tokio::select! {
            biased;
            count = outcomes.recv_many(&mut self.batch, OUTCOMES) => {
                if count == 0 {
                    return false;
                }
                self.learn();
            }
            // Its end is that of the outcomes.
            1.. = samples.recv_many(&mut self.sampled, OUTCOMES), if self.rests_until.is_none() => {
                self.rests_until = Some(deadline(Instant::now(), SAMPLES_REST));
                self.batch.append(&mut self.sampled);
                self.learn();
            }
            () = sleep_until(self.rests_until.unwrap_or_else(Instant::now)), if self.rests_until.is_some() => {
                self.rests_until = None;
            }
            changed = sources.changed() => {
                if changed.is_err() {
                    return false;
                }
                let sources = sources.borrow_and_update().clone();
                self.table.set_sources(sources, Instant::now());
            }
            changed = sets.changed() => {
                if changed.is_err() {
                    return false;
                }
                let sets = sets.borrow_and_update().clone();
                self.table.set_addresses(sets, Instant::now());
            }
            Some((endpoint, report)) = self.probes.next(), if !self.probes.is_empty() => {
                self.outputs.metrics.probe(endpoint.source.label(), report.took);
                self.count_pulls();
                self.table.probed(&endpoint, report, Instant::now());
            }
            () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                self.table.tick(Instant::now());
            }
        }
        true
    }

    fn learn(&mut self) {
        let now = Instant::now();
        self.table.pulled(now);
        for report in self.batch.drain(..) {
            self.table.outcome(&report, now);
        }
    }

    /// Pulls whose outcomes were left out show in the counter.
    fn count_pulls(&mut self) {
        let pulls = self.inputs.counters.pulls.load(Ordering::Relaxed);
        if std::mem::replace(&mut self.pulls, pulls) != pulls {
            self.table.pulled(Instant::now());
        }
    }

    fn publish(&mut self) {
        if let Some(snapshot) = self.table.take_snapshot() {
            self.outputs.snapshot.send_replace(Arc::new(snapshot));
        }
        for event in self.table.take_events() {
            self.outputs.journal.event(event);
        }
    }

    fn start_probes(&mut self) {
        let places = PROBES.saturating_sub(self.probes.len());
        for due in self.table.due_probes(places, Instant::now()) {
            let prober = self.prober.clone();
            self.probes.push(Box::pin(probe(prober, due)));
        }
    }
}

async fn probe(prober: Arc<impl Prober>, due: DueProbe) -> (EndpointId, ProbeReport) {
    let DueProbe {
        source,
        endpoint,
        cookie,
    } = due;
    let limit = source.probe.timeout.saturating_add(GRACE);
    let kept = cookie.clone();
    // A panic over what an endpoint says must not end the task that all endpoints need.
    let asked = contained("probe", prober.probe(&source, &endpoint, cookie));
    let (failure, detail) = match timeout(limit, asked).await {
        Ok(Ok(report)) => return (endpoint, report),
        Ok(Err(panicked)) => (Failure::Internal, panicked.to_string()),
        Err(_) => (Failure::Timeout, format!("no answer within {limit:?}")),
    };
    let report = ProbeReport {
        verdict: Verdict::Failed { failure, detail },
        took: limit,
        lowered: false,
        cookie: kept,
    };
    (endpoint, report)
}
