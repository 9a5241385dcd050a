//! Who is next: the selection of `topology`, asked anew with the newest snapshot for every attempt, less those whom
//! this search has already left.

use super::engine::RelayParts;
use super::rules::Scope;
use super::timing::Want;
use crate::oci::Digest;
use crate::route::Route;
use crate::topology::select::{self, Selection, Why, select};
use crate::topology::{EndpointGauges, EndpointId, Snapshot, Source, SourceId};
use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a request waits where every address is busy (design P12).
const BUSY_WAIT: Duration = Duration::from_secs(2);
const BUSY_STEP: Duration = Duration::from_millis(50);

/// How long the first lookup of an upstream may take: DNS has 1 s × 2 tries (design H1).
const RESOLVE_WAIT: Duration = Duration::from_secs(5);

/// One endpoint to try.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) endpoint: EndpointId,
    pub(crate) source: Arc<Source>,
    pub(crate) gauges: Arc<EndpointGauges>,
    /// Which leg of the route it serves.
    pub(crate) leg: usize,
    pub(crate) is_healthy: bool,
    pub(crate) is_loaded: bool,
}

/// The next to try.
#[derive(Clone, Debug)]
pub(crate) enum Pick {
    /// This one.
    Candidate(Candidate),
    /// The leg's host was never looked up; its lookup runs.
    Unresolved(usize),
    /// Nobody is left.
    Nobody,
}

/// The candidates of one search.
#[derive(Debug)]
pub(crate) struct Candidates {
    route: Arc<Route>,
    digest: Option<Digest>,
    key: String,
    gone: HashSet<EndpointId>,
    gone_legs: HashSet<usize>,
    warned: HashSet<usize>,
    last_legs: HashSet<usize>,
    generation: u64,
    listed: Option<Listed>,
}

/// A selection, good for a moment: gauges change without a new snapshot.
#[derive(Debug)]
struct Listed {
    at: Instant,
    snapshot: Arc<Snapshot>,
    candidates: VecDeque<Candidate>,
}

/// How long that moment is.
const MOMENT: Duration = Duration::from_millis(5);

/// DNS has neither named an address nor failed. So it is for a moment after the start and after a reload, when the
/// snapshot does not show a new source yet; for an upstream, until it is first wanted.
fn awaits_dns(snapshot: &Snapshot, source: &SourceId) -> bool {
    snapshot
        .source(source)
        .is_none_or(|state| state.endpoints.is_empty() && state.dns_error.is_none())
}

// === impl Candidate ===

impl Candidate {
    pub(crate) fn is_upstream(&self) -> bool {
        matches!(self.endpoint.source, SourceId::Upstream(_))
    }
}

// === impl Candidates ===

impl Candidates {
    pub(crate) fn new(parts: &RelayParts, route: &Arc<Route>, digest: Option<Digest>) -> Self {
        for leg in &route.legs {
            parts.discovery.touch(&leg.source);
        }
        let key = format!("{}/{}", route.registry_label, route.repository);
        Self {
            route: route.clone(),
            digest,
            key,
            gone: HashSet::new(),
            gone_legs: HashSet::new(),
            warned: HashSet::new(),
            last_legs: HashSet::new(),
            generation: 0,
            listed: None,
        }
    }

    /// Whether the direct upstream is among the sources.
    pub(crate) fn has_upstream(&self) -> bool {
        self.route
            .legs
            .iter()
            .any(|leg| matches!(leg.source, SourceId::Upstream(_)))
    }

    /// The newest snapshot's generation that was used.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// The next of the wanted kind.
    pub(crate) fn pick(&mut self, parts: &RelayParts, want: Want) -> Pick {
        let wanted = |candidate: &Candidate| match want {
            Want::Next => true,
            Want::Tier => !candidate.is_upstream() && candidate.is_healthy,
            Want::Upstream => {
                let (source, now) = (&candidate.endpoint.source, Instant::now());
                candidate.is_upstream() && !parts.cool_downs.holds(source, now)
            }
        };
        let tried = |leg: usize| {
            let source = self.route.legs.get(leg).map(|leg| &leg.source);
            let gone = self.gone.iter().filter(|gone| Some(&gone.source) == source);
            gone.count()
        };
        let tried: Vec<usize> = (0..self.route.legs.len()).map(tried).collect();
        let listed = self.list(parts);
        let snapshot = listed.snapshot.clone();
        let mut fitting: Vec<&Candidate> = listed.candidates.iter().filter(|c| wanted(c)).collect();
        if want == Want::Tier {
            // A tier of which two addresses were asked is slow as a whole, more likely than a third of its addresses is
            // quick.
            fitting.sort_by_key(|c| tried.get(c.leg).is_some_and(|tried| *tried >= 2));
        }
        let next = fitting.first().copied().cloned();
        // A source that was never looked up stands behind those that are well, before those that are asked only
        // because the rest failed.
        let unresolved = self.unresolved(&snapshot, want);
        match (next, unresolved) {
            (Some(next), Some(leg)) if !next.is_healthy => {
                self.gone_legs.insert(leg);
                Pick::Unresolved(leg)
            }
            (Some(next), _) => {
                self.exclude_endpoint(&next.endpoint);
                Pick::Candidate(next)
            }
            (None, Some(leg)) => {
                self.gone_legs.insert(leg);
                Pick::Unresolved(leg)
            }
            (None, None) => Pick::Nobody,
        }
    }

    /// The next of one leg, after its lookup.
    pub(crate) fn pick_of_leg(&mut self, parts: &RelayParts, leg: usize) -> Option<Candidate> {
        self.gone_legs.remove(&leg);
        self.listed = None;
        let listed = self.list(parts);
        let mut candidates = listed.candidates.iter();
        let next = candidates.find(|candidate| candidate.leg == leg).cloned()?;
        self.exclude_endpoint(&next.endpoint);
        Some(next)
    }

    /// Whether anybody is left.
    pub(crate) fn more(&mut self, parts: &RelayParts) -> bool {
        let listed = self.list(parts);
        if !listed.candidates.is_empty() {
            return true;
        }
        let snapshot = listed.snapshot.clone();
        self.unresolved(&snapshot, Want::Next).is_some()
    }

    /// Ready when the leg's source has addresses, or DNS has failed for it, or it takes too long.
    pub(crate) fn resolved(
        &self,
        parts: &RelayParts,
        leg: usize,
    ) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut snapshots = parts.snapshots.clone();
        let source = self.route.legs.get(leg).map(|leg| leg.source.clone());
        async move {
            let Some(source) = source else {
                return;
            };
            let answered = snapshots.wait_for(|snapshot| !awaits_dns(snapshot, &source));
            // Too late and never are the same here: the leg then has no address.
            let _ = tokio::time::timeout(RESOLVE_WAIT, answered).await.is_ok();
        }
    }

    /// Leaves a candidate, as far as its answer says.
    pub(crate) fn exclude(&mut self, candidate: &Candidate, scope: Scope) {
        self.exclude_endpoint(&candidate.endpoint);
        match scope {
            Scope::Address => {}
            Scope::AddressOnceThenTier => {
                if !self.warned.insert(candidate.leg) {
                    self.put_last(candidate.leg);
                }
            }
            Scope::Tier => self.put_last(candidate.leg),
        }
    }

    /// The source's other addresses are asked when everybody else has failed: they are separate caches, and one may
    /// have what this one lacks.
    fn put_last(&mut self, leg: usize) {
        self.last_legs.insert(leg);
        self.listed = None;
    }

    /// Leaves one endpoint.
    pub(crate) fn exclude_endpoint(&mut self, endpoint: &EndpointId) {
        self.gone.insert(endpoint.clone());
        if let Some(listed) = &mut self.listed {
            listed
                .candidates
                .retain(|candidate| candidate.endpoint != *endpoint);
        }
    }

    /// Leaves a whole source.
    pub(crate) fn exclude_leg(&mut self, leg: usize) {
        self.gone_legs.insert(leg);
        if let Some(listed) = &mut self.listed {
            listed.candidates.retain(|candidate| candidate.leg != leg);
        }
    }

    /// Waits a little while everybody is busy (design P12); then the busiest are asked after all.
    pub(crate) async fn wait_while_all_are_loaded(&mut self, parts: &RelayParts) {
        let until = Instant::now() + BUSY_WAIT;
        while Instant::now() < until {
            let listed = self.list(parts);
            let busy = listed
                .candidates
                .front()
                .is_some_and(|first| first.is_loaded);
            if !busy {
                return;
            }
            let snapshot = listed.snapshot.clone();
            if self.unresolved(&snapshot, Want::Next).is_some() {
                return;
            }
            tokio::time::sleep(BUSY_STEP).await;
        }
    }

    fn unresolved(&self, snapshot: &Snapshot, want: Want) -> Option<usize> {
        let wanted = |source: &SourceId| match want {
            Want::Next => true,
            Want::Tier => false,
            Want::Upstream => matches!(source, SourceId::Upstream(_)),
        };
        let is_unresolved = |(index, leg): &(usize, &crate::route::Leg)| {
            wanted(&leg.source)
                && !self.gone_legs.contains(index)
                && awaits_dns(snapshot, &leg.source)
        };
        self.route
            .legs
            .iter()
            .enumerate()
            .find(is_unresolved)
            .map(|(index, _)| index)
    }

    /// The newest selection; the last one while it is fresh and its snapshot the newest.
    fn list(&mut self, parts: &RelayParts) -> &Listed {
        let (now, snapshot) = (Instant::now(), parts.snapshots.borrow().clone());
        let fresh = self
            .listed
            .take()
            .filter(|listed| Arc::ptr_eq(&listed.snapshot, &snapshot) && now < listed.at + MOMENT);
        let listed = fresh.unwrap_or_else(|| Listed {
            at: now,
            candidates: self.candidates(parts, &snapshot, now),
            snapshot,
        });
        self.generation = listed.snapshot.generation;
        self.listed.insert(listed)
    }

    fn candidates(
        &self,
        parts: &RelayParts,
        snapshot: &Snapshot,
        now: Instant,
    ) -> VecDeque<Candidate> {
        let quarantine = &parts.memories.quarantine;
        let legs = &self.route.legs;
        let selected = self.select(parts, snapshot, now).into_iter();
        let candidates = selected.filter_map(|selected| {
            let source = &selected.endpoint.source;
            let leg = legs.iter().position(|leg| leg.source == *source)?;
            if let Some(digest) = &self.digest
                && quarantine.holds(&(selected.endpoint.clone(), digest.clone()), now)
            {
                return None;
            }
            let well = matches!(selected.why, Why::Healthy | Why::Probation | Why::Loaded);
            Some(Candidate {
                endpoint: selected.endpoint,
                source: selected.source.source.clone(),
                gauges: selected.gauges,
                leg,
                is_healthy: well && !self.last_legs.contains(&leg),
                is_loaded: selected.why == Why::Loaded,
            })
        });
        let memories = &parts.memories;
        let mut ordered = silent_last(candidates.collect(), |endpoint| {
            let doubted = |digest| memories.is_doubted(endpoint, digest, now);
            memories.silent.holds(endpoint, now) || self.digest.as_ref().is_some_and(doubted)
        });
        let is_last = |candidate: &Candidate| self.last_legs.contains(&candidate.leg);
        ordered.make_contiguous().sort_by_key(is_last);
        ordered
    }

    fn select(
        &self,
        parts: &RelayParts,
        snapshot: &Snapshot,
        now: Instant,
    ) -> Vec<select::Candidate> {
        let legs = self.route.legs.iter().enumerate();
        let legs: Vec<SourceId> = legs
            .filter(|(index, _)| !self.gone_legs.contains(index))
            .map(|(_, leg)| leg.source.clone())
            .collect();
        let (sticky, learned_at) = parts
            .stickiness
            .recall(&self.route, self.digest.as_ref(), now);
        let selection = Selection {
            legs: &legs,
            key: &self.key,
            sticky: sticky.as_ref(),
            learned_at: learned_at.as_ref(),
            excluded: &self.gone,
            limits: parts.limits,
        };
        select(&selection, snapshot, now, parts.random())
    }
}

/// Puts who fell silent moments ago behind the others of its kind: an address of a tier behind all tiers' addresses that
/// are well, before upstream, whose load must not grow because a tier is slow.
fn silent_last(
    candidates: Vec<Candidate>,
    is_silent: impl Fn(&EndpointId) -> bool,
) -> VecDeque<Candidate> {
    let mut ordered = VecDeque::with_capacity(candidates.len());
    let mut candidates = candidates.into_iter().peekable();
    while let Some(first) = candidates.next() {
        let kind = (first.is_upstream(), first.is_healthy);
        let mut run = vec![first];
        while let Some(next) = candidates.next_if(|c| (c.is_upstream(), c.is_healthy) == kind) {
            run.push(next);
        }
        let (silent, others): (Vec<_>, Vec<_>) =
            run.into_iter().partition(|c| is_silent(&c.endpoint));
        ordered.extend(others);
        ordered.extend(silent.into_iter().map(|candidate| Candidate {
            is_healthy: false,
            ..candidate
        }));
    }
    ordered
}

#[cfg(test)]
mod tests;
