//! Asks Harbor for all who want to know: one question at a time, and its answer stands for a while.

use super::harbor::Harbor;
use super::metrics::Metrics;
use super::settings::Settings;
use super::verdict::Verdict;
use crate::lifecycle::deadline;
use crate::telemetry::{EventName, Journal, StateChange};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

/// What a question may last beyond its own limit: the processor may be busy.
const LEEWAY: Duration = Duration::from_millis(500);

/// Asks Harbor for its health, once for all who wait. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    known: watch::Receiver<Option<Known>>,
    wanted: Arc<Notify>,
    cache: Duration,
    limit: Duration,
}

/// An answer and when it came.
#[derive(Clone, Debug)]
struct Known {
    at: Instant,
    verdict: Arc<Verdict>,
}

impl Known {
    /// Whether it answers a request that came at `asked`.
    fn serves(&self, asked: Instant, cache: Duration) -> bool {
        self.at >= asked || asked.duration_since(self.at) < cache
    }
}

impl Asker {
    /// With the task that asks. It asks once at its start, so that the journal says at once how Harbor is.
    pub(super) fn new(
        harbor: Harbor,
        settings: &Settings,
        metrics: Arc<Metrics>,
        journal: Journal,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (answers, known) = watch::channel(None);
        let wanted = Arc::new(Notify::new());
        wanted.notify_one();
        let asker = Self {
            known,
            wanted: wanted.clone(),
            cache: settings.cache,
            limit: settings.timeout,
        };
        let (url, cache) = (settings.harbor.url.to_string(), settings.cache);
        let task = async move {
            let mut harbor = harbor;
            let mut was_healthy = None;
            loop {
                wanted.notified().await;
                let asked = Instant::now();
                let is_fresh = |known: &Option<Known>| {
                    known
                        .as_ref()
                        .is_some_and(|known| known.serves(asked, cache))
                };
                // Whoever waited for the answer that has just come may have asked once more.
                if is_fresh(&answers.borrow()) {
                    continue;
                }
                let verdict = harbor.ask().await;
                metrics.asked(&verdict);
                if was_healthy.replace(verdict.is_healthy()) != Some(verdict.is_healthy()) {
                    journal.event(changed(&url, &verdict));
                }
                let at = Instant::now();
                let verdict = Arc::new(verdict);
                answers.send_replace(Some(Known { at, verdict }));
            }
        };
        (asker, task)
    }

    /// How Harbor is: known, or asked now. An answer that is older than `cache` when the request comes is never used.
    pub(super) async fn verdict(&self) -> Arc<Verdict> {
        let asked = Instant::now();
        let mut known = self.known.clone();
        let fresh = async {
            loop {
                // Before the look, so that no answer in between is missed.
                let seen = known.borrow_and_update().clone();
                if let Some(seen) = seen.filter(|seen| seen.serves(asked, self.cache)) {
                    return Some(seen.verdict);
                }
                self.wanted.notify_one();
                known.changed().await.ok()?;
            }
        };
        // A question under way may have begun just before this request: it ends, and one more may be wanted.
        let until = deadline(asked, self.limit.saturating_add(LEEWAY));
        let silent = || {
            Arc::new(Verdict::unhealthy(
                "the question to Harbor did not end in time",
            ))
        };
        match timeout_at(until, fresh).await {
            Ok(Some(verdict)) => verdict,
            Ok(None) | Err(_) => silent(),
        }
    }
}

fn changed(url: &str, verdict: &Verdict) -> StateChange {
    let (reason, message) = match verdict.is_healthy() {
        true => (
            "healthy".to_owned(),
            format!("Harbor at {url} is healthy: answering 200"),
        ),
        false => (
            verdict.reason.clone(),
            format!(
                "Harbor at {url} is unhealthy, answering 503: {}",
                verdict.reason
            ),
        ),
    };
    StateChange {
        event: EventName::HealthChanged,
        tier: None,
        endpoint: Some(url.to_owned()),
        reason,
        message,
    }
}
