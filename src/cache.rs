//! What is kept for a while: one map for all of it, bounded in time, number and bytes, in which what trusted clients taught is
//! evicted last (design S8). Pure: the clock is told to it.

mod locked;

pub use locked::SharedTtlMap;

use foldhash::HashMap;
use std::collections::BTreeMap;
use std::hash::Hash;
use std::time::Duration;
use tokio::time::Instant;

/// Untrusted clients together hold at most this part of a map: one in four.
const UNTRUSTED_PART: usize = 4;

/// Who a client is, as far as it decides what its requests may displace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Root or the agent's own user, on a loopback listener: containerd.
    Trusted,
    /// A client of another uid, or of another host.
    Untrusted,
}

// === impl Trust ===

impl Trust {
    /// As it stands in files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Untrusted => "untrusted",
        }
    }
}

/// How much a map holds, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Entries live for this long after they were written; `Duration::MAX`: until they are evicted.
    pub life: Duration,
    /// The number of entries beyond which the oldest are evicted.
    pub entries: usize,
    /// Bytes at most, by the map's own weighing.
    pub bytes: usize,
}

/// A map with two classes of entries: those that a trusted client's request wrote and the others. When it is full, expired
/// entries go first, then the oldest of untrusted clients, then the oldest of trusted ones. Untrusted clients' entries
/// together take at most a quarter of its entries and bytes.
#[derive(Debug)]
pub struct TtlMap<K, V> {
    entries: HashMap<K, Entry<V>>,
    trusted: Class<K>,
    untrusted: Class<K>,
    /// Numbers writes and uses: the order of eviction.
    writes: u64,
    bounds: Bounds,
    weigh: fn(&K, &V) -> usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    since: Instant,
    number: u64,
    trust: Trust,
    bytes: usize,
}

/// The entries of one class, oldest first.
#[derive(Debug)]
struct Class<K> {
    by_age: BTreeMap<u64, K>,
    bytes: usize,
}

// === impl Bounds ===

impl Bounds {
    /// So many entries of a size that matters little.
    #[must_use]
    pub const fn entries(life: Duration, entries: usize) -> Self {
        Self {
            life,
            entries,
            bytes: usize::MAX,
        }
    }
}

// === impl TtlMap ===

impl<K: Hash + Eq + Clone, V> TtlMap<K, V> {
    /// An empty map whose entries weigh what they take by themselves.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self::weighed(bounds, |_, _| size_of::<(K, Entry<V>)>())
    }

    /// An empty map; `weigh` tells the bytes of an entry.
    #[must_use]
    pub fn weighed(bounds: Bounds, weigh: fn(&K, &V) -> usize) -> Self {
        Self {
            entries: HashMap::default(),
            trusted: Class::default(),
            untrusted: Class::default(),
            writes: 0,
            bounds,
            weigh,
        }
    }

    /// The value, while it lives.
    #[must_use]
    pub fn get(&self, key: &K, now: Instant) -> Option<&V> {
        let entry = self.entries.get(key)?;
        self.lives(entry.since, now).then_some(&entry.value)
    }

    /// The value, while it lives, to be changed in place. Its weight and its age stay.
    pub fn get_mut(&mut self, key: &K, now: Instant) -> Option<&mut V> {
        let life = self.bounds.life;
        let entry = self.entries.get_mut(key)?;
        (now.saturating_duration_since(entry.since) < life).then_some(&mut entry.value)
    }

    /// Writes an entry, unless it alone is more than its class may have. What a trusted client taught stays a trusted client's,
    /// whoever writes it again.
    pub fn put(&mut self, key: K, value: V, trust: Trust, now: Instant) {
        self.drop_expired(now);
        let trust = match self.remove_entry(&key) {
            Some(old) if old.trust == Trust::Trusted => Trust::Trusted,
            _ => trust,
        };
        let bytes = (self.weigh)(&key, &value);
        if bytes > self.most_bytes(trust) {
            return;
        }
        self.writes = self.writes.saturating_add(1);
        let entry = Entry {
            bytes,
            value,
            since: now,
            number: self.writes,
            trust,
        };
        self.class(trust)
            .add(entry.number, key.clone(), entry.bytes);
        self.entries.insert(key, entry);
        self.make_room();
    }

    /// Notes that an entry was used by such a client: it becomes the youngest of its class, and a trusted client's if that one
    /// is. While the map is less than half full nothing is evicted soon, and only the class is noted.
    pub fn used(&mut self, key: &K, trust: Trust) {
        let is_roomy =
            self.entries.len() < self.bounds.entries / 2 && self.bytes() < self.bounds.bytes / 2;
        let Some(entry) = self.entries.get(key) else {
            return;
        };
        let becomes = if entry.trust == Trust::Trusted {
            Trust::Trusted
        } else {
            trust
        };
        if is_roomy && becomes == entry.trust {
            return;
        }
        let (number, bytes, was) = (entry.number, entry.bytes, entry.trust);
        self.class(was).drop(number, bytes);
        self.writes = self.writes.saturating_add(1);
        let number = self.writes;
        self.class(becomes).add(number, key.clone(), bytes);
        if let Some(entry) = self.entries.get_mut(key) {
            (entry.number, entry.trust) = (number, becomes);
        }
    }

    /// An entry has changed: what it takes is told anew, and others make room.
    pub fn weigh(&mut self, key: &K) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        let (was, is) = (entry.bytes, (self.weigh)(key, &entry.value));
        entry.bytes = is;
        let trust = entry.trust;
        let class = self.class(trust);
        class.bytes = class.bytes.saturating_sub(was).saturating_add(is);
        self.make_room();
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.remove_entry(key).map(|entry| entry.value)
    }

    /// Keeps only what fits.
    pub fn retain(&mut self, fits: impl Fn(&K, &V) -> bool) {
        let gone = self
            .entries
            .iter()
            .filter(|(key, entry)| !fits(key, &entry.value));
        let gone: Vec<K> = gone.map(|(key, _)| key.clone()).collect();
        for key in gone {
            self.remove_entry(&key);
        }
    }

    /// Takes out what has expired. Writing does so as well, this is for maps that nobody writes to.
    pub fn drop_expired(&mut self, now: Instant) {
        for trust in [Trust::Untrusted, Trust::Trusted] {
            while let Some(oldest) = self.class(trust).oldest() {
                let lives = |entry: &Entry<V>| self.lives(entry.since, now);
                if self.entries.get(&oldest).is_some_and(lives) {
                    break;
                }
                self.remove_entry(&oldest);
            }
        }
    }

    /// All entries, those of untrusted clients first, each class from its oldest on.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V, Trust)> {
        let keys = self
            .untrusted
            .by_age
            .values()
            .chain(self.trusted.by_age.values());
        keys.filter_map(|key| {
            let entry = self.entries.get(key)?;
            Some((key, &entry.value, entry.trust))
        })
    }

    /// All entries, in no order, to be changed in place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.entries
            .iter_mut()
            .map(|(key, entry)| (key, &mut entry.value))
    }

    /// How many there are, expired ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What they weigh, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.trusted.bytes.saturating_add(self.untrusted.bytes)
    }

    /// Evicts until all together weigh at most this many bytes.
    pub fn shrink_to(&mut self, bytes: usize) {
        while self.bytes() > bytes && self.evict_one() {}
    }

    /// Evicts the oldest entry of one class that fits.
    pub fn evict(&mut self, trust: Trust, fits: impl Fn(&V) -> bool) -> Option<V> {
        let key = {
            let mut all = self.iter();
            let found = all.find(|(_, value, of)| *of == trust && fits(value));
            found?.0.clone()
        };
        self.remove(&key)
    }

    fn most_bytes(&self, trust: Trust) -> usize {
        match trust {
            Trust::Trusted => self.bounds.bytes,
            Trust::Untrusted => self.bounds.bytes / UNTRUSTED_PART,
        }
    }

    fn lives(&self, since: Instant, now: Instant) -> bool {
        now.saturating_duration_since(since) < self.bounds.life
    }

    fn class(&mut self, trust: Trust) -> &mut Class<K> {
        match trust {
            Trust::Trusted => &mut self.trusted,
            Trust::Untrusted => &mut self.untrusted,
        }
    }

    fn remove_entry(&mut self, key: &K) -> Option<Entry<V>> {
        let entry = self.entries.remove(key)?;
        self.class(entry.trust).drop(entry.number, entry.bytes);
        Some(entry)
    }

    fn make_room(&mut self) {
        let Bounds { entries, bytes, .. } = self.bounds;
        while self.untrusted.by_age.len() > entries / UNTRUSTED_PART
            || self.untrusted.bytes > self.most_bytes(Trust::Untrusted)
        {
            if !self.evict_one() {
                break;
            }
        }
        while self.entries.len() > entries && self.evict_one() {}
        self.shrink_to(bytes);
    }

    /// Evicts the oldest entry of untrusted clients, or where they have none that of trusted ones.
    fn evict_one(&mut self) -> bool {
        let oldest = self.untrusted.oldest().or_else(|| self.trusted.oldest());
        oldest.is_some_and(|oldest| self.remove_entry(&oldest).is_some())
    }
}

// === impl Class ===

impl<K: Clone> Class<K> {
    fn oldest(&self) -> Option<K> {
        self.by_age.values().next().cloned()
    }

    fn add(&mut self, number: u64, key: K, bytes: usize) {
        self.by_age.insert(number, key);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn drop(&mut self, number: u64, bytes: usize) {
        self.by_age.remove(&number);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl<K> Default for Class<K> {
    fn default() -> Self {
        Self {
            by_age: BTreeMap::new(),
            bytes: 0,
        }
    }
}

#[cfg(test)]
mod tests;
