//! A body's source that is slow: noticed, said, and left for one that has answered.

use super::{BlobBody, BlobFetch};
use crate::lifecycle::deadline;
use crate::relay::outcome::Found;
use crate::relay::reputation::{Fault, Subject};
use crate::relay::search::report;
use crate::relay::transfer::{LowSpeedLimit, Throughput, TooSlow};
use crate::topology::{EndpointId, Failure, Outcome, SourceId};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// What a body knows of its source's speed.
#[derive(Debug, Default)]
pub(super) struct Speed {
    /// Bytes are wanted and do not come.
    waiting_since: Option<Instant>,
    throughput: Throughput,
    /// Another is looked for however many bytes come meanwhile.
    too_slow: Option<TooSlow>,
}

// === impl Speed ===

impl Speed {
    /// Waiting, stalls and speed are counted anew.
    pub(super) fn begin_anew(&mut self) {
        self.throughput.begin_anew();
        *self = Self {
            throughput: self.throughput,
            ..Self::default()
        };
    }

    /// Ready when no byte has come for the limit while one was wanted. `is_known`: others wait in vain at the same tier; what that
    /// has cost is not spent again, and half the limit is enough.
    pub(super) async fn stalled(&mut self, limit: Duration, is_known: impl Fn() -> bool) {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        for part in [0.5, 0.75] {
            sleep_until(deadline(since, limit.mul_f64(part))).await;
            if is_known() {
                return;
            }
        }
        sleep_until(deadline(since, limit)).await;
    }
}

/// Whether bytes of the same repository do not come, or too few, at a tier.
pub(super) fn tier_is_slow(fetch: &BlobFetch, source: &SourceId) -> bool {
    let (reputation, of) = (&fetch.parts.reputation, Subject::from(&fetch.expected.blob));
    reputation.is_slow(source, &of, Instant::now())
}

impl BlobBody {
    /// Bytes of the source came: it has not stalled, but it may be slow.
    pub(super) fn arrived(&mut self, bytes: u64) {
        let waited = self.speed.waiting_since.take();
        let waited = waited.map_or(Duration::ZERO, |since| since.elapsed());
        let parts = &self.fetch.parts;
        let limit = LowSpeedLimit {
            bytes_per_second: parts.limits.floor_bytes_per_second,
            over: parts.timeouts.floor_window,
        };
        let source = self.source.as_ref();
        let others = |gave| {
            let (endpoint, now) = (&source?.endpoint, Instant::now());
            parts.rates.gave(endpoint, gave, now);
            parts.rates.of_others(endpoint, now)
        };
        let is_slow = |source: &Found<_>| tier_is_slow(&self.fetch, &source.endpoint.source);
        if !waited.is_zero() && source.is_some_and(is_slow) {
            self.speed.throughput.judge_sooner();
        }
        let judged = self.speed.throughput.judge(limit, waited, bytes, others);
        if let Some(too_slow) = judged {
            if let TooSlow::Limit(_) = too_slow {
                self.stalls();
            }
            self.speed.too_slow = Some(too_slow);
            if self.resumption.is_none() {
                self.look_for_another();
            }
        } else if self.speed.too_slow.is_none() {
            // It has come to life again before another was found.
            self.resumption = None;
        }
    }

    /// What the source gave counts for its address.
    pub(super) fn tell_rate(&mut self) {
        let untold = self.speed.throughput.take_untold();
        if let Some(source) = self.source.as_ref().filter(|_| untold.bytes > 0) {
            let rates = &self.fetch.parts.rates;
            rates.gave(&source.endpoint, untold, Instant::now());
        }
    }

    /// Bytes do not come, or too few: the tier's other addresses are not asked before other tiers for a while.
    pub(super) fn stalls(&self) {
        if let Some(source) = &self.source {
            let (parts, blob) = (&self.fetch.parts, &self.fetch.expected.blob);
            parts.saw(&Fault::Stalls, &source.endpoint, blob);
        }
    }

    /// The source was too slow, and another goes on in its place.
    pub(super) fn slow(&mut self, endpoint: EndpointId) {
        let detail = match self.speed.too_slow {
            Some(TooSlow::Limit(limit)) => {
                format!("less than {limit} bytes/s in the middle of a blob")
            }
            Some(TooSlow::Others(median)) => format!(
                "less than a twentieth of the {median} bytes/s that other addresses gave, in the middle of a blob"
            ),
            None => {
                let limit = self.fetch.parts.timeouts.stall.as_secs_f32();
                format!("no byte for {limit} s in the middle of a blob")
            }
        };
        self.note(&endpoint, Failure::Slow, &detail);
        let outcome = Outcome::Soft(Failure::Slow);
        let (parts, blob) = (&self.fetch.parts, &self.fetch.expected.blob);
        report(parts, &endpoint, outcome, detail);
        // The next blob does not begin there.
        parts.saw(&Fault::Slow, &endpoint, blob);
        self.left.push(endpoint);
    }
}
