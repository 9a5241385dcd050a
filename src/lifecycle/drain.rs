//! The drain (design O4): one signal to all who hold work, a limit, and the news that all work is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

/// Begins the drain and waits for its end. There is one, in the composition root.
#[derive(Debug)]
pub struct Drain {
    deadline: watch::Sender<Option<Instant>>,
    begun: Arc<AtomicBool>,
    closed: watch::Sender<bool>,
    holders: Arc<Holders>,
    connections: Arc<Holders>,
    unanswered: Arc<Holders>,
}

/// Hears of the drain and hands out guards. Cheap to clone; clones do not delay the end.
#[derive(Clone, Debug)]
pub struct DrainWatch {
    deadline: watch::Receiver<Option<Instant>>,
    /// There is a deadline: for every request to read, as a look at the deadline itself takes a lock.
    begun: Arc<AtomicBool>,
    closed: watch::Receiver<bool>,
    holders: Arc<Holders>,
    connections: Arc<Holders>,
    unanswered: Arc<Holders>,
}

/// Work that a drain waits for, until dropped.
#[derive(Debug)]
pub struct DrainGuard(Arc<Holders>);

/// An open connection, somebody who accepts them, or a request without an answer, until dropped. Only [`Drain::idle`]
/// and [`Drain::answered`] wait for it: a connection that asks nothing delays no drain.
#[derive(Debug)]
pub struct ConnectionGuard(Arc<Holders>);

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

#[derive(Debug, Default)]
struct Holders {
    count: AtomicUsize,
    none_left: Notify,
}

// === impl Drain ===

impl Drain {
    /// A drain that has not begun.
    #[must_use]
    pub fn new() -> (Self, DrainWatch) {
        let (sender, receiver) = watch::channel(None);
        let (close, closed) = watch::channel(false);
        let begun = Arc::new(AtomicBool::new(false));
        let holders = Arc::new(Holders::default());
        let connections = Arc::new(Holders::default());
        let unanswered = Arc::new(Holders::default());
        let drain = Self {
            deadline: sender,
            begun: begun.clone(),
            closed: close,
            holders: holders.clone(),
            connections: connections.clone(),
            unanswered: unanswered.clone(),
        };
        let watch = DrainWatch {
            deadline: receiver,
            begun,
            closed,
            holders,
            connections,
            unanswered,
        };
        (drain, watch)
    }

    /// Begins, or shortens: work may run on for `limit` from now, never longer than was said before.
    pub fn begin(&self, limit: Duration) {
        let new = Instant::now() + limit;
        self.begun.store(true, Ordering::Release);
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
            // Registered before the count is read: a drop between the two is not missed.
            let mut none_left = std::pin::pin!(self.holders.none_left.notified());
            none_left.as_mut().enable();
            let left = self.holders.count.load(Ordering::SeqCst);
            if left == 0 {
                return Drained::All;
            }
            // Cancel safe: each arm only waits, and the loop looks again.
            tokio::select! {
                () = none_left => {}
                () = sleep_until(deadline) => return Drained::LimitPassed { left },
                _ = deadlines.changed() => {}
            }
        }
    }

    /// How much work is held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.holders.count.load(Ordering::SeqCst)
    }

    /// Ends accepting: who comes from now on waits for the next process, or is refused where nobody keeps the socket.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Waits until nobody accepts and no connection is open: every answer has left, not only been made. Cancel safe.
    pub async fn idle(&self) {
        self.connections.none().await;
    }

    /// Waits until every request that was read has an answer's head. Cancel safe.
    pub async fn answered(&self) {
        self.unanswered.none().await;
    }
}

// === impl DrainWatch ===

impl DrainWatch {
    /// Whether the drain has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.begun.load(Ordering::Acquire)
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
        let mut closed = self.closed.clone();
        let _ = closed.wait_for(|closed| *closed).await;
    }

    /// Marks a connection that was accepted.
    #[must_use]
    pub fn connection(&self) -> ConnectionGuard {
        self.connections.add();
        ConnectionGuard(self.connections.clone())
    }

    /// Marks a request whose answer has not begun: cut now it would be a failure and no body to resume.
    #[must_use]
    pub fn unanswered(&self) -> ConnectionGuard {
        self.unanswered.add();
        ConnectionGuard(self.unanswered.clone())
    }

    /// Marks work that a drain waits for.
    #[must_use]
    pub fn hold(&self) -> DrainGuard {
        self.holders.add();
        DrainGuard(self.holders.clone())
    }

    /// How much work is held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.holders.count.load(Ordering::SeqCst)
    }
}

// === impl Holders ===

impl Holders {
    fn add(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    fn remove(&self) {
        if self.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.none_left.notify_waiters();
        }
    }

    async fn none(&self) {
        loop {
            let mut none_left = std::pin::pin!(self.none_left.notified());
            none_left.as_mut().enable();
            if self.count.load(Ordering::SeqCst) == 0 {
                return;
            }
            none_left.await;
        }
    }
}

// === impl DrainGuard ===

impl Drop for DrainGuard {
    fn drop(&mut self) {
        self.0.remove();
    }
}

// === impl ConnectionGuard ===

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.remove();
    }
}

#[cfg(test)]
mod tests;
