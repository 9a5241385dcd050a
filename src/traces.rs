//! Traces of requests (`[otel]`): what `telemetry` was told of a request while it ran becomes spans when it is over, and goes to an
//! OpenTelemetry collector. Nothing waits for it: what finds no place, or what nobody takes, is dropped and counted.
//!
//! `spans` makes the spans, pure; `collector` reaches the collector, which is the only address that is dialled here; `task` sends
//! batches, on the control runtime.

mod collector;
mod spans;
mod task;

use crate::config::Config;
use crate::discovery::Discovery;
use crate::lifecycle::Tasks;
use crate::telemetry::{Journal, Tracer};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use task::Task;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// The exporter of traces. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Traces {
    totals: Arc<Totals>,
    flushes: mpsc::Sender<oneshot::Sender<()>>,
}

/// What became of the spans so far.
#[derive(Debug)]
struct Totals {
    tracer: Arc<Tracer>,
    endpoint: String,
    exported: AtomicU64,
    failed: AtomicU64,
    /// Why the newest export failed, or why none can succeed; `None`: it did not.
    failing: Mutex<Option<String>>,
}

// === impl Traces ===

impl Traces {
    /// Requests are traced from now on, and their spans exported, where `[otel]` says so. Where the TLS settings are of no use they
    /// are lost, as with a collector that takes none.
    pub fn start(
        config: &Config,
        discovery: &Discovery,
        journal: &Journal,
        tasks: &Tasks,
        seed: u64,
    ) -> Option<Self> {
        let otel = config.otel.as_ref()?;
        let (tracer, queue) = Tracer::new(otel.sample_ratio, seed);
        let (flushes, asked) = mpsc::channel(1);
        let exporter = collector::exporter(otel, discovery.clone());
        let totals = Arc::new(Totals {
            tracer: tracer.clone(),
            endpoint: otel.endpoint.to_string(),
            exported: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            failing: Mutex::new(exporter.as_ref().err().cloned()),
        });
        let task = Task::new(exporter, queue, asked, totals.clone());
        tasks.spawn("traces", task.run());
        journal.trace_by(tracer);
        Some(Self { totals, flushes })
    }

    /// The collector's URL, as configured.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.totals.endpoint
    }

    /// Spans that the collector took, spans that were dropped, and batches that the collector did not take.
    #[must_use]
    pub fn totals(&self) -> [u64; 3] {
        let Totals {
            exported, failed, ..
        } = &*self.totals;
        let [exported, failed] = [exported, failed].map(|total| total.load(Ordering::Relaxed));
        [exported, self.totals.tracer.spans_lost(), failed]
    }

    /// Why the newest export failed, or why none can succeed; `None`: it did not.
    #[must_use]
    pub fn failing(&self) -> Option<String> {
        self.totals.failing.lock().clone()
    }

    /// Waits until what waits has been sent, at most so long; not at all where the collector did not take what came before.
    pub async fn flush(&self, limit: Duration) {
        if self.failing().is_some() {
            return;
        }
        let (done, wait) = oneshot::channel();
        let flushed = async {
            // Its task runs as long as anybody can ask.
            if self.flushes.send(done).await.is_ok() {
                let _ = wait.await;
            }
        };
        // Whoever stops does not wait longer.
        let _ = timeout(limit, flushed).await;
    }
}
