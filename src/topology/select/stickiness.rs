//! Who answered for a repository, and where a digest was learned (design H5). Plain tables; the owner locks.

#[cfg(test)]
mod tests;

use crate::oci::{Digest, RegistryName, Repository};
use crate::topology::EndpointId;
use foldhash::HashMap;
use std::collections::BTreeMap;
use std::hash::Hash;
use std::time::Duration;
use tokio::time::Instant;

/// A repository stays with its address for this long after the last answer.
const STAYS: Duration = Duration::from_secs(600);

/// Entries per table: about 1 MiB in all at the longest names.
const CAPACITY: usize = 4096;

/// The two tables. Harbor's addresses are separate caches, and one may hold a trimmed index under a digest of
/// its own (harbor-facts 3.2), so what was resolved at one is fetched there.
#[derive(Debug, Default)]
pub struct Stickiness {
    repositories: Bounded<(RegistryName, Repository)>,
    digests: Bounded<Digest>,
}

/// A map that forgets the entry that was written longest ago.
#[derive(Debug)]
struct Bounded<K> {
    entries: HashMap<K, Entry>,
    by_age: BTreeMap<u64, K>,
    writes: u64,
}

#[derive(Debug)]
struct Entry {
    endpoint: EndpointId,
    at: Instant,
    write: u64,
}

// === impl Stickiness ===

impl Stickiness {
    /// Who answered for the repository in the last ten minutes.
    #[must_use]
    pub fn sticky(
        &self,
        registry: &RegistryName,
        repository: &Repository,
        now: Instant,
    ) -> Option<EndpointId> {
        let key = (registry.clone(), repository.clone());
        let entry = self.repositories.entries.get(&key)?;
        (now.saturating_duration_since(entry.at) < STAYS).then(|| entry.endpoint.clone())
    }

    /// Where the digest was learned: from a manifest of that address, or by being served from it.
    #[must_use]
    pub fn learned_at(&self, digest: &Digest) -> Option<EndpointId> {
        let entry = self.digests.entries.get(digest)?;
        Some(entry.endpoint.clone())
    }

    /// An endpoint answered for a repository.
    pub fn answered(
        &mut self,
        registry: &RegistryName,
        repository: &Repository,
        endpoint: &EndpointId,
        now: Instant,
    ) {
        let key = (registry.clone(), repository.clone());
        self.repositories.write(key, endpoint, now);
    }

    /// A digest was named or served by an endpoint.
    pub fn learned(&mut self, digest: &Digest, endpoint: &EndpointId, now: Instant) {
        self.digests.write(digest.clone(), endpoint, now);
    }
}

// === impl Bounded ===

impl<K: Clone + Eq + Hash> Bounded<K> {
    fn write(&mut self, key: K, endpoint: &EndpointId, at: Instant) {
        self.writes = self.writes.wrapping_add(1);
        let entry = Entry {
            endpoint: endpoint.clone(),
            at,
            write: self.writes,
        };
        self.by_age.insert(self.writes, key.clone());
        if let Some(old) = self.entries.insert(key, entry) {
            self.by_age.remove(&old.write);
        }
        if self.entries.len() > CAPACITY
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.entries.remove(&oldest);
        }
    }
}

impl<K> Default for Bounded<K> {
    fn default() -> Self {
        Self {
            entries: HashMap::default(),
            by_age: BTreeMap::new(),
            writes: 0,
        }
    }
}
