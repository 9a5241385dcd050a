//! Whether a source drips (design P6): bytes per second of the time in which bytes were wanted. Time in which
//! containerd does not read is nobody's waiting and does not count. Pure.

use std::time::Duration;

/// What is too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Floor {
    /// Below this many bytes per second; 0: nothing is too slow.
    pub(crate) bytes_per_second: u64,
    /// Judged over this much waiting.
    pub(crate) over: Duration,
}

// === impl Floor ===

impl Floor {
    /// For who goes on where another has dripped: a pull has time to wait for one drip, not for three in a row. A body that is
    /// taken away too early is only fetched elsewhere, and not before that has answered.
    pub(crate) fn sooner(self) -> Self {
        Self {
            over: self.over.mul_f64(0.125),
            ..self
        }
    }
}

/// One source's pace since the last judgement.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// Bytes came after so much waiting. True: the source drips, and the count begins anew.
    pub(crate) fn drips(&mut self, floor: Floor, waited: Duration, bytes: u64) -> bool {
        self.waited = self.waited.saturating_add(waited);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.waited < floor.over {
            return false;
        }
        let due = u128::from(floor.bytes_per_second).saturating_mul(self.waited.as_millis()) / 1000;
        let drips = u128::from(self.bytes) < due;
        *self = Self::default();
        drips
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: Floor = Floor {
        bytes_per_second: 16 * 1024,
        over: Duration::from_secs(10),
    };

    #[test]
    fn a_drip_is_seen_after_ten_seconds_of_waiting() {
        let mut pace = Pace::default();
        let second = Duration::from_secs(1);
        for _ in 0..9 {
            assert!(!pace.drips(FLOOR, second, 1000));
        }
        assert!(pace.drips(FLOOR, second, 1000));
    }

    /// Three in a row at 1 kB/s, each with its first bytes at once: 10 s and twice 2 s.
    #[test]
    fn the_next_drip_is_seen_sooner() {
        let mut pace = Pace::default();
        let floor = FLOOR.sooner();
        assert!(!pace.drips(floor, Duration::ZERO, 1000));
        assert!(!pace.drips(floor, Duration::from_millis(999), 1000));
        assert!(pace.drips(floor, Duration::from_millis(999), 1000));
        let mut pace = Pace::default();
        assert!(!pace.drips(floor, Duration::from_secs(2), 32 * 1024));
    }

    #[test]
    fn a_slow_line_above_the_floor_is_left_alone() {
        let mut pace = Pace::default();
        for _ in 0..100 {
            assert!(!pace.drips(FLOOR, Duration::from_secs(1), 16 * 1024));
        }
    }

    #[test]
    fn time_without_waiting_does_not_count() {
        let mut pace = Pace::default();
        for _ in 0..10_000 {
            assert!(!pace.drips(FLOOR, Duration::ZERO, 1));
        }
    }

    #[test]
    fn a_floor_of_nothing_finds_nothing() {
        let mut pace = Pace::default();
        let floor = Floor {
            bytes_per_second: 0,
            ..FLOOR
        };
        assert!(!pace.drips(floor, Duration::from_secs(60), 0));
    }
}
