//! Points in time that no wait pushes over the edge of the clock: `Instant + Duration` panics there.

use std::time::Duration;
use tokio::time::Instant;

/// Longer than anything here waits.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// So long after `from`, a century at most.
#[must_use]
pub fn deadline(from: Instant, wait: Duration) -> Instant {
    from.checked_add(wait.min(CENTURY)).unwrap_or(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wait_ends_at_some_time() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        assert_eq!(deadline(now, second), now + second);
        for wait in [
            Duration::MAX,
            Duration::from_secs(u64::MAX),
            Duration::from_secs(1 << 63),
        ] {
            assert_eq!(deadline(now, wait), now + CENTURY, "{wait:?}");
            let twice = deadline(deadline(now, wait), wait);
            assert!(twice > now + CENTURY, "{wait:?}");
        }
    }
}
