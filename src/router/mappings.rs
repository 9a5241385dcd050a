//! Where images without a registry were found: by repository and tag, because what one tag's answer teaches must not decide where
//! another tag comes from (design S8); of repositories also who has had anything of them, for blobs, which their digest proves
//! anyway. Bounded, kept on disk.

mod kept;
#[cfg(test)]
mod tests;

use crate::cache::{Bounds, SharedTtlMap, Trust};
use crate::config::Router;
use crate::lifecycle::deadline;
use crate::oci::{Reference, RegistryName, Repository, ResourceKind};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Images and repositories that are remembered, each at most.
const ENTRIES: usize = 8192;
/// With so many known nothing is taken over from other agents unasked: it would displace what is used here.
const TOLD: usize = ENTRIES / 8;
/// Registries that are remembered for one repository.
const REGISTRIES: usize = 4;
/// A name that several have is said this seldom, per repository.
const SAID: Duration = Duration::from_secs(600);

/// What of a repository is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    /// A manifest by its tag or digest.
    Manifest(Reference),
    /// The list of tags.
    Tags,
}

/// An image without a registry: what is looked for, and for whom. What an untrusted client's request teaches of it counts for such
/// clients alone: who chooses when a name is asked for first would choose where it comes from (design S8).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wanted {
    /// As it was asked for: without `library/` where nobody wrote it.
    pub(crate) repository: Repository,
    pub(crate) subject: Subject,
    pub(crate) trust: Trust,
}

/// How far what is known may be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Younger than `ttl`.
    Fresh,
    /// Within `stale_while_revalidate` after that.
    Stale,
    /// Older, or from before this start.
    Old,
    /// Another agent's word, and nothing of it has come from there yet.
    Told,
}

#[derive(Clone, Debug)]
struct Place {
    registry: RegistryName,
    seen: Seen,
}

/// Who saw it there last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// This agent, at that moment.
    At(Instant),
    /// This agent, before this start.
    Before,
    /// Another agent found it; it came by Redis.
    Elsewhere,
}

/// A registry that has had something of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) registry: RegistryName,
    /// As another agent says.
    pub(crate) is_told: bool,
}

/// All that is remembered.
#[derive(Debug)]
pub(crate) struct Mappings {
    places: SharedTtlMap<Wanted, Place>,
    /// Nobody has it: since when.
    nowhere: SharedTtlMap<Wanted, Instant>,
    /// Who has had anything of a repository that such clients asked for, the last one first.
    repositories: SharedTtlMap<(Repository, Trust), Vec<Holder>>,
    said: SharedTtlMap<Repository, ()>,
    changed: AtomicBool,
}

// === impl Subject ===

impl Subject {
    /// As a registry is asked for it.
    pub(crate) fn kind(&self) -> ResourceKind {
        match self {
            Self::Manifest(reference) => ResourceKind::Manifest(reference.clone()),
            Self::Tags => ResourceKind::Tags,
        }
    }
}

// === impl Wanted ===

impl Wanted {
    /// Whether a digest proves what is found, whoever has it.
    pub(crate) fn is_proved(&self) -> bool {
        matches!(&self.subject, Subject::Manifest(reference) if reference.digest().is_some())
    }
}

// === impl Place ===

impl Place {
    fn new(registry: &RegistryName, seen: Seen) -> Self {
        let registry = registry.clone();
        Self { registry, seen }
    }
}

// === impl Mappings ===

impl Default for Mappings {
    fn default() -> Self {
        let kept = || Bounds::entries(Duration::MAX, ENTRIES);
        Self {
            places: SharedTtlMap::new(kept()),
            nowhere: SharedTtlMap::new(Bounds::entries(Router::LONGEST_NEGATIVE_TTL, ENTRIES)),
            repositories: SharedTtlMap::new(kept()),
            said: SharedTtlMap::new(Bounds::entries(SAID, ENTRIES)),
            changed: AtomicBool::new(false),
        }
    }
}

impl Mappings {
    /// What an earlier run kept.
    pub(crate) fn load(path: &Path) -> Self {
        let mappings = Self::default();
        let now = Instant::now();
        for (wanted, place) in kept::read(path) {
            mappings.put(&wanted, place, now);
        }
        mappings.changed.store(false, Ordering::Relaxed);
        mappings
    }

    /// Writes all to a file if anything changed since the last time.
    ///
    /// # Errors
    /// [`io::Error`]: the file cannot be written.
    pub(crate) fn store(&self, path: &Path) -> io::Result<()> {
        if !self.changed.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let lines = self.places.read(|places| {
            let all = places.iter();
            let lines = all.map(|(wanted, place, _)| kept::line(wanted, place));
            lines.collect::<String>()
        });
        let written = kept::write(path, &lines);
        self.changed.fetch_or(written.is_err(), Ordering::Relaxed);
        written
    }

    /// Where it was found: by such clients, or by trusted ones.
    pub(crate) fn place(
        &self,
        wanted: &Wanted,
        router: &Router,
        now: Instant,
    ) -> Option<(RegistryName, Freshness)> {
        let of_trusted = || {
            let trust = Trust::Trusted;
            self.places.get(
                &Wanted {
                    trust,
                    ..wanted.clone()
                },
                now,
            )
        };
        let Place { registry, seen } = self.places.get(wanted, now).or_else(of_trusted)?;
        let stale = router.ttl.saturating_add(router.stale_while_revalidate);
        let freshness = match seen {
            Seen::At(seen) if now < deadline(seen, router.ttl) => Freshness::Fresh,
            Seen::At(seen) if now < deadline(seen, stale) => Freshness::Stale,
            Seen::At(_) | Seen::Before => Freshness::Old,
            Seen::Elsewhere => Freshness::Told,
        };
        Some((registry, freshness))
    }

    /// Who has had anything of a repository, the last one first: for untrusted clients those behind that trusted ones know.
    pub(crate) fn holders(
        &self,
        repository: &Repository,
        trust: Trust,
        now: Instant,
    ) -> Vec<Holder> {
        let of = |trust| self.repositories.get(&(repository.clone(), trust), now);
        let mut known = of(trust).unwrap_or_default();
        if trust == Trust::Untrusted {
            let mut of_trusted = of(Trust::Trusted).unwrap_or_default();
            let is_new = |one: &Holder| known.iter().all(|own| own.registry != one.registry);
            of_trusted.retain(is_new);
            known.append(&mut of_trusted);
        }
        known
    }

    /// It is there. Returns where it was before, if that is another registry.
    pub(crate) fn found(
        &self,
        wanted: &Wanted,
        registry: &RegistryName,
        now: Instant,
    ) -> Option<RegistryName> {
        let before = self.places.get(wanted, now).map(|place| place.registry);
        if !self.nowhere.is_empty() {
            self.nowhere.change(|nowhere| nowhere.remove(wanted));
        }
        self.put(wanted, Place::new(registry, Seen::At(now)), now);
        before.filter(|before| before != registry)
    }

    /// Another agent has found it there, which is as good as what an earlier run kept. Returns where it was before.
    pub(crate) fn taken_over(
        &self,
        wanted: &Wanted,
        registry: &RegistryName,
        now: Instant,
    ) -> Option<RegistryName> {
        let before = self.places.get(wanted, now).map(|place| place.registry);
        self.put(wanted, Place::new(registry, Seen::Elsewhere), now);
        before.filter(|before| before != registry)
    }

    /// Another agent has found it there, and here nothing is known of it. `false`: there is no room for more of the kind.
    pub(crate) fn told(&self, wanted: &Wanted, registry: &RegistryName, now: Instant) -> bool {
        let has_room = self.len() < TOLD;
        if has_room && !self.places.holds(wanted, now) {
            self.put(wanted, Place::new(registry, Seen::Elsewhere), now);
        }
        has_room
    }

    /// Nobody has it, and everybody said so. Returns where it was before.
    pub(crate) fn is_gone(&self, wanted: &Wanted, now: Instant) -> Option<RegistryName> {
        self.nowhere.put(wanted.clone(), now, wanted.trust, now);
        let before = self.places.change(|places| places.remove(wanted));
        if before.is_some() {
            self.changed.store(true, Ordering::Relaxed);
        }
        before.map(|place| place.registry)
    }

    /// Whether nobody had it a moment ago.
    pub(crate) fn was_nowhere(&self, wanted: &Wanted, router: &Router, now: Instant) -> bool {
        let since = self.nowhere.get(wanted, now);
        since.is_some_and(|since| now < deadline(since, router.negative_ttl))
    }

    /// Whether it is news that several have images of this name.
    pub(crate) fn is_news(&self, wanted: &Wanted, now: Instant) -> bool {
        let is_news = !self.said.holds(&wanted.repository, now);
        if is_news {
            let repository = wanted.repository.clone();
            self.said.put(repository, (), wanted.trust, now);
        }
        is_news
    }

    /// How many images are remembered.
    pub(crate) fn len(&self) -> usize {
        self.places.read(|places| places.len())
    }

    /// It has had something of the repository, and was asked for it here.
    pub(crate) fn held(
        &self,
        repository: &Repository,
        registry: &RegistryName,
        trust: Trust,
        now: Instant,
    ) {
        let holder = Holder {
            registry: registry.clone(),
            is_told: false,
        };
        self.put_holder(repository, holder, trust, now);
    }

    fn put_holder(&self, repository: &Repository, mut holder: Holder, trust: Trust, now: Instant) {
        let key = (repository.clone(), trust);
        let mut holders = self.repositories.get(&key, now).unwrap_or_default();
        let is_same = |known: &Holder| known.registry == holder.registry;
        // What was asked for here once is no other agent's word any more.
        let known = holders.iter().find(|known| is_same(known));
        holder.is_told &= known.is_none_or(|known| known.is_told);
        if holders.first() != Some(&holder) {
            holders.retain(|known| !is_same(known));
            holders.insert(0, holder);
            holders.truncate(REGISTRIES);
            self.repositories.put(key, holders, trust, now);
        }
    }

    fn put(&self, wanted: &Wanted, place: Place, now: Instant) {
        let trust = wanted.trust;
        let holder = Holder {
            registry: place.registry.clone(),
            is_told: place.seen == Seen::Elsewhere,
        };
        self.put_holder(&wanted.repository, holder, trust, now);
        let is_new = self
            .places
            .change(|places| match places.get_mut(wanted, now) {
                Some(known) => {
                    let is_new = known.registry != place.registry;
                    *known = place;
                    places.used(wanted, trust);
                    is_new
                }
                None => {
                    places.put(wanted.clone(), place, trust, now);
                    true
                }
            });
        self.changed.fetch_or(is_new, Ordering::Relaxed);
    }
}
