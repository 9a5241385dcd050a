//! systemd's watchdog (design O4): pinged only when the control runtime turns, the data runtimes turn, and every
//! listener has answered a real `GET /v2/`.

use crate::lifecycle::{Notifier, Tasks, Threads};
use crate::node;
use std::net::SocketAddr;
use std::time::Duration;

/// A listener that takes longer for `/v2/` is as good as hung.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// Starts the pings where systemd wants them.
pub(super) fn start(tasks: &Tasks, notifier: &Notifier, data: Threads, listeners: Vec<SocketAddr>) {
    let Some(interval) = notifier.watchdog_interval() else {
        return;
    };
    let notifier = notifier.clone();
    tasks.spawn("watchdog", async move {
        let mut ticks = tokio::time::interval(interval);
        loop {
            ticks.tick().await;
            if all_answer(&data, &listeners).await {
                notifier.alive();
            } else {
                tracing::error!(
                    "the registry endpoint does not answer /v2/; systemd will restart the agent"
                );
            }
        }
    });
}

async fn all_answer(data: &Threads, listeners: &[SocketAddr]) -> bool {
    for address in listeners {
        // Asked from each of the data runtimes: its answer proves that it turns.
        for runtime in data.runtimes() {
            let asked = runtime.spawn(node::answers(*address));
            match tokio::time::timeout(ANSWERS_WITHIN, asked).await {
                Ok(Ok(true)) => {}
                _ => return false,
            }
        }
    }
    true
}
