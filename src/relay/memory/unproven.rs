//! Whose bytes of a blob nobody could prove before they went out: ranges, and what was not hashed. Asked for anew the blob is
//! suspect: containerd has found it wrong, perhaps (design P8, P13). Of a layer that it takes in parallel ranges only itself sees
//! the whole.

use super::Image;
use crate::cache::{Bounds, SharedTtlMap, Trust};
use crate::topology::EndpointId;
use std::time::Duration;
use tokio::time::Instant;

/// A blob of a repository as clients of one class pull it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pulled {
    pub(crate) blob: Image,
    pub(crate) trust: Trust,
}

/// Who gave what of the newest pull of a blob, for ten minutes.
#[derive(Debug)]
pub(crate) struct Unproven(SharedTtlMap<Pulled, Vec<EndpointId>>);

// === impl Unproven ===

impl Unproven {
    pub(super) fn new() -> Self {
        let bounds = Bounds::entries(Duration::from_secs(600), 1024);
        Self(SharedTtlMap::new(bounds))
    }

    /// Forgets what has expired.
    pub(super) fn sweep(&self, now: Instant) {
        self.0.sweep(now);
    }

    /// Bytes of a blob go out without a proof.
    pub(crate) fn gives(&self, endpoint: &EndpointId, pulled: &Pulled, now: Instant) {
        self.0.change(|given| {
            let mut by = given.get(pulled, now).cloned().unwrap_or_default();
            if !by.contains(endpoint) {
                by.push(endpoint.clone());
            }
            given.put(pulled.clone(), by, pulled.trust, now);
        });
    }

    /// Somebody wants a blob from its first byte on: who gave bytes to the pull before this one.
    pub(crate) fn begins(&self, pulled: &Pulled) -> Vec<EndpointId> {
        if self.0.is_empty() {
            return Vec::new();
        }
        self.0
            .change(|given| given.remove(pulled))
            .unwrap_or_default()
    }
}
