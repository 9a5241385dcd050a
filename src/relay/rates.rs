//! What addresses gave of late, in bytes per second of the time in which bytes were waited for: a source is measured against the
//! others (design P6). Bytes that came without any waiting are not counted: where the client is the slow side they say
//! nothing of the source.

use crate::cache::{Bounds, SharedTtlMap, Trust};
use crate::topology::EndpointId;
use foldhash::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// What was given longer ago says nothing.
const REMEMBERED: Duration = Duration::from_secs(600);

/// What an address gave within this time is one entry.
const SLICE_SECONDS: u64 = 60;

/// Fewer bytes of an address say nothing of it.
const ENOUGH: u64 = 256 * 1024;

/// Entries at most: those of 256 addresses. The oldest make room.
const SLICES: usize = 256 * 10;

/// Bytes, and how long they were waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) waited: Duration,
    pub(crate) bytes: u64,
}

/// By address and slice, counted from the beginning.
#[derive(Debug)]
pub(crate) struct Rates {
    given: SharedTtlMap<(EndpointId, u64), Rate>,
    began: Instant,
}

// === impl Rate ===

impl Rate {
    /// So many bytes more, after so much waiting.
    pub(crate) fn add(&mut self, waited: Duration, bytes: u64) {
        self.waited = self.waited.saturating_add(waited);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Whether it is less than so many bytes per second.
    pub(crate) fn is_below(self, bytes_per_second: u64) -> bool {
        let due = u128::from(bytes_per_second).saturating_mul(self.waited.as_millis()) / 1000;
        u128::from(self.bytes) < due
    }

    fn bytes_per_second(self) -> u64 {
        let nanos = self.waited.as_nanos().max(1);
        let billionths = u128::from(self.bytes).saturating_mul(1_000_000_000);
        let rate = billionths.checked_div(nanos).unwrap_or_default();
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

// === impl Rates ===

impl Default for Rates {
    fn default() -> Self {
        Self {
            given: SharedTtlMap::new(Bounds::entries(REMEMBERED, SLICES)),
            began: Instant::now(),
        }
    }
}

impl Rates {
    pub(crate) fn gave(&self, endpoint: &EndpointId, rate: Rate, now: Instant) {
        let passed = now.saturating_duration_since(self.began);
        let key = (endpoint.clone(), passed.as_secs() / SLICE_SECONDS);
        self.given.change(|given| match given.get_mut(&key, now) {
            Some(slice) => slice.add(rate.waited, rate.bytes),
            // Only who serves bodies is here, whoever pulled them.
            None => given.put(key, rate, Trust::Trusted, now),
        });
    }

    /// The median of what the others gave, in bytes per second; of two in the middle the slower one. `None`: nobody else
    /// gave enough.
    pub(crate) fn of_others(&self, endpoint: &EndpointId, now: Instant) -> Option<u64> {
        let mut others: HashMap<EndpointId, Rate> = HashMap::default();
        self.given.sweep(now);
        self.given.read(|given| {
            for ((other, _), slice, _) in given.iter().filter(|(of, ..)| of.0 != *endpoint) {
                let all = others.entry(other.clone()).or_default();
                all.add(slice.waited, slice.bytes);
            }
        });
        let enough = others.into_values().filter(|rate| rate.bytes >= ENOUGH);
        let mut rates: Vec<u64> = enough.map(Rate::bytes_per_second).collect();
        rates.sort_unstable();
        rates.get(rates.len().saturating_sub(1) / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::testing::{endpoint, tier};

    const MIB: u64 = 1024 * 1024;

    fn of(last: u8) -> EndpointId {
        endpoint(&tier("replica"), last)
    }

    fn rate(millis: u64, bytes: u64) -> Rate {
        Rate {
            waited: Duration::from_millis(millis),
            bytes,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_median_is_of_the_others_that_gave_enough() {
        let (rates, now) = (Rates::default(), Instant::now());
        assert_eq!(rates.of_others(&of(1), now), None);
        rates.gave(&of(1), rate(1000, 50 * MIB), now);
        assert_eq!(rates.of_others(&of(1), now), None, "of the others");
        rates.gave(&of(2), rate(1000, ENOUGH - 1), now);
        assert_eq!(rates.of_others(&of(1), now), None, "too little");
        rates.gave(&of(2), rate(0, 1), now);
        assert_eq!(rates.of_others(&of(1), now), Some(ENOUGH));
        rates.gave(&of(3), rate(1000, 10 * MIB), now);
        assert_eq!(rates.of_others(&of(1), now), Some(ENOUGH), "the slower");
        rates.gave(&of(4), rate(1000, 100 * MIB), now);
        assert_eq!(rates.of_others(&of(1), now), Some(10 * MIB));
        assert_eq!(rates.of_others(&of(4), now), Some(10 * MIB));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_given_more_than_ten_minutes_ago_says_nothing() {
        let rates = Rates::default();
        for _ in 0..20 {
            rates.gave(&of(1), rate(1000, 100 * MIB), Instant::now());
            tokio::time::advance(Duration::from_secs(30)).await;
        }
        let now = Instant::now();
        assert_eq!(rates.of_others(&of(2), now), Some(100 * MIB));
        // It has become slow: that shows when the quick minutes are over.
        for _ in 0..20 {
            tokio::time::advance(Duration::from_secs(30)).await;
            rates.gave(&of(1), rate(30_000, 30 * MIB), Instant::now());
        }
        assert_eq!(rates.of_others(&of(2), Instant::now()), Some(MIB));
        tokio::time::advance(REMEMBERED).await;
        assert_eq!(rates.of_others(&of(2), Instant::now()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded() {
        let rates = Rates::default();
        for port in 1..=3000 {
            let mut endpoint = of(1);
            endpoint.address.set_port(port);
            rates.gave(&endpoint, rate(1, MIB), Instant::now());
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(rates.given.read(|all| all.len()), SLICES);
        for _ in 0..10_000 {
            rates.gave(&of(1), rate(1, MIB), Instant::now());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let slices = rates.given.read(|all| all.len());
        assert!(slices <= 11, "{slices}");
    }

    #[test]
    fn no_rate_is_too_large() {
        assert_eq!(rate(0, u64::MAX).bytes_per_second(), u64::MAX);
        assert_eq!(rate(0, 0).bytes_per_second(), 0);
        let mut all = Rate {
            waited: Duration::MAX,
            bytes: u64::MAX,
        };
        all.add(Duration::MAX, u64::MAX);
        assert!(all.bytes_per_second() < 2, "{all:?}");
        assert!(!all.is_below(0));
    }
}
