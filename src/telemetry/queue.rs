//! The queue between everybody who has something to say and the writer thread. A sender never waits: what finds no
//! place is dropped and counted.

use super::access_enabled;
use super::history::History;
use super::record::Entry;
use super::record::{AccessRecord, RequestOutcome, StateChange};
use super::refusals::{Refusals, Verdict};
use crate::budget::{Budget, Kind, Lease};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Access records and diagnostics that may wait. At 30,000 requests per second this is more than a tenth of a second of
/// a log that does not answer, and takes about 2 MiB.
pub(super) const CAPACITY: usize = 4096;

/// Bytes of access records and diagnostics that may wait, however long their texts are.
pub(super) const MOST_BYTES: usize = 4 << 20;

/// Places that only state changes take, so that no flood of requests costs one of them.
pub(super) const FOR_EVENTS: usize = 1024;

/// A log that has not taken a record for so long is not waited for: what comes is dropped and counted,
/// so that the metric says within this time that the log stands still.
const STALL_LIMIT: Duration = Duration::from_secs(5);

/// Written records that are kept; a busy node writes so many within 10 ms.
pub(super) const POOLED: usize = 256;

/// The sending half, shared with the tracing layer.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    pub(super) sender: SyncSender<Queued>,
    pub(super) state: Arc<State>,
    /// Ask the installed tracing filter about targets `harbor_pilot::access` and `harbor_pilot::event`.
    pub(super) filtered: bool,
}

/// An entry with the bytes that are counted for it.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) entry: Entry,
    pub(super) bytes: usize,
}

/// What the senders and the writer share.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Access records and diagnostics in the queue.
    waiting: AtomicUsize,
    /// Of all that waits, in the budget of the process; there is none before its configuration is known.
    account: OnceLock<Lease>,
    pub(super) drops: Drops,
    pub(super) refusals: Refusals,
    pub(super) pool: RecordPool,
    pub(super) history: Arc<History>,
    pub(super) stall: Stall,
}

/// How long the writer has waited for the log to take one record.
#[derive(Debug, Default)]
pub(super) struct Stall {
    /// `None`: it has nothing to write.
    since: Mutex<Option<Instant>>,
}

/// A record with its box, which is what is used again.
type Boxed = Box<AccessRecord>;

/// Records that were written. They go back to where they came from: what one thread takes from the allocator and another
/// gives back makes both wait for each other.
#[derive(Debug, Default)]
pub(super) struct RecordPool(Mutex<Vec<Boxed>>);

/// Records that were lost.
#[derive(Debug, Default)]
pub(super) struct Drops {
    total: AtomicU64,
    unreported: AtomicU64,
}

/// A queue and its other end.
pub(super) fn queue(filtered: bool) -> (Queue, Receiver<Queued>) {
    let (sender, receiver) = sync_channel(CAPACITY + FOR_EVENTS);
    let queue = Queue {
        sender,
        state: Arc::default(),
        filtered,
    };
    (queue, receiver)
}

// === impl Queue ===

impl Queue {
    /// One access record. Refused requests beyond a hundred per second become a part of a sum.
    pub(super) fn access(&self, record: Boxed) {
        if record.outcome == RequestOutcome::Refused
            && let Verdict::Summed { first } = self.state.refusals.one_more(Instant::now())
        {
            if first {
                // The writer may sleep. Where the queue is full it does not.
                let _ = self.sender.try_send(Queued::uncounted(Entry::Wake));
            }
            return;
        }
        self.ordinary(Entry::Access(record));
    }

    /// Whether the log is to have a record.
    pub(super) fn lets_through(&self, record: &AccessRecord) -> bool {
        !self.filtered || access_enabled(record.level())
    }

    /// A state change, for which places are kept.
    pub(super) fn event(&self, change: StateChange) {
        self.send(Entry::Event(Box::new(change)));
    }

    /// An access record or a diagnostic: many at once must leave the places of state changes free. None waits for a log
    /// that has stood still for [`STALL_LIMIT`].
    pub(super) fn ordinary(&self, entry: Entry) {
        let is_full = self.state.waiting.fetch_add(1, Ordering::Relaxed) >= CAPACITY
            || self.state.bytes() >= MOST_BYTES;
        if is_full || self.state.stall.is_too_long(Instant::now) {
            self.state.taken(1);
            self.state.drops.add(1);
        } else if !self.send(entry) {
            self.state.taken(1);
        }
    }

    fn send(&self, entry: Entry) -> bool {
        let queued = Queued {
            bytes: self.state.count(&entry),
            entry,
        };
        let bytes = queued.bytes;
        let sent = self.sender.try_send(queued).is_ok();
        if !sent {
            self.state.uncount(bytes);
            self.state.drops.add(1);
        }
        sent
    }
}

// === impl Queued ===

impl Queued {
    /// An entry of no size.
    pub(super) fn uncounted(entry: Entry) -> Self {
        Self { entry, bytes: 0 }
    }
}

// === impl State ===

impl State {
    /// So many entries of [`Queue::ordinary`] have left the queue.
    pub(super) fn taken(&self, count: usize) {
        self.waiting.fetch_sub(count, Ordering::Relaxed);
    }

    /// What waits is counted in that budget from now on. Only the first one counts.
    pub(super) fn count_in(&self, budget: &Budget) {
        let account = || budget.lease(Kind::LogRecords);
        self.account.get_or_init(account);
    }

    /// Bytes that wait, as far as they are counted.
    fn bytes(&self) -> usize {
        self.account.get().map_or(0, Lease::bytes)
    }

    /// Counts an entry that is to wait.
    fn count(&self, entry: &Entry) -> usize {
        let Some(account) = self.account.get() else {
            return 0;
        };
        let bytes = entry.bytes();
        account.add(bytes);
        bytes
    }

    /// So many of the bytes that were counted wait no more.
    pub(super) fn uncount(&self, bytes: usize) {
        if let Some(account) = self.account.get() {
            account.sub(bytes);
        }
    }
}

// === impl Stall ===

impl Stall {
    /// The writer hands a record to the log.
    pub(super) fn begins(&self) {
        *self.since.lock() = Some(Instant::now());
    }

    /// The log has taken everything.
    pub(super) fn ends(&self) {
        *self.since.lock() = None;
    }

    /// The log does not read.
    fn is_too_long(&self, now: impl FnOnce() -> Instant) -> bool {
        let since = *self.since.lock();
        since.is_some_and(|since| now().saturating_duration_since(since) >= STALL_LIMIT)
    }
}

// === impl RecordPool ===

impl RecordPool {
    pub(super) fn take(&self) -> Option<Boxed> {
        self.0.lock().pop()
    }

    /// Takes what was written over; leaves what is too much.
    pub(super) fn recycle(&self, records: &mut Vec<Boxed>) {
        let mut pool = self.0.lock();
        let room = POOLED.saturating_sub(pool.len());
        pool.extend(records.drain(..room.min(records.len())));
    }
}

// === impl Drops ===

impl Drops {
    pub(super) fn add(&self, count: u64) {
        if count > 0 {
            self.total.fetch_add(count, Ordering::Relaxed);
            self.unreported.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Records dropped since the start.
    pub(super) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// What has not been said yet; the caller says it, or gives it back.
    pub(super) fn take_unreported(&self) -> u64 {
        self.unreported.swap(0, Ordering::Relaxed)
    }

    pub(super) fn give_back(&self, count: u64) {
        self.unreported.fetch_add(count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
