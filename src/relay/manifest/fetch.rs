//! One search for a manifest with all that it teaches: sizes, who answered, denials, and the copy for an outage.

use super::ahead::ManifestFetch;
use crate::relay::causes::FailedAttempt;
use crate::relay::fetched::{Served, Told};
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
    pub(super) async fn fetch(mut self) -> Ended<Served> {
        let (open, denied) = self.parts.without_denied(self.route.clone());
        if !self.key.confirms_denial {
            self.pull.route = open;
        }
        self.first = self.parts.memories.headed.get(&self.key.of, Instant::now());
        let it = Arc::new(self);
        let (parts, route, key) = (&it.parts, &it.route, &it.key);
        let (image, trust) = (&key.of.image, key.of.trust);
        parts.hedging.requested(trust);
        let is_retry = (parts.reputation).knows(&key.of, Instant::now());
        let timing = Timing::for_document(&parts.timeouts);
        let (network, id) = (&parts.network, &it.request_id);
        let search = Search::new(network, parts, route.clone(), it.clone(), timing, id);
        let Ended { result, log } = search.run().await;
        let result = match result {
            Ok(found) => {
                if denied.is_some() && matches!(found.endpoint.source, SourceId::Upstream(_)) {
                    parts.forget_denial(route);
                }
                Ok(it.learn(found, is_retry))
            }
            Err(nothing) => {
                let had_denied = denied.is_some();
                Box::pin(it.forget_denied(&nothing)).await;
                let nothing = match nothing {
                    NotFound::Failed if key.confirms_denial && had_denied => {
                        unconfirmed(&log.failed)
                    }
                    nothing => parts.remember_denial(route, trust, denied, nothing),
                };
                let stale = match nothing {
                    NotFound::Failed if log.is_outage() && !had_denied => {
                        let limits = it.rules.config.stale;
                        Box::pin(parts.stale.find(image, key.kinds, limits)).await
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
        let (memories, stickiness, now) = (&parts.memories, &parts.stickiness, Instant::now());
        let (trust, endpoint) = (key.of.trust, found.endpoint);
        let outcome = found.outcome;
        let may_keep = self.is_anonymous(&endpoint);
        let is_tiers = matches!(endpoint.source, SourceId::Tier(_));
        let mut told = found.good;
        let content = key.of.beside(&told.digest);
        if is_tiers && key.of.image.reference.digest().is_none() {
            parts.answered_for_tag(&key.of, &endpoint, &told.digest, told.length);
        }
        let Some(body) = told.body.take() else {
            if is_tiers {
                let digest = std::iter::once(&told.digest);
                stickiness.answered(&key.of, &endpoint, digest, now);
                self.headed(content, &endpoint, now);
            } else if may_keep {
                self.keep(&told.digest, None);
            }
            return Served::Head(told, endpoint, outcome);
        };
        if may_keep {
            self.keep(&told.digest, Some((&body, &told.media_type)));
        }
        let manifest = Arc::new(Manifest {
            body,
            digest: told.digest,
            media_type: told.media_type.into(),
            endpoint,
            direct: outcome == RequestOutcome::Direct,
        });
        let kept = memories.manifests.get(&content.image, now);
        // What the same endpoint said moments ago taught all there is to learn.
        if is_retry || kept.is_none_or(|kept| kept.endpoint != manifest.endpoint) {
            let descriptors = &told.descriptors;
            parts.sizes.learn(&content, descriptors);
            let learned = descriptors.iter().map(|descriptor| &descriptor.digest);
            let learned = learned.chain([&manifest.digest]);
            stickiness.answered(&key.of, &manifest.endpoint, learned, now);
            memories.tags.lists(&content, descriptors);
            let manifests = &memories.manifests;
            manifests.put(content.image, manifest.clone(), trust, now);
        }
        Served::Whole(manifest, outcome)
    }

    /// Only what anybody could have had is kept for everybody (design P11).
    pub(super) fn is_anonymous(&self, endpoint: &EndpointId) -> bool {
        let Some(target) = self.route.target(&endpoint.source) else {
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
        let (stale, image) = (&self.parts.stale, &self.key.of.image);
        match answer {
            FinalAnswer::Denied => stale.forget(image, None).await,
            FinalAnswer::NotFound | FinalAnswer::Withheld | FinalAnswer::Policy => {
                stale.forget(image, Some(self.key.kinds)).await;
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
fn unconfirmed(failed: &[FailedAttempt]) -> NotFound {
    let mut said = failed.iter().filter(|failed| failed.label == "upstream");
    let is_status = |failed: &FailedAttempt| {
        matches!(
            failed.cause,
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
