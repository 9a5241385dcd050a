//! Successes and failures of the last minute, in buckets of ten seconds.

use std::time::Duration;
use tokio::time::Instant;

/// The number of buckets in the window.
const BUCKETS: usize = 6;

/// A bucket's span: with [`BUCKETS`] of them the window is 60 s.
const SPAN: Duration = Duration::from_secs(10);

/// Fewer samples say nothing (design H3).
const ENOUGH: u32 = 20;

/// Counts of the last minute. The instant of a bucket is its beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    buckets: [Option<Bucket>; BUCKETS],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    began: Instant,
    successes: u32,
    failures: u32,
}

impl Window {
    /// Counts `weight` samples in.
    pub(super) fn add(&mut self, success: bool, weight: u32, now: Instant) {
        let fits = |bucket: &Option<Bucket>| {
            bucket.is_some_and(|b| now.saturating_duration_since(b.began) < SPAN)
        };
        if !self.buckets.first().is_some_and(fits) {
            self.buckets.rotate_right(1);
            if let Some(first) = self.buckets.first_mut() {
                *first = Some(Bucket {
                    began: now,
                    successes: 0,
                    failures: 0,
                });
            }
        }
        if let Some(Some(bucket)) = self.buckets.first_mut() {
            let count = match success {
                true => &mut bucket.successes,
                false => &mut bucket.failures,
            };
            *count = count.saturating_add(weight);
        }
    }

    /// Successes and samples, if fewer than half of enough samples were successes.
    pub(super) fn too_low(&self, now: Instant) -> Option<(u32, u32)> {
        let span = SPAN.saturating_mul(u32::try_from(BUCKETS).unwrap_or(u32::MAX));
        let recent = self.buckets.iter().flatten();
        let recent = recent.filter(|b| now.saturating_duration_since(b.began) < span);
        let (successes, samples) = recent.fold((0_u32, 0_u32), |(good, all), bucket| {
            let samples = bucket.successes.saturating_add(bucket.failures);
            (
                good.saturating_add(bucket.successes),
                all.saturating_add(samples),
            )
        });
        (samples >= ENOUGH && successes < samples.div_ceil(2)).then_some((successes, samples))
    }
}
