//! One search for a manifest with all that it teaches: sizes, who answered, denials, and the copy for an outage.

use super::wanted::{ManifestWanted, Told, timing};
use crate::cache::Trust;
use crate::config;
use crate::lifecycle::Panicked;
use crate::oci::{Digest, ManifestKinds, Reference};
use crate::relay::causes::Tried;
use crate::relay::engine::{RelayParts, Rules};
use crate::relay::head;
use crate::relay::memory::{Doubted, Image, Manifest, Named, Proved};
use crate::relay::rules::FinalAnswer;
use crate::relay::search::{Ended, Found, NotFound, Search};
use crate::relay::stale::StaleManifest;
use crate::route::Route;
use crate::telemetry::{EventName, RequestOutcome, StateChange};
use crate::topology::{EndpointId, SourceId};
use std::fmt;
use std::sync::Arc;
use tokio::time::Instant;

/// What is asked for and by whom; equal ones get the same answer. What an untrusted client begins teaches as one, so a
/// trusted one does not share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wish {
    pub(super) image: Image,
    /// The kinds of manifest that the client takes.
    pub(super) kinds: ManifestKinds,
    pub(super) head: bool,
    pub(super) trust: Trust,
}

/// How a search ended, for everybody who waits for it.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(super) result: Result<Served, NotFound>,
    pub(super) tried: Vec<Tried>,
    pub(super) attempts: u32,
    pub(super) generation: u64,
}

impl Fetched {
    /// It panicked outside of its attempts.
    pub(super) fn broken(panicked: &Panicked) -> Self {
        let Ended {
            tried,
            attempts,
            generation,
            ..
        } = Ended::<()>::broken(panicked);
        Self {
            result: Err(NotFound::Failed),
            tried,
            attempts,
            generation,
        }
    }
}

/// A good answer.
#[derive(Debug)]
pub(crate) enum Served {
    /// All of it.
    Whole(Arc<Manifest>, RequestOutcome),
    /// Upstream's HEAD.
    Head {
        digest: Digest,
        media_type: String,
        length: u64,
        endpoint: EndpointId,
        outcome: RequestOutcome,
    },
    /// From disk.
    Stale(StaleManifest),
}

impl Wish {
    /// The tag as such clients know it.
    fn tag(&self) -> (Image, Trust) {
        (self.image.clone(), self.trust)
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Named {
            registry,
            repository,
            reference,
            ..
        } = &*self.image;
        let mark = match reference {
            Reference::Tag(_) => ':',
            Reference::Digest(_) => '@',
        };
        write!(f, "{registry}/{repository}{mark}{reference}")
    }
}

/// Searches, and remembers.
pub(super) async fn fetch(
    parts: Arc<RelayParts>,
    rules: Arc<Rules>,
    route: Arc<Route>,
    wish: Arc<Wish>,
    request_id: Arc<str>,
) -> Fetched {
    let (route, denied) = parts.without_denied(route);
    parts.hedging.requested(wish.trust);
    let doubted = doubted(&parts, &wish);
    let is_retry = !doubted.is_empty();
    let search = |head, doubted| search(&parts, &rules, &route, &wish, head, doubted, &request_id);
    let mut ended = search(wish.head, doubted).await;
    if wish.head && ended.head_was_of_no_use() {
        let doubted = self::doubted(&parts, &wish);
        ended = Box::pin(search(false, doubted)).await.after(ended);
    }
    if is_retry
        && let Err(nothing @ NotFound::Final { answer, .. }) = &ended.result
        && *answer != FinalAnswer::NoMemory
    {
        // A doubt changes the order; it makes no "no" of what would have been served without it. Upstream denies what
        // a tier has a credential for, and tags that it has deleted.
        parts.remember_denial((&route, wish.trust), None, nothing.clone());
        ended = Box::pin(search(wish.head, Vec::new())).await.after(ended);
    }
    let limits = rules.config.stale;
    let result = match ended.result {
        Ok(found) => Ok(learn(&parts, &route, &wish, found, limits, is_retry)),
        Err(nothing) => {
            let had_denied = denied.is_some();
            Box::pin(forget_denied(&parts, &wish, &nothing)).await;
            let nothing = parts.remember_denial((&route, wish.trust), denied, nothing);
            let is_outage = ended.tried.iter().any(|tried| tried.cause.is_outage());
            let stale = match nothing {
                NotFound::Failed if is_outage && !had_denied => {
                    Box::pin(parts.stale.find(&wish.image, wish.kinds, limits)).await
                }
                _ => None,
            };
            stale.map(Served::Stale).ok_or(nothing)
        }
    };
    Fetched {
        result,
        tried: ended.tried,
        attempts: ended.attempts,
        generation: ended.generation,
    }
}

/// Whose answers for this tag came to nothing, which is said once of each.
fn doubted(parts: &RelayParts, wish: &Wish) -> Vec<EndpointId> {
    if wish.image.reference.digest().is_some() {
        return Vec::new();
    }
    let unproved = &parts.memories.unproved;
    let doubted = unproved.doubted(&wish.tag(), Instant::now());
    for one in doubted.iter().filter(|one| one.is_news) {
        let Doubted { endpoint, top, .. } = one;
        parts.sinks.journal.event(StateChange {
            event: EventName::TagUnconfirmed,
            tier: Some(endpoint.source.label().to_owned()),
            endpoint: Some(endpoint.address.to_string()),
            reason: format!("{wish} is {top}"),
            message: format!(
                "{endpoint} answered {wish} with {top}, which no digest proved and of which nothing came; for 5 minutes it is \
                 asked for this tag after everybody else"
            ),
        });
    }
    doubted.into_iter().map(|one| one.endpoint).collect()
}

/// What was found, remembered. `is_retry`: somebody's word for this tag came to nothing, and may have taught wrong sizes.
fn learn(
    parts: &RelayParts,
    route: &Arc<Route>,
    wish: &Wish,
    found: Found<Told>,
    limits: config::Stale,
    is_retry: bool,
) -> Served {
    let (unproved, now) = (&parts.memories.unproved, Instant::now());
    let outcome = head::outcome(route, &found.endpoint, found.first_choice);
    let may_keep = is_anonymous(parts, route, &found.endpoint);
    let of = (&wish.image, wish.trust);
    match found.good {
        Told::Head {
            digest,
            media_type,
            length,
        } => {
            if may_keep {
                parts.stale.keep(of, &digest, || None, limits);
            }
            unproved.proved(&wish.tag(), &digest, now);
            Served::Head {
                digest,
                media_type,
                length,
                endpoint: found.endpoint,
                outcome,
            }
        }
        Told::Same(proved) => {
            let manifest = proved.manifest.clone();
            if may_keep {
                let whole = || Some((manifest.body.clone(), manifest.media_type.to_string()));
                parts.stale.keep(of, &manifest.digest, whole, limits);
            }
            if proved.claims.told_digest().is_some() {
                unproved.proved(&wish.tag(), &manifest.digest, now);
            } else {
                unproved.given(&wish.tag(), &manifest.digest, now);
            }
            Served::Whole(manifest, outcome)
        }
        Told::Whole {
            body,
            digest,
            media_type,
            descriptors,
            claims,
        } => {
            if may_keep {
                let whole = || Some((body.clone(), media_type.clone()));
                parts.stale.keep(of, &digest, whole, limits);
            }
            let (registry, repository) = (&wish.image.registry, &wish.image.repository);
            let key = Image::content(registry.clone(), repository.clone(), digest.clone());
            let direct = outcome == RequestOutcome::Direct;
            let manifest = Manifest::new(body, digest, media_type.into(), found.endpoint, direct);
            let manifest = Arc::new(manifest);
            let kept = parts.memories.manifests.get(&key, now);
            // What the same endpoint said moments ago taught all there is to learn.
            if is_retry || kept.is_none_or(|kept| kept.endpoint != manifest.endpoint) {
                let within = (registry, repository);
                parts.sizes.learn(within, &descriptors, wish.trust);
                let learned = descriptors.iter().map(|descriptor| &descriptor.digest);
                let learned = learned.chain([&manifest.digest]);
                parts
                    .stickiness
                    .answered((route, wish.trust), &manifest.endpoint, learned, now);
                let manifests = &parts.memories.manifests;
                manifests.put(key, manifest.clone(), wish.trust, now);
            }
            if wish.image.reference.digest().is_none() {
                let (tag, endpoint, top) = (wish.tag(), &manifest.endpoint, &manifest.digest);
                match (claims.told_digest(), &endpoint.source) {
                    (Some(_), _) => unproved.proved(&tag, top, now),
                    (None, SourceId::Tier(_)) => {
                        unproved.answered(&tag, endpoint, top, &descriptors, now);
                    }
                    (None, SourceId::Upstream(_)) => unproved.given(&tag, top, now),
                }
                let manifest = manifest.clone();
                let proved = Arc::new(Proved { manifest, claims });
                let memory = &parts.memories.proved;
                memory.put(wish.image.clone(), proved, wish.trust, now);
            }
            Served::Whole(manifest, outcome)
        }
    }
}

/// Only what anybody could have had is kept for everybody (design P11).
fn is_anonymous(parts: &RelayParts, route: &Route, endpoint: &EndpointId) -> bool {
    let mut legs = route.legs.iter();
    let Some(leg) = legs.find(|leg| leg.source == endpoint.source) else {
        return false;
    };
    let snapshot = parts.snapshots.borrow();
    let source = snapshot.source(&endpoint.source);
    !leg.with_credential || source.is_some_and(|state| state.source.credential.is_none())
}

/// What an authoritative source has just denied is not answered from disk, ever.
async fn forget_denied(parts: &RelayParts, wish: &Wish, nothing: &NotFound) {
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
        FinalAnswer::RangeNotSatisfiable | FinalAnswer::NotTaken(_) | FinalAnswer::NoMemory => {}
    }
}

async fn search(
    parts: &Arc<RelayParts>,
    rules: &Rules,
    route: &Arc<Route>,
    wish: &Wish,
    head_is_enough: bool,
    doubted: Vec<EndpointId>,
    request_id: &Arc<str>,
) -> Ended<Told> {
    let known = match wish.image.reference {
        Reference::Tag(_) => parts.memories.proved.get(&wish.image, Instant::now()),
        Reference::Digest(_) => None,
    };
    let wanted = ManifestWanted {
        known,
        doubted,
        parts: parts.clone(),
        image: wish.image.clone(),
        kinds: wish.kinds,
        trust: wish.trust,
        head_is_enough,
        // Once per request: what is asked again is an incomplete answer of upstream.
        hedged: head_is_enough == wish.head,
        policy: rules.config.failover.harbor_policy,
        request_id: request_id.clone(),
        limit: parts.limits.manifest_bytes,
    };
    let search = Search::new(
        parts.clone(),
        route.clone(),
        Arc::new(wanted),
        timing(&parts.timeouts),
    );
    search.run().await
}
