//! Whether a source as a whole may be counted on, with hysteresis (design F1). Pure.

use std::time::Duration;
use tokio::time::Instant;

/// Ready again when an endpoint has been healthy for this long: what comes and goes is not written into files.
const STEADY: Duration = Duration::from_secs(2);

/// A source's readiness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Readiness {
    /// It may be counted on.
    pub(super) ready: bool,
    /// It had endpoints before.
    known: bool,
    /// When it may become ready.
    steady_at: Option<Instant>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// No endpoint is left.
    Down,
    /// Back again.
    Up,
}

impl Readiness {
    /// The next state, from whether any endpoint may be used and since when the longest-healthy one is healthy.
    /// The first answer of DNS makes a source ready at once, and silently: it was never down.
    pub(super) fn step(
        self,
        has_endpoints: bool,
        usable: bool,
        healthy_since: Option<Instant>,
        now: Instant,
    ) -> (Self, Option<Turn>) {
        let steady_at = healthy_since.map(|since| since + STEADY);
        let steady = steady_at.is_some_and(|at| at <= now);
        let first = !self.known && usable;
        let ready = usable && (self.ready || steady || first);
        let turn = match (self.ready, ready) {
            (true, false) => Some(Turn::Down),
            (false, true) if !first => Some(Turn::Up),
            _ => None,
        };
        let next = Self {
            ready,
            known: self.known || has_endpoints,
            steady_at: steady_at.filter(|_| !ready),
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
            let (next, turned) = readiness.step(has, usable, since.map(after), after(now));
            assert_eq!((next.ready, turned), (ready, turn), "at {now} ms");
            readiness = next;
        }
        let (waiting, _) = Readiness {
            known: true,
            ..Readiness::default()
        }
        .step(true, true, Some(after(0)), after(0));
        assert_eq!(waiting.wakes(), Some(after(2000)));
    }
}
