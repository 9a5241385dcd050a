//! Stream slots: how many streams may run under one limit, more and fewer with the time of day.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Who has had a slot for so long makes way for one that has waited for so long. containerd gives up a pull of which nothing comes for
/// 5 min: 15 times as many streams as slots can take turns.
const TURN: Duration = Duration::from_secs(20);

/// A number of slots, and who waits for one, in order.
#[derive(Debug)]
pub(super) struct StreamSlots {
    free: Arc<Semaphore>,
    count: Mutex<Count>,
}

#[derive(Debug)]
struct Count {
    /// Streams that may run at once.
    all: usize,
    /// Streams that run beyond that number, since it fell: who ends makes room for nobody.
    beyond: usize,
    /// Since when each stream that waits does so, in their order.
    waiting: BTreeMap<u64, Instant>,
    /// The next one that waits.
    next: u64,
}

/// A stream that waits; on drop it waits no longer.
struct Waiting<'a> {
    count: &'a Mutex<Count>,
    number: u64,
}

/// The right of one stream to run; it ends on drop.
#[derive(Debug)]
pub(super) struct StreamSlot {
    slots: Arc<StreamSlots>,
    permit: Option<OwnedSemaphorePermit>,
    since: Instant,
}

// === impl StreamSlots ===

impl StreamSlots {
    pub(super) fn new(all: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(all)),
            count: Mutex::new(Count {
                all,
                beyond: 0,
                waiting: BTreeMap::new(),
                next: 0,
            }),
        })
    }

    /// Waits for a slot.
    pub(super) async fn enter(self: Arc<Self>) -> StreamSlot {
        let waiting = Waiting::new(&self.count);
        let permit = self.free.clone().acquire_owned().await;
        drop(waiting);
        StreamSlot {
            // Nobody closes it.
            permit: permit.ok(),
            slots: self,
            since: Instant::now(),
        }
    }

    /// Another number of streams may run at once.
    pub(super) fn resize(&self, all: usize) {
        let mut count = self.count.lock();
        let more = all.saturating_sub(count.all);
        let paid = more.min(count.beyond);
        count.beyond = count.beyond.saturating_sub(paid);
        self.free.add_permits(more.saturating_sub(paid));
        let fewer = count.all.saturating_sub(all);
        let gone = self.free.forget_permits(fewer);
        count.beyond = count.beyond.saturating_add(fewer.saturating_sub(gone));
        count.all = all;
    }
}

// === impl Waiting ===

impl<'a> Waiting<'a> {
    fn new(count: &'a Mutex<Count>) -> Self {
        let mut locked = count.lock();
        let number = locked.next;
        locked.next = number.wrapping_add(1);
        locked.waiting.insert(number, Instant::now());
        drop(locked);
        Self { count, number }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.lock().waiting.remove(&self.number);
    }
}

// === impl StreamSlot ===

impl StreamSlot {
    /// Whether it is to be given back: there are too few by now, or it is another stream's turn.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let count = self.slots.count.lock();
        let is_long = |since: Instant| now.saturating_duration_since(since) >= TURN;
        let mut waiting = count.waiting.values();
        count.beyond > 0 || is_long(self.since) && waiting.next().is_some_and(|at| is_long(*at))
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let mut count = self.slots.count.lock();
        if let (Some(permit), Some(beyond)) = (self.permit.take(), count.beyond.checked_sub(1)) {
            count.beyond = beyond;
            permit.forget();
        }
    }
}
