//! The order in which a request asks its candidates: pure, from one snapshot (design P2, P6, P12, H4, H5).
//!
//! Reads the snapshot and the live gauges, decides, and never waits. The caller connects, races and counts.

mod candidate;
mod hash;
mod held;
#[cfg(test)]
mod tests;
mod why;

pub use candidate::Candidate;
pub use held::{Effect, HeldBack};
pub use why::Why;

use super::endpoint::EndpointId;
use super::snapshot::{EndpointState, EndpointStatus, Snapshot, SourceState};
use super::source::SourceId;
use crate::cache::Trust;
use crate::config::Limits;
use hash::{hash_of, mix, rendezvous};
use held::{Behind, Held};
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// After readmission an endpoint's share grows to the whole in this time (design P12).
pub const SLOW_START: Duration = Duration::from_secs(30);

/// So many addresses of a tier are asked before the next tier joins (design P6).
const FIRST_OF_A_TIER: usize = 2;

/// So many addresses of all tiers are asked before upstream: with the limits of P6 more would eat the 20 s that
/// a request has.
const BEFORE_UPSTREAM: usize = 6;

/// What is known of a request when its candidates are ordered.
#[derive(Clone, Copy)]
pub struct Selection<'a> {
    /// The route's sources in order of preference.
    pub targets: &'a [SourceId],
    /// What the rendezvous hash is taken of: `docker.io/library/nginx`. Equal on every node, so that a fleet
    /// fills the same caches.
    pub key: &'a str,
    /// Who answered for this repository before.
    pub sticky: Option<&'a EndpointId>,
    /// Where this digest was learned; it goes before `sticky`.
    pub learned_at: Option<&'a EndpointId>,
    /// Who is asked before everybody else, whatever its source, while it is healthy.
    pub first: Option<&'a EndpointId>,
    /// What is known against addresses and sources, and whom the request has left.
    pub held_back: &'a [HeldBack],
    /// From how many requests on an address is loaded, and full.
    pub limits: Limits,
    /// A source's "no" is final, and whoever else may have it is asked for a moment: nobody who makes wait, and who is last behind all
    /// others, whatever the source's place.
    pub is_after_no: bool,
    /// Whose request it is: of what others ask for at an address it sees what it gives way to.
    pub trust: Trust,
}

/// How an endpoint stands within its source; the derived order is the order of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Admitted,
    Normal,
    /// In slow start, and this request is not of its share.
    Deferred,
    Lowered,
    /// In probation and busy with the one request that it may have.
    Busy,
    Loaded,
    /// Suspect or ejected, and it has just served.
    JustServed,
    Suspect,
    Ejected,
}

/// An endpoint with all that orders it.
struct Ranked<'a> {
    state: &'a EndpointState,
    source: &'a Arc<SourceState>,
    /// Its source's place among the request's.
    target: usize,
    rank: Rank,
    hash: u64,
    in_flight: u32,
    /// Among those of its source and rank, where the address families take turns.
    turn: usize,
    /// Its group among all candidates of the request.
    group: Group,
    held: Held,
}

/// The parts of the whole order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    First,
    Others,
    Upstream,
    /// Of a tier, and too many to be asked before upstream.
    Late,
    Loaded,
    JustServed,
    Suspect,
    Ejected,
}

/// Orders the candidates of a request. `random` spreads slow start; the same arguments give the same order.
///
/// Every address of every target that is neither excluded nor full appears once; full ones appear when there is
/// nothing else, so that a request is never left without a candidate by load or health alone.
#[must_use]
pub fn select(
    request: &Selection<'_>,
    snapshot: &Snapshot,
    now: Instant,
    random: u64,
) -> Vec<Candidate> {
    // All in one list, the targets one after the other: this runs for every request.
    let mut all = Vec::new();
    for (target, source) in request.targets.iter().enumerate() {
        if let Some(source) = snapshot.source(source) {
            rank_all(&mut all, request, target, source, now, random);
        }
    }
    let full = |ranked: &Ranked<'_>| ranked.in_flight >= request.limits.per_address;
    if !all.iter().all(full) {
        all.retain(|ranked| !full(ranked));
    }
    for target in all.chunk_by_mut(|one, next| one.target == next.target) {
        order(request, target);
    }
    merge(&mut all, request.first);
    let per_address = request.limits.per_address;
    let candidates = all.iter().map(|it| it.candidate(per_address));
    if !request.is_after_no {
        return candidates.collect();
    }
    let mut candidates: Vec<_> = candidates.filter(|it| !it.makes_wait).collect();
    candidates.sort_by_key(Candidate::is_last);
    candidates
}

/// The endpoints of one source that were not tried yet.
fn rank_all<'a>(
    all: &mut Vec<Ranked<'a>>,
    request: &Selection<'_>,
    target: usize,
    source: &'a Arc<SourceState>,
    now: Instant,
    random: u64,
) {
    let begins = all.len();
    all.reserve(source.endpoints.len());
    for state in &source.endpoints {
        // Who is not asked is left out before anybody is judged by load: else those who are full would be left out for the sake
        // of some who cannot be asked.
        let Some(held) = Held::new(request.held_back, &state.id) else {
            continue;
        };
        let in_flight = state.gauges.load_for(request.trust);
        all.push(Ranked {
            state,
            source,
            target,
            rank: rank(request, state, in_flight, now, random),
            hash: rendezvous(request.key, state.id.address),
            in_flight,
            turn: 0,
            group: Group::First,
            held,
        });
    }
    // One request tries one endpoint in probation at most; the others wait for their own.
    let mut admitted = false;
    for endpoint in all.iter_mut().skip(begins) {
        if endpoint.rank == Rank::Admitted && std::mem::replace(&mut admitted, true) {
            endpoint.rank = Rank::Busy;
        }
    }
}

fn rank(
    request: &Selection<'_>,
    state: &EndpointState,
    in_flight: u32,
    now: Instant,
    random: u64,
) -> Rank {
    let just_served = || state.gauges.has_just_served(now);
    match state.status {
        EndpointStatus::Ejected { .. } if just_served() => Rank::JustServed,
        EndpointStatus::Ejected { .. } => Rank::Ejected,
        _ if state.gauges.is_suspect() && just_served() => Rank::JustServed,
        _ if state.gauges.is_suspect() => Rank::Suspect,
        _ if in_flight >= request.limits.loaded => Rank::Loaded,
        EndpointStatus::Probation { .. } if in_flight == 0 && !state.lowered => Rank::Admitted,
        EndpointStatus::Probation { .. } => Rank::Busy,
        EndpointStatus::Healthy if state.lowered => Rank::Lowered,
        EndpointStatus::Healthy => match state.readmitted {
            Some(since) if !in_share(since, now, mix(random ^ hash_of(state.id.address))) => {
                Rank::Deferred
            }
            _ => Rank::Normal,
        },
    }
}

/// Whether a request is of the growing share of an endpoint that was readmitted `since`.
fn in_share(since: Instant, now: Instant, random: u64) -> bool {
    let age = now.saturating_duration_since(since);
    let share = age.as_secs_f64() / SLOW_START.as_secs_f64();
    // The upper 32 bits as a fraction of 1.
    let fraction = f64::from(u32::try_from(random >> 32).unwrap_or(u32::MAX)) / 4_294_967_296.0;
    fraction < share
}

/// Orders one source's endpoints: by rank, then learned, sticky, the less loaded of the two with the highest
/// hash, the rest by hash; within each rank the address families take turns.
fn order(request: &Selection<'_>, target: &mut [Ranked<'_>]) {
    target.sort_by_key(|ranked| (ranked.rank, Reverse(ranked.hash)));
    for same in target.chunk_by_mut(|one, next| one.rank == next.rank) {
        if same
            .first()
            .is_some_and(|first| first.rank == Rank::Ejected)
        {
            // Who failed less often is the better guess.
            same.sort_by_key(|ranked| ranked.strikes());
        } else {
            prefer_less_loaded(same);
        }
        for preferred in [request.sticky, request.learned_at].into_iter().flatten() {
            let found = same.iter().position(|r| r.state.id == *preferred);
            if let Some(head) = found.and_then(|at| same.get_mut(..=at)) {
                head.rotate_right(1);
            }
        }
        interleave(same);
    }
}

/// Puts the less loaded of the first two first (the power of two choices, design H5).
fn prefer_less_loaded(same: &mut [Ranked<'_>]) {
    if let [first, second, ..] = same
        && second.load() < first.load()
    {
        std::mem::swap(first, second);
    }
}

/// Keeps the first and lets the address families take turns after it, each in its own order, so that a node
/// whose IPv6 goes nowhere has an IPv4 address among the first two (design P6).
fn interleave(same: &mut [Ranked<'_>]) {
    let Some(first) = same.first().map(Ranked::is_v4) else {
        return;
    };
    let (mut own, mut other) = (0, 1);
    for ranked in same.iter_mut() {
        let turn = if ranked.is_v4() == first {
            &mut own
        } else {
            &mut other
        };
        ranked.turn = *turn;
        *turn = turn.saturating_add(2);
    }
    same.sort_by_key(|ranked| ranked.turn);
}

/// Puts the targets together: two of each tier, the tiers' others, upstream, what came too late for that; then
/// the loaded, the suspect and the ejected of all, in the targets' order. What is known against addresses comes last: who stands
/// behind the others of its kind, who is asked last, and who is asked first.
fn merge(all: &mut [Ranked<'_>], first: Option<&EndpointId>) {
    for target in all.chunk_by_mut(|one, next| one.target == next.target) {
        let mut taken = 0;
        for ranked in target {
            ranked.group = match ranked.rank {
                Rank::Ejected => Group::Ejected,
                Rank::JustServed => Group::JustServed,
                Rank::Suspect => Group::Suspect,
                Rank::Loaded => Group::Loaded,
                _ if ranked.is_upstream() => Group::Upstream,
                _ if taken < FIRST_OF_A_TIER => {
                    taken = taken.saturating_add(1);
                    Group::First
                }
                _ => Group::Others,
            };
        }
    }
    all.sort_by_key(|ranked| ranked.group);
    for ranked in all.iter_mut().skip(BEFORE_UPSTREAM) {
        if matches!(ranked.group, Group::First | Group::Others) {
            ranked.group = Group::Late;
        }
    }
    all.sort_by_key(|ranked| ranked.group);
    for kind in all.chunk_by_mut(|one, next| one.kind() == next.kind()) {
        kind.sort_by_key(|ranked| ranked.held.behind);
    }
    // Who is asked last is asked before those who will hardly answer.
    all.sort_by_key(|ranked| (ranked.is_ill(), ranked.held.last));
    let is_first = |ranked: &Ranked<'_>| {
        let may_be = ranked.held.behind == Behind::No && ranked.rank != Rank::Loaded;
        first == Some(&ranked.state.id) && may_be && ranked.is_well()
    };
    let first = all.iter().position(is_first);
    if let Some(before) = first.and_then(|at| all.get_mut(..=at)) {
        before.rotate_right(1);
    }
}

// === impl Ranked ===

impl Ranked<'_> {
    /// Fewer requests are better; then a known and shorter latency.
    fn load(&self) -> (u32, Duration) {
        (self.in_flight, self.state.latency.unwrap_or(Duration::MAX))
    }

    fn strikes(&self) -> u32 {
        match self.state.status {
            EndpointStatus::Ejected { strikes, .. } => strikes,
            _ => 0,
        }
    }

    fn is_v4(&self) -> bool {
        self.state.id.address.is_ipv4()
    }

    fn is_upstream(&self) -> bool {
        matches!(self.state.id.source, SourceId::Upstream(_))
    }

    /// Suspect or ejected, whether or not it has just served.
    fn is_ill(&self) -> bool {
        matches!(self.rank, Rank::JustServed | Rank::Suspect | Rank::Ejected)
    }

    /// Neither suspect nor ejected, and not to be asked last.
    fn is_well(&self) -> bool {
        !self.is_ill() && !self.held.last
    }

    fn is_silent(&self) -> bool {
        let silence = match self.state.status {
            EndpointStatus::Ejected { cause, .. } => cause.is_silence(),
            _ => false,
        };
        self.rank != Rank::JustServed && (silence || self.state.gauges.is_suspect())
    }

    fn kind(&self) -> (bool, bool) {
        (self.is_upstream(), self.is_well())
    }

    fn candidate(&self, per_address: u32) -> Candidate {
        let probation = matches!(self.state.status, EndpointStatus::Probation { .. });
        Candidate {
            endpoint: self.state.id.clone(),
            source: self.source.source.clone(),
            target: self.target,
            gauges: self.state.gauges.clone(),
            why: match self.rank {
                Rank::Ejected => Why::FailOpen,
                Rank::JustServed if !self.state.gauges.is_suspect() => Why::FailOpen,
                Rank::JustServed | Rank::Suspect => Why::Suspect,
                Rank::Loaded => Why::Loaded,
                _ if probation => Why::Probation,
                _ => Why::Healthy,
            },
            held_back: self.held.effect(),
            makes_wait: self.is_silent() || self.in_flight >= per_address,
        }
    }
}
