//! The drain (design O4): one signal to all who hold work, a limit, and the news that all work is done.

use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Begins the drain and waits for its end. There is one, in the composition root.
#[derive(Debug)]
pub struct Drain {
    deadline: watch::Sender<Option<Instant>>,
    watch: DrainWatch,
    /// Nobody accepts for a drain that is gone.
    _closes: DropGuard,
}

/// Hears of the drain and hands out guards. Cheap to clone; clones do not delay the end.
#[derive(Clone, Debug)]
pub struct DrainWatch {
    /// Never marked as seen, so that a look whether the drain has begun takes no lock.
    deadline: watch::Receiver<Option<Instant>>,
    closed: CancellationToken,
    holders: TaskTracker,
    connections: TaskTracker,
    unanswered: TaskTracker,
}

/// Work that a drain waits for, until dropped.
#[derive(Debug)]
pub struct DrainGuard(
    #[expect(dead_code, reason = "it counts until it is dropped")] TaskTrackerToken,
);

/// An open connection, somebody who accepts them, or a request without an answer, until dropped. Only [`Drain::idle`]
/// and [`Drain::answered`] wait for it: a connection that asks nothing delays no drain.
#[derive(Debug)]
pub struct ConnectionGuard(
    #[expect(dead_code, reason = "it counts until it is dropped")] TaskTrackerToken,
);

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// The last guard was dropped.
    All,
    /// The limit passed first.
    LimitPassed {
        /// Guards that were still held.
        left: usize,
    },
}

// === impl Drain ===

impl Drain {
    /// A drain that has not begun.
    #[must_use]
    pub fn new() -> (Self, DrainWatch) {
        let (sender, receiver) = watch::channel(None);
        // One that is closed may hand out tokens: closed, its end can be waited for.
        let counter = || {
            let counter = TaskTracker::new();
            counter.close();
            counter
        };
        let watch = DrainWatch {
            deadline: receiver,
            closed: CancellationToken::new(),
            holders: counter(),
            connections: counter(),
            unanswered: counter(),
        };
        let drain = Self {
            deadline: sender,
            _closes: watch.closed.clone().drop_guard(),
            watch: watch.clone(),
        };
        (drain, watch)
    }

    /// Begins, or shortens: work may run on for `limit` from now, never longer than was said before.
    pub fn begin(&self, limit: Duration) {
        let new = Instant::now() + limit;
        self.deadline.send_if_modified(|deadline| {
            let shorter = deadline.is_none_or(|old| new < old);
            if shorter {
                *deadline = Some(new);
            }
            shorter
        });
    }

    /// Waits until the drain has begun and the last guard was dropped or the limit has passed. Cancel safe.
    pub async fn drained(&self) -> Drained {
        let mut deadlines = self.deadline.subscribe();
        loop {
            let Some(deadline) = *deadlines.borrow_and_update() else {
                // The sender lives in `self`, so that this cannot fail.
                let _ = deadlines.changed().await;
                continue;
            };
            // Cancel safe: each arm only waits, and the loop looks again.
            tokio::select! {
                biased;
                () = self.watch.holders.wait() => return Drained::All,
                () = sleep_until(deadline) => {
                    return Drained::LimitPassed { left: self.held() };
                }
                _ = deadlines.changed() => {}
            }
        }
    }

    /// How much work is held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.watch.held()
    }

    /// Ends accepting: who comes from now on waits for the next process, or is refused where nobody keeps the socket.
    pub fn close(&self) {
        self.watch.closed.cancel();
    }

    /// Waits until nobody accepts and no connection is open: every answer has left, not only been made. Cancel safe.
    pub async fn idle(&self) {
        self.watch.connections.wait().await;
    }

    /// Waits until every request that was read has an answer's head. Cancel safe.
    pub async fn answered(&self) {
        self.watch.unanswered.wait().await;
    }
}

// === impl DrainWatch ===

impl DrainWatch {
    /// Whether the drain has begun, or the [`Drain`] is gone.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.deadline.has_changed().unwrap_or(true)
    }

    /// Waits until the drain begins; also ends when the [`Drain`] is gone, which means the end of everything.
    /// Cancel safe.
    pub async fn draining(&self) {
        let mut deadline = self.deadline.clone();
        let _ = deadline.wait_for(Option::is_some).await;
    }

    /// Waits until the drain has begun and its limit has passed: work that still runs must end now. Also ends
    /// when the [`Drain`] is gone. Cancel safe.
    pub async fn limit_passed(&self) {
        let mut deadlines = self.deadline.clone();
        loop {
            let deadline = *deadlines.borrow_and_update();
            let Some(deadline) = deadline else {
                if deadlines.changed().await.is_err() {
                    return;
                }
                continue;
            };
            // Cancel safe: each arm only waits, and the loop looks again at a shorter limit.
            tokio::select! {
                () = sleep_until(deadline) => return,
                changed = deadlines.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Waits until accepting is to end; also ends when the [`Drain`] is gone. Cancel safe.
    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Marks a connection that was accepted.
    #[must_use]
    pub fn connection(&self) -> ConnectionGuard {
        ConnectionGuard(self.connections.token())
    }

    /// Marks a request whose answer has not begun: cut now it would be a failure and no body to resume.
    #[must_use]
    pub fn unanswered(&self) -> ConnectionGuard {
        ConnectionGuard(self.unanswered.token())
    }

    /// Marks work that a drain waits for.
    #[must_use]
    pub fn hold(&self) -> DrainGuard {
        DrainGuard(self.holders.token())
    }

    /// How much work is held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.holders.len()
    }
}

#[cfg(test)]
mod tests;
