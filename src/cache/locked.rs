//! A map that threads share: behind a lock that is held for single look-ups, and not taken at all while the map is empty.

use super::{Bounds, Trust, TtlMap};
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// A [`TtlMap`] for many threads.
#[derive(Debug)]
pub struct SharedTtlMap<K, V> {
    map: Mutex<TtlMap<K, V>>,
    /// Whether it holds anything; written under the lock. Most maps mostly hold nothing, and threads that only read this do not
    /// take it out of each other's hands, as they do a lock.
    holds_any: AtomicBool,
}

// === impl SharedTtlMap ===

impl<K: Hash + Eq + Clone, V> SharedTtlMap<K, V> {
    /// An empty map whose entries weigh what they take by themselves.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self::from_map(TtlMap::new(bounds))
    }

    /// Puts a map behind a lock.
    #[must_use]
    pub fn from_map(map: TtlMap<K, V>) -> Self {
        Self {
            holds_any: AtomicBool::new(!map.is_empty()),
            map: Mutex::new(map),
        }
    }

    /// Whether there is nothing that any key could find.
    pub fn is_empty(&self) -> bool {
        !self.holds_any.load(Ordering::Acquire)
    }

    /// The value, while it lives.
    pub fn get(&self, key: &K, now: Instant) -> Option<V>
    where
        V: Clone,
    {
        if self.is_empty() {
            return None;
        }
        self.lock().get(key, now).cloned()
    }

    /// Whether there is a living value.
    pub fn holds(&self, key: &K, now: Instant) -> bool {
        !self.is_empty() && self.lock().get(key, now).is_some()
    }

    /// Writes an entry; see [`TtlMap::put`].
    pub fn put(&self, key: K, value: V, trust: Trust, now: Instant) {
        self.change(|map| map.put(key, value, trust, now));
    }

    /// Takes out what fits.
    pub fn forget(&self, fits: impl Fn(&K) -> bool) {
        if !self.is_empty() {
            self.change(|map| map.retain(|key, _| !fits(key)));
        }
    }

    /// Takes out what has expired.
    pub fn sweep(&self, now: Instant) {
        if !self.is_empty() {
            self.change(|map| map.drop_expired(now));
        }
    }

    /// Evicts the oldest entry of one class that fits. `false`: none does.
    pub fn evict(&self, trust: Trust, fits: impl Fn(&V) -> bool) -> bool {
        // Dropped behind the lock.
        let evicted = self.change(|map| map.evict(trust, fits));
        evicted.is_some()
    }

    /// Reads under the lock.
    pub fn read<T>(&self, act: impl FnOnce(&TtlMap<K, V>) -> T) -> T {
        act(&self.lock())
    }

    /// Changes it under the lock.
    pub fn change<T>(&self, act: impl FnOnce(&mut TtlMap<K, V>) -> T) -> T {
        let mut map = self.lock();
        let done = act(&mut map);
        self.holds_any.store(!map.is_empty(), Ordering::Release);
        done
    }

    /// No invariant spans two statements under this lock, so that a poisoned lock can be used.
    fn lock(&self) -> MutexGuard<'_, TtlMap<K, V>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
