//! How many connects may run on by themselves.

use crate::cache::Trust;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connects that run on by themselves at most. A connect beyond them is its request's own, and ends with it.
const DETACHED: usize = 256;

/// Of them, those of untrusted clients' requests: who comes and goes at a dead address leaves room for others.
const UNTRUSTED: usize = DETACHED / 4;

/// Permits of connects that run on by themselves.
#[derive(Debug)]
pub(crate) struct Dials {
    trusted: Arc<Semaphore>,
    untrusted: Arc<Semaphore>,
}

impl Default for Dials {
    fn default() -> Self {
        Self {
            trusted: Arc::new(Semaphore::new(DETACHED - UNTRUSTED)),
            untrusted: Arc::new(Semaphore::new(UNTRUSTED)),
        }
    }
}

impl Dials {
    /// The permit of one more, if it may run on.
    pub(crate) fn permit(&self, trust: Trust) -> Option<OwnedSemaphorePermit> {
        let permits = match trust {
            Trust::Trusted => &self.trusted,
            Trust::Untrusted => &self.untrusted,
        };
        permits.clone().try_acquire_owned().ok()
    }
}
