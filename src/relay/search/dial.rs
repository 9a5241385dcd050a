//! Connects in tasks of their own: one that loses its race runs on to its end, reports what it learned and leaves its
//! connection in the pool (design P6: a lost SYN is no failure, and a dead address must be found out).

use crate::lifecycle;
use crate::relay::candidates::Candidate;
use crate::relay::engine::RelayParts;
use crate::topology::{Failure, Outcome, OutcomeReport};
use crate::upstream::{Connection, Error};
use std::future::Future;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A connection, ready for a request.
pub(super) fn connect(
    parts: &Arc<RelayParts>,
    candidate: &Candidate,
) -> impl Future<Output = Result<Connection, Error>> + Send + 'static + use<> {
    let (work, at) = (parts.clone(), candidate.clone());
    let connect = async move { work.client.connect(&at.source, &at.endpoint).await };
    detached(parts, candidate, connect, Connection::park)
}

/// A TCP connect that shows whether anybody is there.
pub(super) fn knock(
    parts: &Arc<RelayParts>,
    candidate: &Candidate,
) -> impl Future<Output = Result<(), Error>> + Send + 'static + use<> {
    let (work, at) = (parts.clone(), candidate.clone());
    let knock = async move { work.client.knock(&at.endpoint).await };
    detached(parts, candidate, knock, |()| {})
}

/// Runs `work` to its end whatever becomes of the caller; `unwanted` takes what nobody waits for any more.
fn detached<T, W>(
    parts: &Arc<RelayParts>,
    candidate: &Candidate,
    work: W,
    unwanted: fn(T),
) -> impl Future<Output = Result<T, Error>> + Send + 'static + use<T, W>
where
    T: Send + 'static,
    W: Future<Output = Result<T, Error>> + Send + 'static,
{
    let (send, receive) = oneshot::channel();
    let (parts, candidate) = (parts.clone(), candidate.clone());
    let work = Box::pin(work);
    lifecycle::spawn_detached("dial", async move {
        let mut work = work;
        let result = tokio::select! {
            // Cancel safe: `work` is polled on below, not dropped.
            result = &mut work => result,
            // Cancel safe: a sleep holds nothing.
            () = tokio::time::sleep(parts.timeouts.connect_race) => {
                let _suspect = candidate.gauges.connect_is_slow();
                work.await
            }
        };
        if let Err(error) = &result {
            let label = candidate.endpoint.source.label();
            parts.sinks.metrics.attempt(label, error.failure.word());
            parts.health.report(OutcomeReport {
                endpoint: candidate.endpoint,
                outcome: Outcome::Hard(error.failure),
                first_byte: None,
                detail: error.detail.clone(),
            });
        }
        if let Err(Ok(unclaimed)) = send.send(result) {
            unwanted(unclaimed);
        }
    });
    async move {
        receive.await.unwrap_or_else(|_| {
            Err(Error {
                failure: Failure::Internal,
                detail: "a connect that broke off".to_owned(),
                stale_connection: false,
            })
        })
    }
}
