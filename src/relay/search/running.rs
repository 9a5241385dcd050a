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

/// The work of each attempt, and liveness connects, which run on when that work is given up.
pub(super) struct Running<C, G>(Vec<(Kind, AttemptId, Work<C, G>)>);

#[derive(PartialEq, Eq)]
pub(super) enum Kind {
    Attempt,
    /// Whether anybody is there, beside the attempt's own work.
    Liveness,
}

type Work<C, G> = Pin<Box<dyn Future<Output = Event<C, G>> + Send>>;

// === impl Running ===

impl<C: 'static, G: 'static> Running<C, G> {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn push(
        &mut self,
        kind: Kind,
        attempt: AttemptId,
        work: impl Future<Output = Event<C, G>> + Send + 'static,
    ) {
        let work = contained("attempt", work).map(|event| {
            event.unwrap_or_else(|panicked| Event::Examined {
                result: Err(broken_here(panicked.to_string())),
                took: None,
            })
        });
        self.0.push((kind, attempt, Box::pin(work)));
    }

    /// Takes an attempt's work out, to be given up or to go on without the search.
    pub(super) fn take(&mut self, attempt: AttemptId) -> Option<Work<C, G>> {
        let mut all = self.0.iter();
        let at = all.position(|(kind, of, _)| *kind == Kind::Attempt && *of == attempt)?;
        Some(self.0.remove(at).2)
    }

    /// What happened next; waits for ever where nothing runs. Cancel safe: what is not ready stays.
    pub(super) async fn next(&mut self) -> (AttemptId, Event<C, G>) {
        poll_fn(|context| {
            for at in 0..self.0.len() {
                if let Some((_, attempt, work)) = self.0.get_mut(at)
                    && let Poll::Ready(event) = work.as_mut().poll(context)
                {
                    let attempt = *attempt;
                    drop(self.0.remove(at));
                    return Poll::Ready((attempt, event));
                }
            }
            Poll::Pending
        })
        .await
    }
}
