//! Sources and sets for the tests of this module.

use crate::config::{BaseUrl, Probe, ProbeKind, Tls};
use crate::discovery::EndpointSets;
use crate::topology::{
    EndpointId, EndpointSet, Failure, Outcome, OutcomeReport, Source, SourceId, SourceKind, Sources,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub(super) fn tier(name: &str) -> SourceId {
    SourceId::Tier(name.into())
}

pub(super) fn upstream() -> SourceId {
    SourceId::Upstream("docker.io".parse().unwrap())
}

pub(super) fn address(last: u8) -> SocketAddr {
    ([203, 0, 113, last], 443).into()
}

pub(super) fn endpoint(source: &SourceId, last: u8) -> EndpointId {
    EndpointId {
        source: source.clone(),
        address: address(last),
    }
}

pub(super) fn source(id: SourceId, probe: ProbeKind) -> Source {
    let kind = match id {
        SourceId::Tier(_) => SourceKind::Harbor,
        SourceId::Upstream(_) => SourceKind::Upstream,
    };
    Source {
        url: BaseUrl {
            https: true,
            host: format!("{}.example", id.label()),
            port: 443,
            prefix: String::new(),
        },
        id,
        kind,
        tls: Tls::default(),
        credential: None,
        proxy: None,
        probe: Probe {
            kind: probe,
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(3),
        },
    }
}

/// Probed tiers, and the upstream of Docker Hub.
pub(super) fn sources(tiers: &[&str]) -> Arc<Sources> {
    let tiers = tiers
        .iter()
        .map(|name| Arc::new(source(tier(name), ProbeKind::Harbor)));
    // An upstream is never probed, whatever its settings say.
    let upstream = Arc::new(source(upstream(), ProbeKind::V2));
    Arc::new(Sources {
        generation: 1,
        tiers: tiers.collect(),
        upstreams: [("docker.io".parse().unwrap(), upstream)].into(),
    })
}

pub(super) fn sets(of: &[(SourceId, &[u8])]) -> Arc<EndpointSets> {
    let sets = of.iter().map(|(id, addresses)| {
        let source = source(id.clone(), ProbeKind::None);
        let set = EndpointSet {
            of: (source.dialled().host.clone(), source.dialled().port),
            addresses: addresses.iter().copied().map(address).collect(),
            stale: false,
            error: None,
        };
        (id.clone(), Arc::new(set))
    });
    Arc::new(sets.collect())
}

pub(super) fn report(endpoint: &EndpointId, outcome: Outcome) -> OutcomeReport {
    OutcomeReport {
        endpoint: endpoint.clone(),
        outcome,
        first_byte: None,
        detail: "for a reason".to_owned(),
    }
}

pub(super) fn refused(endpoint: &EndpointId) -> OutcomeReport {
    report(endpoint, Outcome::Hard(Failure::Refused))
}
