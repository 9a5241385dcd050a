//! Which endpoint series exist: at most 64 per tier; one goes 15 minutes after its address left DNS.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const PER_TIER: usize = 64;

/// How long an address that left keeps its series, with its last value.
const AFTER_LEAVING: Duration = Duration::from_secs(15 * 60);

/// A tier as a scrape is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierGauge {
    /// Its name; `upstream` for all upstreams.
    pub tier: Arc<str>,
    /// Whether it is ready; `None` for upstreams.
    pub ready: Option<bool>,
    /// Its addresses now, and whether each is healthy. Several gauges may have one name.
    pub endpoints: Vec<(String, bool)>,
}

/// The series of the past quarter of an hour.
#[derive(Debug, Default)]
pub(super) struct Series(BTreeMap<Arc<str>, BTreeMap<String, Seen>>);

#[derive(Clone, Copy, Debug)]
struct Seen {
    healthy: bool,
    last: Instant,
}

impl Series {
    /// Takes a scrape's view and says which series to show: tier, endpoint, healthy.
    pub(super) fn update(
        &mut self,
        tiers: &[TierGauge],
        now: Instant,
    ) -> Vec<(Arc<str>, String, bool)> {
        // Two upstreams may share an address, each with a health of its own: the worse one shows.
        let mut present: BTreeMap<(&Arc<str>, &str), bool> = BTreeMap::new();
        for gauge in tiers {
            for (endpoint, healthy) in &gauge.endpoints {
                *present.entry((&gauge.tier, endpoint)).or_insert(true) &= *healthy;
            }
        }
        for ((tier, endpoint), healthy) in present {
            let tier = self.0.entry(tier.clone()).or_default();
            tier.insert(endpoint.to_owned(), Seen { healthy, last: now });
        }
        for seen in self.0.values_mut() {
            seen.retain(|_, seen| now.saturating_duration_since(seen.last) < AFTER_LEAVING);
            // Present ones stay before those that left, these by when they left.
            let mut order: Vec<_> = seen
                .iter()
                .map(|(endpoint, seen)| (Reverse(seen.last), endpoint.clone()))
                .collect();
            order.sort();
            for (_, endpoint) in order.drain(..).skip(PER_TIER) {
                seen.remove(&endpoint);
            }
        }
        self.0.retain(|_, seen| !seen.is_empty());
        let rows = self.0.iter().flat_map(|(tier, seen)| {
            seen.iter()
                .map(|(endpoint, seen)| (tier.clone(), endpoint.clone(), seen.healthy))
        });
        rows.collect()
    }
}

#[cfg(test)]
mod tests;
