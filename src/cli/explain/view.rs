//! What is known of the addresses now: what the running agent says, and what DNS says here for the rest. Pure.

#[cfg(test)]
mod tests;

use super::lookup::Lookups;
use crate::admin::{EndpointStatus, ReputationStatus, SourceStatus, State, Status};
use crate::cache::Trust;
use crate::config::Limits;
use crate::discovery::EndpointSets;
use crate::lifecycle::deadline;
use crate::oci::Reference;
use crate::route::Route;
use crate::topology::select::{Candidate, Effect, HeldBack, Selection, select};
use crate::topology::{
    self, EndpointGauges, EndpointId, EndpointState, Failure, InFlight, PendingConnect, Snapshot,
    Source, SourceId, SourceState,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The addresses with their states, as a request finds them.
#[derive(Debug)]
pub(in crate::cli) struct View {
    snapshot: Snapshot,
    /// What the agent says. Who is missing was looked up here, and nothing is known of its health.
    said: BTreeMap<EndpointId, EndpointStatus>,
    /// Sources whose addresses are the agent's.
    of_agent: BTreeSet<SourceId>,
    /// What the agent knows against addresses and sources.
    reputation: Vec<(HeldBack, ReputationStatus)>,
    /// The agent's load, while the view is used.
    load: Load,
}

/// Holds the gauges where the agent says they are.
#[derive(Debug, Default)]
struct Load {
    requests: Vec<InFlight>,
    connects: Vec<PendingConnect>,
}

/// Those of whose addresses the agent says nothing: an upstream that was never used, or a source that the agent
/// knows with another URL, from an older configuration.
fn unknown_to(status: Option<&Status>, sources: &[Arc<Source>]) -> Vec<SourceId> {
    let unknown = sources.iter().filter(|source| {
        let said = status.and_then(|status| said_of(status, source));
        said.is_none_or(|said| said.endpoints.is_empty())
    });
    unknown.map(|source| source.id.clone()).collect()
}

fn said_of<'a>(status: &'a Status, source: &Source) -> Option<&'a SourceStatus> {
    let (list, name) = match &source.id {
        SourceId::Tier(name) => (&status.tiers, &**name),
        SourceId::Upstream(registry) => (&status.upstreams, registry.as_str()),
    };
    let url = source.url.to_string();
    list.iter()
        .find(|said| said.name == name && said.url == url)
}

// === impl View ===

impl View {
    /// What `status` says of `sources`; those that are unknown to it are looked up.
    pub(in crate::cli) async fn look(
        sources: &[Arc<Source>],
        status: Option<&Status>,
        lookups: &Lookups,
    ) -> Self {
        let looked_up = lookups.addresses(&unknown_to(status, sources)).await;
        Self::new(sources, status, &looked_up, Instant::now())
    }

    /// Puts together what `status` says of `sources` and what was looked up for those that are unknown to it.
    pub(super) fn new(
        sources: &[Arc<Source>],
        status: Option<&Status>,
        looked_up: &EndpointSets,
        now: Instant,
    ) -> Self {
        let mut view = Self {
            snapshot: Snapshot::default(),
            said: BTreeMap::new(),
            of_agent: BTreeSet::new(),
            reputation: Vec::new(),
            load: Load::default(),
        };
        let rows = status.into_iter().flat_map(|status| &status.reputation);
        view.reputation.extend(rows.filter_map(row_of));
        for source in sources {
            let said = status.and_then(|status| said_of(status, source));
            let state = match said.filter(|said| !said.endpoints.is_empty()) {
                Some(said) => view.as_said(source, said, now),
                None => as_looked_up(source, looked_up, now),
            };
            view.snapshot.sources.push(Arc::new(state));
        }
        view
    }

    fn as_said(&mut self, source: &Arc<Source>, said: &SourceStatus, now: Instant) -> SourceState {
        self.of_agent.insert(source.id.clone());
        let mut endpoints = Vec::with_capacity(said.endpoints.len());
        for endpoint in &said.endpoints {
            // The agent writes addresses; anything else is not one to ask.
            let Ok(address) = endpoint.address.parse() else {
                continue;
            };
            let gauges = Arc::default();
            self.load.raise(&gauges, endpoint);
            let since = now.checked_sub(Duration::from_secs(endpoint.since_seconds));
            let state = EndpointState {
                status: status_of(endpoint, now),
                lowered: endpoint.lowered,
                since: since.unwrap_or(now),
                gauges,
                reason: endpoint.reason.as_deref().map(Into::into),
                latency: endpoint.latency_ms.map(Duration::from_millis),
                ..unjudged(source, address, now)
            };
            self.said.insert(state.id.clone(), endpoint.clone());
            endpoints.push(state);
        }
        SourceState {
            source: source.clone(),
            endpoints,
            ready: said.ready,
            dns_stale: said.dns_stale,
            dns_error: said.dns_error.as_deref().map(Into::into),
            refused: None,
        }
    }

    /// The order in which a request asks now. Who served this repository before, and is therefore asked before its
    /// equals, is known to the agent alone; so is the growing share of a source's address after readmission.
    pub(in crate::cli) fn order(
        &self,
        route: &Route,
        reference: &Reference,
        limits: Limits,
        now: Instant,
    ) -> Vec<Candidate> {
        let rows = self.against(route, reference);
        let held_back: Vec<HeldBack> = rows.map(|(held, _)| held.clone()).collect();
        let targets: Vec<SourceId> = route
            .targets
            .iter()
            .map(|target| target.source.clone())
            .collect();
        let selection = Selection {
            targets: &targets,
            key: &route.key,
            sticky: None,
            learned_at: None,
            first: None,
            held_back: &held_back,
            limits,
            is_after_no: false,
            trust: Trust::Trusted,
        };
        select(&selection, &self.snapshot, now, 0)
    }

    /// What the agent knows against addresses and sources that counts for such a request of containerd.
    fn against<'a>(
        &'a self,
        route: &'a Route,
        reference: &'a Reference,
    ) -> impl Iterator<Item = &'a (HeldBack, ReputationStatus)> {
        let is_of = |said: &Option<String>, name: &str| said.as_deref().is_none_or(|of| of == name);
        self.reputation.iter().filter(move |(_, row)| {
            row.clients == "all"
                && is_of(&row.registry, route.registry_label.as_str())
                && is_of(&row.repository, route.repository.as_str())
                && is_of(&row.reference, reference.as_str())
        })
    }

    /// Why an address is held back, in words.
    pub(super) fn held_back(
        &self,
        route: &Route,
        reference: &Reference,
        endpoint: &EndpointId,
    ) -> Vec<String> {
        let rows = self.against(route, reference);
        let its = rows.filter(|(held, _)| held.concerns(endpoint));
        its.map(|(_, row)| row.words()).collect()
    }

    /// The agent's word on an address.
    pub(super) fn said_of(&self, endpoint: &EndpointId) -> Option<&EndpointStatus> {
        self.said.get(endpoint)
    }

    pub(super) fn source(&self, id: &SourceId) -> Option<&Arc<SourceState>> {
        self.snapshot.source(id)
    }

    /// Whether a source's addresses are those of the running agent.
    pub(super) fn is_of_agent(&self, id: &SourceId) -> bool {
        self.of_agent.contains(id)
    }
}

// === impl Load ===

impl Load {
    fn raise(&mut self, gauges: &Arc<EndpointGauges>, said: &EndpointStatus) {
        // What came over the network sets no amount of work: an address is full far below.
        let requests = said.in_flight.min(4096);
        self.requests
            .extend((0..requests).map(|_| gauges.enter(Trust::Trusted)));
        if said.suspect {
            self.connects.push(gauges.connect_is_slow());
        }
    }
}

/// A row as the selection reads it; `None`: of an agent that says what this command does not know.
fn row_of(said: &ReputationStatus) -> Option<(HeldBack, ReputationStatus)> {
    let source = if said.upstream {
        SourceId::Upstream(said.source.parse().ok()?)
    } else {
        SourceId::Tier(said.source.as_str().into())
    };
    let effect = match said.effect.as_str() {
        "behind" => Effect::Behind,
        "last" => Effect::Last,
        "never" => Effect::Never,
        _ => return None,
    };
    let address = match &said.address {
        Some(address) => Some(address.parse().ok()?),
        None => None,
    };
    let held = HeldBack {
        source,
        address,
        effect,
    };
    Some((held, said.clone()))
}

fn as_looked_up(source: &Arc<Source>, looked_up: &EndpointSets, now: Instant) -> SourceState {
    let set = looked_up.get(&source.id);
    let addresses = set.map_or(&[][..], |set| &set.addresses);
    let endpoints: Vec<_> = addresses
        .iter()
        .map(|address| unjudged(source, *address, now))
        .collect();
    SourceState {
        source: source.clone(),
        ready: !endpoints.is_empty(),
        endpoints,
        // Stale is what there is, and here may be nothing.
        dns_stale: set.is_some_and(|set| set.stale && !set.addresses.is_empty()),
        dns_error: set.and_then(|set| set.error.clone()),
        refused: None,
    }
}

/// Nothing is known against it: it is used.
fn unjudged(source: &Source, address: SocketAddr, now: Instant) -> EndpointState {
    EndpointState {
        id: EndpointId {
            source: source.id.clone(),
            address,
        },
        status: topology::EndpointStatus::Healthy,
        lowered: false,
        since: now,
        next_try: None,
        readmitted: None,
        gauges: Arc::default(),
        reason: None,
        latency: None,
    }
}

/// Cause and strikes are not told; of several ejected addresses the order may therefore differ.
fn status_of(said: &EndpointStatus, now: Instant) -> topology::EndpointStatus {
    match said.state {
        // The agent tries it as a healthy one, until it has seen the certificate.
        State::Healthy | State::Expired => topology::EndpointStatus::Healthy,
        State::Probation => topology::EndpointStatus::Probation { successes: 0 },
        State::Ejected => topology::EndpointStatus::Ejected {
            until: deadline(
                now,
                Duration::from_secs(said.ejected_for_seconds.unwrap_or(0).min(86_400)),
            ),
            cause: Failure::Probe,
            strikes: 1,
        },
    }
}
