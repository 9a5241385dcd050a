//! What the pull path gives up: what has expired, and what is kept where memory runs short.

use super::{Relay, RelayParts};
use crate::budget::Keeper;
use std::sync::Arc;
use tokio::time::Instant;

/// From now on the budget asks these parts for room.
pub(super) fn register(parts: &Arc<RelayParts>) {
    let keeper: Arc<dyn Keeper> = parts.clone();
    parts.budget.register(Arc::downgrade(&keeper));
}

impl Relay {
    /// Forgets what has expired, so that its memory is free while nobody asks for anything.
    pub fn sweep(&self, now: Instant) {
        self.0.memories.sweep(now);
        self.0.exchanger.sweep(now);
        self.0.stale.sweep(now);
    }
}

impl Keeper for RelayParts {
    fn give_up(&self, is_enough: &dyn Fn() -> bool) {
        self.memories.give_up(is_enough);
    }
}
