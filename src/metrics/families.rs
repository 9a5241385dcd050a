//! The families, their names and their help texts.

use super::labels::{
    EndpointLabels, FailoverLabels, HostsWriteLabels, KindTierLabels, MemoryLabels, PolicyLabels,
    ReasonLabels, RegistryLabels, RequestLabels, ResultLabels, ResumeLabels, StateLabels,
    TierLabels, TierResultLabels, VersionLabels,
};
use super::process::ProcessCollector;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
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

/// A family of histograms.
type Histograms<S> = Family<S, Histogram>;

/// The families: of each its help text, its name (without the `_total` of counters, which the encoder appends), its type, and how
/// it is made where it has limits.
macro_rules! families {
    ($(#[doc = $help:literal] $name:ident: $type:ty $(= $made:expr)?,)+) => {
        #[derive(Clone, Debug)]
        pub(super) struct Families { $(#[doc = $help] pub(super) $name: $type,)+ }

        impl Families {
            fn registered(to: &mut Registry) -> Self {
                $(
                    let $name: $type = families!(@made $type $(, $made)?);
                    to.register(stringify!($name), $help.trim_start(), $name.clone());
                )+
                Self { $($name,)+ }
            }
        }
    };
    (@made $type:ty) => { <$type>::default() };
    (@made $type:ty, $made:expr) => { $made };
}

families! {
    /// Requests of clients
    requests: Family<RequestLabels, Counter>,
    /// Time from a request to the end of its body
    request_duration_seconds: Histograms<KindTierLabels> = Family::new_with_constructor(|| Histogram::new(DURATION)),
    /// Time from a request to its status line
    time_to_first_byte_seconds: Histograms<KindTierLabels> = Family::new_with_constructor(|| Histogram::new(FIRST_BYTE)),
    /// Bytes of bodies sent to clients, by the tier that they came from
    relayed_bytes: Family<TierLabels, Counter>,
    /// Time that streams of blobs waited for a limit of bandwidth, by the tier that they read from
    bandwidth_waits_seconds: Family<TierLabels, Counter<f64, AtomicU64>>,
    /// Attempts at endpoints, by result
    attempts: Family<TierResultLabels, Counter>,
    /// Changes to another source before the first byte
    failovers: Family<FailoverLabels, Counter>,
    /// Changes to another source within a body
    resumes: Family<ResumeLabels, Counter>,
    /// Manifests answered from disk because no source could be asked
    stale_served: Counter,
    /// Client connections that were refused or ended for want of places, or because nothing was read, by reason
    clients_ended: Family<ReasonLabels, Counter>,
    /// Answers of a tier that its policy denies an image, by reason
    policy_denials: Family<PolicyLabels, Counter>,
    /// Requests that a registry says are left of its quota
    upstream_quota_remaining: Family<RegistryLabels, Gauge>,
    /// Bodies whose bytes did not fit their digest
    digest_mismatches: Family<TierLabels, Counter>,
    /// 1 if an address may be used normally
    endpoint_healthy: Family<EndpointLabels, Gauge>,
    /// 1 if a tier has an address that may be used normally
    tier_ready: Family<TierLabels, Gauge>,
    /// Duration of health probes
    probe_duration_seconds: Histograms<TierLabels> = Family::new_with_constructor(|| Histogram::new(FIRST_BYTE)),
    /// Lookups of tiers and upstreams, by result
    dns_refreshes: Family<TierResultLabels, Counter>,
    /// Discoveries of a tier's projects, by result
    discovery_refreshes: Family<TierResultLabels, Counter>,
    /// Registries that discovery found a project for
    projects: Family<TierLabels, Gauge>,
    /// Images without a registry, by how their registry was found
    router_lookups: Family<ResultLabels, Counter>,
    /// Time until all projects together had decided on an image without a registry
    router_fanout_seconds: Histogram = Histogram::new(FIRST_BYTE),
    /// Failures of the Redis in which agents share where images without a registry are
    router_redis_errors: Counter,
    /// For how long the lookups of a tier have failed; 0 while they succeed
    dns_stale_seconds: Family<TierLabels, Gauge<f64, AtomicU64>>,
    /// Token exchanges, by result
    token_fetches: Family<TierResultLabels, Counter>,
    /// Writes of the node's files, by result
    hosts_writes: Family<HostsWriteLabels, Counter>,
    /// Changes of the node's files by others that stand against ours
    hosts_conflicts: Counter,
    /// 1 for the state of the node's files; degraded: containerd may pull past the agent
    node_files_state: Family<StateLabels, Gauge>,
    /// 0 if the configuration on disk was refused and an older one is in force
    config_last_reload_successful: Gauge,
    /// Log records that were dropped because the log did not take them
    log_dropped: Counter,
    /// Spans that the collector of traces took
    spans_exported: Counter,
    /// Spans that were dropped: too many at a time, or the collector did not take them
    spans_dropped: Counter,
    /// Batches of spans that the collector did not take
    span_exports_failed: Counter,
    /// Panics of connections and other tasks that may fail alone
    task_panics: Counter,
    /// Bytes that wait in memory, by what they are; limits.memory is the most of all together
    memory_bytes: Family<MemoryLabels, Gauge>,
    /// Answers that were refused because there was no memory for them
    memory_refused: Counter,
}

/// The series that one request touches.
#[derive(Debug)]
pub(super) struct RequestHandles {
    pub(super) labels: RequestLabels,
    pub(super) requests: Counter,
    pub(super) duration: Histogram,
    pub(super) first_byte: Histogram,
}

impl Families {
    /// All of them, registered.
    pub(super) fn register(root: &mut Registry) -> Self {
        root.register_collector(Box::new(ProcessCollector));
        let ours = root.sub_registry_with_prefix("harbor_pilot");
        let families = Self::registered(ours);
        // What runs was accepted; a refused file sets it to 0.
        families.config_last_reload_successful.set(1);
        // A series that begins with its first event is no increase to Prometheus.
        for reason in ["refused", "made_way", "stalled"] {
            drop(
                families
                    .clients_ended
                    .get_or_create_owned(&ReasonLabels { reason }),
            );
        }
        // A gauge: the type "info" exists in OpenMetrics only.
        let build = Family::<VersionLabels, Gauge>::default();
        ours.register("build_info", "The running version", build.clone());
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
            duration: self.request_duration_seconds.get_or_create_owned(kind_tier),
            first_byte: self
                .time_to_first_byte_seconds
                .get_or_create_owned(kind_tier),
            labels: request,
        }
    }
}
