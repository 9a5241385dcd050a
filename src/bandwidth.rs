//! Limits of bandwidth for blobs: of all together, of each tier, and of what comes from the registries directly.
//!
//! A stream reads a piece when it is paid: a limit is one queue in which each stream has one piece at a
//! time, so that all streams get the same share. Manifests do not come here.

mod limiter;
mod stream_slots;
#[cfg(test)]
mod tests;

pub use limiter::Permit;

use crate::cache::Trust;
use crate::config::{self, Config};
use arc_swap::ArcSwap;
use limiter::Limiter;
use std::sync::Arc;
use tokio::time::Instant;

/// A stream pays for each piece before it reads it, as for one of the size of the last; for its first one it pays so many bytes.
pub const FIRST_PIECE: u64 = 16 * 1024;

/// Tells the minute of the node's day, 0 to 1439.
pub type Clock = fn() -> u16;

/// The limits in force.
#[derive(Debug)]
pub struct Bandwidth {
    limiters: ArcSwap<Limiters>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Limiters {
    all: Option<Arc<Limiter>>,
    /// By the label of a source.
    by_source: Vec<(Arc<str>, Arc<Limiter>)>,
}

// === impl Bandwidth ===

impl Bandwidth {
    /// As the configuration says.
    #[must_use]
    pub fn new(config: &Config, clock: Clock) -> Self {
        let bandwidth = Self {
            limiters: ArcSwap::default(),
            clock,
        };
        bandwidth.reload(config);
        bandwidth
    }

    /// Another configuration: running streams follow it with their next piece, waiting ones within a second.
    pub fn reload(&self, config: &Config) {
        let old = self.limiters.load();
        let limiter = |limit: &config::Bandwidth, old: Option<&Arc<Limiter>>| {
            if let Some(old) = old {
                old.set(limit);
                return Some(old.clone());
            }
            (!limit.is_none()).then(|| Arc::new(Limiter::new(limit.clone())))
        };
        let tiers = config.tiers.iter();
        let tiers = tiers.map(|tier| (tier.name.clone(), &tier.bandwidth));
        let direct = (Arc::from("upstream"), &config.direct_bandwidth);
        let by_source = tiers.chain([direct]).filter_map(|(label, limit)| {
            let limiter = limiter(limit, old.by_label(&label))?;
            Some((label, limiter))
        });
        let new = Limiters {
            by_source: by_source.collect(),
            all: limiter(&config.bandwidth, old.all.as_ref()),
        };
        // Of tiers that are gone some streams run and wait.
        for (label, limiter) in &old.by_source {
            if new.by_label(label).is_none() {
                limiter.set(&config::Bandwidth::default());
            }
        }
        self.limiters.store(Arc::new(new));
    }

    /// Whether a stream from the source with that label may read on with these permits. If not, it gives them back and enters: a
    /// limit holds by now of which it has none, there are fewer by now, or it is another stream's turn.
    #[must_use]
    pub fn may_go_on(&self, label: &str, permits: &[Permit], now: Instant) -> bool {
        let limiters = self.limiters.load();
        let has_permit = |limiter| permits.iter().any(|permit| permit.holds_for(limiter, now));
        let limits = |limiter: &Limiter| limiter.rate(now, self.clock).is_some();
        let mut both = limiters.both(label);
        // The number of stream slots follows the rate, which is looked at first.
        both.all(|limiter| !limits(limiter) || has_permit(limiter))
    }

    /// Bytes from the source with that label are to be paid. `Some`: no more is to be read before.
    #[must_use]
    pub fn charge(&self, label: &str, bytes: u64, now: Instant) -> Option<Instant> {
        let limiters = self.limiters.load();
        let both = limiters.both(label);
        both.filter_map(|limiter| limiter.charge(bytes, now, self.clock))
            .max()
    }

    /// Stream slots for one more that reads from the source with that label, so that each of them can have its least share.
    pub async fn enter(&self, label: &str, trust: Trust) -> Vec<Permit> {
        let limiters = self.limiters.load_full();
        let mut permits = Vec::new();
        for limiter in limiters.both(label) {
            permits.push(limiter.clone().enter(trust, self.clock).await);
        }
        permits
    }
}

// === impl Limiters ===

impl Limiters {
    fn by_label(&self, label: &str) -> Option<&Arc<Limiter>> {
        let mut limiters = self.by_source.iter();
        limiters
            .find(|(name, _)| **name == *label)
            .map(|(_, limiter)| limiter)
    }

    /// Those that hold for a source. Always in the same order, so that streams do not wait for each other in a circle.
    fn both(&self, label: &str) -> impl Iterator<Item = &Arc<Limiter>> {
        self.by_label(label).into_iter().chain(&self.all)
    }
}

/// The minute of the node's day by its own time zone.
#[must_use]
pub fn local_minute() -> u16 {
    let time = jiff::ZonedDateTime::now().time();
    let part = |number: i8| u16::try_from(number).unwrap_or(0);
    part(time.hour())
        .saturating_mul(60)
        .saturating_add(part(time.minute()))
}
