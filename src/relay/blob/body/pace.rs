//! A body under limits of bandwidth: it reads on when that is paid. That time is no stall and no low speed of its source, which are
//! counted only while bytes are wanted.

use super::BlobBody;
use crate::bandwidth::{FIRST_PIECE, Slot};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// A source that was asked waits for a place among the running streams no longer than that: servers end connections that nobody
/// reads (nginx after 60 s). It is asked again when there is one.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a body knows of the limits that hold for its source.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The label of the source that it has its places for.
    source: Option<Arc<str>>,
    /// Its places among the running streams.
    slots: Vec<Slot>,
    /// Small pieces are read, so that streams take turns often.
    pub(super) is_limited: bool,
    /// Nothing is read before.
    until: Option<Instant>,
}

// === impl Pace ===

impl Pace {
    /// The client takes nothing: another stream may have its places meanwhile.
    pub(super) fn is_unread(&mut self) {
        *self = Self::default();
    }
}

impl BlobBody {
    /// Waits until more may be read of the source. Cancel safe: until when is remembered.
    pub(super) async fn keep_pace(&mut self) {
        let Some(source) = &mut self.source else {
            return;
        };
        let label = source.endpoint.source.shared_label();
        let parts = self.fetch.parts.clone();
        let began = Instant::now();
        if self.pace.source.as_ref() != Some(&label) {
            self.pace = Pace::default();
            self.pace.source = Some(label.clone());
        }
        let bandwidth = &parts.bandwidth;
        if !bandwidth.may_go_on(&label, &self.pace.slots, began) {
            source.in_flight.pause();
            self.pace.slots.clear();
            let trust = self.fetch.expected.blob.trust;
            let mut entering = pin!(bandwidth.enter(&label, trust));
            self.pace.slots = match timeout(PATIENCE, entering.as_mut()).await {
                Ok(slots) => slots,
                Err(_) => {
                    self.source = None;
                    self.bytes.breaks();
                    entering.await
                }
            };
            self.pace.is_limited = true;
            let first = self.missing().unwrap_or(FIRST_PIECE).min(FIRST_PIECE);
            self.pace.until = bandwidth.charge(&label, first, Instant::now());
        }
        if let Some(until) = self.pace.until {
            if let Some(source) = self.source.as_mut().filter(|_| until > Instant::now()) {
                source.in_flight.pause();
            }
            sleep_until(until).await;
            self.pace.until = None;
        }
        let waited = began.elapsed();
        if !waited.is_zero() {
            parts.sinks.metrics.bandwidth_wait(&label, waited);
        }
        if self.source.is_none() && self.resumption.is_none() {
            self.speed.begin_anew();
            self.look_for_another();
        }
    }

    /// Bytes of the source came: as many more are to be paid before they are read.
    pub(super) fn charge(&mut self, bytes: u64) {
        if let Some(source) = &self.source {
            let next = self.missing().map_or(bytes, |missing| missing.min(bytes));
            let label = source.endpoint.source.label();
            let bandwidth = &self.fetch.parts.bandwidth;
            self.pace.until = bandwidth.charge(label, next, Instant::now());
            self.pace.is_limited = self.pace.until.is_some();
        }
    }
}
