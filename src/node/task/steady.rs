//! Which tiers may stand in a file by themselves (design F3), damped against flapping (design F1). Pure.

use crate::config::Config;
use crate::node::files::Tiers;
use crate::topology::{EndpointStatus, Snapshot, SourceId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How far back losses count.
const MEMORY: Duration = Duration::from_secs(600);
/// From the second loss in that time on a tier must be whole for this long, doubling.
const FIRST_HOLD: Duration = Duration::from_secs(5);
/// The longest hold.
const LONGEST_HOLD: Duration = Duration::from_secs(300);

/// The damped view. A tier leaves at once: a dead one costs containerd 30 s per request. It comes back at once after
/// one loss, and the later the oftener it was lost.
#[derive(Clone, Debug, Default)]
pub(super) struct Steady {
    tiers: BTreeMap<Arc<str>, Tier>,
}

#[derive(Clone, Debug, Default)]
struct Tier {
    shown: bool,
    whole_since: Option<Instant>,
    losses: Vec<Instant>,
}

/// The tiers with `in_file`, as a snapshot shows them.
pub(super) fn seen(config: &Config, snapshot: &Snapshot) -> Tiers {
    let mut seen = Tiers::default();
    for tier in config.tiers.iter().filter(|tier| tier.in_file) {
        let state = snapshot.source(&SourceId::Tier(tier.name.clone()));
        let Some(state) =
            state.filter(|state| !state.endpoints.is_empty() || state.dns_error.is_some())
        else {
            seen.unknown.insert(tier.name.clone());
            continue;
        };
        let mut endpoints = state.endpoints.iter();
        let healthy = endpoints.all(|endpoint| endpoint.status == EndpointStatus::Healthy);
        if state.ready && healthy && !state.endpoints.is_empty() {
            seen.whole.insert(tier.name.clone());
        }
    }
    seen
}

// === impl Steady ===

impl Steady {
    /// Takes the newest view in and says what may stand in the files now. Who has not been looked up yet, as after a
    /// change of its URL, is not lost: it stays what it was until somebody knows better.
    pub(super) fn step(&mut self, seen: &Tiers, now: Instant) -> BTreeSet<Arc<str>> {
        for name in &seen.whole {
            self.tiers.entry(name.clone()).or_default();
        }
        for (name, tier) in &mut self.tiers {
            if !seen.unknown.contains(name) {
                tier.step(seen.whole.contains(name), now);
            }
        }
        let shown = self.tiers.iter().filter(|(_, tier)| tier.shown);
        shown.map(|(name, _)| name.clone()).collect()
    }

    /// When time alone changes it.
    pub(super) fn wakes(&self) -> Option<Instant> {
        let waiting = self.tiers.values().filter(|tier| !tier.shown);
        waiting
            .filter_map(|tier| Some(tier.whole_since? + tier.hold()))
            .min()
    }
}

// === impl Tier ===

impl Tier {
    fn step(&mut self, whole: bool, now: Instant) {
        self.losses
            .retain(|at| now.saturating_duration_since(*at) <= MEMORY);
        if !whole {
            if self.shown {
                self.losses.push(now);
            }
            self.shown = false;
            self.whole_since = None;
            return;
        }
        let since = *self.whole_since.get_or_insert(now);
        self.shown = self.shown || since + self.hold() <= now;
    }

    fn hold(&self) -> Duration {
        let Some(doublings) = self.losses.len().checked_sub(2) else {
            return Duration::ZERO;
        };
        let doublings = u32::try_from(doublings).unwrap_or(u32::MAX).min(6);
        LONGEST_HOLD.min(FIRST_HOLD * 2_u32.pow(doublings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_leaves_at_once_and_comes_back_the_later_the_oftener_it_left() {
        let start = Instant::now();
        let mut steady = Steady::default();
        let core: Arc<str> = "core".into();
        let mut at = |seconds: u64, whole: bool| {
            let seen = Tiers {
                whole: whole.then(|| core.clone()).into_iter().collect(),
                unknown: BTreeSet::new(),
            };
            let shown = steady.step(&seen, start + Duration::from_secs(seconds));
            let wakes = steady.wakes().map(|at| (at - start).as_secs());
            (!shown.is_empty(), wakes)
        };
        // (second, whole) → (shown, when time alone shows it)
        let table = [
            ((0, true), (true, None)),
            ((10, false), (false, None)),
            ((11, true), (true, None)),
            ((20, false), (false, None)),
            ((21, true), (false, Some(26))),
            ((25, false), (false, None)),
            ((26, true), (false, Some(31))),
            ((31, true), (true, None)),
            ((40, false), (false, None)),
            ((41, true), (false, Some(51))),
            ((51, true), (true, None)),
            // Ten minutes later all is forgotten.
            ((700, true), (true, None)),
            ((701, false), (false, None)),
            ((702, true), (true, None)),
        ];
        for ((second, whole), expected) in table {
            assert_eq!(at(second, whole), expected, "at {second} s");
        }
    }

    #[test]
    fn who_is_not_looked_up_yet_is_not_lost() {
        let now = Instant::now();
        let core = BTreeSet::from([Arc::<str>::from("core")]);
        let (whole, unknown) = (
            Tiers {
                whole: core.clone(),
                unknown: BTreeSet::new(),
            },
            Tiers {
                whole: BTreeSet::new(),
                unknown: core.clone(),
            },
        );
        let mut steady = Steady::default();
        assert!(steady.step(&unknown, now).is_empty(), "never seen");
        // However often its URL is changed: nothing holds it back afterwards.
        for _ in 0..9 {
            assert_eq!(steady.step(&whole, now), core);
            assert_eq!(steady.step(&unknown, now), core);
            assert_eq!(steady.wakes(), None);
        }
        assert!(steady.step(&Tiers::default(), now).is_empty());
    }
}
