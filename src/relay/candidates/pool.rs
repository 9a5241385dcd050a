//! The candidates of one search, apart from where the facts come from: who is listed, who is next, who has been left. Pure.

use super::{Candidate, Pick, lacks_addresses};
use crate::cache::Trust;
use crate::config::Limits;
use crate::relay::rules::Scope;
use crate::relay::timing::Want;
use crate::topology::select::{Effect, HeldBack, Selection, Why, select};
use crate::topology::{EndpointId, Snapshot, SourceId};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::time::Instant;

/// What is known when candidates are listed.
pub(super) struct Known<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) limits: Limits,
    pub(super) trust: Trust,
    /// Who answered for the repository.
    pub(super) sticky: Option<EndpointId>,
    /// Where the digest was learned.
    pub(super) learned_at: Option<EndpointId>,
    /// Who comes first, where it is well.
    pub(super) first: Option<&'a EndpointId>,
    /// What is known against addresses and sources.
    pub(super) held_back: Vec<HeldBack>,
    pub(super) now: Instant,
    pub(super) random: u64,
}

/// The sources of a search, and whom of them it has left.
#[derive(Debug)]
pub(super) struct Pool {
    targets: Vec<SourceId>,
    /// Of the repository, for the rendezvous hash.
    key: Arc<str>,
    gone: Vec<EndpointId>,
    gone_targets: Vec<usize>,
    /// Targets of which an address said no for the first time.
    warned: Vec<usize>,
    /// Those who said no: the others of their source are asked last.
    said_no: Vec<HeldBack>,
}

// === impl Pool ===

impl Pool {
    pub(super) fn new(targets: Vec<SourceId>, key: Arc<str>) -> Self {
        Self {
            targets,
            key,
            gone: Vec::new(),
            gone_targets: Vec::new(),
            warned: Vec::new(),
            said_no: Vec::new(),
        }
    }

    /// Everybody who is left, in the order of asking.
    pub(super) fn list(&self, known: Known<'_>) -> VecDeque<Candidate> {
        let left: Vec<SourceId>;
        let targets = if self.gone_targets.is_empty() {
            &self.targets
        } else {
            let targets = self.targets.iter().enumerate();
            let targets = targets.filter(|(index, _)| !self.gone_targets.contains(index));
            left = targets.map(|(_, target)| target.clone()).collect();
            &left
        };
        let target_of = |endpoint: &EndpointId| {
            let mut targets = self.targets.iter();
            targets.position(|target| *target == endpoint.source)
        };
        let mut held_back = known.held_back;
        held_back.extend_from_slice(&self.said_no);
        let selection = Selection {
            targets,
            key: &self.key,
            sticky: known.sticky.as_ref(),
            learned_at: known.learned_at.as_ref(),
            excluded: &self.gone,
            first: known.first,
            held_back: &held_back,
            limits: known.limits,
            trust: known.trust,
        };
        let selected = select(&selection, known.snapshot, known.now, known.random);
        let candidates = selected.into_iter().filter_map(|selected| {
            let target = target_of(&selected.endpoint)?;
            let is_well = matches!(selected.why, Why::Healthy | Why::Probation | Why::Loaded);
            Some(Candidate {
                endpoint: selected.endpoint,
                source: selected.source.source.clone(),
                gauges: selected.gauges,
                target,
                is_healthy: is_well && selected.held_back.is_none(),
                is_loaded: selected.why == Why::Loaded,
                is_last: selected.held_back == Some(Effect::Last),
            })
        });
        candidates.collect()
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
            (Some(next), Some(target)) if !next.is_healthy => {
                self.gone_targets.push(target);
                Pick::Unresolved(target)
            }
            (Some(next), _) => {
                self.exclude_endpoint(&next.endpoint);
                Pick::Candidate(next)
            }
            (None, Some(target)) => {
                self.gone_targets.push(target);
                Pick::Unresolved(target)
            }
            (None, None) => Pick::Nobody,
        }
    }

    /// A target without an address for which this search has not had DNS asked yet.
    pub(super) fn unresolved(&self, snapshot: &Snapshot, want: Want) -> Option<usize> {
        let wanted = |source: &SourceId| match want {
            Want::Next => true,
            Want::Tier => false,
            Want::Upstream => matches!(source, SourceId::Upstream(_)),
        };
        let mut targets = self.targets.iter().enumerate();
        let found = targets.find(|(index, target)| {
            wanted(target)
                && !self.gone_targets.contains(index)
                && lacks_addresses(snapshot, target)
        });
        found.map(|(index, _)| index)
    }

    /// The target's lookup has ended: its addresses count.
    pub(super) fn is_resolved(&mut self, target: usize) {
        self.gone_targets.retain(|gone| *gone != target);
    }

    /// Leaves a candidate, as far as its answer says. True: the order of the others is another one now.
    pub(super) fn exclude(&mut self, candidate: &Candidate, scope: Scope) -> bool {
        self.exclude_endpoint(&candidate.endpoint);
        let last = match scope {
            Scope::Address => false,
            Scope::AddressOnceThenTier => {
                let was_warned = self.warned.contains(&candidate.target);
                self.warned.push(candidate.target);
                was_warned
            }
            Scope::Tier => true,
        };
        // The source's other addresses are asked when everybody else has failed: they are separate caches, and one may have
        // what this one lacks.
        let all = HeldBack {
            source: candidate.endpoint.source.clone(),
            address: None,
            effect: Effect::Last,
        };
        let is_new = last && !self.has_said_no(&all.source);
        if is_new {
            self.said_no.push(all);
        }
        is_new
    }

    /// Whether an address of the source said no, so that the others are asked last.
    pub(super) fn has_said_no(&self, source: &SourceId) -> bool {
        self.said_no.iter().any(|no| no.source == *source)
    }

    /// Leaves one endpoint.
    pub(super) fn exclude_endpoint(&mut self, endpoint: &EndpointId) {
        if !self.gone.contains(endpoint) {
            self.gone.push(endpoint.clone());
        }
    }

    /// Leaves a whole source.
    pub(super) fn exclude_target(&mut self, target: usize) {
        self.gone_targets.push(target);
    }

    fn tried(&self, source: &SourceId) -> usize {
        let gone = self.gone.iter().filter(|gone| gone.source == *source);
        gone.count()
    }
}

#[cfg(test)]
mod tests;
