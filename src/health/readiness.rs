//! Whether a source as a whole may be counted on, with hysteresis (design F1). Pure.

use crate::lifecycle::deadline;
use std::time::Duration;
use tokio::time::Instant;

/// Ready again when an endpoint has been healthy for this long: what comes and goes is not written into files.
const STEADY: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Readiness {
    /// It may be counted on.
    pub(super) ready: bool,
    /// It had endpoints before, at the place where it is now.
    known: bool,
    /// When it may become ready.
    steady_at: Option<Instant>,
    /// What people believe of it; `None`: nothing was said, and it was never ready.
    believed: Option<bool>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Down,
    /// Back again, after it was steady.
    Up,
    /// It was down, has moved, and DNS has named its new place.
    Moved,
}

/// What is seen of a source's endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) any: bool,
    pub(super) usable: bool,
    /// Since when the longest-healthy one is healthy.
    pub(super) healthy_since: Option<Instant>,
}

impl Readiness {
    /// The next state; `seen` is `None` until DNS has answered or failed for the place where the source is now. Until
    /// then it is not ready, and nobody may say that it is down. The first answer makes it ready at once, and silently:
    /// it was never down.
    pub(super) fn step(self, seen: Option<Seen>, now: Instant) -> (Self, Option<Turn>) {
        let Some(seen) = seen else {
            let believed = self.believed;
            let next = Self {
                believed,
                ..Self::default()
            };
            return (next, None);
        };
        let steady_at = seen.healthy_since.map(|since| deadline(since, STEADY));
        let steady = steady_at.is_some_and(|at| at <= now);
        let first = !self.known && seen.usable;
        let ready = seen.usable && (self.ready || steady || first);
        let turn = match (self.believed, ready) {
            (Some(true), false) => Some(Turn::Down),
            (Some(false), true) if first => Some(Turn::Moved),
            (Some(false), true) => Some(Turn::Up),
            (None, true) if !first => Some(Turn::Up),
            _ => None,
        };
        let next = Self {
            ready,
            known: self.known || seen.any,
            steady_at: steady_at.filter(|_| !ready),
            believed: if ready {
                Some(true)
            } else {
                self.believed.map(|_| false)
            },
        };
        (next, turn)
    }

    /// When time alone changes it.
    pub(super) fn wakes(self) -> Option<Instant> {
        self.steady_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(any: bool, usable: bool, healthy_since: Option<Instant>) -> Option<Seen> {
        Some(Seen {
            any,
            usable,
            healthy_since,
        })
    }

    #[test]
    fn down_at_once_and_up_when_steady() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut readiness = Readiness::default();
        // (now, has endpoints, usable, healthy since) → (ready, turn)
        let table = [
            ((0, false, false, None), (false, None)),
            ((10, true, true, Some(10)), (true, None)),
            ((20, true, true, None), (true, None)),
            ((30, true, false, None), (false, Some(Turn::Down))),
            ((40, true, false, None), (false, None)),
            ((50, true, true, None), (false, None)),
            ((60, true, true, Some(60)), (false, None)),
            ((2059, true, true, Some(60)), (false, None)),
            ((2060, true, true, Some(60)), (true, Some(Turn::Up))),
            ((2070, true, true, Some(2070)), (true, None)),
            ((2080, false, false, None), (false, Some(Turn::Down))),
            ((2090, true, true, Some(2090)), (false, None)),
            ((4090, true, true, Some(2090)), (true, Some(Turn::Up))),
        ];
        for ((now, has, usable, since), (ready, turn)) in table {
            let seen = seen(has, usable, since.map(after));
            let (next, turned) = readiness.step(seen, after(now));
            assert_eq!((next.ready, turned), (ready, turn), "at {now} ms");
            readiness = next;
        }
        let (waiting, _) = Readiness {
            known: true,
            ..Readiness::default()
        }
        .step(seen(true, true, Some(after(0))), after(0));
        assert_eq!(waiting.wakes(), Some(after(2000)));
    }

    /// What is seen one after the other, and what is said of each.
    type Row<'a> = (&'a [Option<Seen>], &'a [Option<Turn>]);

    #[test]
    fn who_has_moved_is_not_down_until_somebody_has_looked() {
        let now = Instant::now();
        let healthy = seen(true, true, Some(now));
        let gone = seen(false, false, None);
        let table: [Row<'_>; 4] = [
            // It was healthy, and is healthy where it is now.
            (&[healthy, None, None, healthy], &[None; 4]),
            // It was healthy, and nobody is there where it is now.
            (
                &[healthy, None, gone, gone],
                &[None, None, Some(Turn::Down), None],
            ),
            // It was down, and is healthy where it is now.
            (
                &[healthy, gone, None, healthy],
                &[None, Some(Turn::Down), None, Some(Turn::Moved)],
            ),
            // It was down, and is nowhere now: that was said.
            (
                &[healthy, gone, None, gone],
                &[None, Some(Turn::Down), None, None],
            ),
        ];
        for (seen, expected) in table {
            let mut readiness = Readiness::default();
            let turns: Vec<_> = seen
                .iter()
                .map(|seen| {
                    let (next, turn) = readiness.step(*seen, now);
                    assert_eq!(next.ready, *seen == healthy);
                    readiness = next;
                    turn
                })
                .collect();
            assert_eq!(turns, expected);
        }
    }
}
