//! Addresses that stand behind others for a while, and for which requests. What an untrusted client's requests taught counts
//! for untrusted clients alone: its choice of what to ask for, and how often, reorders nothing for the trusted (design S8).

use super::Image;
use crate::cache::{Bounds, SharedTtlMap, Trust};
use crate::topology::EndpointId;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Entries per table.
const ENTRIES: usize = 1024;

const TEN_MINUTES: Duration = Duration::from_secs(600);

/// Addresses with a mark, by who taught it.
#[derive(Debug)]
pub(crate) struct Marked(SharedTtlMap<(EndpointId, Trust), ()>);

/// A blob of a repository as clients of one class pull it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pulled {
    pub(crate) blob: Image,
    pub(crate) trust: Trust,
}

/// Whose bytes of a blob nobody could prove before they went out. Asked for again the blob is suspect: containerd has found it
/// wrong, perhaps (design P8, P13).
#[derive(Debug)]
pub(crate) struct Unproven {
    /// Who gave a range of a blob, and in which pull.
    ranges: SharedTtlMap<(EndpointId, Pulled), u64>,
    /// How often a blob was asked for from its first byte: so many pulls of it there were.
    pulls: SharedTtlMap<Pulled, u64>,
    /// Blobs delivered completely and unhashed, with those whose bytes they were.
    delivered: SharedTtlMap<Pulled, Arc<[EndpointId]>>,
}

// === impl Marked ===

impl Marked {
    /// Marks last for so long.
    pub(super) fn lasting(life: Duration) -> Self {
        Self(SharedTtlMap::new(Bounds::entries(life, ENTRIES)))
    }

    /// Forgets what has expired.
    pub(super) fn sweep(&self, now: Instant) {
        self.0.sweep(now);
    }

    /// A request of such a client has met it.
    pub(crate) fn put(&self, endpoint: &EndpointId, trust: Trust, now: Instant) {
        self.0.put((endpoint.clone(), trust), (), trust, now);
    }

    /// Whether it counts for such a client.
    pub(crate) fn holds(&self, endpoint: &EndpointId, trust: Trust, now: Instant) -> bool {
        let taught_by = |who| self.0.holds(&(endpoint.clone(), who), now);
        !self.0.is_empty()
            && (taught_by(Trust::Trusted) || (trust == Trust::Untrusted && taught_by(trust)))
    }

    /// Such a client's request has shown that it is over.
    pub(crate) fn forget(&self, endpoint: &EndpointId, trust: Trust) {
        let may = |who| trust == Trust::Trusted || who == trust;
        self.0
            .forget(|(marked, who)| marked == endpoint && may(*who));
    }
}

// === impl Unproven ===

impl Unproven {
    pub(super) fn new() -> Self {
        let bounds = Bounds::entries(TEN_MINUTES, ENTRIES);
        Self {
            ranges: SharedTtlMap::new(bounds),
            pulls: SharedTtlMap::new(bounds),
            delivered: SharedTtlMap::new(bounds),
        }
    }

    /// Forgets what has expired.
    pub(super) fn sweep(&self, now: Instant) {
        self.ranges.sweep(now);
        self.pulls.sweep(now);
        self.delivered.sweep(now);
    }

    /// Somebody wants a blob from its first byte on.
    pub(crate) fn begins(&self, pulled: &Pulled, now: Instant) {
        let pulls = self.pulls.get(pulled, now).unwrap_or_default();
        self.pulls
            .put(pulled.clone(), pulls.saturating_add(1), pulled.trust, now);
    }

    /// A range of a blob goes out.
    pub(crate) fn gives_range(&self, endpoint: &EndpointId, pulled: &Pulled, now: Instant) {
        let pulls = self.pulls.get(pulled, now).unwrap_or_default();
        let key = (endpoint.clone(), pulled.clone());
        self.ranges.put(key, pulls, pulled.trust, now);
    }

    /// A blob went out whole and without a hash, made of the bytes of these.
    pub(crate) fn delivered(&self, pulled: &Pulled, by: Vec<EndpointId>, now: Instant) {
        self.delivered
            .put(pulled.clone(), by.into(), pulled.trust, now);
    }

    /// Whose bytes the blob went out with, whole and without a hash.
    pub(crate) fn delivered_by(&self, pulled: &Pulled, now: Instant) -> Option<Arc<[EndpointId]>> {
        self.delivered.get(pulled, now)
    }

    /// Whether it gave ranges of this blob to an earlier pull. containerd asks anew because it found them wrong, perhaps:
    /// of a layer that it takes in parallel ranges only itself sees the whole (design P13).
    pub(crate) fn is_suspect(&self, endpoint: &EndpointId, pulled: &Pulled, now: Instant) -> bool {
        if self.ranges.is_empty() {
            return false;
        }
        let key = (endpoint.clone(), pulled.clone());
        let (gave, pulls) = (self.ranges.get(&key, now), self.pulls.get(pulled, now));
        matches!((gave, pulls), (Some(gave), Some(pulls)) if gave < pulls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;
    use crate::topology::SourceId;
    use Trust::{Trusted, Untrusted};
    use std::net::SocketAddr;

    fn endpoint(last: u8) -> EndpointId {
        EndpointId {
            source: SourceId::Tier("replica".into()),
            address: SocketAddr::from(([192, 0, 2, last], 443)),
        }
    }

    fn pulled(repository: &str, name: &str, trust: Trust) -> Pulled {
        let (registry, repository) = ("docker.io".parse().unwrap(), repository.parse().unwrap());
        let digest = Digest::sha256(name.as_bytes());
        Pulled {
            blob: Image::content(registry, repository, digest),
            trust,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_mark_of_an_untrusted_clients_request_is_for_its_like_alone() {
        let (marked, now) = (Marked::lasting(Duration::from_secs(30)), Instant::now());
        let (first, second) = (endpoint(1), endpoint(2));
        marked.put(&first, Untrusted, now);
        assert!(marked.holds(&first, Untrusted, now));
        assert!(!marked.holds(&first, Trusted, now));
        marked.put(&second, Trusted, now);
        assert!(marked.holds(&second, Untrusted, now));
        assert!(marked.holds(&second, Trusted, now));
        marked.forget(&second, Untrusted);
        assert!(marked.holds(&second, Trusted, now));
        marked.forget(&second, Trusted);
        marked.forget(&first, Trusted);
        assert!(!marked.holds(&second, Trusted, now) && !marked.holds(&first, Untrusted, now));
    }

    #[tokio::test(start_paused = true)]
    async fn who_gave_ranges_is_suspect_when_the_blob_is_asked_for_anew() {
        let unproven = Unproven::new();
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let one = pulled("library/app", "one", Trusted);
        let other = pulled("library/app", "other", Trusted);
        let (first, second) = (endpoint(1), endpoint(2));
        unproven.begins(&one, at(0));
        unproven.gives_range(&first, &one, at(1));
        assert!(
            !unproven.is_suspect(&first, &one, at(2)),
            "the same pull goes on"
        );
        // Who pulls it otherwise says nothing of this pull.
        for not_ours in [
            pulled("library/app", "one", Untrusted),
            pulled("evil/app", "one", Trusted),
        ] {
            unproven.begins(&not_ours, at(3));
            unproven.begins(&not_ours, at(4));
            assert!(!unproven.is_suspect(&first, &not_ours, at(5)));
        }
        assert!(!unproven.is_suspect(&first, &one, at(5)));
        unproven.begins(&one, at(10));
        assert!(unproven.is_suspect(&first, &one, at(10)));
        assert!(!unproven.is_suspect(&second, &one, at(10)));
        assert!(!unproven.is_suspect(&first, &other, at(10)));
        unproven.gives_range(&first, &one, at(11));
        assert!(
            !unproven.is_suspect(&first, &one, at(12)),
            "nobody else was left: it gives all the rest as well"
        );
        unproven.begins(&one, at(20));
        assert!(unproven.is_suspect(&first, &one, at(20)));
        assert!(!unproven.is_suspect(&first, &one, at(612)), "forgotten");
    }
}
