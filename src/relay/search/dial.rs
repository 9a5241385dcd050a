//! Connects in tasks of their own: one that loses its race runs on to its end, reports what it learned and leaves its
//! connection in the pool (design P6: a lost SYN is no failure, and a dead address must be found out). How many do so is bounded.

use super::reports::failed;
use crate::cache::Trust;
use crate::lifecycle;
use crate::relay::context::Context;
use crate::relay::rules::Cause;
use crate::topology::select::Candidate;
use crate::topology::{Failure, Outcome};
use crate::upstream::Error;
use futures_util::FutureExt as _;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Runs `work` to its end whatever becomes of the caller, where that is permitted; `unwanted` takes what nobody waits for any
/// more.
pub(super) fn detached<T, W>(
    parts: &Arc<Context>,
    trust: Trust,
    candidate: Candidate,
    work: W,
    unwanted: fn(T),
) -> impl Future<Output = Result<T, Error>> + Send + 'static + use<T, W>
where
    T: Send + 'static,
    W: Future<Output = Result<T, Error>> + Send + 'static,
{
    let permit = parts.dials.permit(trust);
    let parts = parts.clone();
    let mut work = Box::pin(work);
    let work = async move {
        let result = match timeout(parts.timeouts.connect_race, &mut work).await {
            Ok(result) => result,
            Err(_) => {
                let _suspect = candidate.gauges.connect_is_slow();
                work.await
            }
        };
        if let Err(error) = &result {
            let (cause, outcome) = (Cause::Failed(error.failure), Outcome::Hard(error.failure));
            failed(&parts, &candidate.endpoint, cause, outcome, error.detail());
        }
        result
    };
    let Some(permit) = permit else {
        return work.left_future();
    };
    let (send, receive) = oneshot::channel();
    lifecycle::spawn_detached("dial", async move {
        let result = work.await;
        drop(permit);
        if let Err(Ok(unclaimed)) = send.send(result) {
            unwanted(unclaimed);
        }
    });
    let received = async move {
        receive
            .await
            .unwrap_or_else(|_| Err(Error::new(Failure::Internal, "connecting", "it broke off")))
    };
    received.right_future()
}
