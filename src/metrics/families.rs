//! The families, their names and their help texts.

use super::labels::{
    AttemptLabels, EndpointLabels, FailoverLabels, HostsWriteLabels, KindTierLabels, MemoryLabels,
    PolicyLabels, ReasonLabels, RegistryLabels, RequestLabels, ResultLabels, ResumeLabels,
    StateLabels, TierLabels, VersionLabels,
};
use super::process::ProcessCollector;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};
use std::sync::atomic::AtomicU64;

/// Seconds to a first byte: from a manifest that is at hand to the limit of P6.
const FIRST_BYTE: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0,
];

/// Seconds of a whole request: up to a layer of some GiB on a slow line.
const DURATION: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0,
    1200.0,
];

/// Makes histograms with these limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buckets(&'static [f64]);

/// A family of histograms.
type Histograms<S> = Family<S, Histogram, Buckets>;

#[derive(Clone, Debug)]
pub(super) struct Families {
    pub(super) requests: Family<RequestLabels, Counter>,
    pub(super) request_duration: Histograms<KindTierLabels>,
    pub(super) first_byte: Histograms<KindTierLabels>,
    pub(super) relayed_bytes: Family<TierLabels, Counter>,
    pub(super) attempts: Family<AttemptLabels, Counter>,
    pub(super) failovers: Family<FailoverLabels, Counter>,
    pub(super) resumes: Family<ResumeLabels, Counter>,
    pub(super) stale_served: Counter,
    pub(super) clients_ended: Family<ReasonLabels, Counter>,
    pub(super) policy_denials: Family<PolicyLabels, Counter>,
    pub(super) upstream_quota: Family<RegistryLabels, Gauge>,
    pub(super) digest_mismatches: Family<TierLabels, Counter>,
    pub(super) endpoint_healthy: Family<EndpointLabels, Gauge>,
    pub(super) tier_ready: Family<TierLabels, Gauge>,
    pub(super) probes: Histograms<TierLabels>,
    pub(super) dns_refreshes: Family<AttemptLabels, Counter>,
    pub(super) discovery_refreshes: Family<AttemptLabels, Counter>,
    pub(super) projects: Family<TierLabels, Gauge>,
    pub(super) router_lookups: Family<ResultLabels, Counter>,
    pub(super) router_fanout: Histogram,
    pub(super) dns_stale: Family<TierLabels, Gauge<f64, AtomicU64>>,
    pub(super) token_fetches: Family<AttemptLabels, Counter>,
    pub(super) hosts_writes: Family<HostsWriteLabels, Counter>,
    pub(super) hosts_conflicts: Counter,
    pub(super) node_files: Family<StateLabels, Gauge>,
    pub(super) config_reload: Gauge,
    pub(super) log_dropped: Counter,
    pub(super) task_panics: Counter,
    pub(super) memory: Family<MemoryLabels, Gauge>,
    pub(super) memory_refused: Counter,
}

/// The series that one request touches.
#[derive(Debug)]
pub(super) struct RequestHandles {
    pub(super) labels: RequestLabels,
    pub(super) requests: Counter,
    pub(super) duration: Histogram,
    pub(super) first_byte: Histogram,
}

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

impl Families {
    /// All of them, registered. Counters are named without `_total`, which the encoder appends.
    pub(super) fn register(root: &mut Registry) -> Self {
        root.register_collector(Box::new(ProcessCollector));
        let ours = root.sub_registry_with_prefix("harbor_pilot");
        let families = Self {
            requests: add(ours, "requests", "Requests of clients"),
            request_duration: register(
                ours,
                "request_duration_seconds",
                "Time from a request to the end of its body",
                Family::new_with_constructor(Buckets(&DURATION)),
            ),
            first_byte: register(
                ours,
                "time_to_first_byte_seconds",
                "Time from a request to its status line",
                Family::new_with_constructor(Buckets(&FIRST_BYTE)),
            ),
            relayed_bytes: add(
                ours,
                "relayed_bytes",
                "Bytes of bodies sent to clients, by the tier that they came from",
            ),
            attempts: add(ours, "attempts", "Attempts at endpoints, by result"),
            failovers: add(
                ours,
                "failovers",
                "Changes to another source before the first byte",
            ),
            resumes: add(ours, "resumes", "Changes to another source within a body"),
            stale_served: add(
                ours,
                "stale_served",
                "Manifests answered from disk because no source could be asked",
            ),
            clients_ended: add(
                ours,
                "clients_ended",
                "Client connections that were refused or ended for want of places, or because nothing was read, by reason",
            ),
            policy_denials: add(
                ours,
                "policy_denials",
                "Answers of a tier that its policy denies an image, by reason",
            ),
            upstream_quota: add(
                ours,
                "upstream_quota_remaining",
                "Requests that a registry says are left of its quota",
            ),
            digest_mismatches: add(
                ours,
                "digest_mismatches",
                "Bodies whose bytes did not fit their digest",
            ),
            endpoint_healthy: add(
                ours,
                "endpoint_healthy",
                "1 if an address may be used normally",
            ),
            tier_ready: add(
                ours,
                "tier_ready",
                "1 if a tier has an address that may be used normally",
            ),
            probes: register(
                ours,
                "probe_duration_seconds",
                "Duration of health probes",
                Family::new_with_constructor(Buckets(&FIRST_BYTE)),
            ),
            dns_refreshes: add(
                ours,
                "dns_refreshes",
                "Lookups of tiers and upstreams, by result",
            ),
            discovery_refreshes: add(
                ours,
                "discovery_refreshes",
                "Discoveries of a tier's projects, by result",
            ),
            projects: add(
                ours,
                "projects",
                "Registries that discovery found a project for",
            ),
            router_lookups: add(
                ours,
                "router_lookups",
                "Images without a registry, by how their registry was found",
            ),
            router_fanout: register(
                ours,
                "router_fanout_seconds",
                "Time until all projects together had decided on an image without a registry",
                Buckets(&FIRST_BYTE).new_metric(),
            ),
            dns_stale: add(
                ours,
                "dns_stale_seconds",
                "For how long the lookups of a tier have failed; 0 while they succeed",
            ),
            token_fetches: add(ours, "token_fetches", "Token exchanges, by result"),
            hosts_writes: add(
                ours,
                "hosts_writes",
                "Writes of the node's files, by result",
            ),
            hosts_conflicts: add(
                ours,
                "hosts_conflicts",
                "Changes of the node's files by others that stand against ours",
            ),
            node_files: add(
                ours,
                "node_files_state",
                "1 for the state of the node's files; degraded: containerd may pull past the agent",
            ),
            config_reload: add(
                ours,
                "config_last_reload_successful",
                "0 if the configuration on disk was refused and an older one is in force",
            ),
            log_dropped: add(
                ours,
                "log_dropped",
                "Log records that were dropped because the log did not take them",
            ),
            task_panics: add(
                ours,
                "task_panics",
                "Panics of connections and other tasks that may fail alone",
            ),
            memory: add(
                ours,
                "memory_bytes",
                "Bytes that wait in memory, by what they are; [limits] memory is the most of all together",
            ),
            memory_refused: add(
                ours,
                "memory_refused",
                "Answers that were refused because there was no memory for them",
            ),
        };
        // What runs was accepted; a refused file sets it to 0.
        families.config_reload.set(1);
        // A series that begins with its first event is no increase to Prometheus.
        for reason in ["refused", "made_way", "stalled"] {
            drop(
                families
                    .clients_ended
                    .get_or_create_owned(&ReasonLabels { reason }),
            );
        }
        // A gauge: the type "info" exists in OpenMetrics only.
        let build: Family<VersionLabels, Gauge> = add(ours, "build_info", "The running version");
        let version = env!("CARGO_PKG_VERSION");
        build.get_or_create_owned(&VersionLabels { version }).set(1);
        families
    }

    pub(super) fn request_handles(
        &self,
        request: RequestLabels,
        kind_tier: &KindTierLabels,
    ) -> RequestHandles {
        RequestHandles {
            requests: self.requests.get_or_create_owned(&request),
            duration: self.request_duration.get_or_create_owned(kind_tier),
            first_byte: self.first_byte.get_or_create_owned(kind_tier),
            labels: request,
        }
    }
}

/// Registers a new metric.
fn add<M: Metric + Clone + Default>(to: &mut Registry, name: &str, help: &str) -> M {
    register(to, name, help, M::default())
}

fn register<M: Metric + Clone>(to: &mut Registry, name: &str, help: &str, metric: M) -> M {
    to.register(name, help, metric.clone());
    metric
}
