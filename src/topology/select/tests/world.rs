//! A snapshot to be made unhealthy, address by address.

use crate::cache::Trust;
use crate::config::{BaseUrl, Limits, Probe, ProbeKind, Tls};
use crate::topology::select::{Candidate, Effect, HeldBack, Selection, Why, select};
use crate::topology::{
    EndpointId, EndpointState, EndpointStatus, Failure, InFlight, PendingConnect, Snapshot, Source,
    SourceId, SourceKind, SourceState,
};
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

pub(super) const LIMITS: Limits = Limits {
    connections: 512,
    loaded: 16,
    per_address: 64,
    manifest_bytes: 4 << 20,
    memory: 64 << 20,
    floor_bytes_per_second: 16 * 1024,
};

/// A snapshot under construction, with the guards that keep its gauges up.
pub(super) struct World {
    pub(super) snapshot: Snapshot,
    pub(super) now: Instant,
    in_flight: Vec<InFlight>,
    pending: Vec<PendingConnect>,
}

pub(super) fn tier(name: &str) -> SourceId {
    SourceId::Tier(name.into())
}

pub(super) fn upstream() -> SourceId {
    SourceId::Upstream("docker.io".parse().unwrap())
}

pub(super) fn targets() -> Vec<SourceId> {
    vec![tier("replica"), tier("core"), upstream()]
}

pub(super) fn v4(last: u8) -> SocketAddr {
    ([203, 0, 113, last], 443).into()
}

pub(super) fn v6(last: u16) -> SocketAddr {
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last), 443).into()
}

pub(super) fn source(id: &SourceId) -> Arc<Source> {
    Arc::new(Source {
        id: id.clone(),
        kind: SourceKind::Harbor,
        url: BaseUrl {
            https: true,
            host: "replica.example".to_owned(),
            port: 443,
            prefix: String::new(),
        },
        tls: Tls::default(),
        credential: None,
        proxy: None,
        probe: Probe {
            kind: ProbeKind::Harbor,
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(3),
        },
    })
}

impl World {
    pub(super) fn new(sources: &[(SourceId, Vec<SocketAddr>)]) -> Self {
        let now = Instant::now() + Duration::from_secs(3600);
        let endpoint = |id: &SourceId, address: &SocketAddr| EndpointState {
            id: EndpointId {
                source: id.clone(),
                address: *address,
            },
            status: EndpointStatus::Healthy,
            lowered: false,
            since: now,
            next_try: None,
            readmitted: None,
            gauges: Arc::default(),
            reason: None,
            latency: None,
        };
        let sources = sources.iter().map(|(id, addresses)| {
            Arc::new(SourceState {
                source: source(id),
                endpoints: addresses.iter().map(|a| endpoint(id, a)).collect(),
                ready: true,
                dns_stale: false,
                dns_error: None,
                refused: None,
            })
        });
        Self {
            snapshot: Snapshot {
                generation: 1,
                sources: sources.collect(),
            },
            now,
            in_flight: Vec::new(),
            pending: Vec::new(),
        }
    }

    pub(super) fn state(&mut self, id: &SourceId, address: SocketAddr) -> &mut EndpointState {
        let sources = self.snapshot.sources.iter_mut();
        let mut of_id = sources.filter(|state| state.source.id == *id);
        let source = Arc::get_mut(of_id.next().unwrap()).unwrap();
        let mut states = source.endpoints.iter_mut();
        states.find(|state| state.id.address == address).unwrap()
    }

    pub(super) fn eject(&mut self, id: &SourceId, address: SocketAddr, strikes: u32) {
        let until = self.now + Duration::from_secs(5);
        self.state(id, address).status = EndpointStatus::Ejected {
            until,
            cause: Failure::Refused,
            strikes,
        };
    }

    pub(super) fn load(&mut self, id: &SourceId, address: SocketAddr, requests: u32) {
        let gauges = self.state(id, address).gauges.clone();
        self.in_flight
            .extend((0..requests).map(|_| gauges.enter(Trust::Trusted)));
    }

    pub(super) fn suspect(&mut self, id: &SourceId, address: SocketAddr) {
        let gauges = self.state(id, address).gauges.clone();
        self.pending.push(gauges.connect_is_slow());
    }

    pub(super) fn select(&self, key: &str) -> Vec<Candidate> {
        self.select_with(key, None, None, &[])
    }

    pub(super) fn select_with(
        &self,
        key: &str,
        sticky: Option<&EndpointId>,
        learned_at: Option<&EndpointId>,
        excluded: &[EndpointId],
    ) -> Vec<Candidate> {
        let targets = targets();
        let excluded = excluded.iter();
        let excluded = excluded.map(|endpoint| HeldBack::endpoint(endpoint, Effect::Never));
        let excluded: Vec<_> = excluded.collect();
        let request = Selection {
            targets: &targets,
            key,
            sticky,
            learned_at,
            first: None,
            held_back: &excluded,
            limits: LIMITS,
            is_after_no: false,
            trust: Trust::Trusted,
        };
        select(&request, &self.snapshot, self.now, 0)
    }
}

pub(super) fn addresses(candidates: &[Candidate]) -> Vec<(String, u16, Why)> {
    let last = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => u16::from(v4.ip().octets()[3]),
        SocketAddr::V6(v6) => 600 + v6.ip().segments()[7],
    };
    candidates
        .iter()
        .map(|candidate| {
            let label = candidate.endpoint.source.label().to_owned();
            (label, last(candidate.endpoint.address), candidate.why)
        })
        .collect()
}

pub(super) fn labels(candidates: &[Candidate]) -> Vec<&str> {
    candidates
        .iter()
        .map(|candidate| candidate.endpoint.source.label())
        .collect()
}

pub(super) fn endpoint(id: &SourceId, address: SocketAddr) -> EndpointId {
    EndpointId {
        source: id.clone(),
        address,
    }
}
