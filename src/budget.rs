//! One budget of bytes for all that waits in memory: who holds how much, what has to make room, and who is refused.
//!
//! Whatever can grow by what others send holds a [`Lease`]. Up to [`SMALL`] bytes are only counted: their number is
//! bounded by connections and by the tables that keep them. More waits for room, at most [`PATIENCE`], and is refused
//! then. Before anybody waits, what is kept and could be had again gives way ([`Keeper`]).

mod allocator;
mod buffer;
mod code;
mod kind;

pub use allocator::release_freed;
pub use buffer::Buffer;
pub use code::release_code;
pub use kind::Kind;

use kind::KINDS;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Up to so many bytes at a time are counted and never refused: the kernel takes an answer of this length whole, so that a
/// client that does not read it keeps nothing here, and real manifests are a tenth of it.
pub const SMALL: usize = 64 * 1024;

/// How long an answer waits for room, in all.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// The budget. Cheap to clone.
#[derive(Clone)]
pub struct Budget(Arc<Shared>);

struct Shared {
    limit: usize,
    /// Bytes held, of all kinds.
    total: AtomicUsize,
    /// The most that was held since [`Budget::has_fallen`] last said yes.
    most: AtomicUsize,
    of: [AtomicUsize; KINDS],
    refused: AtomicU64,
    /// Bytes that are waited for.
    awaited: AtomicUsize,
    /// Somebody gave bytes back.
    freed: Notify,
    keepers: RwLock<Vec<Weak<dyn Keeper>>>,
}

/// Keeps what could be had again.
pub trait Keeper: Send + Sync {
    /// Gives up what it has kept for longest, one after the other, until `is_enough` or until it has nothing more that
    /// would help.
    fn give_up(&self, is_enough: &dyn Fn() -> bool);
}

/// Bytes of one kind that are held, until dropped. Many threads may add to it, such as those that fill a queue.
pub struct Lease {
    budget: Budget,
    kind: Kind,
    bytes: AtomicUsize,
}

/// Bytes that are waited for, until dropped.
struct Awaited<'a> {
    budget: &'a Budget,
    bytes: usize,
}

/// There was no room.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no memory for {wanted} bytes of {kind}: {held} of {limit} are held ([limits] memory)")]
pub struct Refused {
    /// What the memory was wanted for.
    pub kind: Kind,
    /// Bytes that were asked for on top of `held`.
    pub wanted: usize,
    /// Bytes of all kinds that were held at that moment.
    pub held: usize,
    /// Bytes that may be held: `[limits] memory`.
    pub limit: usize,
}

/// What waits in memory now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// `[limits] memory`, in bytes.
    pub limit: u64,
    /// Bytes that are held, by kind.
    pub bytes: Vec<(&'static str, u64)>,
    /// Answers that found no room, since the start.
    pub refused: u64,
}

// === impl Budget ===

impl Budget {
    /// Of so many bytes.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(Shared {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            total: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            of: [const { AtomicUsize::new(0) }; KINDS],
            refused: AtomicU64::new(0),
            awaited: AtomicUsize::new(0),
            freed: Notify::new(),
            keepers: RwLock::default(),
        }))
    }

    /// Without a limit: for commands, which ask a little and end.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(u64::MAX)
    }

    /// `[limits] memory`, in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// Bytes held, of all kinds.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.total.load(Ordering::Relaxed)
    }

    /// Bytes held of one kind.
    #[must_use]
    pub fn held_for(&self, kind: Kind) -> usize {
        let of = self.0.of.get(kind as usize);
        of.map_or(0, |of| of.load(Ordering::Relaxed))
    }

    /// From now on it is asked to make room.
    pub fn register(&self, keeper: Weak<dyn Keeper>) {
        let keepers = self.0.keepers.write();
        let mut keepers = keepers.unwrap_or_else(PoisonError::into_inner);
        keepers.retain(|keeper| keeper.strong_count() > 0);
        keepers.push(keeper);
    }

    /// A lease of nothing yet.
    #[must_use]
    pub fn lease(&self, kind: Kind) -> Lease {
        Lease {
            budget: self.clone(),
            kind,
            bytes: AtomicUsize::new(0),
        }
    }

    /// What is held now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let shared = &self.0;
        let bytes = Kind::ALL.iter().zip(&shared.of);
        Usage {
            limit: shared.limit as u64,
            bytes: bytes
                .map(|(kind, bytes)| (kind.word(), bytes.load(Ordering::Relaxed) as u64))
                .collect(),
            refused: shared.refused.load(Ordering::Relaxed),
        }
    }

    /// Whether at least so many bytes fewer are held than at some time since this last said yes: time to give what the
    /// allocator has kept back to the kernel. For one caller.
    #[must_use]
    pub fn has_fallen(&self, bytes: usize) -> bool {
        let held = self.held();
        let most = self.0.most.load(Ordering::Relaxed);
        let has_fallen = most.saturating_sub(held) >= bytes;
        if has_fallen {
            self.0.most.store(held, Ordering::Relaxed);
        }
        has_fallen
    }

    /// Takes so many bytes more if there is room for them.
    fn reserve(&self, kind: Kind, bytes: usize) -> bool {
        let more = |held: usize| held.checked_add(bytes).filter(|held| *held <= self.0.limit);
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        let before = self.0.total.fetch_update(set, fetch, more);
        if let Ok(before) = before {
            self.grew(kind, before, bytes);
        }
        before.is_ok()
    }

    /// Takes so many bytes more, whether there is room or not.
    fn add(&self, kind: Kind, bytes: usize) {
        let before = self.0.total.fetch_add(bytes, Ordering::AcqRel);
        self.grew(kind, before, bytes);
    }

    fn grew(&self, kind: Kind, before: usize, bytes: usize) {
        let now = before.saturating_add(bytes);
        // Read first: most of the time there is nothing to write.
        if self.0.most.load(Ordering::Relaxed) < now {
            self.0.most.fetch_max(now, Ordering::Relaxed);
        }
        if let Some(of) = self.0.of.get(kind as usize) {
            of.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Gives so many bytes back, and lets those know who wait for some.
    fn give_back(&self, kind: Kind, bytes: usize) {
        self.0.total.fetch_sub(bytes, Ordering::AcqRel);
        if let Some(of) = self.0.of.get(kind as usize) {
            of.fetch_sub(bytes, Ordering::Relaxed);
        }
        self.0.freed.notify_waiters();
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.held().saturating_add(bytes) <= self.0.limit
    }

    /// Has what is kept give way.
    fn make_room(&self, bytes: usize) {
        let keepers: Vec<Arc<dyn Keeper>> = {
            let keepers = self.0.keepers.read();
            let keepers = keepers.unwrap_or_else(PoisonError::into_inner);
            keepers.iter().filter_map(Weak::upgrade).collect()
        };
        for keeper in keepers {
            keeper.give_up(&|| self.has_room(bytes));
        }
    }

    /// A place in the queue for room. It is short: who stands far behind would wait for nothing, and hold its source meanwhile.
    fn queue(&self, bytes: usize) -> Option<Awaited<'_>> {
        let most = self.0.limit / 2;
        let more = |awaited: usize| awaited.checked_add(bytes).filter(|all| *all <= most);
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        let queued = self.0.awaited.fetch_update(set, fetch, more);
        queued.ok().map(|_| Awaited {
            budget: self,
            bytes,
        })
    }

    fn refuse(&self, kind: Kind, wanted: usize) -> Refused {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
        Refused {
            kind,
            wanted,
            held: self.held(),
            limit: self.0.limit,
        }
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Budget({} of {})", self.held(), self.0.limit)
    }
}

// === impl Awaited ===

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        let awaited = &self.budget.0.awaited;
        awaited.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

// === impl Lease ===

impl Lease {
    /// Bytes held by it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Holds so many from now on, more or fewer, whether there is room or not: for what is bounded by itself. Its caller is
    /// alone: what tells the number is locked, or nobody else's.
    pub fn set(&self, bytes: usize) {
        let held = self.bytes();
        match bytes.checked_sub(held) {
            Some(more) => self.add(more),
            None => self.sub(held.saturating_sub(bytes)),
        }
    }

    /// So many more are held, whether there is room or not.
    pub fn add(&self, bytes: usize) {
        if bytes > 0 {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
            self.budget.add(self.kind, bytes);
        }
    }

    /// So many of those that were added are held no more.
    pub fn sub(&self, bytes: usize) {
        if bytes > 0 {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.budget.give_back(self.kind, bytes);
        }
    }

    /// Holds so many in all, at once, if there is room or what is kept makes some.
    #[must_use]
    pub fn try_grow(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes());
        more == 0 || self.reserve(more) || {
            self.budget.make_room(more);
            self.reserve(more)
        }
    }

    /// Holds so many in all where there is room and all of its kind hold at most an eighth of the budget: for what is better with
    /// them and goes on without. Nothing gives way to it.
    #[must_use]
    pub fn try_spare(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes());
        let all = self.budget.held_for(self.kind).saturating_add(more);
        all <= self.budget.limit() / 8 && self.reserve(more)
    }

    /// Holds so many more if there is room for them.
    fn reserve(&mut self, more: usize) -> bool {
        let has_room = self.budget.reserve(self.kind, more);
        if has_room {
            *self.bytes.get_mut() = self.bytes().saturating_add(more);
        }
        has_room
    }

    /// As [`Self::try_grow`]; where there is no room it waits for some, as long as there is patience left and few others wait.
    ///
    /// # Errors
    /// [`Refused`]: there was none in time. What was held before still is.
    pub async fn grow(&mut self, bytes: usize, patience: &mut Duration) -> Result<(), Refused> {
        if self.try_grow(bytes) {
            return Ok(());
        }
        let (budget, since) = (self.budget.clone(), Instant::now());
        let wanted = bytes.saturating_sub(self.bytes());
        let queued = budget.queue(wanted);
        let _awaited = queued.ok_or_else(|| budget.refuse(self.kind, wanted))?;
        let until = since.checked_add(*patience).unwrap_or(since);
        loop {
            let mut freed = pin!(budget.0.freed.notified());
            // Who gives back from here on is heard.
            freed.as_mut().enable();
            if self.try_grow(bytes) {
                *patience = patience.saturating_sub(since.elapsed());
                return Ok(());
            }
            // Cancel safe: nothing is held by waiting.
            if timeout_at(until, freed).await.is_err() {
                return Err(budget.refuse(self.kind, wanted));
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({} bytes of {})", self.bytes(), self.kind)
    }
}

#[cfg(test)]
mod tests;
