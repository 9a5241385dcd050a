//! Manifests on disk for a total outage (design P11): what was fetched anonymously is kept, and answered when no source
//! can be asked. Never in the way of a pull: one writer task behind a bounded queue, reads with a limit.

mod eviction;
mod files;
mod writer;

#[cfg(test)]
mod tests;

use super::memory::{Image, Pulled};
use crate::budget::{Budget, SMALL};
use crate::cache::{Bounds, SharedTtlMap, Trust};
use crate::config;
use crate::lifecycle;
use crate::oci::{Digest, ManifestKinds, RegistryName, Repository};
use crate::telemetry::Journal;
use bytes::Bytes;
use files::{Slot, Store};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;
use writer::{Command, Writer};

/// Writes that wait. A full queue drops: what is pulled again is kept then.
const QUEUE: usize = 64;

/// What was kept so recently is not written again.
const KEEP_EVERY: Duration = Duration::from_secs(600);

/// A disk that does not answer must not make an outage worse.
const READ_LIMIT: Duration = Duration::from_secs(1);

/// Denials that wait for a place in the queue while their pulls go on. Whoever is denied beyond them waits with its denial.
const DENIALS: usize = 64;

/// As long as that, at most. Nothing is answered from a disk that did not take a denial.
const DENIAL_LIMIT: Duration = Duration::from_secs(1);

/// One event per image and minute.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// The kept manifests.
#[derive(Debug)]
pub(crate) struct Stale {
    store: Arc<Store>,
    commands: mpsc::Sender<Command>,
    /// Places for denials that wait.
    denials: Arc<Semaphore>,
    /// Something that a source denied could not be deleted: nothing may be answered any more.
    tainted: Arc<AtomicBool>,
    journal: Journal,
    budget: Budget,
    /// What was kept a moment ago, with its digest.
    kept: SharedTtlMap<(Pulled, Digest), ()>,
    said: SharedTtlMap<Image, ()>,
}

/// A manifest from disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StaleManifest {
    pub(crate) body: Bytes,
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    /// Since a source last gave it for this reference.
    pub(crate) age: Duration,
}

// === impl Stale ===

impl Stale {
    /// Over this directory, which the writer makes when there is something to keep.
    pub(crate) fn start(directory: PathBuf, journal: Journal, budget: Budget) -> Self {
        let (commands, queue) = mpsc::channel(QUEUE);
        let tainted = Arc::<AtomicBool>::default();
        let store = Arc::new(Store::new(directory, budget.clone()));
        let writer = Writer::new(store.clone(), journal.clone(), tainted.clone());
        lifecycle::spawn_detached("stale manifests", writer.run(queue));
        Self {
            store,
            commands,
            denials: Arc::new(Semaphore::new(DENIALS)),
            tainted,
            journal,
            budget,
            kept: SharedTtlMap::new(Bounds::entries(KEEP_EVERY, 1024)),
            said: SharedTtlMap::new(Bounds::entries(SAY_EVERY, 1024)),
        }
    }

    /// Keeps what a source gave anonymously; without a body only what the tag names now.
    pub(crate) fn keep(
        &self,
        of: &Pulled,
        digest: &Digest,
        whole: Option<(&Bytes, &str)>,
        limits: config::Stale,
    ) {
        let Pulled { image, trust } = of;
        let (key, now) = ((of.clone(), digest.clone()), Instant::now());
        if !limits.enabled || self.kept.holds(&key, now) || !self.has_place(*trust) {
            return;
        }
        let is_large = whole.is_some_and(|(body, _)| body.len() > SMALL);
        if is_large && self.budget.held() > self.budget.limit() / 2 {
            // A disk that does not take it must not take the memory of who pulls. It is kept when it is pulled again.
            return;
        }
        let command = Command::Keep {
            slot: slot(image, image.kinds),
            digest: digest.clone(),
            trust: *trust,
            whole: whole.map(|(body, media_type)| (body.clone(), media_type.to_owned())),
            limits,
        };
        if self.commands.try_send(command).is_ok() {
            self.kept.put(key, (), *trust, now);
        }
    }

    /// Untrusted clients' writes wait in a quarter of the queue: many of them leave the rest to trusted ones'.
    fn has_place(&self, trust: Trust) -> bool {
        trust == Trust::Trusted || self.commands.capacity() > QUEUE - QUEUE / 4
    }

    /// An authoritative source says that it does not exist, or must not be had, to who takes these kinds.
    pub(crate) async fn forget(&self, image: &Image, kinds: ManifestKinds) {
        let denied = Some(slot(image, kinds));
        self.delete(&image.registry, &image.repository, denied)
            .await;
    }

    /// An authoritative source denied the whole repository.
    pub(crate) async fn forget_all(&self, registry: &RegistryName, repository: &Repository) {
        self.delete(registry, repository, None).await;
    }

    /// Has the writer delete it. A denial must get through; who is denied waits for it where many others do.
    async fn delete(&self, registry: &RegistryName, repository: &Repository, denied: Option<Slot>) {
        self.kept.forget(|(Pulled { image, .. }, _)| {
            let is_meant = |denied: &Slot| denied.reference == image.reference;
            image.registry == *registry
                && image.repository == *repository
                && denied.as_ref().is_none_or(is_meant)
        });
        let command = Command::Forget {
            folder: files::folder(registry, repository),
            denied,
        };
        let Err(TrySendError::Full(command)) = self.commands.try_send(command) else {
            return;
        };
        let commands = self.commands.clone();
        // Closed: the daemon ends.
        let sending = async move { drop(commands.send(command).await) };
        if let Ok(place) = self.denials.clone().try_acquire_owned() {
            lifecycle::spawn_detached("stale denial", async move {
                sending.await;
                drop(place);
            });
        } else if tokio::time::timeout(DENIAL_LIMIT, sending).await.is_err() {
            let error = std::io::ErrorKind::TimedOut.into();
            writer::taint(&self.tainted, &self.journal, self.store.directory(), &error);
        }
    }

    /// What is kept, if it is young enough, proved, and of a kind that the client takes.
    pub(crate) async fn find(
        &self,
        image: &Image,
        kinds: ManifestKinds,
        limits: config::Stale,
    ) -> Option<StaleManifest> {
        if !limits.enabled || self.tainted.load(Ordering::Relaxed) {
            return None;
        }
        let (store, slot) = (self.store.clone(), slot(image, kinds));
        let reading = tokio::task::spawn_blocking(move || {
            store.read(&slot, limits.max_age, SystemTime::now())
        });
        let read = tokio::time::timeout(READ_LIMIT, reading).await;
        let found = read.ok()?.ok()??;
        kinds.contain(&found.media_type).then_some(found)
    }

    /// Whether the disk holds content, of whatever age. A disk that does not answer does not.
    pub(crate) async fn holds(&self, content: &Image) -> bool {
        let (store, slot) = (self.store.clone(), slot(content, content.kinds));
        let looking = tokio::task::spawn_blocking(move || store.holds(&slot));
        let looked = tokio::time::timeout(READ_LIMIT, looking).await;
        matches!(looked, Ok(Ok(true)))
    }

    /// Forgets what was kept and said long ago.
    pub(crate) fn sweep(&self, now: Instant) {
        self.kept.sweep(now);
        self.said.sweep(now);
    }

    /// Whether to say that it was answered: once per image and minute.
    pub(crate) fn is_news(&self, image: &Image, now: Instant) -> bool {
        let news = !self.said.holds(image, now);
        if news {
            self.said.put(image.clone(), (), Trust::Untrusted, now);
        }
        news
    }
}

fn slot(image: &Image, kinds: ManifestKinds) -> Slot {
    Slot {
        folder: files::folder(&image.registry, &image.repository),
        reference: image.reference.clone(),
        kinds,
    }
}
