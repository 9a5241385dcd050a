//! Whom a search has left, and who of the others is next. Pure.

use super::Pick;
use crate::relay::rules::Scope;
use crate::relay::timing::Want;
use crate::topology::select::{Candidate, Effect, HeldBack};
use crate::topology::{EndpointId, Snapshot, SourceId};

/// The sources of a search, and whom of them it has left.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(super) targets: Vec<SourceId>,
    /// Who is not asked any more, and sources of which an address said no: their others are asked last.
    pub(super) left: Vec<HeldBack>,
    /// Sources of which an address said no for the first time.
    warned: Vec<SourceId>,
}

/// No address is known: DNS has not answered yet, or has failed. So it is for a moment after the start and after a reload, when
/// the snapshot does not show a new source yet; for an upstream, until it is first wanted.
pub(super) fn lacks_addresses(snapshot: &Snapshot, source: &SourceId) -> bool {
    let state = snapshot.source(source);
    state.is_none_or(|state| state.endpoints.is_empty())
}

// === impl Pool ===

impl Pool {
    pub(super) fn new(targets: Vec<SourceId>) -> Self {
        Self {
            targets,
            left: Vec::new(),
            warned: Vec::new(),
        }
    }

    /// The next of the wanted kind, out of those who are selected. It is left at once.
    pub(super) fn pick(&mut self, selected: &[Candidate], snapshot: &Snapshot, want: Want) -> Pick {
        let wanted = |candidate: &&Candidate| match want {
            Want::Next => true,
            Want::Tier => !candidate.is_upstream() && candidate.is_healthy(),
            Want::Upstream => candidate.is_upstream() && !candidate.is_last(),
        };
        let mut fitting = selected.iter().filter(wanted);
        let next = match want {
            // A tier of which two addresses were asked is slow as a whole, more likely than a third of its addresses is
            // quick.
            Want::Tier => {
                fitting.min_by_key(|candidate| self.tried(&candidate.endpoint.source) >= 2)
            }
            Want::Next | Want::Upstream => fitting.next(),
        };
        // A source without an address stands behind those that are healthy, before those that are asked only because the rest
        // failed.
        match (next, self.unresolved(snapshot, want)) {
            (Some(next), target) if next.is_healthy() || target.is_none() => {
                self.exclude_endpoint(&next.endpoint);
                Pick::Candidate(next.clone())
            }
            (_, Some(source)) => {
                let source = source.clone();
                self.exclude_source(&source);
                Pick::Unresolved(source)
            }
            (_, None) => Pick::Nobody,
        }
    }

    /// A source without an address for which this search has not had DNS asked yet.
    pub(super) fn unresolved(&self, snapshot: &Snapshot, want: Want) -> Option<&SourceId> {
        let wanted = |source: &SourceId| match want {
            Want::Next => true,
            Want::Tier => false,
            Want::Upstream => matches!(source, SourceId::Upstream(_)),
        };
        self.targets.iter().find(|target| {
            let is_left = || self.left.contains(&HeldBack::source(target, Effect::Never));
            wanted(target) && lacks_addresses(snapshot, target) && !is_left()
        })
    }

    /// The source's lookup has ended: its addresses count.
    pub(crate) fn is_resolved(&mut self, source: &SourceId) {
        (self.left).retain(|other| *other != HeldBack::source(source, Effect::Never));
    }

    /// Leaves a candidate, as far as its answer says.
    pub(crate) fn exclude(&mut self, candidate: &Candidate, scope: Scope) {
        let source = &candidate.endpoint.source;
        self.exclude_endpoint(&candidate.endpoint);
        let is_last = match scope {
            Scope::Address => false,
            Scope::AddressOnceThenTier => {
                let was_warned = self.warned.contains(source);
                self.warned.push(source.clone());
                was_warned
            }
            Scope::Tier => true,
        };
        // The source's other addresses are asked when everybody else has failed: they are separate caches, and one may have
        // what this one lacks.
        if is_last && !self.has_said_no(source) {
            self.left.push(HeldBack::source(source, Effect::Last));
        }
    }

    /// Whether an address of the source said no, so that the others are asked last.
    pub(super) fn has_said_no(&self, source: &SourceId) -> bool {
        self.left.contains(&HeldBack::source(source, Effect::Last))
    }

    pub(crate) fn exclude_endpoint(&mut self, endpoint: &EndpointId) {
        let left = HeldBack::endpoint(endpoint, Effect::Never);
        if !self.left.contains(&left) {
            self.left.push(left);
        }
    }

    pub(crate) fn exclude_source(&mut self, source: &SourceId) {
        self.left.push(HeldBack::source(source, Effect::Never));
    }

    /// How many addresses of a source were asked.
    fn tried(&self, source: &SourceId) -> usize {
        let left = self.left.iter();
        left.filter(|left| left.source == *source && left.address.is_some())
            .count()
    }
}

#[cfg(test)]
mod tests;
