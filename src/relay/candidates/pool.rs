//! The candidates of one search, apart from where the facts come from: who is listed, who is next, who has been left. Pure.

use super::{Candidate, Pick, lacks_addresses};
use crate::cache::Trust;
use crate::config::Limits;
use crate::relay::rules::Scope;
use crate::relay::timing::Want;
use crate::topology::select::{Selection, Why, select};
use crate::topology::{EndpointId, Snapshot, SourceId};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::time::Instant;

/// What is known when candidates are listed.
pub(super) struct Known<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// Whose HEAD told the digest: it is asked first, whatever its tier, while it is well.
    pub(super) first: Option<&'a EndpointId>,
    pub(super) limits: Limits,
    pub(super) trust: Trust,
    /// Who answered for the repository.
    pub(super) sticky: Option<EndpointId>,
    /// Where the digest was learned.
    pub(super) learned_at: Option<EndpointId>,
    pub(super) marks: &'a dyn Marks,
    pub(super) now: Instant,
    pub(super) random: u64,
}

/// What the pull path remembers of endpoints.
pub(super) trait Marks {
    /// It sent wrong bytes for what is wanted: it is not asked.
    fn is_quarantined(&self, endpoint: &EndpointId) -> bool;
    /// It was silent or slow a while ago: it stands behind the others of its kind.
    fn is_silent(&self, endpoint: &EndpointId) -> bool;
    /// It asked for peace with this registry's requests, or what it named for this tag is nowhere: it stands behind
    /// everybody, upstream included.
    fn is_unwanted(&self, endpoint: &EndpointId) -> bool;
}

/// The sources of a search, and whom of them it has left.
#[derive(Debug)]
pub(super) struct Pool {
    legs: Vec<SourceId>,
    /// Of the repository, for the rendezvous hash.
    key: Arc<str>,
    gone: Few<EndpointId>,
    gone_legs: Few<usize>,
    warned: Few<usize>,
    last_legs: Few<usize>,
}

/// A set of so few that looking at all of them is quicker than hashing one.
#[derive(Debug)]
struct Few<T>(Vec<T>);

// === impl Few ===

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialEq> Few<T> {
    fn contains(&self, one: &T) -> bool {
        self.0.contains(one)
    }

    /// Whether it was not among them.
    fn insert(&mut self, one: T) -> bool {
        let is_new = !self.contains(&one);
        if is_new {
            self.0.push(one);
        }
        is_new
    }

    fn remove(&mut self, one: &T) {
        self.0.retain(|other| other != one);
    }
}

// === impl Pool ===

impl Pool {
    pub(super) fn new(legs: Vec<SourceId>, key: Arc<str>) -> Self {
        Self {
            legs,
            key,
            gone: Few::default(),
            gone_legs: Few::default(),
            warned: Few::default(),
            last_legs: Few::default(),
        }
    }

    /// Everybody who is left, in the order of asking.
    pub(super) fn list(&self, known: &Known<'_>) -> VecDeque<Candidate> {
        let left: Vec<SourceId>;
        let legs = if self.gone_legs.0.is_empty() {
            &self.legs
        } else {
            let legs = self.legs.iter().enumerate();
            let legs = legs.filter(|(index, _)| !self.gone_legs.contains(index));
            left = legs.map(|(_, leg)| leg.clone()).collect();
            &left
        };
        // Quarantined ones are left out before anybody is judged by load: else those who are full would be left out for the sake
        // of some who cannot be asked.
        let quarantined = self.quarantined(known);
        let excluded = if quarantined.is_empty() {
            &self.gone.0
        } else {
            &[self.gone.0.as_slice(), &quarantined].concat()
        };
        let selection = Selection {
            legs,
            key: &self.key,
            sticky: known.sticky.as_ref(),
            learned_at: known.learned_at.as_ref(),
            excluded,
            limits: known.limits,
            trust: known.trust,
        };
        let selected = select(&selection, known.snapshot, known.now, known.random);
        let candidates = selected.into_iter().filter_map(|selected| {
            let source = &selected.endpoint.source;
            let leg = self.legs.iter().position(|leg| leg == source)?;
            let well = matches!(selected.why, Why::Healthy | Why::Probation | Why::Loaded);
            let is_last =
                self.last_legs.contains(&leg) || known.marks.is_unwanted(&selected.endpoint);
            Some(Candidate {
                endpoint: selected.endpoint,
                source: selected.source.source.clone(),
                gauges: selected.gauges,
                leg,
                is_healthy: well && !is_last,
                is_loaded: selected.why == Why::Loaded,
                is_last,
            })
        });
        let is_silent = |endpoint: &EndpointId| known.marks.is_silent(endpoint);
        let mut ordered = silent_last(candidates.collect(), is_silent);
        let is_last = |candidate: &Candidate| candidate.is_last;
        ordered.make_contiguous().sort_by_key(is_last);
        let is_first = |candidate: &Candidate| {
            known.first == Some(&candidate.endpoint) && candidate.is_healthy && !candidate.is_loaded
        };
        if let Some(at) = ordered.iter().position(is_first)
            && let Some(first) = ordered.remove(at)
        {
            ordered.push_front(first);
        }
        ordered
    }

    fn quarantined(&self, known: &Known<'_>) -> Vec<EndpointId> {
        let legs = self.legs.iter();
        let states = legs.filter_map(|leg| known.snapshot.source(leg));
        let endpoints = states
            .flat_map(|state| &state.endpoints)
            .map(|state| &state.id);
        let quarantined = endpoints.filter(|endpoint| known.marks.is_quarantined(endpoint));
        quarantined.cloned().collect()
    }

    /// The next of the wanted kind, out of what [`Pool::list`] gave. It is left at once.
    pub(super) fn pick(
        &mut self,
        listed: &VecDeque<Candidate>,
        snapshot: &Snapshot,
        want: Want,
    ) -> Pick {
        let wanted = |candidate: &Candidate| match want {
            Want::Next => true,
            Want::Tier => !candidate.is_upstream() && candidate.is_healthy,
            Want::Upstream => candidate.is_upstream() && !candidate.is_last,
        };
        let mut fitting = listed.iter().filter(|candidate| wanted(candidate));
        let next = match want {
            // A tier of which two addresses were asked is slow as a whole, more likely than a third of its addresses is
            // quick.
            Want::Tier => {
                fitting.min_by_key(|candidate| self.tried(&candidate.endpoint.source) >= 2)
            }
            Want::Next | Want::Upstream => fitting.next(),
        };
        let next = next.cloned();
        // A source without an address stands behind those that are well, before those that are asked only
        // because the rest failed.
        match (next, self.unresolved(snapshot, want)) {
            (Some(next), Some(leg)) if !next.is_healthy => {
                self.gone_legs.insert(leg);
                Pick::Unresolved(leg)
            }
            (Some(next), _) => {
                self.gone.insert(next.endpoint.clone());
                Pick::Candidate(next)
            }
            (None, Some(leg)) => {
                self.gone_legs.insert(leg);
                Pick::Unresolved(leg)
            }
            (None, None) => Pick::Nobody,
        }
    }

    /// A leg without an address for which this search has not had DNS asked yet.
    pub(super) fn unresolved(&self, snapshot: &Snapshot, want: Want) -> Option<usize> {
        let wanted = |source: &SourceId| match want {
            Want::Next => true,
            Want::Tier => false,
            Want::Upstream => matches!(source, SourceId::Upstream(_)),
        };
        let mut legs = self.legs.iter().enumerate();
        let found = legs.find(|(index, leg)| {
            wanted(leg) && !self.gone_legs.contains(index) && lacks_addresses(snapshot, leg)
        });
        found.map(|(index, _)| index)
    }

    /// The leg's lookup has ended: its addresses count.
    pub(super) fn is_resolved(&mut self, leg: usize) {
        self.gone_legs.remove(&leg);
    }

    /// Leaves a candidate, as far as its answer says. True: the order of the others is another one now.
    pub(super) fn exclude(&mut self, candidate: &Candidate, scope: Scope) -> bool {
        self.gone.insert(candidate.endpoint.clone());
        let last = match scope {
            Scope::Address => false,
            Scope::AddressOnceThenTier => !self.warned.insert(candidate.leg),
            Scope::Tier => true,
        };
        // The source's other addresses are asked when everybody else has failed: they are separate caches, and one may have
        // what this one lacks.
        last && self.last_legs.insert(candidate.leg)
    }

    /// Leaves one endpoint.
    pub(super) fn exclude_endpoint(&mut self, endpoint: &EndpointId) {
        self.gone.insert(endpoint.clone());
    }

    /// Leaves a whole source.
    pub(super) fn exclude_leg(&mut self, leg: usize) {
        self.gone_legs.insert(leg);
    }

    fn tried(&self, source: &SourceId) -> usize {
        let gone = self.gone.0.iter().filter(|gone| gone.source == *source);
        gone.count()
    }
}

/// Puts who fell silent moments ago behind the others of its kind: an address of a tier behind all tiers' addresses that
/// are well, before upstream, whose load must not grow because a tier is slow.
fn silent_last(
    candidates: Vec<Candidate>,
    is_silent: impl Fn(&EndpointId) -> bool,
) -> VecDeque<Candidate> {
    if !candidates.iter().any(|c| is_silent(&c.endpoint)) {
        return candidates.into();
    }
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
