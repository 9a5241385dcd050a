//! All endpoints with their states, and what readers see of them. No I/O: the task around it brings sources,
//! addresses, outcomes and reports with the time, and takes snapshots, events and due probes.

#[cfg(test)]
mod tests;
mod view;

use super::machine::{Effect, Event, Probing, State, step};
use super::probe::ProbeReport;
use super::readiness::{Readiness, Seen, Turn};
use super::refusals::Refusals;
use super::schedule::{Circumstances, ProbeClock};
use crate::config::ProbeKind;
use crate::discovery::EndpointSets;
use crate::lifecycle::{Random, deadline};
use crate::telemetry::StateChange;
use crate::topology::{
    EndpointGauges, EndpointId, EndpointSet, EndpointStatus, Outcome, OutcomeReport, Snapshot,
    Source, SourceId, SourceState, Sources,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Health is kept for so long after an address left DNS: names that rotate their answers bring it back (H1).
const KEPT: Duration = Duration::from_secs(900);

/// A node without pulls for this long probes less.
const IDLE_AFTER: Duration = Duration::from_secs(600);

#[derive(Debug)]
struct Row {
    state: State,
    clock: ProbeClock,
    gauges: Arc<EndpointGauges>,
    /// Of the last probe.
    cookie: Option<String>,
    probing: bool,
    /// When it left DNS.
    left: Option<Instant>,
}

/// A probe that is due.
#[derive(Clone, Debug)]
pub(super) struct DueProbe {
    pub(super) source: Arc<Source>,
    pub(super) endpoint: EndpointId,
    pub(super) cookie: Option<String>,
}

/// The facts of the health task.
#[derive(Debug)]
pub(super) struct Table {
    sources: Arc<Sources>,
    sets: Arc<EndpointSets>,
    rows: BTreeMap<EndpointId, Row>,
    readiness: BTreeMap<SourceId, Readiness>,
    refusals: Refusals,
    last_pull: Instant,
    random: Random,
    generation: u64,
    /// A reader can see a difference to the last snapshot.
    changed: bool,
    events: Vec<StateChange>,
}

impl Table {
    /// Without sources. The node counts as in use until it has had no pull for a while.
    pub(super) fn new(seed: u64, now: Instant) -> Self {
        Self {
            sources: Arc::default(),
            sets: Arc::default(),
            rows: BTreeMap::new(),
            readiness: BTreeMap::new(),
            refusals: Refusals::default(),
            last_pull: now,
            random: Random::from_seed(seed),
            generation: 0,
            changed: true,
            events: Vec::new(),
        }
    }

    /// New sources. A source that is another one now (moved, other TLS or credentials) begins anew: what ejected
    /// its endpoints may be corrected. Their gauges count on.
    pub(super) fn set_sources(&mut self, sources: Arc<Sources>, now: Instant) {
        let old = std::mem::replace(&mut self.sources, sources);
        self.changed = true;
        self.rows
            .retain(|id, _| self.sources.get(&id.source).is_some());
        self.readiness
            .retain(|id, _| self.sources.get(id).is_some());
        self.refusals.retain(|id| self.sources.get(id).is_some());
        for source in self.sources.clone().all() {
            let same = old.get(&source.id).is_some_and(|old| old == source);
            if same {
                continue;
            }
            self.refusals.let_in(&source.id);
            for (_, row) in rows_of(&mut self.rows, &source.id) {
                row.state = State::new(now);
                row.clock = ProbeClock::new(now, self.random.fraction());
                row.cookie = None;
            }
        }
        self.set_addresses(self.sets.clone(), now);
    }

    /// New sets from DNS.
    pub(super) fn set_addresses(&mut self, sets: Arc<EndpointSets>, now: Instant) {
        let old = std::mem::replace(&mut self.sets, sets);
        for source in self.sources.clone().all() {
            let set = self.set_of(source).cloned();
            let same = old.get(&source.id) == set.as_ref();
            let addresses = set.iter().flat_map(|set| &set.addresses);
            let current: BTreeSet<EndpointId> = addresses
                .map(|address| EndpointId {
                    source: source.id.clone(),
                    address: *address,
                })
                .collect();
            self.changed |= !same;
            for (id, row) in rows_of(&mut self.rows, &source.id) {
                match current.contains(id) {
                    true => row.left = None,
                    false => row.left = row.left.or(Some(now)),
                }
            }
            for id in current {
                let (random, denied) = (&mut self.random, self.refusals.mark(&source.id, now));
                self.rows.entry(id).or_insert_with(|| Row {
                    state: State::new(now),
                    clock: ProbeClock::new(now, random.fraction()),
                    gauges: Arc::new(EndpointGauges::sharing(denied)),
                    cookie: None,
                    probing: false,
                    left: None,
                });
            }
        }
        self.settle(now);
    }

    /// What DNS said of a source, unless that was of another place: the new settings never meet the old addresses.
    fn set_of(&self, source: &Source) -> Option<&Arc<EndpointSet>> {
        self.sets.get(&source.id).filter(|set| set.is_of(source))
    }

    pub(super) fn pulled(&mut self, now: Instant) {
        self.last_pull = now;
    }

    /// A request learned something. Of endpoints that nobody knows any more nothing is kept.
    pub(super) fn outcome(&mut self, report: &OutcomeReport, now: Instant) {
        let event = Event::Outcome {
            outcome: report.outcome,
            first_byte: report.first_byte,
            detail: &report.detail,
        };
        let source = &report.endpoint.source;
        let turned = match report.outcome {
            Outcome::Denied => self.refusals.denied(source, &report.detail, now),
            Outcome::Success => self.refusals.let_in(source),
            _ => false,
        };
        self.changed |= turned;
        if self.step(&report.endpoint, event, now) || turned {
            self.settle(now);
        }
    }

    pub(super) fn probed(&mut self, endpoint: &EndpointId, report: ProbeReport, now: Instant) {
        self.step(endpoint, Event::Probe(&report), now);
        let idle = now.saturating_duration_since(self.last_pull) >= IDLE_AFTER;
        let source = self.sources.get(&endpoint.source);
        if let (Some(row), Some(source)) = (self.rows.get_mut(endpoint), source) {
            row.probing = false;
            row.cookie = report.cookie;
            let then = Circumstances {
                status: row.state.status,
                failed_probes: row.state.failed_probes,
                interval: source.probe.interval,
                idle,
            };
            row.clock.finished(then, now, self.random.fraction());
            // Its next try is shown.
            self.changed |= then.status != EndpointStatus::Healthy;
        }
        self.settle(now);
    }

    pub(super) fn tick(&mut self, now: Instant) {
        let due: Vec<EndpointId> = self
            .rows
            .iter()
            .filter(|(id, row)| {
                let wakes = row.state.wakes(self.probing(id));
                wakes.is_some_and(|at| at <= now)
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            self.step(&id, Event::Tick, now);
        }
        let gone = |row: &Row| {
            let left = row.left;
            left.is_some_and(|left| now.saturating_duration_since(left) >= KEPT)
        };
        self.rows.retain(|_, row| !gone(row));
        self.changed |= self.refusals.lapsed(now);
        self.settle(now);
    }

    /// At most `places` probes that are due now; they count as running until [`Self::probed`].
    pub(super) fn due_probes(&mut self, places: usize, now: Instant) -> Vec<DueProbe> {
        let mut due: Vec<(Instant, EndpointId)> = self
            .rows
            .iter()
            .filter_map(|(id, row)| Some((self.probe_at(id, row)?, id.clone())))
            .filter(|(at, _)| *at <= now)
            .collect();
        due.sort();
        due.truncate(places);
        let started = due.into_iter().filter_map(|(_, endpoint)| {
            let source = self.sources.get(&endpoint.source)?.clone();
            let row = self.rows.get_mut(&endpoint)?;
            row.probing = true;
            row.clock.started(row.state.status, now);
            Some(DueProbe {
                source,
                cookie: row.cookie.clone(),
                endpoint,
            })
        });
        started.collect()
    }

    /// When time alone changes something; probes count where there is a place for one.
    pub(super) fn wakes(&self, places: usize) -> Option<Instant> {
        let rows = self.rows.iter().flat_map(|(id, row)| {
            let probe = self.probe_at(id, row).filter(|_| places > 0);
            let gone = row.left.map(|left| deadline(left, KEPT));
            [row.state.wakes(self.probing(id)), probe, gone]
        });
        let ready = self.readiness.values().map(|readiness| readiness.wakes());
        let refusals = [self.refusals.wakes()];
        rows.chain(ready).chain(refusals).flatten().min()
    }

    /// State changes since the last call.
    pub(super) fn take_events(&mut self) -> Vec<StateChange> {
        std::mem::take(&mut self.events)
    }

    /// A new snapshot, if a reader can see a difference to the last one.
    pub(super) fn take_snapshot(&mut self) -> Option<Snapshot> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        self.generation = self.generation.saturating_add(1);
        let sources = self.sources.all();
        Some(Snapshot {
            generation: self.generation,
            sources: sources.map(|source| Arc::new(self.view(source))).collect(),
        })
    }

    /// Whether readers can see the difference.
    fn step(&mut self, endpoint: &EndpointId, event: Event<'_>, now: Instant) -> bool {
        let probing = self.probing(endpoint);
        let jitter = self.random.fraction();
        let Some(row) = self.rows.get_mut(endpoint) else {
            return false;
        };
        let (state, effect) = step(row.state.clone(), event, probing, now, jitter);
        if std::mem::discriminant(&state.status) != std::mem::discriminant(&row.state.status)
            || matches!(effect, Some(Effect::Ejected(_)))
        {
            let jitter = self.random.fraction();
            row.clock.turned(state.status, now, jitter);
        }
        let same = state.looks_like(&row.state);
        row.state = state;
        self.changed |= !same;
        if let Some(effect) = effect {
            let reason = row.state.reason.clone().unwrap_or_default();
            self.events.push(view::effect(endpoint, effect, &reason));
        }
        !same
    }

    /// Readiness follows the endpoints.
    fn settle(&mut self, now: Instant) {
        for source in self.sources.clone().all() {
            let seen = self.is_looked_up(source).then(|| self.seen(&source.id));
            let old = self.readiness.get(&source.id).copied().unwrap_or_default();
            let (next, turn) = old.step(seen, now);
            self.changed |= next.ready != old.ready;
            self.readiness.insert(source.id.clone(), next);
            if let (Some(turn), SourceId::Tier(_)) = (turn, &source.id) {
                let reason = match turn {
                    Turn::Down => self.last_reason(&source.id),
                    Turn::Up => "an endpoint has been healthy for 2 s".to_owned(),
                    Turn::Moved => "it has another place".to_owned(),
                };
                self.events.push(view::turn(&source.id, turn, reason));
            }
        }
    }

    /// DNS has answered or failed for the place where the source is now.
    fn is_looked_up(&self, source: &Source) -> bool {
        self.set_of(source)
            .is_some_and(|set| !set.addresses.is_empty() || set.error.is_some())
    }

    fn probing(&self, endpoint: &EndpointId) -> Probing {
        let source = self.sources.get(&endpoint.source);
        Probing {
            on: source.is_some_and(|source| is_probed(source)),
            interval: source.map_or(Duration::ZERO, |source| source.probe.interval),
        }
    }

    fn probe_at(&self, id: &EndpointId, row: &Row) -> Option<Instant> {
        let wanted = !row.probing && row.left.is_none() && self.probing(id).on;
        wanted.then(|| row.clock.next())
    }
}

fn rows_of<'a>(
    rows: &'a mut BTreeMap<EndpointId, Row>,
    source: &SourceId,
) -> impl Iterator<Item = (&'a EndpointId, &'a mut Row)> {
    rows.iter_mut().filter(move |(id, _)| id.source == *source)
}

/// Direct upstreams are never probed, whatever their settings say (H2).
fn is_probed(source: &Source) -> bool {
    matches!(source.id, SourceId::Tier(_)) && source.probe.kind != ProbeKind::None
}
