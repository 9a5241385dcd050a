//! The task that frees what has expired.

use crate::relay::Relay;
use std::time::Duration;

/// What has expired is dropped this often.
const SWEEP: Duration = Duration::from_secs(5);

/// What has expired is freed by time, and not by the next request.
pub(super) async fn run(relay: Relay) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        let now = ticks.tick().await;
        relay.sweep(now);
    }
}
