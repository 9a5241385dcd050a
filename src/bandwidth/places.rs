//! Places for streams, of which there are more and fewer with the time of day.

use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A number of places, and who waits for one, in order.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    count: Mutex<Count>,
}

#[derive(Debug)]
struct Count {
    /// Streams that may run at once.
    all: usize,
    /// Streams that run beyond that number, since it fell: who ends makes room for nobody.
    beyond: usize,
}

/// The right of one stream to run; it ends on drop.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    permit: Option<OwnedSemaphorePermit>,
}

// === impl Places ===

impl Places {
    pub(super) fn new(all: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(all)),
            count: Mutex::new(Count { all, beyond: 0 }),
        })
    }

    /// Waits for a place.
    pub(super) async fn enter(self: Arc<Self>) -> Place {
        let permit = self.free.clone().acquire_owned().await;
        Place {
            // Nobody closes it.
            permit: permit.ok(),
            places: self,
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

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        let mut count = self.places.count.lock();
        if let (Some(permit), Some(beyond)) = (self.permit.take(), count.beyond.checked_sub(1)) {
            count.beyond = beyond;
            permit.forget();
        }
    }
}
