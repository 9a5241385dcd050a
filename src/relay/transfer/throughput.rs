//! Whether a source is too slow (design P6): bytes per second of the time in which bytes were wanted, against a low-speed limit
//! and against what other addresses gave. Time in which containerd does not read is nobody's waiting and does not count. Pure.

use crate::relay::rates::Rate;
use std::time::Duration;

/// Others may be so many times as quick before a source is left for one of them.
const FAR_BELOW: u64 = 20;

/// That part of the limit's time is enough to see it.
const BESIDE_OTHERS: f64 = 0.2;

/// That part of it is enough for who goes on where another was below the limit: a pull has time to wait for one slow source, not
/// for three in a row. A body that is taken away too early is only fetched elsewhere, and not before that has answered.
const SOONER: f64 = 0.125;

/// What is too slow, whatever others give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LowSpeedLimit {
    /// Below this many bytes per second; 0: nothing is too slow.
    pub(crate) bytes_per_second: u64,
    /// Judged over this much waiting.
    pub(crate) over: Duration,
}

/// Why a source is left as soon as another has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooSlow {
    /// It gives less than the limit, in bytes per second.
    Limit(u64),
    /// It gives less than a twentieth of this, in bytes per second: the median of what other addresses gave.
    Others(u64),
}

/// One body's judgement of its sources.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Throughput {
    /// Since it was last held against the limit.
    by_limit: Rate,
    /// Since it was last held against the others and told to them, of bytes that were waited for.
    untold: Rate,
    /// One was below the limit: the next is judged sooner.
    was_below: bool,
    /// One was compared with the others and left for them, or nobody else was found: once per body is enough.
    compared: bool,
}

// === impl Throughput ===

impl Throughput {
    /// Bytes came after so much waiting. `others`: is told what the source gave when enough time was waited, and tells the median of
    /// what other addresses gave, if it is known.
    pub(crate) fn judge(
        &mut self,
        limit: LowSpeedLimit,
        waited: Duration,
        bytes: u64,
        others: impl FnOnce(Rate) -> Option<u64>,
    ) -> Option<TooSlow> {
        let (least, over) = (limit.bytes_per_second, limit.over);
        if least == 0 {
            return None;
        }
        self.by_limit.add(waited, bytes);
        if !waited.is_zero() {
            self.untold.add(waited, bytes);
        }
        let part = if self.was_below { SOONER } else { 1.0 };
        if self.by_limit.waited >= over.mul_f64(part)
            && std::mem::take(&mut self.by_limit).is_below(least)
        {
            self.was_below = true;
            return Some(TooSlow::Limit(least));
        }
        if self.untold.waited < over.mul_f64(BESIDE_OTHERS) {
            return None;
        }
        let rate = self.take_untold();
        let median = others(rate).filter(|median| rate.is_below(median / FAR_BELOW))?;
        let was_compared = std::mem::replace(&mut self.compared, true);
        (!was_compared).then_some(TooSlow::Others(median))
    }

    /// What the source gave since the others were told last.
    pub(crate) fn take_untold(&mut self) -> Rate {
        std::mem::take(&mut self.untold)
    }

    /// Others are below it at the same tier: this is judged as one who goes on after such a one.
    pub(crate) fn judge_sooner(&mut self) {
        self.was_below = true;
    }

    /// Another source, or another chance: what came until now does not count.
    pub(crate) fn begin_anew(&mut self) {
        (self.by_limit, self.untold) = (Rate::default(), Rate::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: LowSpeedLimit = LowSpeedLimit {
        bytes_per_second: 16 * 1024,
        over: Duration::from_secs(10),
    };
    const SECOND: Duration = Duration::from_secs(1);
    const MIB: u64 = 1024 * 1024;

    fn alone(_: Rate) -> Option<u64> {
        None
    }

    #[test]
    fn low_speed_is_seen_after_ten_seconds_of_waiting() {
        let mut throughput = Throughput::default();
        for _ in 0..9 {
            assert_eq!(throughput.judge(LIMIT, SECOND, 1000, alone), None);
        }
        let too_slow = Some(TooSlow::Limit(16 * 1024));
        assert_eq!(throughput.judge(LIMIT, SECOND, 1000, alone), too_slow);
    }

    /// Three in a row at 1 kB/s, each with its first bytes at once: 10 s and twice 1.25 s.
    #[test]
    fn the_next_low_speed_is_seen_sooner() {
        let mut throughput = Throughput::default();
        let too_slow = Some(TooSlow::Limit(16 * 1024));
        assert_eq!(
            throughput.judge(LIMIT, 10 * SECOND, 10_000, alone),
            too_slow
        );
        throughput.begin_anew();
        let millis = Duration::from_millis;
        assert_eq!(throughput.judge(LIMIT, Duration::ZERO, 1000, alone), None);
        assert_eq!(throughput.judge(LIMIT, millis(999), 1000, alone), None);
        assert_eq!(throughput.judge(LIMIT, millis(999), 1000, alone), too_slow);
        throughput.begin_anew();
        assert_eq!(throughput.judge(LIMIT, 2 * SECOND, 32 * 1024, alone), None);
    }

    #[test]
    fn a_slow_source_above_the_limit_is_left_alone() {
        let mut throughput = Throughput::default();
        for _ in 0..100 {
            assert_eq!(throughput.judge(LIMIT, SECOND, 16 * 1024, alone), None);
        }
    }

    #[test]
    fn time_without_waiting_does_not_count() {
        let mut throughput = Throughput::default();
        for _ in 0..10_000 {
            let others = |_| Some(100 * MIB);
            assert_eq!(throughput.judge(LIMIT, Duration::ZERO, 1, others), None);
        }
    }

    #[test]
    fn a_limit_of_nothing_finds_nothing() {
        let limit = LowSpeedLimit {
            bytes_per_second: 0,
            ..LIMIT
        };
        let others = |_| Some(100 * MIB);
        let judged = Throughput::default().judge(limit, 60 * SECOND, 0, others);
        assert_eq!(judged, None);
    }

    /// Bytes per second of the source for 2 s, and of the others.
    #[test]
    fn below_a_twentieth_of_what_others_gave_is_too_slow() {
        let table = [
            (20_000, Some(100 * MIB), true),
            (5 * MIB, Some(101 * MIB), true),
            (5 * MIB, Some(100 * MIB), false),
            (20_000, Some(400_020), true),
            (20_000, Some(400_000), false),
            (20_000, Some(0), false),
            (20_000, None, false),
            (0, Some(u64::MAX), true),
            (u64::MAX, Some(u64::MAX), false),
        ];
        for (rate, median, due) in table {
            let mut throughput = Throughput::default();
            let early = throughput.judge(LIMIT, SECOND, rate, |_| median);
            assert_eq!(early, None, "{rate} of {median:?}");
            let judged = throughput.judge(LIMIT, SECOND, rate, |_| median);
            let due = due.then(|| TooSlow::Others(median.unwrap()));
            assert_eq!(judged, due, "{rate} of {median:?}");
        }
    }

    #[test]
    fn a_body_is_taken_from_a_source_for_the_others_sake_once() {
        let mut throughput = Throughput::default();
        let others = |_| Some(100 * MIB);
        let judged = throughput.judge(LIMIT, 2 * SECOND, 40_000, others);
        assert_eq!(judged, Some(TooSlow::Others(100 * MIB)));
        throughput.begin_anew();
        for _ in 0..4 {
            assert_eq!(throughput.judge(LIMIT, 2 * SECOND, 40_000, others), None);
        }
        // The limit holds all the same.
        let too_slow = Some(TooSlow::Limit(16 * 1024));
        assert_eq!(throughput.judge(LIMIT, 10 * SECOND, 0, others), too_slow);
    }

    #[test]
    fn no_number_is_too_large() {
        let mut throughput = Throughput::default();
        for _ in 0..3 {
            let judged = throughput.judge(LIMIT, Duration::MAX, u64::MAX, |_| Some(u64::MAX));
            assert_eq!(judged, Some(TooSlow::Limit(16 * 1024)));
        }
    }
}
