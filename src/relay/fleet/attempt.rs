//! The parts of one attempt: a connect that runs on, and what an answer means to the real rule book.

use super::node::Node;
use super::site::Line;
use crate::config::HarborPolicy;
use crate::lifecycle;
use crate::relay::candidates::Candidate;
use crate::relay::rules::{Asked, Authority, Head, Scope, Verdict, judge};
use crate::topology::{Failure, Outcome};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

/// What came of a request.
pub(super) struct Answer {
    /// The status, and the connection that it came over.
    pub(super) head: Result<(u16, Line), Failure>,
    pub(super) took: Duration,
}

impl Answer {
    pub(super) fn new(head: Result<(u16, Line), Failure>, began: Instant) -> Self {
        Self {
            head,
            took: began.elapsed(),
        }
    }

    /// Whether it is good, and if not, what that says.
    pub(super) fn verdict(&self, asked: Asked, by: &Candidate) -> Result<(), (Scope, Outcome)> {
        let (status, _) = match &self.head {
            Ok(head) => head,
            Err(failure) => return Err((Scope::Address, Outcome::Hard(*failure))),
        };
        let authority = match by.is_upstream() {
            true => Authority::Final,
            false => Authority::Tier,
        };
        let head = Head {
            status: *status,
            elsewhere: false,
            length: Some(1000),
            content_range: None,
            html: false,
            json: false,
            registry: false,
            encoded: false,
            retry_after: None,
        };
        match judge(asked, authority, HarborPolicy::Next, &head) {
            Verdict::Use(_) => Ok(()),
            Verdict::Leave { scope, outcome, .. } => Err((scope, outcome)),
            Verdict::End(answer) => panic!("nobody says {answer:?} here"),
        }
    }
}

/// A connect that runs on to its end whatever becomes of the search, as `relay::search::dial` has it.
pub(super) fn detached<T, W, U>(
    node: &Arc<Node>,
    candidate: &Candidate,
    work: W,
    unwanted: U,
) -> impl Future<Output = Result<T, Failure>> + Send + 'static + use<T, W, U>
where
    T: Send + 'static,
    W: Future<Output = Result<T, Failure>> + Send + 'static,
    U: FnOnce(T) + Send + 'static,
{
    let (send, receive) = oneshot::channel();
    let (node, candidate) = (node.clone(), candidate.clone());
    let mut work = Box::pin(work);
    lifecycle::spawn_detached("dial", async move {
        let result = tokio::select! {
            biased;
            result = &mut work => result,
            () = sleep(node.parts.timeouts.connect_race) => {
                let _suspect = candidate.gauges.connect_is_slow();
                work.await
            }
        };
        if let Err(failure) = &result {
            node.report(&candidate.endpoint, Outcome::Hard(*failure));
        }
        if let Err(Ok(unclaimed)) = send.send(result) {
            unwanted(unclaimed);
        }
    });
    async move { receive.await.unwrap_or(Err(Failure::Reset)) }
}
