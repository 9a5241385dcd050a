//! The sticky tables (design H5), shared by all searches.

use crate::oci::Digest;
use crate::route::Route;
use crate::topology::select::Stickiness;
use crate::topology::{EndpointId, SourceId};
use std::sync::{Mutex, PoisonError};
use tokio::time::Instant;

/// The sticky tables behind their lock, which is held for single look-ups.
#[derive(Debug, Default)]
pub(crate) struct Sticky(Mutex<Stickiness>);

// === impl Sticky ===

impl Sticky {
    /// Who answered for this repository, and where the digest was learned.
    pub(crate) fn recall(
        &self,
        route: &Route,
        digest: Option<&Digest>,
        now: Instant,
    ) -> (Option<EndpointId>, Option<EndpointId>) {
        let tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sticky = tables.sticky(&route.registry_label, &route.repository, now);
        (sticky, digest.and_then(|digest| tables.learned_at(digest)))
    }

    /// A tier's endpoint answered; upstream's are all alike.
    pub(crate) fn answered<'a>(
        &self,
        route: &Route,
        endpoint: &EndpointId,
        learned: impl Iterator<Item = &'a Digest>,
        now: Instant,
    ) {
        if matches!(endpoint.source, SourceId::Upstream(_)) {
            return;
        }
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tables.answered(&route.registry_label, &route.repository, endpoint, now);
        for digest in learned {
            tables.learned(digest, endpoint, now);
        }
    }
}
