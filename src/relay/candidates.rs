//! Who is next: the selection of `topology`, asked anew with the newest snapshot for every attempt, less those whom
//! this search has already left.

mod pool;

use super::reputation::Subject;
use super::timing::Want;
use crate::lifecycle::deadline;
use crate::relay::context::Context;
use crate::relay::network::Network;
use crate::route::Route;
use crate::topology::select::{Candidate, Selection, Why, select};
use crate::topology::{EndpointId, Snapshot, SourceId};
pub(crate) use pool::Pool;
use pool::lacks_addresses;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a request waits where every address is busy (design P12).
const BUSY_WAIT: Duration = Duration::from_secs(2);
const BUSY_STEP: Duration = Duration::from_millis(50);

/// How long others have after a final "no".
const AFTER_NO: Duration = Duration::from_secs(2);

/// How long the first lookup of an upstream may take: DNS has 1 s × 2 tries (design H1).
const RESOLVE_WAIT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub(crate) enum Pick {
    Candidate(Candidate),
    /// The source has no address: it is looked up.
    Unresolved(SourceId),
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
    /// A source has said a final "no".
    is_after_no: bool,
    /// The newest snapshot that was used.
    pub(crate) snapshot: Arc<Snapshot>,
    selected: Vec<Candidate>,
    /// When that was selected; `None`: something has changed that it depends on.
    selected_at: Option<Instant>,
}

/// How long a selection is good for: gauges change without a new snapshot.
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
        parts: &Context,
        route: Arc<Route>,
        subject: Subject,
        first: Option<EndpointId>,
    ) -> Self {
        let targets = route.targets.iter().map(|target| target.source.clone());
        Self {
            pool: Pool::new(targets.collect()),
            is_after_no: false,
            route,
            subject,
            first,
            snapshot: parts.snapshots.borrow().clone(),
            selected: Vec::new(),
            selected_at: None,
        }
    }

    /// The next of the wanted kind.
    pub(crate) fn pick(&mut self, parts: &Context, want: Want, now: Instant) -> Pick {
        self.refresh(parts, now);
        let pick = self.pool.pick(&self.selected, &self.snapshot, want);
        if let Pick::Candidate(picked) = &pick {
            let is_other = |other: &Candidate| other.endpoint != picked.endpoint;
            self.selected.retain(is_other);
        }
        pick
    }

    /// The next of one source, after its lookup.
    pub(crate) fn pick_of(&mut self, parts: &Context, source: &SourceId) -> Option<Candidate> {
        self.leaving().is_resolved(source);
        self.refresh(parts, Instant::now());
        let mut candidates = self.selected.iter();
        let is_its = |candidate: &&Candidate| candidate.endpoint.source == *source;
        let next = candidates.find(is_its)?.clone();
        self.leaving().exclude_endpoint(&next.endpoint);
        Some(next)
    }

    /// Until when others are asked after the final "no" of a source, if at all: load, health and reputation make no "no" of what they
    /// would have served. From now on that source is left, and who makes wait; tiers that said no come last, and not for their own sake.
    pub(crate) fn left_until(&mut self, parts: &Context, source: &SourceId) -> Option<Instant> {
        let now = Instant::now();
        self.leaving().exclude_source(source);
        self.is_after_no = true;
        self.refresh(parts, now);
        let first = &self.selected.first()?.endpoint.source;
        (!self.pool.has_said_no(first)).then(|| deadline(now, AFTER_NO))
    }

    /// Whether anybody is left.
    pub(crate) fn more(&mut self, parts: &Context, now: Instant) -> bool {
        self.refresh(parts, now);
        !self.selected.is_empty() || self.is_any_unresolved()
    }

    fn is_any_unresolved(&self) -> bool {
        self.pool.unresolved(&self.snapshot, Want::Next).is_some()
    }

    /// The pool, for somebody to be left.
    pub(crate) fn leaving(&mut self) -> &mut Pool {
        self.selected_at = None;
        &mut self.pool
    }

    /// Waits a little while everybody is busy (design P12); then the busiest are asked after all.
    pub(crate) async fn wait_while_all_are_loaded(&mut self, parts: &Context) {
        let mut now = Instant::now();
        let until = deadline(now, BUSY_WAIT);
        while now < until {
            self.refresh(parts, now);
            let is_busy = |first: &Candidate| first.why == Why::Loaded;
            if !self.selected.first().is_some_and(is_busy) || self.is_any_unresolved() {
                return;
            }
            tokio::time::sleep(BUSY_STEP).await;
            now = Instant::now();
        }
    }

    /// Selects anew where the last selection is not fresh, or its snapshot not the newest.
    fn refresh(&mut self, parts: &Context, now: Instant) {
        let newest = parts.snapshots.borrow();
        let is_fresh = self
            .selected_at
            .is_some_and(|at| now < deadline(at, MOMENT));
        if is_fresh && Arc::ptr_eq(&self.snapshot, &newest) {
            return;
        }
        self.snapshot = newest.clone();
        drop(newest);
        self.selected = self.selected(parts, now);
        self.selected_at = Some(now);
    }

    fn selected(&self, parts: &Context, now: Instant) -> Vec<Candidate> {
        let (stickiness, digest) = (&parts.stickiness, self.subject.digest());
        let sticky = stickiness.repository(&self.route, now);
        let learned_at = digest.and_then(|digest| stickiness.digest(&self.route, digest, now));
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
            is_after_no: self.is_after_no,
            trust: self.subject.trust,
        };
        select(&selection, &self.snapshot, now, parts.random())
    }
}
