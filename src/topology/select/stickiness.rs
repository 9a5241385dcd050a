//! Who answered for a repository, and where a digest was learned (design H5). Plain tables; the owner locks.

#[cfg(test)]
mod tests;

use crate::cache::{Bounds, Trust, TtlMap};
use crate::oci::{Digest, RegistryName, Repository};
use crate::topology::EndpointId;
use std::time::Duration;
use tokio::time::Instant;

/// A repository stays with its address for this long after the last answer.
const STAYS: Duration = Duration::from_secs(600);

/// Entries per table: about 2 MiB in all at the longest names.
const CAPACITY: usize = 4096;

/// The two tables. Harbor's addresses are separate caches, and one may hold a trimmed index under a digest of
/// its own (harbor-facts 3.2), so what was resolved at one is fetched there. What a repository teaches holds for it alone.
#[derive(Debug)]
pub struct Stickiness {
    repositories: TtlMap<(RegistryName, Repository), EndpointId>,
    digests: TtlMap<(RegistryName, Repository, Digest), EndpointId>,
}

/// A repository of a registry.
type Of<'a> = (&'a RegistryName, &'a Repository);

// === impl Stickiness ===

impl Stickiness {
    /// Who answered for the repository in the last ten minutes.
    #[must_use]
    pub fn sticky(&self, (registry, repository): Of<'_>, now: Instant) -> Option<EndpointId> {
        let key = (registry.clone(), repository.clone());
        self.repositories.get(&key, now).cloned()
    }

    /// Where content of the repository was learned: from a manifest of that address, or by being served from it.
    #[must_use]
    pub fn learned_at(
        &self,
        (registry, repository): Of<'_>,
        digest: &Digest,
        now: Instant,
    ) -> Option<EndpointId> {
        let key = (registry.clone(), repository.clone(), digest.clone());
        self.digests.get(&key, now).cloned()
    }

    /// An endpoint answered for a repository, to such a client.
    pub fn answered(
        &mut self,
        (registry, repository): Of<'_>,
        endpoint: &EndpointId,
        trust: Trust,
        now: Instant,
    ) {
        let key = (registry.clone(), repository.clone());
        self.repositories.put(key, endpoint.clone(), trust, now);
    }

    /// Content of a repository was named or served by an endpoint, to such a client.
    pub fn learned(
        &mut self,
        (registry, repository): Of<'_>,
        digest: &Digest,
        (endpoint, trust): (&EndpointId, Trust),
        now: Instant,
    ) {
        let key = (registry.clone(), repository.clone(), digest.clone());
        self.digests.put(key, endpoint.clone(), trust, now);
    }
}

impl Default for Stickiness {
    fn default() -> Self {
        Self {
            repositories: TtlMap::new(Bounds::entries(STAYS, CAPACITY)),
            digests: TtlMap::new(Bounds::entries(Duration::MAX, CAPACITY)),
        }
    }
}
