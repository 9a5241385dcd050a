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
use crate::oci::{Digest, ManifestKinds};
use crate::telemetry::Journal;
use bytes::Bytes;
use files::{Keep, Store};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::time::Instant;
use writer::{Command, Writer};

/// Writes that wait. What is beyond them is dropped: what is pulled again is kept then.
const QUEUE: usize = 64;

/// What was kept so recently is not written again.
const KEEP_EVERY: Duration = Duration::from_secs(600);

/// A disk that does not answer must not make an outage worse.
const READ_LIMIT: Duration = Duration::from_secs(1);

/// Places in the queue for denials alone, whose pulls go on. Whoever is denied beyond them waits with its denial.
const DENIALS: usize = 64;

/// As long as that, at most. Nothing is answered from a disk that did not take a denial.
const DENIAL_LIMIT: Duration = Duration::from_secs(1);

/// What could not be kept is looked for ahead again after this.
const AHEAD_EVERY: Duration = Duration::from_secs(60);

/// One event per image and minute.
const SAY_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Stale {
    store: Arc<Store>,
    commands: mpsc::Sender<Command>,
    budget: Budget,
    /// What was kept a moment ago, with its digest.
    kept: SharedTtlMap<(Pulled, Digest), ()>,
    /// What was looked for ahead a moment ago, kept or not.
    ahead: SharedTtlMap<(Pulled, Digest), ()>,
    said: SharedTtlMap<Image, ()>,
}

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
        let (commands, queue) = mpsc::channel(QUEUE + DENIALS);
        let store = Arc::new(Store::new(directory, journal, budget.clone()));
        let writer = Writer::new(store.clone());
        lifecycle::spawn_detached("stale manifests", writer.run(queue));
        Self {
            store,
            commands,
            budget,
            kept: SharedTtlMap::new(Bounds::entries(KEEP_EVERY, 1024)),
            ahead: SharedTtlMap::new(Bounds::entries(AHEAD_EVERY, 1024)),
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
        if !limits.enabled || self.has_kept(of, digest) || !self.has_place(of.trust) {
            return;
        }
        let is_large = whole.is_some_and(|(body, _)| body.len() > SMALL);
        if is_large && self.budget.held() > self.budget.limit() / 2 {
            // A disk that does not take it must not take the memory of who pulls. It is kept when it is pulled again.
            return;
        }
        let keep = Keep {
            of: of.clone(),
            digest: digest.clone(),
            whole: whole.map(|(body, media_type)| (body.clone(), media_type.to_owned())),
            limits,
        };
        if self.commands.try_send(Command::Keep(keep)).is_ok() {
            let key = (of.clone(), digest.clone());
            self.kept.put(key, (), of.trust, Instant::now());
        }
    }

    /// Whether to look for it ahead: not where it was kept a moment ago, nor where somebody did so. What could not be kept then is
    /// not asked for with each HEAD.
    pub(crate) fn goes_ahead(&self, of: &Pulled, digest: &Digest) -> bool {
        let (key, now) = ((of.clone(), digest.clone()), Instant::now());
        let is_due = !self.has_kept(of, digest) && !self.ahead.holds(&key, now);
        if is_due {
            self.ahead.put(key, (), of.trust, now);
        }
        is_due
    }

    /// Whether that was kept a moment ago: it is not written again.
    fn has_kept(&self, of: &Pulled, digest: &Digest) -> bool {
        self.kept
            .holds(&(of.clone(), digest.clone()), Instant::now())
    }

    /// Untrusted clients' writes wait in a quarter of the queue: many of them leave the rest to trusted ones'.
    fn has_place(&self, trust: Trust) -> bool {
        self.commands.capacity()
            > match trust {
                Trust::Trusted => DENIALS,
                Trust::Untrusted => DENIALS + QUEUE - QUEUE / 4,
            }
    }

    /// An authoritative source says that it does not exist, or must not be had, to who takes these kinds; without kinds, that the
    /// whole repository must not be had. A denial must get through to the disk; who is denied waits for it where many others do.
    pub(crate) async fn forget(&self, denied: &Image, kinds: Option<ManifestKinds>) {
        let is_denied = |(Pulled { image, .. }, _): &(Pulled, Digest)| {
            let is_meant = kinds.is_none() || image.reference == denied.reference;
            let is_beside = image.registry == denied.registry;
            is_beside && image.repository == denied.repository && is_meant
        };
        self.kept.forget(is_denied);
        self.ahead.forget(is_denied);
        let command = Command::Forget(denied.clone(), kinds);
        let sent = self.commands.send_timeout(command, DENIAL_LIMIT).await;
        // Closed: the daemon ends.
        if let Err(SendTimeoutError::Timeout(_)) = sent {
            self.store
                .is_tainted_by(&std::io::ErrorKind::TimedOut.into());
        }
    }

    /// What is kept, if it is young enough, proved, and of a kind that the client takes.
    pub(crate) async fn find(
        &self,
        image: &Image,
        kinds: ManifestKinds,
        limits: config::Stale,
    ) -> Option<StaleManifest> {
        if !limits.enabled || self.store.is_tainted() {
            return None;
        }
        let (image, now) = (image.clone(), SystemTime::now());
        let found = self.look(move |store| store.read(&image, limits.max_age, now));
        let found = found.await??;
        kinds.contain(&found.media_type).then_some(found)
    }

    /// Whether the disk holds content, of whatever age. A disk that does not answer does not.
    pub(crate) async fn holds(&self, content: &Image) -> bool {
        let content = content.clone();
        let held = self.look(move |store| store.holds(&content));
        held.await.unwrap_or_default()
    }

    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Store) -> T + Send + 'static,
    ) -> Option<T> {
        let store = self.store.clone();
        let looking = tokio::task::spawn_blocking(move || look(&store));
        tokio::time::timeout(READ_LIMIT, looking).await.ok()?.ok()
    }

    /// Forgets what was kept and said long ago.
    pub(crate) fn sweep(&self, now: Instant) {
        self.kept.sweep(now);
        self.ahead.sweep(now);
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
