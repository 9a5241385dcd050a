//! Who is next: the selection of `topology`, asked anew with the newest snapshot for every attempt, less those whom
//! this search has already left.

mod pool;

use super::memory::Image;
use super::reputation::Subject;
use super::rules::Scope;
use super::timing::Want;
use crate::cache::Trust;
use crate::lifecycle::deadline;
use crate::relay::context::Context;
use crate::relay::network::Network;
use crate::route::Route;
use crate::topology::select::{Candidate, Selection, Why, select};
use crate::topology::{EndpointId, Snapshot, SourceId};
use pool::{Pool, lacks_addresses};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a request waits where every address is busy (design P12).
const BUSY_WAIT: Duration = Duration::from_secs(2);
const BUSY_STEP: Duration = Duration::from_millis(50);

/// How long the first lookup of an upstream may take: DNS has 1 s × 2 tries (design H1).
const RESOLVE_WAIT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub(crate) enum Pick {
    Candidate(Candidate),
    /// The target has no address: its source is looked up.
    Unresolved(usize, SourceId),
    Nobody,
}

#[derive(Debug)]
pub(crate) struct Candidates {
    route: Arc<Route>,
    /// What is wanted, and by whom.
    pub(crate) subject: Subject,
    /// Who comes first, while it is healthy.
    first: Option<EndpointId>,
    pool: Pool,
    /// That of the newest snapshot that was used.
    pub(crate) generation: u64,
    listed: Option<Listed>,
}

/// A selection, good for a moment: gauges change without a new snapshot.
#[derive(Debug)]
struct Listed {
    at: Instant,
    snapshot: Arc<Snapshot>,
    candidates: Vec<Candidate>,
}

/// How long that moment is.
const MOMENT: Duration = Duration::from_millis(5);

/// Whether DNS has not answered for a source at all.
fn awaits_dns(snapshot: &Snapshot, source: &SourceId) -> bool {
    let state = snapshot.source(source);
    state.is_none_or(|state| state.endpoints.is_empty() && state.dns_error.is_none())
}

/// Ready when a source has addresses, or DNS has failed for it now, or it takes too long.
pub(crate) async fn resolved<N: Network>(
    network: N,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    source: SourceId,
) {
    let answered = async {
        let awaited = awaits_dns(&snapshots.borrow(), &source);
        // What DNS said before this request came is no answer to it: the network may be up by now.
        if !awaited && !network.resolve(&source).await {
            return;
        }
        let _closed = snapshots
            .wait_for(|snapshot| match awaited {
                true => !awaits_dns(snapshot, &source),
                false => !lacks_addresses(snapshot, &source),
            })
            .await;
    };
    // Too late and never are the same here: the target then has no address.
    let _ = tokio::time::timeout(RESOLVE_WAIT, answered).await.is_ok();
}

// === impl Candidates ===

impl Candidates {
    /// `first` is put before everybody else.
    pub(crate) fn new(
        route: &Arc<Route>,
        image: Option<Image>,
        trust: Trust,
        first: Option<EndpointId>,
    ) -> Self {
        let targets = route.targets.iter().map(|target| target.source.clone());
        Self {
            route: route.clone(),
            subject: Subject::new(route, image, trust),
            first,
            pool: Pool::new(targets.collect()),
            generation: 0,
            listed: None,
        }
    }

    /// Whether the direct upstream is among the sources.
    pub(crate) fn has_upstream(&self) -> bool {
        let mut targets = self.pool.targets.iter();
        targets.any(|source| matches!(source, SourceId::Upstream(_)))
    }

    /// The next of the wanted kind.
    pub(crate) fn pick(&mut self, parts: &Context, want: Want, now: Instant) -> Pick {
        let mut listed = self.list(parts, now);
        let pick = self.pool.pick(&listed.candidates, &listed.snapshot, want);
        if let Pick::Candidate(picked) = &pick {
            let is_other = |other: &Candidate| other.endpoint != picked.endpoint;
            listed.candidates.retain(is_other);
            self.listed = Some(listed);
        }
        pick
    }

    /// The next of one target, after its lookup.
    pub(crate) fn pick_of_target(&mut self, parts: &Context, target: usize) -> Option<Candidate> {
        self.pool.is_resolved(target);
        self.listed = None;
        let mut candidates = self.list(parts, Instant::now()).candidates.into_iter();
        let next = candidates.find(|candidate| candidate.target == target)?;
        self.pool.exclude_endpoint(&next.endpoint);
        Some(next)
    }

    /// Whether anybody is left who is held back by what is known against it.
    pub(crate) fn are_held_back(&mut self, parts: &Context) -> bool {
        let mut listed = self.list(parts, Instant::now()).candidates.into_iter();
        listed.any(|one| one.is_last() && !self.pool.has_said_no(&one.endpoint.source))
    }

    /// Whether anybody is left.
    pub(crate) fn more(&mut self, parts: &Context, now: Instant) -> bool {
        let listed = self.list(parts, now);
        let more = !listed.candidates.is_empty() || self.is_any_unresolved(&listed);
        self.listed = Some(listed);
        more
    }

    fn is_any_unresolved(&self, listed: &Listed) -> bool {
        self.pool.unresolved(&listed.snapshot, Want::Next).is_some()
    }

    /// Leaves a candidate, as far as its answer says.
    pub(crate) fn exclude(&mut self, candidate: &Candidate, scope: Scope) {
        self.pool.exclude(candidate, scope);
        self.listed = None;
    }

    pub(crate) fn exclude_endpoint(&mut self, endpoint: &EndpointId) {
        self.pool.exclude_endpoint(endpoint);
        self.listed = None;
    }

    /// Leaves a whole source.
    pub(crate) fn exclude_target(&mut self, target: usize) {
        self.pool.exclude_target(target);
        self.listed = None;
    }

    /// Waits a little while everybody is busy (design P12); then the busiest are asked after all.
    pub(crate) async fn wait_while_all_are_loaded(&mut self, parts: &Context) {
        let mut now = Instant::now();
        let until = deadline(now, BUSY_WAIT);
        while now < until {
            let listed = self.list(parts, now);
            let first = listed.candidates.first();
            let is_busy = first.is_some_and(|first| first.why == Why::Loaded);
            let is_over = !is_busy || self.is_any_unresolved(&listed);
            self.listed = Some(listed);
            if is_over {
                return;
            }
            tokio::time::sleep(BUSY_STEP).await;
            now = Instant::now();
        }
    }

    /// The newest selection; the last one while it is fresh and its snapshot the newest. It is kept by who changes nothing.
    fn list(&mut self, parts: &Context, now: Instant) -> Listed {
        let fresh = self.listed.take().filter(|listed| {
            now < deadline(listed.at, MOMENT)
                && Arc::ptr_eq(&listed.snapshot, &parts.snapshots.borrow())
        });
        let listed = fresh.unwrap_or_else(|| {
            let snapshot = parts.snapshots.borrow().clone();
            Listed {
                at: now,
                candidates: self.selected(parts, &snapshot, now),
                snapshot,
            }
        });
        self.generation = listed.snapshot.generation;
        listed
    }

    fn selected(&self, parts: &Context, snapshot: &Snapshot, now: Instant) -> Vec<Candidate> {
        let digest = self.subject.digest();
        let (sticky, learned_at) = parts.stickiness.recall(&self.route, digest, now);
        let mut held_back = parts.reputation.against(&self.subject, now);
        held_back.extend_from_slice(&self.pool.left);
        let selection = Selection {
            targets: &self.pool.targets,
            key: &self.route.key,
            sticky: sticky.as_ref(),
            learned_at: learned_at.as_ref(),
            first: self.first.as_ref(),
            held_back: &held_back,
            limits: parts.limits,
            trust: self.subject.trust,
        };
        select(&selection, snapshot, now, parts.random())
    }
}
