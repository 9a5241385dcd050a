//! The work of a search that is under way: connects, exchanges, liveness connects. They are a few at most, so that each turn looks at all
//! of them; that costs less than knowing who was woken. A panic in one of them is that attempt's failure and nobody else's.

use super::Event;
use super::reports::broken_here;
use crate::lifecycle::contained;
use crate::relay::timing::AttemptId;
use futures_util::FutureExt as _;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// What runs.
pub(super) struct Running<C, G>(Vec<Work<C, G>>);

struct Work<C, G> {
    attempt: AttemptId,
    is_liveness: bool,
    future: Boxed<C, G>,
}

type Boxed<C, G> = Pin<Box<dyn Future<Output = Event<C, G>> + Send>>;

fn own_failure<C: 'static, G: 'static>(
    future: impl Future<Output = Event<C, G>> + Send + 'static,
) -> Boxed<C, G> {
    Box::pin(contained("attempt", future).map(|event| {
        event.unwrap_or_else(|panicked| Event::Examined {
            result: Err(broken_here(panicked.to_string())),
            took: None,
        })
    }))
}

// === impl Running ===

impl<C: 'static, G: 'static> Running<C, G> {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    /// Starts the work of an attempt.
    pub(super) fn push(
        &mut self,
        attempt: AttemptId,
        future: impl Future<Output = Event<C, G>> + Send + 'static,
    ) {
        self.0.push(Work {
            attempt,
            is_liveness: false,
            future: own_failure(future),
        });
    }

    /// Looks beside that whether anybody is there; it runs on when the attempt's own work is given up.
    pub(super) fn push_liveness(
        &mut self,
        attempt: AttemptId,
        future: impl Future<Output = Event<C, G>> + Send + 'static,
    ) {
        self.0.push(Work {
            attempt,
            is_liveness: true,
            future: own_failure(future),
        });
    }

    /// Gives an attempt's work up.
    pub(super) fn abort(&mut self, attempt: AttemptId) {
        self.0
            .retain(|work| work.is_liveness || work.attempt != attempt);
    }

    /// Gives up what is not the work of one of these attempts.
    pub(super) fn keep(&mut self, attempts: impl Fn(AttemptId) -> bool) {
        self.0
            .retain(|work| !work.is_liveness && attempts(work.attempt));
    }

    /// What happened next; waits for ever where nothing runs. Cancel safe: what is not ready stays.
    pub(super) async fn next(&mut self) -> (AttemptId, Event<C, G>) {
        poll_fn(|context| {
            for at in 0..self.0.len() {
                if let Some(work) = self.0.get_mut(at)
                    && let Poll::Ready(event) = work.future.as_mut().poll(context)
                {
                    let attempt = self.0.remove(at).attempt;
                    return Poll::Ready((attempt, event));
                }
            }
            Poll::Pending
        })
        .await
    }
}
