//! What has to go: what has expired, and kept manifests where memory runs short.

use super::{Manifest, Memories};
use crate::budget::SMALL;
use crate::cache::Trust;
use std::sync::Arc;
use tokio::time::Instant;

impl Memories {
    /// Forgets what has expired.
    pub(crate) fn sweep(&self, now: Instant) {
        self.manifests.sweep(now);
        self.headed.sweep(now);
        self.denials.sweep(now);
        self.no_tag.sweep(now);
        self.told_sizes.sweep(now);
        self.unproven.sweep(now);
    }

    /// Gives kept manifests up until that is enough: those of untrusted clients' pulls first, of each the oldest first. Small
    /// ones stay: all of them together are little, and most of them are somebody's next request.
    pub(crate) fn give_up(&self, is_enough: &dyn Fn() -> bool) {
        let of_kept = |kept: &Arc<Manifest>| kept.body.len() > SMALL;
        for trust in [Trust::Untrusted, Trust::Trusted] {
            while !is_enough() && self.manifests.evict(trust, of_kept) {}
        }
    }
}
