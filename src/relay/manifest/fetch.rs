//! One search for a manifest with all that it teaches: sizes, who answered, denials, and the copy for an outage.

use super::spec::{ManifestSpec, Told};
use crate::config;
use crate::relay::causes::Tried;
use crate::relay::context::{Context, Rules};
use crate::relay::fetched::{FetchKey, Served};
use crate::relay::head;
use crate::relay::memory::{Manifest, Named};
use crate::relay::outcome::{Ended, Found, NotFound};
use crate::relay::rules::{Cause, FinalAnswer};
use crate::relay::search::Search;
use crate::relay::timing::Timing;
use crate::route::Route;
use crate::telemetry::RequestOutcome;
use crate::topology::{EndpointId, SourceId};
use std::sync::Arc;
use tokio::time::Instant;

/// Searches, and remembers.
pub(super) async fn fetch(
    parts: Arc<Context>,
    rules: Arc<Rules>,
    route: Arc<Route>,
    wish: Arc<FetchKey>,
    request_id: Arc<str>,
) -> Ended<Served> {
    let (open, denied) = parts.without_denied(route.clone());
    let route = if wish.confirms_denial { route } else { open };
    parts.hedging.requested(wish.trust);
    let is_retry = (parts.reputation).knows(&wish.image, wish.trust, Instant::now());
    let ended = search(&parts, &rules, &route, &wish, &request_id).await;
    let limits = rules.config.stale;
    let log = ended.log;
    let result = match ended.result {
        Ok(found) => {
            if denied.is_some() && matches!(found.endpoint.source, SourceId::Upstream(_)) {
                parts.forget_denial(&route);
            }
            Ok(learn(&parts, &route, &wish, found, limits, is_retry))
        }
        Err(nothing) => {
            let had_denied = denied.is_some();
            Box::pin(forget_denied(&parts, &wish, &nothing)).await;
            let nothing = match nothing {
                NotFound::Failed if wish.confirms_denial && had_denied => unconfirmed(&log.tried),
                nothing => parts.remember_denial((&route, wish.trust), denied, nothing),
            };
            let stale = match nothing {
                NotFound::Failed if log.is_outage() && !had_denied => {
                    Box::pin(parts.stale.find(&wish.image, wish.kinds, limits)).await
                }
                _ => None,
            };
            stale.map(Served::Stale).ok_or(nothing)
        }
    };
    Ended { result, log }
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

/// What was found, remembered. `is_retry`: somebody named what is nowhere, and may have taught wrong sizes.
fn learn(
    parts: &Context,
    route: &Arc<Route>,
    wish: &FetchKey,
    found: Found<Told>,
    limits: config::Stale,
    is_retry: bool,
) -> Served {
    let (memories, now) = (&parts.memories, Instant::now());
    let outcome = head::outcome(route, &found.endpoint, found.first_choice);
    let of = (&wish.image, wish.trust);
    let may_keep = is_anonymous(parts, route, &found.endpoint);
    let is_tiers = matches!(found.endpoint.source, SourceId::Tier(_));
    match found.good {
        Told::Head {
            digest,
            media_type,
            length,
        } => {
            if is_tiers {
                let content = wish.of_digest(&digest).image;
                let (trust, endpoint) = (wish.trust, &found.endpoint);
                let headed = &memories.headed;
                headed.put((content, trust), endpoint.clone(), trust, now);
                let told = (&digest, length);
                parts.answered_for_tag(&wish.asked(), endpoint, told);
                let learned = std::iter::once(&digest);
                parts
                    .stickiness
                    .answered((route, trust), endpoint, learned, now);
            } else if may_keep {
                parts.stale.keep(of, &digest, || None, limits);
            }
            Served::Head {
                digest,
                media_type,
                length,
                endpoint: found.endpoint,
                outcome,
            }
        }
        Told::Whole {
            body,
            digest,
            media_type,
            descriptors,
        } => {
            let size = body.len() as u64;
            let is_kept = may_keep && limits.enabled;
            if is_kept {
                let whole = || Some((body.clone(), media_type.clone()));
                parts.stale.keep(of, &digest, whole, limits);
            }
            let key = wish.of_digest(&digest).image;
            let direct = outcome == RequestOutcome::Direct;
            let manifest = Manifest::new(body, digest, media_type.into(), found.endpoint, direct);
            let manifest = Arc::new(manifest);
            let (endpoint, top, trust) = (&manifest.endpoint, &manifest.digest, wish.trust);
            if wish.image.reference.digest().is_none() && is_tiers {
                parts.answered_for_tag(&wish.asked(), endpoint, (top, size));
            }
            let kept = memories.manifests.get(&key, now);
            // What the same endpoint said moments ago taught all there is to learn.
            if is_retry || kept.is_none_or(|kept| kept.endpoint != *endpoint) {
                let within = (&wish.image.registry, &wish.image.repository);
                parts.sizes.learn(within, &descriptors, trust);
                let learned = descriptors.iter().map(|descriptor| &descriptor.digest);
                let learned = learned.chain([top]);
                parts
                    .stickiness
                    .answered((route, trust), endpoint, learned, now);
                memories.tags.lists((&key, trust), &descriptors);
                let since = is_kept.then_some(now);
                memories.passed.put(key.clone(), since, trust, now);
                memories.manifests.put(key, manifest.clone(), trust, now);
            }
            Served::Whole(manifest, outcome)
        }
    }
}

/// Only what anybody could have had is kept for everybody (design P11).
pub(super) fn is_anonymous(parts: &Context, route: &Route, endpoint: &EndpointId) -> bool {
    let mut legs = route.legs.iter();
    let Some(leg) = legs.find(|leg| leg.source == endpoint.source) else {
        return false;
    };
    let snapshot = parts.snapshots.borrow();
    let source = snapshot.source(&endpoint.source);
    !leg.with_credential || source.is_some_and(|state| state.source.credential.is_none())
}

/// What an authoritative source has just denied is not answered from disk, ever.
async fn forget_denied(parts: &Context, wish: &FetchKey, nothing: &NotFound) {
    let NotFound::Final { answer, .. } = nothing else {
        return;
    };
    match answer {
        FinalAnswer::Denied => {
            let Named {
                registry,
                repository,
                ..
            } = &*wish.image;
            parts.stale.forget_all(registry, repository).await;
        }
        FinalAnswer::NotFound | FinalAnswer::Withheld | FinalAnswer::Policy => {
            parts.stale.forget(&wish.image, wish.kinds).await;
        }
        FinalAnswer::Unconfirmed
        | FinalAnswer::RangeNotSatisfiable
        | FinalAnswer::NotTaken(_)
        | FinalAnswer::NoMemory => {}
    }
}

async fn search(
    parts: &Arc<Context>,
    rules: &Rules,
    route: &Arc<Route>,
    wish: &FetchKey,
    request_id: &Arc<str>,
) -> Ended<Found<Told>> {
    let spec = ManifestSpec {
        first: parts.memories.headed.get(&wish.asked(), Instant::now()),
        parts: parts.clone(),
        image: wish.image.clone(),
        kinds: wish.kinds,
        trust: wish.trust,
        head_is_enough: wish.head,
        policy: rules.config.failover.harbor_policy,
        request_id: request_id.clone(),
        limit: parts.limits.manifest_bytes,
    };
    let search = Search::new(
        parts.clone(),
        route.clone(),
        Arc::new(spec),
        Timing::for_document(&parts.timeouts),
    );
    search.run().await
}
