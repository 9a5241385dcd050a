//! One search for a manifest with all that it teaches: sizes, who answered, denials, and the copy for an outage.

use super::ahead::ManifestFetch;
use super::proof::Proven;
use super::spec::{ManifestSpec, Told};
use crate::oci::Digest;
use crate::relay::causes::Tried;
use crate::relay::fetched::Served;
use crate::relay::head;
use crate::relay::memory::Manifest;
use crate::relay::outcome::{Ended, Found, NotFound};
use crate::relay::rules::{Cause, FinalAnswer};
use crate::relay::search::Search;
use crate::relay::timing::Timing;
use crate::telemetry::RequestOutcome;
use crate::topology::{EndpointId, SourceId};
use std::sync::Arc;
use tokio::time::Instant;

impl ManifestFetch {
    /// Searches, and remembers.
    pub(super) async fn fetch(mut self) -> Ended<Served> {
        let (open, denied) = self.parts.without_denied(self.route.clone());
        if !self.key.confirms_denial {
            self.route = open;
        }
        let (parts, route, key) = (&self.parts, &self.route, &self.key);
        parts.hedging.requested(key.trust);
        let is_retry = (parts.reputation).knows(&key.image, key.trust, Instant::now());
        let spec = ManifestSpec {
            first: parts.memories.headed.get(&key.asked(), Instant::now()),
            parts: parts.clone(),
            key: key.clone(),
            policy: self.rules.config.failover.harbor_policy,
            request_id: self.request_id.clone(),
        };
        let timing = Timing::for_document(&parts.timeouts);
        let search = Search::new(parts.clone(), route.clone(), Arc::new(spec), timing);
        let Ended { result, log } = search.run().await;
        let result = match result {
            Ok(found) => {
                if denied.is_some() && matches!(found.endpoint.source, SourceId::Upstream(_)) {
                    parts.forget_denial(route);
                }
                Ok(self.learn(found, is_retry))
            }
            Err(nothing) => {
                let had_denied = denied.is_some();
                Box::pin(self.forget_denied(&nothing)).await;
                let nothing = match nothing {
                    NotFound::Failed if key.confirms_denial && had_denied => {
                        unconfirmed(&log.tried)
                    }
                    nothing => parts.remember_denial((route, key.trust), denied, nothing),
                };
                let stale = match nothing {
                    NotFound::Failed if log.is_outage() && !had_denied => {
                        let limits = self.rules.config.stale;
                        Box::pin(parts.stale.find(&key.image, key.kinds, limits)).await
                    }
                    _ => None,
                };
                stale.map(Served::Stale).ok_or(nothing)
            }
        };
        Ended { result, log }
    }

    /// What was found, remembered. `is_retry`: somebody named what is nowhere, and may have taught wrong sizes.
    fn learn(&self, found: Found<Told>, is_retry: bool) -> Served {
        let (parts, key) = (&self.parts, &self.key);
        let (memories, now) = (&parts.memories, Instant::now());
        let (limits, trust) = (self.rules.config.stale, key.trust);
        let of = (&key.image, trust);
        let outcome = head::outcome(&self.route, &found.endpoint, found.first_choice);
        let may_keep = self.is_anonymous(&found.endpoint);
        let is_tiers = matches!(found.endpoint.source, SourceId::Tier(_));
        match found.good {
            Told::Head(head) => {
                let (digest, endpoint) = (&head.digest, &found.endpoint);
                if is_tiers {
                    let content = key.of_digest(digest).image;
                    let headed = &memories.headed;
                    headed.put((content, trust), endpoint.clone(), trust, now);
                    parts.answered_for_tag(&key.asked(), endpoint, (digest, head.length));
                    self.answered(endpoint, std::iter::once(digest), now);
                } else if may_keep {
                    parts.stale.keep(of, digest, || None, limits);
                }
                Served::Head(head, found.endpoint, outcome)
            }
            Told::Whole(body, proven) => {
                let Proven {
                    digest,
                    media_type,
                    descriptors,
                } = proven;
                let size = body.len() as u64;
                let is_kept = may_keep && limits.enabled;
                if is_kept {
                    let whole = || Some((body.clone(), media_type.clone()));
                    parts.stale.keep(of, &digest, whole, limits);
                }
                let content = key.of_digest(&digest).image;
                let direct = outcome == RequestOutcome::Direct;
                let media_type = media_type.into();
                let manifest = Manifest::new(body, digest, media_type, found.endpoint, direct);
                let manifest = Arc::new(manifest);
                let (endpoint, top) = (&manifest.endpoint, &manifest.digest);
                if key.image.reference.digest().is_none() && is_tiers {
                    parts.answered_for_tag(&key.asked(), endpoint, (top, size));
                }
                let kept = memories.manifests.get(&content, now);
                // What the same endpoint said moments ago taught all there is to learn.
                if is_retry || kept.is_none_or(|kept| kept.endpoint != *endpoint) {
                    let within = (&key.image.registry, &key.image.repository);
                    parts.sizes.learn(within, &descriptors, trust);
                    let learned = descriptors.iter().map(|descriptor| &descriptor.digest);
                    self.answered(endpoint, learned.chain([top]), now);
                    memories.tags.lists((&content, trust), &descriptors);
                    let since = is_kept.then_some(now);
                    memories.passed.put(content.clone(), since, trust, now);
                    memories
                        .manifests
                        .put(content, manifest.clone(), trust, now);
                }
                Served::Whole(manifest, outcome)
            }
        }
    }

    /// That endpoint has the repository, and this content of it.
    fn answered<'a>(
        &self,
        endpoint: &EndpointId,
        learned: impl Iterator<Item = &'a Digest>,
        now: Instant,
    ) {
        let of = (&*self.route, self.key.trust);
        self.parts.stickiness.answered(of, endpoint, learned, now);
    }

    /// Only what anybody could have had is kept for everybody (design P11).
    pub(super) fn is_anonymous(&self, endpoint: &EndpointId) -> bool {
        let mut targets = self.route.targets.iter();
        let Some(target) = targets.find(|target| target.source == endpoint.source) else {
            return false;
        };
        let snapshot = self.parts.snapshots.borrow();
        let source = snapshot.source(&endpoint.source);
        !target.with_credential || source.is_some_and(|state| state.source.credential.is_none())
    }

    /// What an authoritative source has just denied is not answered from disk, ever.
    async fn forget_denied(&self, nothing: &NotFound) {
        let NotFound::Final { answer, .. } = nothing else {
            return;
        };
        let (stale, image) = (&self.parts.stale, &self.key.image);
        match answer {
            FinalAnswer::Denied => stale.forget_all(&image.registry, &image.repository).await,
            FinalAnswer::NotFound | FinalAnswer::Withheld | FinalAnswer::Policy => {
                stale.forget(image, self.key.kinds).await;
            }
            FinalAnswer::Unconfirmed
            | FinalAnswer::RangeNotSatisfiable
            | FinalAnswer::NotTaken(_)
            | FinalAnswer::NoMemory => {}
        }
    }
}

/// Upstream has denied the repository a while ago, and could not say so again. A status of its own it says to containerd as well;
/// whatever else failed is a failure as any.
fn unconfirmed(tried: &[Tried]) -> NotFound {
    let mut said = tried.iter().filter(|tried| tried.label == "upstream");
    let is_status = |tried: &Tried| {
        matches!(
            tried.cause,
            Cause::TooManyRequests | Cause::ServerError | Cause::Html
        )
    };
    if !said.any(is_status) {
        return NotFound::Failed;
    }
    NotFound::Final {
        answer: FinalAnswer::Unconfirmed,
        by: "upstream".to_owned(),
        detail: String::new(),
    }
}
