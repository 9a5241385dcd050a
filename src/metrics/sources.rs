//! Bytes by source over the last quarter of an hour and the last day, for the page: the counters, looked at again and again.
//! A long body counts while it runs.

use super::Metrics;
use crate::telemetry::Timelines;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Sources that are told apart within a slot; the rest is one.
const SOURCES: usize = 8;

/// What the rest is called.
const REST: &str = "others";

/// Bytes by source within a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SourceBytes(pub(crate) Vec<(Arc<str>, u64)>);

#[derive(Debug)]
pub(super) struct SourceHistory {
    began: Instant,
    /// What the counters said last.
    seen: HashMap<Arc<str>, u64>,
    slots: Timelines<SourceBytes>,
}

// === impl SourceBytes ===

impl SourceBytes {
    fn add(&mut self, source: &Arc<str>, bytes: u64) {
        let place = self.0.iter().position(|(have, _)| have == source);
        if place.is_none() && self.0.len() < SOURCES {
            self.0.push((source.clone(), bytes));
            return;
        }
        let rest = || self.0.iter().position(|(have, _)| **have == *REST);
        match place.or_else(rest).and_then(|at| self.0.get_mut(at)) {
            Some((_, sum)) => *sum = sum.saturating_add(bytes),
            None => self.0.push((REST.into(), bytes)),
        }
    }
}

// === impl SourceHistory ===

impl Default for SourceHistory {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            seen: HashMap::new(),
            slots: Timelines::default(),
        }
    }
}

impl SourceHistory {
    /// Takes over what the counters say now.
    pub(super) fn look(&mut self, counters: impl Iterator<Item = (Arc<str>, u64)>, now: Instant) {
        let at = now.saturating_duration_since(self.began);
        for (source, total) in counters {
            let seen = self.seen.entry(source.clone()).or_default();
            let new = total.saturating_sub(*seen);
            *seen = total;
            if new > 0 {
                self.slots.change(at, |slot| slot.add(&source, new));
            }
        }
    }

    /// The slots, and for how long they have been filled.
    pub(super) fn slots(&self, now: Instant) -> (Timelines<SourceBytes>, Duration) {
        (
            self.slots.clone(),
            now.saturating_duration_since(self.began),
        )
    }
}

// === impl Metrics ===

impl Metrics {
    /// Looks at the counters; to be called every few seconds, so that bytes stand in the slot in which they were sent.
    pub(crate) fn look_at_bytes(&self, now: Instant) {
        let relayed = self.relayed.read();
        let counters = relayed.iter();
        let counters = counters.map(|(tier, count)| (tier.clone(), count.get()));
        self.sources.lock().look(counters, now);
    }

    /// Bytes by source, and for how long they have been counted.
    pub(crate) fn source_bytes(&self, now: Instant) -> (Timelines<SourceBytes>, Duration) {
        self.look_at_bytes(now);
        self.sources.lock().slots(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_came_since_the_last_look_counts_and_memory_is_bounded() {
        let mut history = SourceHistory::default();
        let counters = |total| (0..20).map(move |at| (Arc::from(format!("tier-{at}")), total));
        for look in 1..=200_u64 {
            tokio::time::advance(Duration::from_secs(15 * 60)).await;
            history.look(counters(look * 100), Instant::now());
        }
        let (slots, since) = history.slots(Instant::now());
        let long = slots.long.slots(since);
        assert_eq!(long.len(), 96);
        for slot in &long {
            let SourceBytes(bytes) = slot.unwrap();
            assert_eq!(bytes.len(), SOURCES + 1);
            assert_eq!((bytes[0].1, bytes[SOURCES].1), (100, 1200));
            assert_eq!(&*bytes[SOURCES].0, REST);
        }
        // A day and a quarter of an hour of full slots; their names are shared with the counters but for the rest's.
        let slot =
            (SOURCES + 1).next_power_of_two() * size_of::<(Arc<str>, u64)>() + 2 * REST.len();
        let bytes = (96 + 60) * (size_of::<(u64, SourceBytes)>() + slot);
        assert!(bytes <= 256 << 10, "{bytes}");
    }
}
