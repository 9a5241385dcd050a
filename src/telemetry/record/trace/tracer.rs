//! Begins traces, and takes what became of them: into a bounded queue that never waits, so many spans per second at most.

use super::{Running, Step, Trace, TraceParent};
use crate::telemetry::AccessRecord;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

/// Requests that may wait for the exporter.
const CAPACITY: usize = 512;

/// Spans that may wait for the exporter. A request with the longest names takes less than 3 KiB, a part of one less than 256
/// bytes: all that waits takes less than 2 MiB, which no budget counts.
const WAITING_SPANS: usize = 1024;

/// Spans per second: who may send a request may ask for its trace, and this is what all of them get together.
const SPANS_PER_SECOND: u64 = 1000;

/// A request that is over, or a part of one that went on after it.
#[derive(Debug)]
pub struct Finished {
    /// Whose parts they are.
    pub trace: Arc<Trace>,
    /// What became of the request; `None`: its own span has been sent.
    pub record: Option<Box<AccessRecord>>,
    /// What it was made of: attempts, tokens, lookups.
    pub steps: Vec<Step>,
    /// Its places among the spans that wait; dropped with it they are free.
    pub places: OwnedSemaphorePermit,
}

/// Begins traces.
#[derive(Debug)]
pub struct Tracer {
    /// What of a trace's identifier is below this is sampled, of 2^63.
    below: u64,
    ids: AtomicU64,
    queue: mpsc::Sender<Finished>,
    waiting: Arc<Semaphore>,
    /// The second that runs, and its spans so far.
    second: Mutex<(Instant, u64)>,
    lost: AtomicU64,
}

// === impl Tracer ===

impl Tracer {
    /// Samples such a part of the traces that begin here, and the other end of its queue. `seed` feeds the identifiers.
    #[must_use]
    pub fn new(sample_ratio: f64, seed: u64) -> (Arc<Self>, mpsc::Receiver<Finished>) {
        let (queue, receiver) = mpsc::channel(CAPACITY);
        let tracer = Self {
            below: threshold(sample_ratio),
            ids: AtomicU64::new(seed),
            queue,
            waiting: Arc::new(Semaphore::new(WAITING_SPANS)),
            second: Mutex::new((Instant::now(), 0)),
            lost: AtomicU64::new(0),
        };
        (Arc::new(tracer), receiver)
    }

    /// The trace of a request that begins now: the client's, or a new one. A client's decision holds; of new traces as many
    /// are sampled as the configuration says.
    #[must_use]
    pub fn begin(
        self: &Arc<Self>,
        client: Option<TraceParent>,
        state: Option<Box<str>>,
    ) -> Arc<Trace> {
        let (trace_id, is_sampled) = match client {
            Some(client) => (client.trace_id, client.is_sampled),
            None => {
                let low = self.span_id();
                let trace_id = u128::from(self.span_id()) << 64 | u128::from(low);
                (trace_id, low >> 1 < self.below)
            }
        };
        let own = TraceParent {
            trace_id,
            span_id: self.span_id(),
            is_sampled,
        };
        Arc::new(Trace {
            own,
            parent: client.map(|client| client.span_id),
            state: state.filter(|_| client.is_some()),
            began: (SystemTime::now(), Instant::now()),
            tracer: self.clone(),
            running: Mutex::new(Running {
                steps: Some(Vec::new()),
                scope: own.span_id,
            }),
        })
    }

    /// Spans that were not exported since the start: there were too many in a second, they found no place in the queue, or
    /// nobody took them.
    #[must_use]
    pub fn spans_lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// So many spans are not exported.
    pub fn lost(&self, spans: u64) {
        self.lost.fetch_add(spans, Ordering::Relaxed);
    }

    pub(super) fn send(
        &self,
        trace: &Arc<Trace>,
        record: Option<Box<AccessRecord>>,
        steps: Vec<Step>,
    ) {
        let parts = u32::try_from(steps.len()).unwrap_or(u32::MAX);
        let spans = parts.saturating_add(record.is_some().into());
        let places = self.waiting.clone().try_acquire_many_owned(spans);
        match (self.queue.try_reserve(), places) {
            (Ok(place), Ok(places)) if self.has_room(spans.into(), Instant::now()) => {
                place.send(Finished {
                    trace: trace.clone(),
                    record,
                    steps,
                    places,
                });
            }
            _ => self.lost(spans.into()),
        }
    }

    /// Whether so many more may be sent within this second.
    fn has_room(&self, spans: u64, now: Instant) -> bool {
        let mut second = self.second.lock();
        if now.saturating_duration_since(second.0) >= Duration::from_secs(1) {
            *second = (now, 0);
        }
        let sum = second.1.saturating_add(spans);
        let has_room = sum <= SPANS_PER_SECOND;
        if has_room {
            second.1 = sum;
        }
        has_room
    }

    /// An identifier that is not 0; no secret.
    pub(super) fn span_id(&self) -> u64 {
        let step = 0x9E37_79B9_7F4A_7C15;
        let value = self.ids.fetch_add(step, Ordering::Relaxed);
        let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (value ^ (value >> 31)).max(1)
    }
}

/// Of 2^63, as the OpenTelemetry samplers by ratio count.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a ratio is between 0 and 1, so that the product fits"
)]
fn threshold(ratio: f64) -> u64 {
    (ratio.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64
}
