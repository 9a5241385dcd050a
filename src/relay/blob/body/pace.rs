//! A body under limits of bandwidth: it reads on when what it has read is paid. That time is no stall and no low speed of its source,
//! which are counted only while bytes are wanted.

use super::BlobBody;
use crate::bandwidth::{FIRST_PIECE, Slot};
use std::sync::Arc;
use tokio::time::{Instant, sleep_until};

/// What a body knows of the limits that hold for its source.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The label of the source that it has its places for.
    source: Option<Arc<str>>,
    /// Its places among the running streams.
    slots: Vec<Slot>,
    is_limited: bool,
    /// Nothing is read before.
    until: Option<Instant>,
}

// === impl Pace ===

impl Pace {
    /// Whether small pieces are read, so that streams take turns often.
    pub(super) fn is_limited(&self) -> bool {
        self.is_limited
    }
}

impl BlobBody {
    /// Waits until more may be read of the source. Cancel safe: until when is remembered.
    pub(super) async fn keep_pace(&mut self) {
        let Some(source) = &mut self.source else {
            return;
        };
        let (label, bandwidth) = (source.endpoint.source.label(), &self.fetch.parts.bandwidth);
        let metrics = &self.fetch.parts.sinks.metrics;
        if self.pace.source.as_deref() != Some(label) {
            self.pace = Pace::default();
            let began = Instant::now();
            if bandwidth.is_limited(label, began) {
                source.in_flight.pause();
                self.pace.slots = bandwidth.enter(label).await;
                self.pace.is_limited = true;
                metrics.bandwidth_wait(label, began.elapsed());
                self.pace.until = bandwidth.charge(label, FIRST_PIECE, Instant::now());
            }
            self.pace.source = Some(source.endpoint.source.shared_label());
        }
        if let Some(until) = self.pace.until {
            let began = Instant::now();
            if until > began {
                source.in_flight.pause();
                sleep_until(until).await;
                metrics.bandwidth_wait(label, began.elapsed());
            }
            self.pace.until = None;
        }
    }

    /// Bytes of the source came, and are to be paid for.
    pub(super) fn charge(&mut self, bytes: u64) {
        if let Some(source) = &self.source {
            let label = source.endpoint.source.label();
            self.pace.until = self
                .fetch
                .parts
                .bandwidth
                .charge(label, bytes, Instant::now());
            self.pace.is_limited = self.pace.until.is_some();
        }
    }
}
