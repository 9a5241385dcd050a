//! A limit of bytes per second over all that is fetched.

use crate::lifecycle::deadline;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Bytes per second, shared by all.
#[derive(Debug)]
pub(super) struct Limit {
    /// Bytes per second; `None`: no limit.
    rate: Option<u64>,
    /// When the bytes that were taken so far are paid for.
    free: Mutex<Instant>,
}

// === impl Limit ===

impl Limit {
    pub(super) fn new(rate: Option<u64>, now: Instant) -> Self {
        Self {
            rate: rate.filter(|rate| *rate > 0),
            free: Mutex::new(now),
        }
    }

    /// Waits until so many bytes more are within the limit.
    pub(super) async fn take(&self, bytes: usize) {
        let Some(rate) = self.rate else { return };
        let wait = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let until = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            *free = deadline((*free).max(Instant::now()), wait);
            *free
        };
        sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_together_stay_within_the_rate() {
        let began = Instant::now();
        let limit = Limit::new(Some(1000), began);
        for _ in 0..5 {
            tokio::join!(limit.take(500), limit.take(500));
        }
        let took = began.elapsed();
        assert!((4990..=5010).contains(&took.as_millis()), "{took:?}");
        Limit::new(None, began).take(usize::MAX).await;
        assert_eq!(began.elapsed(), took);
    }
}
