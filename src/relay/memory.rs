//! Short memories of the pull path: manifests for the GET that follows a HEAD, denials, quarantined bytes, tags that were
//! answered without a proof, and blobs that were delivered a moment ago. All bounded, all forgetting by time.

mod unproved;

pub(crate) use unproved::Doubted;

use super::answer::{header_value, served_by};
use crate::http1::Fields;
use crate::lifecycle::deadline;
use crate::oci::{Digest, Reference, RegistryName, Repository};
use crate::topology::EndpointId;
use bytes::Bytes;
use foldhash::HashMap;
use foldhash::fast::RandomState;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use std::hash::{BuildHasher as _, Hash, Hasher};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use unproved::UnprovedTags;

/// The digest that a registry says of what it sends.
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A reference in a repository of a registry: what many memories are kept under. Cheap to clone, and hashed once.
#[derive(Clone, Debug)]
pub(crate) struct Image(Arc<Hashed>);

#[derive(Debug)]
struct Hashed {
    hash: u64,
    named: Named,
}

/// What an image is called.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Named {
    pub(crate) registry: RegistryName,
    pub(crate) repository: Repository,
    pub(crate) reference: Reference,
}

/// A verified manifest with what its answer needs.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    /// The content.
    pub(crate) body: Bytes,
    /// Its digest.
    pub(crate) digest: Digest,
    /// Its `Content-Type`.
    pub(crate) media_type: Arc<str>,
    /// The same and more, as answers say it.
    pub(crate) spelled: Spelled,
    /// Who gave it.
    pub(crate) endpoint: EndpointId,
    /// Upstream was the first choice when it was fetched.
    pub(crate) direct: bool,
}

/// What every answer with a manifest says of it, spelled once.
#[derive(Clone, Debug)]
pub(crate) struct Spelled {
    /// `Content-Type`
    pub(crate) content_type: HeaderValue,
    /// `Docker-Content-Digest`
    pub(crate) content_digest: HeaderValue,
    /// `X-Harbor-Pilot-Served-By`
    pub(crate) served_by: HeaderValue,
    /// The endpoint's address, for the record.
    pub(crate) address: Arc<str>,
}

/// A manifest that was proved and read, with the bytes and headers that it came in: the same again from the same address
/// need not be hashed and read again.
#[derive(Debug)]
pub(crate) struct Proved {
    /// What came of it.
    pub(crate) manifest: Arc<Manifest>,
    /// The source's headers that had a part in it.
    pub(crate) claims: Claims,
}

/// What an answer's head says of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    /// `Docker-Content-Digest`
    pub(crate) digest: Option<String>,
    /// `Content-Type`
    pub(crate) content_type: Option<String>,
}

/// A map whose entries live for a fixed time; when full, what ran out goes first, then the oldest.
#[derive(Debug)]
pub(crate) struct Forgetting<K, V> {
    entries: Mutex<HashMap<K, (Instant, V)>>,
    /// Whether there are any; written under the lock. Most memories mostly hold nothing, and threads that only read this do
    /// not take it out of each other's hands, as they do a lock.
    holds_any: AtomicBool,
    life: Duration,
    capacity: usize,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Memories {
    /// Manifests by (registry, repository, digest), 30 s (design P6): the GET by digest that follows a HEAD by tag.
    pub(crate) manifests: Forgetting<(RegistryName, Repository, Digest), Arc<Manifest>>,
    /// What tags were answered with, 30 s: a GET by tag follows a HEAD by tag, and the next pod of the same image both.
    pub(crate) proved: Forgetting<Image, Arc<Proved>>,
    /// What tiers answered for tags without a digest, and whether anything came of it (design P13).
    pub(crate) unproved: UnprovedTags,
    /// Repositories that upstream denied, 10 min (design P5).
    pub(crate) denials: Forgetting<(RegistryName, Repository), String>,
    /// Where wrong bytes came from, 10 min (design P8).
    pub(crate) quarantine: Forgetting<(EndpointId, Digest), ()>,
    /// Addresses that let a request wait until another was asked, 30 s: they stand behind their tier's others (design P6).
    pub(crate) silent: Forgetting<EndpointId, ()>,
    /// Addresses that stalled or dripped in the middle of a blob until another went on, 5 min: they stand behind the others
    /// like the silent ones.
    pub(crate) slow: Forgetting<EndpointId, ()>,
    /// Who gave a range of a blob, which nobody could prove, 10 min; and in which pull.
    ranges: Forgetting<(EndpointId, Digest), u64>,
    /// How often a blob was asked for from its first byte, 10 min: so many pulls of it there were.
    pulls: Forgetting<Digest, u64>,
    /// Blobs delivered completely and unhashed, with those whose bytes they were, 10 min: asked for again they are suspect and
    /// asked of others first (design P8).
    pub(crate) delivered: Forgetting<Digest, Arc<[EndpointId]>>,
}

// === impl Image ===

impl Image {
    /// Content of a repository.
    pub(crate) fn content(registry: RegistryName, repository: Repository, digest: Digest) -> Self {
        Self::new(registry, repository, Reference::Digest(digest))
    }

    pub(crate) fn new(
        registry: RegistryName,
        repository: Repository,
        reference: Reference,
    ) -> Self {
        static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);
        let named = Named {
            registry,
            repository,
            reference,
        };
        let hash = HASHER.hash_one(&named);
        Self(Arc::new(Hashed { hash, named }))
    }
}

impl PartialEq for Image {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.hash == other.0.hash && self.0.named == other.0.named)
    }
}

impl Eq for Image {}

impl Hash for Image {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl Deref for Image {
    type Target = Named;

    fn deref(&self) -> &Named {
        &self.0.named
    }
}

// === impl Manifest ===

impl Manifest {
    /// `direct`: upstream was the first choice.
    pub(crate) fn new(
        body: Bytes,
        digest: Digest,
        media_type: Arc<str>,
        endpoint: EndpointId,
        direct: bool,
    ) -> Self {
        Self {
            spelled: Spelled {
                content_type: header_value(&media_type),
                content_digest: header_value(digest.as_str()),
                served_by: served_by(&endpoint),
                address: endpoint.address.to_string().into(),
            },
            body,
            digest,
            media_type,
            endpoint,
            direct,
        }
    }
}

// === impl Proved ===

impl Proved {
    /// Whether an answer of that endpoint is the same as this one.
    pub(crate) fn is(&self, endpoint: &EndpointId, fields: &Fields, body: &Bytes) -> bool {
        let Claims {
            digest,
            content_type,
        } = &self.claims;
        self.manifest.endpoint == *endpoint
            && digest.as_ref().map(String::as_bytes) == fields.get(&CONTENT_DIGEST)
            && content_type.as_ref().map(String::as_bytes) == fields.get(&CONTENT_TYPE)
            && self.manifest.body == *body
    }
}

// === impl Claims ===

impl Claims {
    /// Of an answer's head.
    pub(crate) fn of(fields: &Fields) -> Self {
        Self {
            digest: fields.text(&CONTENT_DIGEST).map(ToOwned::to_owned),
            content_type: fields.text(&CONTENT_TYPE).map(ToOwned::to_owned),
        }
    }

    /// The digest that the head tells. Harbor sends it empty on its proxy path (harbor-facts 3.2); only a filled one says
    /// something.
    pub(crate) fn told_digest(&self) -> Option<Digest> {
        self.digest.as_ref()?.parse().ok()
    }
}

// === impl Memories ===

impl Memories {
    pub(crate) fn new() -> Self {
        let minutes = |count: u64| Duration::from_secs(count.saturating_mul(60));
        Self {
            // 64 manifests of at most 4 MiB, in practice of a few KiB.
            manifests: Forgetting::new(Duration::from_secs(30), 64),
            proved: Forgetting::new(Duration::from_secs(30), 64),
            unproved: UnprovedTags::default(),
            denials: Forgetting::new(minutes(10), 1024),
            quarantine: Forgetting::new(minutes(10), 1024),
            silent: Forgetting::new(Duration::from_secs(30), 1024),
            slow: Forgetting::new(minutes(5), 1024),
            ranges: Forgetting::new(minutes(10), 1024),
            pulls: Forgetting::new(minutes(10), 1024),
            delivered: Forgetting::new(minutes(10), 1024),
        }
    }

    /// Somebody wants a blob from its first byte on.
    pub(crate) fn begins(&self, digest: &Digest, now: Instant) {
        let pulls = self.pulls.get(digest, now).unwrap_or_default();
        self.pulls.put(digest.clone(), pulls.saturating_add(1), now);
    }

    /// A range of a blob goes out, unproved.
    pub(crate) fn gives_range(&self, endpoint: &EndpointId, digest: &Digest, now: Instant) {
        let pulls = self.pulls.get(digest, now).unwrap_or_default();
        let key = (endpoint.clone(), digest.clone());
        self.ranges.put(key, pulls, now);
    }

    /// Whether it gave ranges of this blob to an earlier pull. containerd asks anew because it found them wrong, perhaps:
    /// of a layer that it takes in parallel ranges only itself sees the whole (design P13).
    pub(crate) fn is_doubted(&self, endpoint: &EndpointId, digest: &Digest, now: Instant) -> bool {
        let key = (endpoint.clone(), digest.clone());
        let (gave, pulls) = (self.ranges.get(&key, now), self.pulls.get(digest, now));
        matches!((gave, pulls), (Some(gave), Some(pulls)) if gave < pulls)
    }
}

// === impl Forgetting ===

impl<K: Hash + Eq + Clone, V: Clone> Forgetting<K, V> {
    /// Entries live for `life`; at most `capacity` of them.
    pub(crate) fn new(life: Duration, capacity: usize) -> Self {
        Self {
            entries: Mutex::default(),
            holds_any: AtomicBool::new(false),
            life,
            capacity,
        }
    }

    /// Whether there is nothing that any key could find.
    pub(crate) fn is_empty(&self) -> bool {
        !self.holds_any.load(Ordering::Acquire)
    }

    /// The value, while it lives.
    pub(crate) fn get(&self, key: &K, now: Instant) -> Option<V> {
        if self.is_empty() {
            return None;
        }
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, value) = entries.get(key)?;
        (now < deadline(*since, self.life)).then(|| value.clone())
    }

    /// Whether there is a living value.
    pub(crate) fn holds(&self, key: &K, now: Instant) -> bool {
        self.get(key, now).is_some()
    }

    /// Forgets what fits before its time.
    pub(crate) fn forget(&self, fits: impl Fn(&K) -> bool) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|key, _| !fits(key));
        self.holds_any.store(!entries.is_empty(), Ordering::Release);
    }

    /// Remembers from now on.
    pub(crate) fn put(&self, key: K, value: V, now: Instant) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= self.capacity && !entries.contains_key(&key) {
            entries.retain(|_, (since, _)| now < deadline(*since, self.life));
        }
        if entries.len() >= self.capacity && !entries.contains_key(&key) {
            let oldest = entries.iter().min_by_key(|(_, (since, _))| *since);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                entries.remove(&oldest);
            }
        }
        entries.insert(key, (now, value));
        self.holds_any.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::SourceId;
    use std::net::SocketAddr;

    #[tokio::test(start_paused = true)]
    async fn entries_are_forgotten_by_time_and_by_number() {
        let memory = Forgetting::new(Duration::from_secs(30), 2);
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        memory.put("a", 1, at(0));
        memory.put("b", 2, at(1));
        assert_eq!(memory.get(&"a", at(29)), Some(1));
        assert_eq!(memory.get(&"a", at(30)), None);
        memory.put("c", 3, at(2));
        assert_eq!(memory.get(&"a", at(3)), None, "the oldest made room");
        assert_eq!(memory.get(&"b", at(3)), Some(2));
        memory.put("d", 4, at(60));
        assert_eq!(memory.get(&"d", at(60)), Some(4));
        memory.forget(|key| *key == "d");
        assert_eq!(memory.get(&"d", at(60)), None);
        memory.forget(|_| true);
        assert!(memory.is_empty());
        memory.put("e", 5, at(61));
        assert!(!memory.is_empty());
        assert_eq!(memory.get(&"e", at(61)), Some(5));
    }

    #[tokio::test(start_paused = true)]
    async fn who_gave_ranges_is_doubted_when_the_blob_is_asked_for_anew() {
        let memories = Memories::new();
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let (digest, other) = (Digest::sha256(b"one"), Digest::sha256(b"other"));
        let endpoint = |last| EndpointId {
            source: SourceId::Tier("replica".into()),
            address: SocketAddr::from(([192, 0, 2, last], 443)),
        };
        let (first, second) = (endpoint(1), endpoint(2));
        memories.begins(&digest, at(0));
        memories.gives_range(&first, &digest, at(1));
        assert!(
            !memories.is_doubted(&first, &digest, at(2)),
            "the same pull goes on"
        );
        memories.begins(&digest, at(10));
        assert!(memories.is_doubted(&first, &digest, at(10)));
        assert!(!memories.is_doubted(&second, &digest, at(10)));
        assert!(!memories.is_doubted(&first, &other, at(10)));
        memories.gives_range(&first, &digest, at(11));
        assert!(
            !memories.is_doubted(&first, &digest, at(12)),
            "nobody else was left: it gives all the rest as well"
        );
        memories.begins(&digest, at(20));
        assert!(memories.is_doubted(&first, &digest, at(20)));
        assert!(!memories.is_doubted(&first, &digest, at(612)), "forgotten");
    }
}
