//! What ends a connection from our side: the idle limit, and the drain.

use crate::lifecycle::DrainWatch;
use futures_util::stream::{FuturesUnordered, Stream as _};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a request's head may take from its first byte on.
const HEAD: Duration = Duration::from_secs(10);

/// What ends the connection from our side. Each wait is alone in a set: polled when it is woken and not with every turn of the
/// connection, which all connections would pay.
pub(super) struct Ends {
    pub(super) idle: Duration,
    pub(super) drain: DrainWatch,
    /// Fires at the earliest at the idle limit; it is set anew if the client has asked in between.
    timer: FuturesUnordered<Sleep>,
    draining: FuturesUnordered<Wait>,
    /// Made when a body has to wait for the first time.
    cut: FuturesUnordered<Wait>,
}

type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

// === impl Ends ===

impl Ends {
    pub(super) fn new(idle: Duration, drain: DrainWatch) -> Self {
        let watch = drain.clone();
        let draining: Wait = Box::pin(async move { watch.draining().await });
        Self {
            idle,
            drain,
            timer: FuturesUnordered::new(),
            draining: FuturesUnordered::from_iter([draining]),
            cut: FuturesUnordered::new(),
        }
    }

    /// A request's head has begun: it has a limit of its own.
    pub(super) fn begin_head(&mut self) {
        self.timer = FuturesUnordered::new();
    }

    /// How long a request's head may take from its first byte on.
    pub(super) fn head(&self) -> Duration {
        HEAD.min(self.idle)
    }

    /// Whether nobody waits for the next request any longer. `until`: the idle limit; `at_rest`: nothing of it has come, and
    /// the client has had an answer before.
    pub(super) fn poll_over(
        &mut self,
        context: &mut Context<'_>,
        until: Instant,
        at_rest: bool,
    ) -> bool {
        if self.timer.is_empty() {
            self.timer.push(sleep_until(until));
        }
        while let Poll::Ready(Some(())) = Pin::new(&mut self.timer).poll_next(context) {
            if Instant::now() >= until {
                return true;
            }
            self.timer.push(sleep_until(until));
        }
        let _ = Pin::new(&mut self.draining).poll_next(context);
        at_rest && self.drain.is_draining()
    }

    /// Whether what is left of a body is cut; containerd resumes it (design O4).
    pub(super) fn poll_cut(&mut self, context: &mut Context<'_>) -> bool {
        if self.cut.is_empty() {
            let watch = self.drain.clone();
            let cut: Wait = Box::pin(async move { watch.limit_passed().await });
            self.cut.push(cut);
        }
        matches!(
            Pin::new(&mut self.cut).poll_next(context),
            Poll::Ready(Some(()))
        )
    }
}
