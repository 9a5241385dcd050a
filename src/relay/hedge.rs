//! When a slow manifest is asked of another tier as well (design P6): how long to wait for the first, and how often that
//! may be. Pure: answers' times, requests and the clock are told to it.

use crate::cache::Trust;
use crate::topology::SourceId;
use foldhash::HashMap;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// The shortest and the longest wait before a hedge.
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(2);

/// Answers remembered of each source.
const SAMPLES: usize = 64;

/// With fewer there is no 95th percentile to speak of.
const FEWEST: usize = 8;

/// What a source did longer ago says nothing of what it does now.
const RECENT: Duration = Duration::from_secs(600);

/// In hundredths of a hedge: what a request earns, so that at most one request in ten is hedged; one hedge; and what may be owed.
const EARNED: u32 = 10;
const HEDGE: u32 = 100;
const BURST: u32 = 3 * HEDGE;

/// What all searches share of it. Its lock is held for single look-ups.
#[derive(Debug, Default)]
pub(crate) struct Hedging(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    first_bytes: HashMap<SourceId, FirstBytes>,
    /// Hedges that were sent and not earned yet, in hundredths; untrusted clients have their own. Some may be sent before any is
    /// earned: what a node asks first after its start may be what is slow.
    owed: HashMap<Trust, u32>,
}

/// The last times to a manifest's first byte at one source.
#[derive(Clone, Debug, Default)]
struct FirstBytes(VecDeque<(Instant, Duration)>);

// === impl Hedging ===

impl Hedging {
    /// A manifest is searched for.
    pub(crate) fn requested(&self, trust: Trust) {
        let mut known = self.0.lock();
        let owed = known.owed.entry(trust).or_default();
        *owed = owed.saturating_sub(EARNED);
    }

    /// Whether one more hedge may be sent.
    pub(crate) fn may_send(&self, trust: Trust) -> bool {
        let known = self.0.lock();
        known
            .owed
            .get(&trust)
            .is_none_or(|owed| *owed <= BURST - HEDGE)
    }

    pub(crate) fn sent(&self, trust: Trust) {
        let mut known = self.0.lock();
        let owed = known.owed.entry(trust).or_default();
        *owed = owed.saturating_add(HEDGE);
    }

    /// A source answered a request for a manifest.
    pub(crate) fn answered(&self, source: &SourceId, first_byte: Duration, now: Instant) {
        let mut known = self.0.lock();
        let times = known.first_bytes.entry(source.clone()).or_default();
        times.add(first_byte, now);
    }

    /// How long this source has before another one is asked beside it.
    pub(crate) fn delay(&self, source: &SourceId, now: Instant) -> Duration {
        let known = self.0.lock();
        let times = known.first_bytes.get(source);
        delay(times.and_then(|times| times.percentile_95(now)))
    }
}

/// clamp(1.5 × p95, 0.5 s, 2 s); who is not known has the longest.
fn delay(percentile_95: Option<Duration>) -> Duration {
    percentile_95.map_or(LONGEST, |slow| slow.mul_f64(1.5).clamp(SHORTEST, LONGEST))
}

// === impl FirstBytes ===

impl FirstBytes {
    fn add(&mut self, first_byte: Duration, now: Instant) {
        if self.0.len() >= SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back((now, first_byte));
    }

    fn percentile_95(&self, now: Instant) -> Option<Duration> {
        let recent = |(at, _): &&(Instant, Duration)| now.saturating_duration_since(*at) < RECENT;
        let recent = self.0.iter().filter(recent);
        let mut times: Vec<Duration> = recent.map(|(_, took)| *took).collect();
        if times.len() < FEWEST {
            return None;
        }
        // The smallest time that 95 of 100 do not exceed. It is looked for before every request, so not by sorting.
        let number = times.len().saturating_mul(95).div_ceil(100);
        let (_, percentile, _) = times.select_nth_unstable(number.saturating_sub(1));
        Some(*percentile)
    }
}

#[cfg(test)]
mod tests;
