//! A body under limits of bandwidth: it reads on when that is paid. That time is no stall and no low speed of its source, which are
//! counted only while bytes are wanted.

use super::BlobBody;
use crate::bandwidth::{FIRST_PIECE, Permit};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// A source that was asked waits for a stream slot no longer than that: servers end connections that nobody reads (nginx after
/// 60 s). It is asked again when there is one.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a body knows of the limits that hold for its source.
#[derive(Debug, Default)]
pub(super) struct BandwidthUse {
    /// The label of the source that it has its permits for.
    source: Option<Arc<str>>,
    /// Its stream slots, by limit.
    permits: Vec<Permit>,
    /// Small pieces are read, so that streams take turns often.
    pub(super) is_limited: bool,
    /// Nothing is read before.
    until: Option<Instant>,
}

// === impl BandwidthUse ===

impl BandwidthUse {
    /// The client takes nothing: another stream may have its stream slots meanwhile.
    pub(super) fn is_unread(&mut self) {
        *self = Self::default();
    }
}

impl BlobBody {
    /// Waits until more may be read of the source. Cancel safe: until when is remembered.
    pub(super) async fn wait_for_bandwidth(&mut self) {
        let Some(source) = &mut self.source else {
            return;
        };
        let label = source.endpoint.source.shared_label();
        let parts = self.fetch.parts.clone();
        let began = Instant::now();
        if self.bandwidth.source.as_ref() != Some(&label) {
            self.bandwidth = BandwidthUse::default();
            self.bandwidth.source = Some(label.clone());
        }
        let bandwidth = &parts.bandwidth;
        if !bandwidth.may_go_on(&label, &self.bandwidth.permits, began) {
            source.in_flight.pause();
            self.bandwidth.permits.clear();
            let trust = self.fetch.expected.blob.trust;
            let mut entering = pin!(bandwidth.enter(&label, trust));
            self.bandwidth.permits = match timeout(PATIENCE, entering.as_mut()).await {
                Ok(permits) => permits,
                Err(_) => {
                    self.source = None;
                    self.bytes.breaks();
                    entering.await
                }
            };
            self.bandwidth.is_limited = true;
            let first = self.missing().unwrap_or(FIRST_PIECE).min(FIRST_PIECE);
            self.bandwidth.until = bandwidth.charge(&label, first, Instant::now());
        }
        if let Some(until) = self.bandwidth.until {
            if let Some(source) = self.source.as_mut().filter(|_| until > Instant::now()) {
                source.in_flight.pause();
            }
            sleep_until(until).await;
            self.bandwidth.until = None;
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
            self.bandwidth.until = bandwidth.charge(label, next, Instant::now());
            self.bandwidth.is_limited = self.bandwidth.until.is_some();
        }
    }
}
