//! What a body is of, and where more of it can be had.

use crate::oci::ContentRange;
use crate::relay::blob::BlobWanted;
use crate::relay::context::RelayParts;
use crate::relay::memory::Pulled;
use crate::relay::timing::Timing;
use crate::route::Route;
use crate::topology::EndpointId;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::time::Instant;

/// What the body is of and where more of it can be had.
pub(crate) struct Errand {
    pub(crate) parts: Arc<RelayParts>,
    pub(crate) route: Arc<Route>,
    pub(crate) wanted: BlobWanted,
    pub(crate) timing: Timing,
    /// Offset of the body's first byte in the blob.
    pub(crate) first: u64,
    /// Offset of its last byte; `None`: the blob's end, wherever that is.
    pub(crate) last: Option<u64>,
    /// Size of the whole blob, as its first source told it.
    pub(crate) total: Option<u64>,
    /// Parts of the blob that are to follow in the same body, each from its first byte to its last.
    pub(crate) spans: VecDeque<ContentRange>,
    /// Tells the server to reset the connection.
    pub(crate) reset: Arc<AtomicBool>,
}

// === impl Errand ===

impl Errand {
    /// Goes over to the next part, if there is one.
    pub(super) fn next_span(&mut self) -> Option<ContentRange> {
        let span = self.spans.pop_front()?;
        self.first = span.first;
        self.last = Some(span.last);
        self.wanted = self.wanted.part_of(span);
        Some(span)
    }

    /// All that was wanted is there, and fits: who named it with another size was wrong. `bytes`: of this body.
    pub(super) fn delivered(&self, bytes: u64) {
        let size = self.total.unwrap_or(self.first.saturating_add(bytes));
        let Pulled { blob, trust } = self.wanted.pulled();
        let tags = &self.parts.memories.tags;
        tags.has_size((&blob, trust), size, Instant::now());
    }

    /// What went out whole and without a hash is suspect when it is asked for again soon (design P8): containerd has found
    /// it wrong, perhaps. `by`: whose bytes it was made of.
    pub(super) fn delivered_unproven(&self, by: Vec<EndpointId>) {
        let is_whole = self.first == 0
            && self.total.is_some()
            && self.total == self.last.and_then(|last| last.checked_add(1));
        if is_whole {
            let unproven = &self.parts.memories.unproven;
            unproven.delivered(&self.wanted.pulled(), by, Instant::now());
        }
    }
}
