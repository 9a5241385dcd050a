//! The task that frees what has expired, has the allocator give back what was freed, and the kernel what the start alone ran. It also looks at the counters of
//! bytes, for their history.

use crate::budget::{self, Budget};
use crate::metrics::Metrics;
use crate::relay::Relay;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

/// What has expired is dropped this often.
const SWEEP: Duration = Duration::from_secs(5);

/// So much less must be held before the allocator is asked, in bytes.
const FALLEN: usize = 4 << 20;

/// Between two times at which it is asked.
const PAUSE: Duration = Duration::from_secs(10);

/// By then the start is over.
const STARTED: Duration = Duration::from_millis(500);

/// What has expired is freed by time, and not by the next request.
pub(super) async fn run(relay: Relay, metrics: Arc<Metrics>, budget: Budget) {
    tokio::time::sleep(STARTED).await;
    let _ = spawn_blocking(budget::release_code).await;
    let mut ticks = tokio::time::interval(SWEEP);
    let mut asked: Option<Instant> = None;
    loop {
        let now = ticks.tick().await;
        relay.sweep(now);
        metrics.look_at_bytes(now);
        let may_ask = asked.is_none_or(|at| now.saturating_duration_since(at) >= PAUSE);
        if may_ask && budget.has_fallen(FALLEN) {
            asked = Some(now);
            // On a thread of its own: it takes some milliseconds. It cannot fail but by a panic, which is logged.
            let _ = spawn_blocking(budget::release_freed).await;
        }
    }
}
