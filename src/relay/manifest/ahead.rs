//! As containerd asks a Harbor (harbor-facts 13.1): HEAD by tag, then GET by digest where the HEAD was answered. Anything else
//! leaves what Harbor stores without its tag, and then it cannot serve it while its upstream is out.

use crate::lifecycle::{self, deadline};
use crate::oci::{Digest, Reference};
use crate::relay::causes::FailedAttempt;
use crate::relay::context::Pull;
use crate::relay::fetched::{FetchKey, Served, Told};
use crate::relay::memory::{Manifest, Pulled};
use crate::relay::outcome::{AttemptLog, Ended, NotFound};
use crate::relay::rules::{Cause, FinalAnswer};
use crate::route::Target;
use crate::telemetry::RequestOutcome;
use crate::topology::{EndpointId, Failure, SourceId, SourceKind};
use bytes::Bytes;
use std::ops::Deref;
use std::sync::Arc;
use tokio::time::Instant;

/// What a request for a manifest is made of.
#[derive(Clone)]
pub(super) struct ManifestFetch {
    pub(super) pull: Pull,
    pub(super) key: Arc<FetchKey>,
    /// Whose HEAD told this digest a moment ago.
    pub(super) first: Option<EndpointId>,
}

fn ended(result: Result<Served, NotFound>, log: AttemptLog) -> Arc<Ended<Served>> {
    Arc::new(Ended { result, log })
}

impl Deref for ManifestFetch {
    type Target = Pull;

    fn deref(&self) -> &Pull {
        &self.pull
    }
}

// === impl ManifestFetch ===

impl ManifestFetch {
    /// Whether a tag's whole is asked for, and a Harbor may be asked for it.
    pub(super) fn is_by_tag_of_a_harbor(&self) -> bool {
        if self.key.head || self.key.of.image.reference.digest().is_some() {
            return false;
        }
        let snapshot = self.parts.snapshots.borrow();
        let is_harbor = |target: &Target| {
            let state = snapshot.source(&target.source);
            state.is_some_and(|state| state.source.kind == SourceKind::Harbor)
        };
        self.route.targets.iter().any(is_harbor)
    }

    pub(super) fn new(pull: Pull, key: FetchKey) -> Self {
        let (key, first) = (Arc::new(key), None);
        Self { pull, key, first }
    }

    /// The same client's request for the whole of a digest.
    fn whole(&self, digest: &Digest) -> Self {
        let reference = Reference::Digest(digest.clone());
        let key = FetchKey::new(&self.route, reference, self.key.kinds, self.trust);
        Self::new(self.pull.clone(), key)
    }

    /// What is kept, else one search for all who ask for the same. A lookup asks anew.
    pub(super) async fn search(&self) -> Arc<Ended<Served>> {
        let (memories, now) = (&self.parts.memories, Instant::now());
        let kept = memories.manifests.get(&self.key.of.image, now);
        if let Some(kept) = kept.filter(|_| !self.key.is_lookup) {
            self.has_size(&kept);
            let outcome = match kept.direct {
                true => RequestOutcome::Direct,
                false => RequestOutcome::Served,
            };
            return ended(Ok(Served::Whole(kept, outcome)), AttemptLog::default());
        }
        let search = || {
            let it = self.clone();
            async move { Arc::new(it.fetch().await) }
        };
        let key = (self.rules.generation, self.key.clone());
        let fetched = self.parts.flights.join(key, search).await;
        match &fetched.result {
            Ok(Served::Whole(manifest, _)) => self.has_size(manifest),
            // To who takes some kinds only a registry may say that it has none of them.
            Err(_) if self.key.kinds.are_all() && fetched.is_nowhere() => {
                self.parts.has_size(&self.key.of, None);
            }
            _ => {}
        }
        fetched
    }

    /// Content is there: whoever named it with another size was wrong.
    pub(super) fn has_size(&self, manifest: &Manifest) {
        let size = manifest.body.len() as u64;
        self.parts.has_size(&self.key.of, Some(size));
    }

    /// A tag's whole: HEAD by tag, then GET by digest. Where nobody has what the HEAD named, GET by tag.
    pub(super) async fn search_by_head(&self) -> Arc<Ended<Served>> {
        let key = FetchKey {
            head: true,
            ..FetchKey::clone(&self.key)
        };
        let headed = Self::new(self.pull.clone(), key);
        let (began, headed) = (Instant::now(), headed.search().await);
        let Ok(Served::Head(Told { digest, .. }, endpoint, outcome)) = &headed.result else {
            return headed;
        };
        let whole = self.whole(digest);
        let now = Instant::now();
        if let Some(kept) = (self.parts.memories.manifests).get(&whole.key.of.image, now) {
            whole.has_size(&kept);
            // Whoever told the digest has answered for the tag.
            let (endpoint, kept) = (endpoint.clone(), Manifest::clone(&kept));
            let served = Served::Whole(Arc::new(Manifest { endpoint, ..kept }), *outcome);
            return ended(Ok(served), headed.log.clone());
        }
        if matches!(endpoint.source, SourceId::Upstream(_)) {
            // The tiers have had their turn with the HEAD.
            self.headed(whole.key.of.clone(), endpoint, now);
        }
        let by_digest_or_tag = async {
            let got = whole.search().await;
            let log = headed.log.then(&got.log);
            match &got.result {
                Ok(Served::Whole(manifest, of_digest)) => {
                    self.keep_whole(manifest, digest);
                    let outcome = match outcome {
                        RequestOutcome::Failover => RequestOutcome::Failover,
                        _ => *of_digest,
                    };
                    ended(Ok(Served::Whole(manifest.clone(), outcome)), log)
                }
                // Nobody else's would be smaller.
                Err(NotFound::Final {
                    answer: FinalAnswer::NoMemory,
                    ..
                })
                | Ok(_) => ended(got.result.clone(), log),
                Err(_) => {
                    let by_tag = self.search().await;
                    ended(by_tag.result.clone(), log.then(&by_tag.log))
                }
            }
        };
        // One request has one limit, however many searches it takes (design P6).
        let until = deadline(began, self.parts.timeouts.total);
        let rest = tokio::time::timeout_at(until, by_digest_or_tag).await;
        rest.unwrap_or_else(|_| {
            let late = "out of time after its answer to HEAD";
            let late = FailedAttempt::at(endpoint, Cause::Failed(Failure::Timeout), late);
            ended(Err(NotFound::Failed), headed.log.clone().and(late))
        })
    }

    /// A Harbor's HEAD told this: its whole is fetched where this node needs it for an outage and has not got it. A node that has
    /// the image sends a HEAD alone.
    pub(super) fn fetch_ahead(&self, digest: &Digest, endpoint: &EndpointId) {
        let is_tiers = matches!(endpoint.source, SourceId::Tier(_));
        let is_wanted = self.rules.config.stale.enabled && self.is_anonymous(endpoint);
        if !is_tiers || !is_wanted || !self.parts.stale.goes_ahead(&self.key.of, digest) {
            return;
        }
        let (it, whole, digest) = (self.clone(), self.whole(digest), digest.clone());
        lifecycle::spawn_detached("manifest ahead", async move {
            if it.parts.stale.holds(&whole.key.of.image).await {
                it.keep(&digest, None);
            } else if let Ok(Served::Whole(manifest, _)) = &whole.search().await.result {
                it.keep_whole(manifest, &digest);
            }
        });
    }

    /// Such clients' GET of this content goes first where the HEAD was answered.
    pub(super) fn headed(&self, content: Pulled, endpoint: &EndpointId, now: Instant) {
        let (headed, trust) = (&self.parts.memories.headed, content.trust);
        headed.put(content, endpoint.clone(), trust, now);
    }

    /// What is asked for has this digest now. `whole`: its content, left out where that is on disk already.
    pub(super) fn keep(&self, digest: &Digest, whole: Option<(&Bytes, &str)>) {
        let limits = self.rules.config.stale;
        self.parts.stale.keep(&self.key.of, digest, whole, limits);
    }

    fn keep_whole(&self, manifest: &Manifest, digest: &Digest) {
        if self.is_anonymous(&manifest.endpoint) {
            self.keep(digest, Some((&manifest.body, &manifest.media_type)));
        }
    }
}
