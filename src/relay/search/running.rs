//! The work of a search that is under way: connects, exchanges, liveness connects. They are a few at most, so that each turn looks at all
//! of them; that costs less than knowing who was woken. A panic in one of them is that attempt's failure and nobody else's.

use super::reports::broken_here;
use super::{Attempt, Event};
use crate::lifecycle::contained;
use crate::relay::timing::AttemptId;
use futures_util::FutureExt as _;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

pub(super) type Work<C, G> = Pin<Box<dyn Future<Output = Event<C, G>> + Send>>;

/// What an attempt does; a panic is a way to end it.
pub(super) fn work<C: 'static, G: 'static>(
    work: impl Future<Output = Event<C, G>> + Send + 'static,
) -> Option<Work<C, G>> {
    let work = contained("attempt", work).map(|event| {
        event.unwrap_or_else(|panicked| Event::Examined {
            result: Err(broken_here(panicked.to_string())),
            took: None,
        })
    });
    Some(Box::pin(work))
}

/// What happened next; waits for ever where nothing runs. Cancel safe: what is not ready stays.
pub(super) async fn next<C, G>(attempts: &mut [Attempt<C, G>]) -> (AttemptId, Event<C, G>) {
    poll_fn(|context| {
        for (attempt, of) in attempts.iter_mut().enumerate() {
            for running in [&mut of.work, &mut of.liveness] {
                if let Some(work) = running
                    && let Poll::Ready(event) = work.as_mut().poll(context)
                {
                    *running = None;
                    return Poll::Ready((attempt, event));
                }
            }
        }
        Poll::Pending
    })
    .await
}
