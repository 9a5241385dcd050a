//! Sources and sets for the tests of this module, and the table itself for those of others.

use super::probe::{ProbeReport, Verdict};
use super::table::Table;
use crate::config::ProbeKind;
use crate::discovery::EndpointSets;
use crate::topology::testing::{self, address, tier, upstream};
use crate::topology::{
    EndpointId, EndpointSet, Failure, Outcome, OutcomeReport, Snapshot, Source, SourceId, Sources,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

pub(super) fn source(id: SourceId, probe: ProbeKind) -> Source {
    let at = format!("https://{}.example", id.label());
    let mut source = testing::source(id, &at);
    source.probe.kind = probe;
    source
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

/// The health table with its sources, without its task.
pub(crate) struct Judge {
    table: Table,
    snapshot: Arc<Snapshot>,
}

impl Judge {
    /// Probed tiers, and the upstream of Docker Hub; nobody has an address yet.
    pub(crate) fn new(tiers: &[&str], seed: u64, now: Instant) -> Self {
        let mut table = Table::new(seed, now);
        table.set_sources(sources(tiers), now);
        Self {
            table,
            snapshot: Arc::default(),
        }
    }

    /// What DNS says of all sources: the last bytes of their addresses.
    pub(crate) fn names(&mut self, of: &[(SourceId, &[u8])], now: Instant) {
        self.table.set_addresses(sets(of), now);
    }

    pub(crate) fn learns(&mut self, endpoint: &EndpointId, outcome: Outcome, now: Instant) {
        self.table.outcome(&report(endpoint, outcome), now);
    }

    /// Every probe that is due, with one result.
    pub(crate) fn probe_all_due(&mut self, passes: bool, now: Instant) {
        for due in self.table.due_probes(usize::MAX, now) {
            let verdict = match passes {
                true => Verdict::Passed,
                false => Verdict::Unhealthy("database".to_owned()),
            };
            let report = ProbeReport {
                verdict,
                took: Duration::from_millis(5),
                lowered: false,
                cookie: None,
            };
            self.table.probed(&due.endpoint, report, now);
        }
    }

    pub(crate) fn at(&mut self, now: Instant) {
        self.table.tick(now);
    }

    /// The newest snapshot.
    pub(crate) fn snapshot(&mut self) -> Arc<Snapshot> {
        if let Some(snapshot) = self.table.take_snapshot() {
            self.snapshot = Arc::new(snapshot);
        }
        self.snapshot.clone()
    }
}
