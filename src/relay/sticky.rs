//! Who answered for a repository, and where content of it was seen (design H5). Harbor's addresses are separate caches, and one may
//! hold a trimmed index under a digest of its own (harbor-facts 3.2), so what was resolved at one is fetched there. What a repository
//! teaches holds for it alone.

#[cfg(test)]
mod tests;

use super::memory::Pulled;
use crate::cache::{Bounds, SharedTtlMap};
use crate::oci::{Digest, RegistryName, Repository};
use crate::route::Route;
use crate::topology::{EndpointId, SourceId};
use std::time::Duration;
use tokio::time::Instant;

/// A repository stays with its address for this long after the last answer.
const STAYS: Duration = Duration::from_secs(600);

/// Entries per table: about 2 MiB in all at the longest names.
const CAPACITY: usize = 4096;

/// Digests learned from one answer at most; an image names at most 127 layers, an index some ten manifests.
const LEARNED: usize = 1024;

#[derive(Debug)]
pub(crate) struct Sticky {
    repositories: SharedTtlMap<(RegistryName, Repository), EndpointId>,
    digests: SharedTtlMap<(RegistryName, Repository, Digest), EndpointId>,
}

// === impl Sticky ===

impl Sticky {
    /// Who answered for this repository.
    pub(crate) fn repository(&self, route: &Route, now: Instant) -> Option<EndpointId> {
        let key = (route.registry_label.clone(), route.repository.clone());
        self.repositories.get(&key, now)
    }

    /// Where a digest of this repository was learned.
    pub(crate) fn digest(&self, route: &Route, of: &Digest, now: Instant) -> Option<EndpointId> {
        let (registry, repository) = (route.registry_label.clone(), route.repository.clone());
        self.digests.get(&(registry, repository, of.clone()), now)
    }

    /// A tier's endpoint answered; upstream's are all alike.
    pub(crate) fn answered<'a>(
        &self,
        of: &Pulled,
        endpoint: &EndpointId,
        learned: impl Iterator<Item = &'a Digest>,
        now: Instant,
    ) {
        if matches!(endpoint.source, SourceId::Upstream(_)) {
            return;
        }
        let (registry, repository) = (&of.image.registry, &of.image.repository);
        let key = (registry.clone(), repository.clone());
        self.repositories.put(key, endpoint.clone(), of.trust, now);
        self.digests.change(|digests| {
            for digest in learned.take(LEARNED) {
                let key = (registry.clone(), repository.clone(), digest.clone());
                digests.put(key, endpoint.clone(), of.trust, now);
            }
        });
    }
}

impl Default for Sticky {
    fn default() -> Self {
        Self {
            repositories: SharedTtlMap::new(Bounds::entries(STAYS, CAPACITY)),
            digests: SharedTtlMap::new(Bounds::entries(Duration::MAX, CAPACITY)),
        }
    }
}
