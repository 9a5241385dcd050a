//! systemd's watchdog (design O4): pinged only when the control runtime turns, the data runtime turns, and every
//! listener has answered a real `GET /v2/`.

use crate::lifecycle::{Notifier, Tasks};
use crate::server;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::runtime::Handle;

/// A listener that takes longer for `/v2/` is as good as hung.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// Starts the pings where systemd wants them.
pub(super) fn start(tasks: &Tasks, notifier: &Notifier, data: Handle, listeners: Vec<SocketAddr>) {
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

async fn all_answer(data: &Handle, listeners: &[SocketAddr]) -> bool {
    for address in listeners {
        // Asked from the data runtime: its answer proves that it turns.
        let asked = data.spawn(server::answers(*address));
        match tokio::time::timeout(ANSWERS_WITHIN, asked).await {
            Ok(Ok(true)) => {}
            _ => return false,
        }
    }
    true
}
