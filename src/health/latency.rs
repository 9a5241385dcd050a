//! The moving average of an endpoint's first byte. Pure.

use std::time::Duration;

/// An average, and what of it readers have been shown: small changes are not worth a publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Latency {
    average: Option<Duration>,
    shown: Option<Duration>,
}

impl Latency {
    pub(super) fn shown(self) -> Option<Duration> {
        self.shown
    }

    /// Takes a sample in, with a weight of a fifth; shown anew when more than a quarter away from what is shown.
    pub(super) fn add(&mut self, sample: Duration) {
        let average = match self.average {
            Some(old) => old.mul_f64(0.8).saturating_add(sample.mul_f64(0.2)),
            None => sample,
        };
        self.average = Some(average);
        let near = self
            .shown
            .is_some_and(|shown| average.abs_diff(shown) <= shown.mul_f64(0.25));
        if !near {
            self.shown = Some(average);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_changed_average_is_shown() {
        let mut latency = Latency::default();
        assert_eq!(latency.shown(), None);
        let mut after = |millis| {
            latency.add(Duration::from_millis(millis));
            latency.shown().unwrap().as_millis()
        };
        assert_eq!(after(100), 100);
        assert_eq!(after(120), 100);
        assert_eq!(after(80), 100);
        let shown: Vec<_> = (0..6).map(|_| after(400)).collect();
        assert!(shown[0] > 125 && shown[5] > 250, "{shown:?}");
    }
}
