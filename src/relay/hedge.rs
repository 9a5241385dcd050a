//! When a slow manifest is asked of another tier as well (design P6): how long to wait for the first, and how often that
//! may be. Pure: answers' times, requests and the clock are told to it.

use crate::cache::Trust;
use crate::topology::SourceId;
use foldhash::HashMap;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
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

/// In hundredths of a hedge: what a request earns, so that at most one request in ten is hedged; one hedge; and what may be saved
/// up.
const EARNED: u32 = 10;
const HEDGE: u32 = 100;
const BURST: u32 = 3 * HEDGE;

/// What all searches share of it. Its lock is held for single look-ups.
#[derive(Debug)]
pub(crate) struct Hedging(Mutex<Known>);

#[derive(Debug)]
struct Known {
    first_bytes: HashMap<SourceId, FirstBytes>,
    /// Hedges that may be sent, in hundredths; untrusted clients have their own. What a node asks first after its start may be what
    /// is slow.
    budgets: [u32; 2],
}

/// The last times to a manifest's first byte at one source.
#[derive(Clone, Debug, Default)]
struct FirstBytes(VecDeque<(Instant, Duration)>);

// === impl Hedging ===

impl Default for Hedging {
    fn default() -> Self {
        Self(Mutex::new(Known {
            first_bytes: HashMap::default(),
            budgets: [BURST; 2],
        }))
    }
}

impl Hedging {
    /// A manifest is searched for.
    pub(crate) fn requested(&self, trust: Trust) {
        self.with(|known| {
            let budget = known.budget(trust);
            *budget = budget.saturating_add(EARNED).min(BURST);
        });
    }

    /// Whether one more hedge may be sent.
    pub(crate) fn may_send(&self, trust: Trust) -> bool {
        self.with(|known| *known.budget(trust) >= HEDGE)
    }

    pub(crate) fn sent(&self, trust: Trust) {
        self.with(|known| {
            let budget = known.budget(trust);
            *budget = budget.saturating_sub(HEDGE);
        });
    }

    /// A source answered a request for a manifest.
    pub(crate) fn answered(&self, source: &SourceId, first_byte: Duration, now: Instant) {
        self.with(|known| {
            let times = known.first_bytes.entry(source.clone()).or_default();
            times.add(first_byte, now);
        });
    }

    /// How long this source has before another one is asked beside it.
    pub(crate) fn delay(&self, source: &SourceId, now: Instant) -> Duration {
        let slow = self.with(|known| known.first_bytes.get(source)?.percentile_95(now));
        delay(slow)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Known) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl Known ===

impl Known {
    fn budget(&mut self, trust: Trust) -> &mut u32 {
        let [trusted, untrusted] = &mut self.budgets;
        match trust {
            Trust::Trusted => trusted,
            Trust::Untrusted => untrusted,
        }
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
