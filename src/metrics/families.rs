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
use prometheus_client::registry::Registry;
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

impl Default for Families {
    fn default() -> Self {
        let config_reload = Gauge::default();
        // What runs was accepted; a refused file sets it to 0.
        config_reload.set(1);
        Self {
            requests: Family::default(),
            request_duration: Family::new_with_constructor(Buckets(&DURATION)),
            first_byte: Family::new_with_constructor(Buckets(&FIRST_BYTE)),
            relayed_bytes: Family::default(),
            attempts: Family::default(),
            failovers: Family::default(),
            resumes: Family::default(),
            stale_served: Counter::default(),
            clients_ended: Family::default(),
            policy_denials: Family::default(),
            upstream_quota: Family::default(),
            digest_mismatches: Family::default(),
            endpoint_healthy: Family::default(),
            tier_ready: Family::default(),
            probes: Family::new_with_constructor(Buckets(&FIRST_BYTE)),
            dns_refreshes: Family::default(),
            discovery_refreshes: Family::default(),
            projects: Family::default(),
            router_lookups: Family::default(),
            router_fanout: Buckets(&FIRST_BYTE).new_metric(),
            dns_stale: Family::default(),
            token_fetches: Family::default(),
            hosts_writes: Family::default(),
            hosts_conflicts: Counter::default(),
            node_files: Family::default(),
            config_reload,
            log_dropped: Counter::default(),
            task_panics: Counter::default(),
            memory: Family::default(),
            memory_refused: Counter::default(),
        }
    }
}

impl Families {
    /// Registers everything. Counters are named without `_total`, which the encoder appends.
    pub(super) fn registry(&self) -> Registry {
        let mut root = Registry::default();
        root.register_collector(Box::new(ProcessCollector));
        let ours = root.sub_registry_with_prefix("harbor_pilot");
        self.register_requests(ours);
        self.register_sources(ours);
        self.register_daemon(ours);
        root
    }

    fn register_requests(&self, to: &mut Registry) {
        to.register("requests", "Requests of clients", self.requests.clone());
        to.register(
            "request_duration_seconds",
            "Time from a request to the end of its body",
            self.request_duration.clone(),
        );
        to.register(
            "time_to_first_byte_seconds",
            "Time from a request to its status line",
            self.first_byte.clone(),
        );
        to.register(
            "relayed_bytes",
            "Bytes of bodies sent to clients, by the tier that they came from",
            self.relayed_bytes.clone(),
        );
        to.register(
            "attempts",
            "Attempts at endpoints, by result",
            self.attempts.clone(),
        );
        to.register(
            "failovers",
            "Changes to another source before the first byte",
            self.failovers.clone(),
        );
        to.register(
            "resumes",
            "Changes to another source within a body",
            self.resumes.clone(),
        );
        to.register(
            "stale_served",
            "Manifests answered from disk because no source could be asked",
            self.stale_served.clone(),
        );
        to.register(
            "clients_ended",
            "Client connections that were refused or ended for want of places, or because nothing was read, by reason",
            self.clients_ended.clone(),
        );
        to.register(
            "policy_denials",
            "Answers of a tier that its policy denies an image, by reason",
            self.policy_denials.clone(),
        );
        to.register(
            "upstream_quota_remaining",
            "Requests that a registry says are left of its quota",
            self.upstream_quota.clone(),
        );
        to.register(
            "digest_mismatches",
            "Bodies whose bytes did not fit their digest",
            self.digest_mismatches.clone(),
        );
    }

    fn register_sources(&self, to: &mut Registry) {
        to.register(
            "endpoint_healthy",
            "1 if an address may be used normally",
            self.endpoint_healthy.clone(),
        );
        to.register(
            "tier_ready",
            "1 if a tier has an address that may be used normally",
            self.tier_ready.clone(),
        );
        to.register(
            "probe_duration_seconds",
            "Duration of health probes",
            self.probes.clone(),
        );
        to.register(
            "dns_refreshes",
            "Lookups of tiers and upstreams, by result",
            self.dns_refreshes.clone(),
        );
        to.register(
            "discovery_refreshes",
            "Discoveries of a tier's projects, by result",
            self.discovery_refreshes.clone(),
        );
        to.register(
            "projects",
            "Registries that discovery found a project for",
            self.projects.clone(),
        );
        to.register(
            "router_lookups",
            "Images without a registry, by how their registry was found",
            self.router_lookups.clone(),
        );
        to.register(
            "router_fanout_seconds",
            "Time until all projects together had decided on an image without a registry",
            self.router_fanout.clone(),
        );
        to.register(
            "dns_stale_seconds",
            "For how long the lookups of a tier have failed; 0 while they succeed",
            self.dns_stale.clone(),
        );
        to.register(
            "token_fetches",
            "Token exchanges, by result",
            self.token_fetches.clone(),
        );
    }

    fn register_daemon(&self, to: &mut Registry) {
        to.register(
            "hosts_writes",
            "Writes of the node's files, by result",
            self.hosts_writes.clone(),
        );
        to.register(
            "hosts_conflicts",
            "Changes of the node's files by others that stand against ours",
            self.hosts_conflicts.clone(),
        );
        to.register(
            "node_files_state",
            "1 for the state of the node's files; degraded: containerd may pull past the agent",
            self.node_files.clone(),
        );
        to.register(
            "config_last_reload_successful",
            "0 if the configuration on disk was refused and an older one is in force",
            self.config_reload.clone(),
        );
        to.register(
            "log_dropped",
            "Log records that were dropped because the log did not take them",
            self.log_dropped.clone(),
        );
        to.register(
            "task_panics",
            "Panics of connections and other tasks that may fail alone",
            self.task_panics.clone(),
        );
        to.register(
            "memory_bytes",
            "Bytes that wait in memory, by what they are; [limits] memory is the most of all together",
            self.memory.clone(),
        );
        to.register(
            "memory_refused",
            "Answers that were refused because there was no memory for them",
            self.memory_refused.clone(),
        );
        // A gauge: the type "info" exists in OpenMetrics only.
        let build = Family::<VersionLabels, Gauge>::default();
        let version = env!("CARGO_PKG_VERSION");
        build.get_or_create_owned(&VersionLabels { version }).set(1);
        to.register("build_info", "The running version", build);
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
