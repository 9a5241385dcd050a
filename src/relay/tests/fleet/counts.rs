//! What happened in which second.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use tokio::time::Instant;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A request was sent (at an address), or came from containerd (at the fleet).
    Request,
    /// A connection was begun.
    Dial,
    Probe,
    /// Answered 503 (at an address), or not answered well (at the fleet).
    Refused,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Second {
    counts: [u32; 4],
    busiest: u32,
}

/// Counts by second since the start.
#[derive(Debug)]
pub(super) struct Counts {
    began: Instant,
    seconds: Mutex<Vec<Second>>,
}

// === impl Counts ===

impl Counts {
    pub(super) fn new(began: Instant) -> Self {
        Self {
            began,
            seconds: Mutex::default(),
        }
    }

    pub(super) fn add(&self, what: What) {
        self.now(|second| second.counts[what as usize] += 1);
    }

    /// So many requests are worked on at once.
    pub(super) fn reaches(&self, busy: u32) {
        self.now(|second| second.busiest = second.busiest.max(busy));
    }

    /// The running second.
    pub(super) fn second(&self) -> u64 {
        self.began.elapsed().as_secs()
    }

    fn now(&self, change: impl FnOnce(&mut Second)) {
        let at = usize::try_from(self.second()).expect("hours fit");
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        if seconds.len() <= at {
            seconds.resize(at + 1, Second::default());
        }
        change(&mut seconds[at]);
    }

    /// The counts of each second.
    fn of(&self, what: What, seconds: &Range<usize>) -> Vec<u32> {
        let all = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let second = |at: usize| all.get(at).map_or(0, |second| second.counts[what as usize]);
        seconds.clone().map(second).collect()
    }

    pub(super) fn sum(&self, what: What, seconds: &Range<usize>) -> u64 {
        self.of(what, seconds).into_iter().map(u64::from).sum()
    }

    /// Per second.
    pub(super) fn mean(&self, what: What, seconds: &Range<usize>) -> f64 {
        let span = u32::try_from(seconds.len().max(1)).expect("hours fit");
        let sum = u32::try_from(self.sum(what, seconds)).expect("a run's count fits");
        f64::from(sum) / f64::from(span)
    }

    /// The most within one second.
    pub(super) fn peak(&self, what: What, seconds: &Range<usize>) -> u32 {
        self.of(what, seconds).into_iter().max().unwrap_or(0)
    }

    /// The most requests that were worked on at once.
    pub(super) fn busiest(&self, seconds: &Range<usize>) -> u32 {
        let all = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let all = seconds.clone().filter_map(|at| all.get(at));
        all.map(|second| second.busiest).max().unwrap_or(0)
    }

    /// Everything, as one number: equal runs have equal ones.
    pub(super) fn fingerprint(&self) -> u64 {
        let all = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let numbers = all
            .iter()
            .flat_map(|second| second.counts.into_iter().chain([second.busiest]));
        numbers.fold(0xcbf2_9ce4_8422_2325, |hash, number| {
            (hash ^ u64::from(number)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }
}

/// The most within ten seconds in a row, per second, of several together.
pub(super) fn most_of_ten(counts: &[&Counts], what: What, seconds: &Range<usize>) -> f64 {
    let each: Vec<_> = counts
        .iter()
        .map(|counts| counts.of(what, seconds))
        .collect();
    let sum = |at: usize| each.iter().map(|counts| counts[at]).sum::<u32>();
    let sums: Vec<u32> = (0..seconds.len()).map(sum).collect();
    let tens = sums.windows(10).map(|ten| ten.iter().sum::<u32>());
    f64::from(tens.max().unwrap_or(0)) / 10.0
}
