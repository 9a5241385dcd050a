//! The sticky tables (design H5), shared by all searches.

use crate::cache::Trust;
use crate::oci::Digest;
use crate::route::Route;
use crate::topology::select::Stickiness;
use crate::topology::{EndpointId, SourceId};
use std::sync::{Mutex, PoisonError};
use tokio::time::Instant;

/// Digests learned from one answer at most; an image names at most 127 layers, an index some ten manifests.
const LEARNED: usize = 1024;

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
        let of = (&route.registry_label, &route.repository);
        let learned_at = |digest| tables.learned_at(of, digest, now);
        (tables.sticky(of, now), digest.and_then(learned_at))
    }

    /// A tier's endpoint answered; upstream's are all alike.
    pub(crate) fn answered<'a>(
        &self,
        (route, trust): (&Route, Trust),
        endpoint: &EndpointId,
        learned: impl Iterator<Item = &'a Digest>,
        now: Instant,
    ) {
        if matches!(endpoint.source, SourceId::Upstream(_)) {
            return;
        }
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = (&route.registry_label, &route.repository);
        tables.answered(of, endpoint, trust, now);
        for digest in learned.take(LEARNED) {
            tables.learned(of, digest, (endpoint, trust), now);
        }
    }
}
