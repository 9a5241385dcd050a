//! Limits of bandwidth, with times of day.

use std::num::NonZeroU64;
use std::sync::Arc;

/// Minutes of a day.
pub const DAY: u16 = 24 * 60;

/// A limit of bandwidth: the periods of a day with their limits, of which the first that fits counts. None: without a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bandwidth(pub Arc<[BandwidthPeriod]>);

/// A part of the day with its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BandwidthPeriod {
    /// From this minute of the day to before that one, past midnight where the second is not behind the first; `None`: all day.
    pub window: Option<(u16, u16)>,
    /// Bytes per second; `None`: without a limit.
    pub rate: Option<NonZeroU64>,
}

impl Bandwidth {
    /// Bytes per second at that minute of the day; `None`: without a limit, as outside of all periods.
    #[must_use]
    pub fn rate_at(&self, minute: u16) -> Option<NonZeroU64> {
        let mut periods = self.0.iter();
        periods.find(|period| period.holds(minute))?.rate
    }

    /// Whether there is no limit at any time.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.iter().all(|period| period.rate.is_none())
    }
}

impl BandwidthPeriod {
    fn holds(&self, minute: u16) -> bool {
        match self.window {
            None => true,
            Some((from, to)) if from < to => (from..to).contains(&minute),
            Some((from, to)) => minute >= from || minute < to,
        }
    }
}
