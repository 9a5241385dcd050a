//! Bytes that many threads hold together, such as what waits in a queue.

use super::{Budget, Kind};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of one kind, counted in a budget until dropped. They are never refused: what holds them has bounds of its own.
pub struct Meter {
    budget: Budget,
    kind: Kind,
    bytes: AtomicUsize,
}

// === impl Meter ===

impl Meter {
    /// A meter that holds nothing yet.
    #[must_use]
    pub fn new(budget: &Budget, kind: Kind) -> Self {
        Self {
            budget: budget.clone(),
            kind,
            bytes: AtomicUsize::new(0),
        }
    }

    /// The number of bytes that it holds of the budget.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// So many are held from now on. Its caller is alone: what tells the number is locked.
    pub fn set(&self, bytes: usize) {
        let held = self.bytes();
        match bytes.checked_sub(held) {
            Some(0) => {}
            Some(more) => self.add(more),
            None => self.sub(held.saturating_sub(bytes)),
        }
    }

    /// So many more are held.
    pub fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.budget.add(self.kind, bytes);
    }

    /// So many of those that were added are held no more.
    pub fn sub(&self, bytes: usize) {
        if bytes > 0 {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.budget.give_back(self.kind, bytes);
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.sub(self.bytes());
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Meter({} bytes of {})", self.bytes(), self.kind)
    }
}
