//! The task that sends spans: batches of what has come within a second, one at a time, each with a limit.

use super::Totals;
use super::collector::Exporter;
use super::spans;
use crate::lifecycle::contained;
use crate::telemetry::Finished;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

/// Requests of a batch.
const BATCH: usize = 128;

/// So long a batch gathers.
const GATHER: Duration = Duration::from_secs(1);

/// So long the collector may take for a batch.
const EXPORT_LIMIT: Duration = Duration::from_secs(5);

/// How often the log says at most that the collector takes nothing.
const SAY_AGAIN: Duration = Duration::from_secs(300);

pub(super) struct Task {
    /// Or why there is none.
    exporter: Result<Exporter, String>,
    queue: mpsc::Receiver<Finished>,
    flushes: mpsc::Receiver<oneshot::Sender<()>>,
    totals: Arc<Totals>,
    /// When the log was told last that spans are lost.
    said: Option<Instant>,
}

// === impl Task ===

impl Task {
    pub(super) fn new(
        exporter: Result<Exporter, String>,
        queue: mpsc::Receiver<Finished>,
        flushes: mpsc::Receiver<oneshot::Sender<()>>,
        totals: Arc<Totals>,
    ) -> Self {
        Self {
            exporter,
            queue,
            flushes,
            totals,
            said: None,
        }
    }

    /// Sends what comes. Never ends.
    pub(super) async fn run(mut self) {
        loop {
            let (batch, flush) = self.gather().await;
            self.send(batch).await;
            if let Some(flush) = flush {
                // Whoever asked may have given up.
                let _ = flush.send(());
            }
        }
    }

    /// A batch, and who waits for it.
    async fn gather(&mut self) -> (Vec<Finished>, Option<oneshot::Sender<()>>) {
        let (mut batch, mut until) = (Vec::new(), None);
        while batch.len() < BATCH {
            let due = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                // Cancel safe: a message is taken or stays.
                Some(flush) = self.flushes.recv() => {
                    while let Ok(finished) = self.queue.try_recv() {
                        batch.push(finished);
                    }
                    return (batch, Some(flush));
                }
                // Cancel safe: a message is taken or stays.
                Some(finished) = self.queue.recv() => {
                    batch.push(finished);
                    until = until.or_else(|| Instant::now().checked_add(GATHER));
                }
                // Cancel safe: it only waits.
                () = due => break,
            }
        }
        (batch, None)
    }

    async fn send(&mut self, batch: Vec<Finished>) {
        let spans: Vec<_> = batch.into_iter().flat_map(spans::make).collect();
        if spans.is_empty() {
            return;
        }
        let count = spans.len() as u64;
        let export = async {
            let exporter = self.exporter.as_ref().map_err(String::clone)?;
            exporter.export(spans).await
        };
        let limited = timeout(EXPORT_LIMIT, export);
        let exported = match contained("span export", limited).await {
            Ok(Ok(exported)) => exported,
            Ok(Err(_)) => Err(format!("no answer within {} s", EXPORT_LIMIT.as_secs())),
            Err(panicked) => Err(panicked.to_string()),
        };
        let endpoint = &self.totals.endpoint;
        match exported {
            Ok(()) => {
                self.totals.exported.fetch_add(count, Ordering::Relaxed);
                if self.totals.failing.lock().take().is_some() && self.said.is_some() {
                    tracing::info!("traces: {endpoint} takes spans again");
                }
            }
            Err(why) => {
                self.totals.failed.fetch_add(1, Ordering::Relaxed);
                self.totals.tracer.lost(count);
                let now = Instant::now();
                let is_old = |said: Instant| now.saturating_duration_since(said) >= SAY_AGAIN;
                if self.said.is_none_or(is_old) {
                    self.said = Some(now);
                    tracing::warn!(
                        "traces: {endpoint} does not take spans: {why}; they are dropped, pulls go on"
                    );
                }
                *self.totals.failing.lock() = Some(why);
            }
        }
    }
}
