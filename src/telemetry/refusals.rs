//! Refused requests beyond 100 per second, which are summed up (design O1): whoever floods the port with them does not
//! push other records out of the log.

use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// Refused requests that have a record of their own within [`PERIOD`].
pub(super) const OWN_RECORDS: u32 = 100;

/// After which [`OWN_RECORDS`] more have one, and within which a sum is written.
pub(super) const PERIOD: Duration = Duration::from_secs(1);

/// How many there were. Shared by the senders and the writer.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Of the running period.
    began: Option<Instant>,
    /// With a record of their own in it.
    own: u32,
    /// Without one, and not written yet.
    summed: u64,
}

/// What becomes of a refused request's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Own,
    /// It is a part of the sum.
    Summed {
        /// The sum was empty.
        first: bool,
    },
}

impl Refusals {
    /// One more was refused.
    pub(super) fn one_more(&self, now: Instant) -> Verdict {
        let mut counts = self.0.lock();
        let is_over = |began| now.saturating_duration_since(began) >= PERIOD;
        if counts.began.is_none_or(is_over) {
            (counts.began, counts.own) = (Some(now), 0);
        }
        if counts.own < OWN_RECORDS {
            counts.own += 1;
            return Verdict::Own;
        }
        counts.summed = counts.summed.saturating_add(1);
        Verdict::Summed {
            first: counts.summed == 1,
        }
    }

    /// Something waits to be written.
    pub(super) fn is_pending(&self) -> bool {
        self.0.lock().summed > 0
    }

    /// The sum, which begins anew.
    pub(super) fn take(&self) -> u64 {
        std::mem::take(&mut self.0.lock().summed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_per_second_have_their_own_record() {
        let refusals = Refusals::default();
        let start = Instant::now();
        for _ in 0..OWN_RECORDS {
            assert_eq!(refusals.one_more(start), Verdict::Own);
        }
        assert!(!refusals.is_pending());
        let late = start + PERIOD - Duration::from_millis(1);
        for number in 0..1000 {
            let first = number == 0;
            assert_eq!(refusals.one_more(late), Verdict::Summed { first });
        }
        assert_eq!((refusals.take(), refusals.take()), (1000, 0));
        assert_eq!(refusals.one_more(late), Verdict::Summed { first: true });
        // The next period's own ones do not wait for the sum of the last.
        for _ in 0..OWN_RECORDS {
            assert_eq!(refusals.one_more(start + PERIOD), Verdict::Own);
        }
        assert!(refusals.is_pending());
        // A clock of another thread may be behind.
        assert_eq!(refusals.one_more(start), Verdict::Summed { first: false });
        assert_eq!(refusals.take(), 2);
    }
}
