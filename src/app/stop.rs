//! The end of a run (design O3, O4): readiness off, accepting goes on while answers end, then nobody accepts for a
//! moment, the listeners go to systemd for the next process, and it is over.

use super::{Running, keep};
use crate::lifecycle::{Drained, Signals, deadline};
use crate::printable::counted;
use crate::telemetry::{EventName, StateChange};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// The last part of the drain, in which nobody accepts: answers that have just begun get so long to leave. With the
/// next process' start this is what a client waits for at a restart, so that it is short.
const LAST_ANSWERS: Duration = Duration::from_millis(150);

/// And so long after the rest was cut.
const LAST_OPEN: Duration = Duration::from_millis(50);

/// So long the collector may take for the spans of the last requests. The next process may be waiting for this one's end.
const LAST_SPANS: Duration = Duration::from_millis(300);

/// A request that was read and has no answer yet is waited for even longer: cut it would have failed, and bodies are
/// resumed. Whoever comes meanwhile waits too, so that this and a start stay below the 2 s of design 10.
const UNANSWERED: Duration = Duration::from_millis(850);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Somebody asked for it; perhaps for a restart, which nobody has said.
    Asked,
    Failed,
}

/// How the time of a drain is shared: when accepting ends, and when everything does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DrainTimes {
    accepting: Duration,
    all: Duration,
}

// === impl DrainTimes ===

impl DrainTimes {
    fn new(drain: Duration) -> Self {
        let all = drain.max(LAST_ANSWERS);
        Self {
            accepting: all.saturating_sub(LAST_ANSWERS),
            all,
        }
    }
}

// === impl Running ===

impl Running {
    /// Ends it. A second signal ends it at once.
    pub(super) async fn stop(&mut self, why: Why, signals: &mut Signals) {
        self.notifier.stopping();
        let limit = self.config.timeouts.drain;
        self.reloader.journal.event(StateChange {
            event: EventName::Drain,
            tier: None,
            endpoint: None,
            reason: "stopping".to_owned(),
            message: format!("stopping: answers under way have {} s", limit.as_secs_f32()),
        });
        let times = DrainTimes::new(limit);
        let began = Instant::now();
        self.drain.begin(times.all);
        let in_time = tokio::select! {
            // Cancel safe: it only waits.
            _ = self.drain.drained() => true,
            // Cancel safe: it only waits.
            () = sleep_until(deadline(began, times.accepting)) => true,
            // Cancel safe: a signal is taken or stays.
            _ = signals.next() => false,
        };
        // Before the listeners close: a slow disk is nothing that clients should wait for.
        keep(self.entry.store_mappings());
        keep(self.entry.relay().store_learned(&self.sizes));
        self.drain.close();
        let in_time = in_time && self.last_answers(signals).await;
        if !in_time {
            tracing::info!("a second signal: stopping at once");
        } else if why == Why::Asked {
            self.hand_over_listeners();
        }
        if let Some(traces) = self.traces.as_ref().filter(|_| in_time) {
            traces.flush(LAST_SPANS).await;
        }
        self.tasks.stop();
    }

    /// Waits for the answers that are still leaving; `false`: a signal came.
    async fn last_answers(&mut self, signals: &mut Signals) -> bool {
        let leaving = async {
            let cut = tokio::select! {
                biased;
                // Cancel safe: it only waits.
                () = self.drain.idle() => return 0,
                // Cancel safe: it only waits. Where no answer is under way an open connection may still ask.
                Drained::LimitPassed { left } = self.drain.drained() => left,
                // Cancel safe: it only waits.
                () = sleep(LAST_ANSWERS) => self.drain.held(),
            };
            // Errors of both are the time that has passed.
            let _ = timeout(UNANSWERED, self.drain.answered()).await;
            let _ = timeout(LAST_OPEN, self.drain.idle()).await;
            cut
        };
        let cut = tokio::select! {
            // Cancel safe: it only waits.
            cut = leaving => cut,
            // Cancel safe: a signal is taken or stays.
            _ = signals.next() => return false,
        };
        if cut > 0 {
            tracing::info!(
                "{} cut at the drain's limit; containerd resumes",
                counted(cut as u64, "answer was", "answers were")
            );
        }
        true
    }

    /// A stop for good cannot be told from a restart here. Where the unit stays down systemd lets go of them, and
    /// `handover`, which can tell, has removed them before.
    fn hand_over_listeners(&mut self) {
        if let Err(error) = self.notifier.keep_sockets(&self.listeners) {
            tracing::warn!(
                "handing the listeners to systemd: {error}; clients are refused until the next start"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answers_have_their_time_within_the_drain() {
        let ms = Duration::from_millis;
        let table = [
            (3000, 2850, 3000),
            (200, 50, 200),
            (150, 0, 150),
            (0, 0, 150),
        ];
        for (drain, accepting, all) in table {
            let times = DrainTimes {
                accepting: ms(accepting),
                all: ms(all),
            };
            assert_eq!(DrainTimes::new(ms(drain)), times, "{drain} ms");
        }
    }
}
