//! How it stands with Redis, for people and for whoever would ask it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How it stands with the Redis that agents share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisState {
    /// The master, while it answers.
    pub master: Option<String>,
    /// What went wrong last; with a master: since when it answers.
    pub error: Option<String>,
    /// Failures since the start.
    pub errors: u64,
}

/// Whether Redis is asked at all now. Open while it answers in time; whoever gets no answer in time closes it for everybody.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate(Arc<AtomicBool>);

// === impl Gate ===

impl Gate {
    pub(super) fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn open(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(super) fn close(&self) {
        self.0.store(false, Ordering::Release);
    }
}
