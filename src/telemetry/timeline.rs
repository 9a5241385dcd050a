//! What happened over the last quarter of an hour and the last day, in slots of equal length: a bounded ring of each.

use std::time::Duration;

/// Slots of the last quarter of an hour: 15 s each.
const SHORT: (Duration, usize) = (Duration::from_secs(15), 60);

/// Of the last day: 15 minutes each.
const LONG: (Duration, usize) = (Duration::from_secs(15 * 60), 96);

/// The short and the long timeline of the same values.
#[derive(Clone, Debug)]
pub(crate) struct Timelines<T> {
    pub(crate) short: Timeline<T>,
    pub(crate) long: Timeline<T>,
}

/// Slots of equal length; the newest is still running.
#[derive(Clone, Debug)]
pub(crate) struct Timeline<T> {
    slot: Duration,
    /// Slots that stand in the ring.
    len: u64,
    /// The slot of number `n` stands at `n % len`; whatever else stands there is over.
    ring: Vec<(u64, T)>,
}

// === impl Timelines ===

impl<T: Default + Clone> Timelines<T> {
    /// Changes what is running at a time since the beginning.
    pub(crate) fn change(&mut self, at: Duration, change: impl Fn(&mut T)) {
        for timeline in [&mut self.short, &mut self.long] {
            if let Some(slot) = timeline.running(at) {
                change(slot);
            }
        }
    }
}

impl<T> Default for Timelines<T> {
    fn default() -> Self {
        let new = |(slot, len): (Duration, usize)| Timeline {
            slot,
            len: len as u64,
            ring: Vec::new(),
        };
        Self {
            short: new(SHORT),
            long: new(LONG),
        }
    }
}

// === impl Timeline ===

impl<T> Timeline<T> {
    /// How long a slot is.
    pub(crate) fn slot(&self) -> Duration {
        self.slot
    }

    fn number(&self, at: Duration) -> u64 {
        let number = at.as_secs().checked_div(self.slot.as_secs());
        number.unwrap_or_default()
    }

    /// Every slot up to the running one, the oldest first; `None`: nothing happened in it.
    pub(crate) fn slots(&self, at: Duration) -> Vec<Option<&T>> {
        let newest = self.number(at);
        let numbers = (0..self.len).rev().map(|back| newest.checked_sub(back));
        let find = |number: u64| {
            let found = self.ring.iter().find(|(have, _)| *have == number);
            found.map(|(_, slot)| slot)
        };
        numbers.map(|number| number.and_then(find)).collect()
    }
}

impl<T: Default + Clone> Timeline<T> {
    fn running(&mut self, at: Duration) -> Option<&mut T> {
        let number = self.number(at);
        if self.ring.is_empty() {
            let len = usize::try_from(self.len).unwrap_or_default();
            self.ring = vec![(u64::MAX, T::default()); len];
        }
        let place = usize::try_from(number.checked_rem(self.len)?).ok()?;
        let (have, slot) = self.ring.get_mut(place)?;
        if *have != number {
            (*have, *slot) = (number, T::default());
        }
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_makes_way() {
        let mut times: Timelines<u64> = Timelines::default();
        let at = Duration::from_secs;
        times.change(at(0), |count| *count += 1);
        times.change(at(14), |count| *count += 1);
        times.change(at(15), |count| *count += 5);
        let short = times.short.slots(at(29));
        assert_eq!(
            (short.len(), short[58], short[59]),
            (60, Some(&2), Some(&5))
        );
        assert!(short[..58].iter().all(Option::is_none));
        let long = times.long.slots(at(29));
        assert_eq!((long.len(), long[95]), (96, Some(&7)));
        // The place of the first slot is another's.
        times.change(at(15 * 60), |count| *count += 9);
        let short = times.short.slots(at(15 * 60));
        assert_eq!((short[0], short[59]), (Some(&5), Some(&9)));
        assert_eq!(times.long.slots(at(15 * 60))[94..], [Some(&7), Some(&9)]);
        assert!(times.short.slots(at(3600)).iter().all(Option::is_none));
    }
}
