//! The Prometheus metrics of docs/observability.md: one struct, no globals; label values from closed sets only.
//!
//! Counting is cheap: a request costs one read lock and one hash. Gauges are handed in at each scrape as plain data.

mod bandwidth;
mod endpoints;
mod families;
mod format;
mod labels;
mod process;
mod router;
mod sources;

pub use endpoints::TierGauge;
pub use format::Format;
pub(crate) use sources::SourceBytes;

use crate::budget::Usage;
use crate::oci::RegistryName;
use crate::telemetry::{AccessRecord, RequestOutcome, Text};
use endpoints::Series;
use families::{Families, RequestHandles};
use foldhash::HashMap;
use format::classic;
use labels::{
    EndpointLabels, FailoverLabels, HostsWriteLabels, Interner, KindTierLabels, Label,
    MemoryLabels, PolicyLabels, ReasonLabels, RegistryLabels, RequestLabels, ResumeLabels,
    StateLabels, TierLabels, TierResultLabels,
};
use parking_lot::{Mutex, RwLock};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use sources::SourceHistory;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// Combinations of labels that are kept ready; what comes after them is counted as `other`.
const REQUEST_SERIES: usize = 4096;

/// All metric families. Shared by `Arc`.
#[derive(Debug)]
pub struct Metrics {
    families: Families,
    registry: Registry,
    labels: Interner,
    /// The three series of a request, found by one look-up.
    requests: RwLock<HashMap<RequestKey, Arc<RequestHandles>>>,
    relayed: RwLock<HashMap<Arc<str>, Counter>>,
    /// Locked for a look at `relayed`.
    sources: Mutex<SourceHistory>,
    /// Since when lookups of a tier fail.
    dns_failing: Mutex<BTreeMap<Arc<str>, Instant>>,
    /// One scrape at a time.
    series: Mutex<Series>,
}

/// What a scrape is told from outside.
#[derive(Clone, Debug)]
pub struct Scrape<'a> {
    /// Tiers, and upstreams under the name `upstream`.
    pub tiers: &'a [TierGauge],
    /// `log_dropped_total`
    pub log_dropped: u64,
    /// `spans_exported_total`, `spans_dropped_total`, `span_exports_failed_total`
    pub spans: [u64; 3],
    /// `task_panics_total`
    pub task_panics: u64,
    /// `memory_bytes{what}`, `memory_refused_total`
    pub memory: &'a Usage,
    /// `node_files_state{state}`; `state` from a closed set.
    pub node_files: &'static str,
    /// The time of the scrape: ages are counted from it.
    pub now: Instant,
}

/// Totals since the start, for `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests since the start, by outcome.
    pub requests: BTreeMap<&'static str, u64>,
    /// Bytes sent to clients by tier.
    pub relayed_bytes: BTreeMap<String, u64>,
}

/// What distinguishes the series of a request. Cloning takes no memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct RequestKey {
    kind: &'static str,
    registry: Option<RegistryName>,
    outcome: RequestOutcome,
    tier: Text,
}

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let families = Families::register(&mut registry);
        Self {
            families,
            registry,
            labels: Interner::default(),
            requests: RwLock::default(),
            relayed: RwLock::default(),
            sources: Mutex::default(),
            dns_failing: Mutex::default(),
            series: Mutex::default(),
        }
    }
}

/// A registry as text.
#[must_use]
pub(crate) fn render_registry(registry: &Registry, format: Format) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = encode(&mut text, registry);
    match format {
        Format::OpenMetrics => text,
        Format::Text => classic(&text),
    }
}

impl Metrics {
    /// A finished request: `requests_total`, `request_duration_seconds`, `time_to_first_byte_seconds`.
    pub fn request(&self, record: &AccessRecord) {
        let key = RequestKey {
            kind: record.kind,
            registry: record.registry.clone(),
            outcome: record.outcome,
            tier: record.tier.clone(),
        };
        let known = self.requests.read().get(&key).cloned();
        let handles = known.unwrap_or_else(|| self.new_request_series(key));
        handles.requests.inc();
        handles.duration.observe(record.duration.as_secs_f64());
        if let Some(time) = record.time_to_first_byte {
            handles.first_byte.observe(time.as_secs_f64());
        }
    }

    fn new_request_series(&self, mut key: RequestKey) -> Arc<RequestHandles> {
        let mut requests = self.requests.write();
        if requests.len() >= REQUEST_SERIES {
            key.registry = None;
            key.tier = labels::OTHER.into();
        }
        let create = |key: &RequestKey| {
            let registry = key.registry.as_ref().map_or("none", |name| name.as_str());
            let tier = match &*key.tier {
                "" => self.labels.intern("none"),
                tier => self.labels.intern(tier),
            };
            let by_kind = KindTierLabels {
                kind: key.kind,
                tier: tier.clone(),
            };
            let by_request = RequestLabels {
                kind: key.kind,
                registry: self.labels.intern(registry),
                outcome: key.outcome.word(),
                tier,
            };
            Arc::new(self.families.request_handles(by_request, &by_kind))
        };
        let new = requests.entry(key);
        new.or_insert_with_key(create).clone()
    }

    /// `relayed_bytes_total{tier}`
    pub fn relayed(&self, tier: &str, bytes: u64) {
        if let Some(counter) = self.relayed.read().get(tier) {
            counter.inc_by(bytes);
            return;
        }
        let label = self.labels.intern(tier);
        let key = label.0.clone();
        let family = &self.families.relayed_bytes;
        let counter = family.get_or_create_owned(&TierLabels { tier: label });
        counter.inc_by(bytes);
        self.relayed.write().insert(key, counter);
    }

    /// `attempts_total{tier,result}`; `result` from a closed set.
    pub fn attempt(&self, tier: &str, result: &'static str) {
        let labels = self.tier_result(tier, result);
        self.families.attempts.get_or_create(&labels).inc();
    }

    /// `failovers_total{from,to,reason}`
    pub fn failover(&self, from: &str, to: &str, reason: &'static str) {
        let labels = FailoverLabels {
            from: self.labels.intern(from),
            to: self.labels.intern(to),
            reason,
        };
        self.families.failovers.get_or_create(&labels).inc();
    }

    /// `resumes_total{from,to}`
    pub fn resume(&self, from: &str, to: &str) {
        let labels = ResumeLabels {
            from: self.labels.intern(from),
            to: self.labels.intern(to),
        };
        self.families.resumes.get_or_create(&labels).inc();
    }

    /// `stale_served_total`
    pub fn stale_served(&self) {
        self.families.stale_served.inc();
    }

    /// `policy_denials_total{tier,reason}`; `reason` from a closed set.
    pub fn policy_denial(&self, tier: &str, reason: &'static str) {
        let tier = self.labels.intern(tier);
        let labels = PolicyLabels { tier, reason };
        self.families.policy_denials.get_or_create(&labels).inc();
    }

    /// `upstream_quota_remaining{registry}`
    pub fn upstream_quota(&self, registry: &str, left: u64) {
        let registry = self.labels.intern(registry);
        let gauge = &self.families.upstream_quota_remaining;
        let gauge = gauge.get_or_create_owned(&RegistryLabels { registry });
        gauge.set(i64::try_from(left).unwrap_or(i64::MAX));
    }

    /// `digest_mismatches_total{tier}`
    pub fn digest_mismatch(&self, tier: &str) {
        let labels = self.tier(tier);
        self.families.digest_mismatches.get_or_create(&labels).inc();
    }

    /// `probe_duration_seconds{tier}`
    pub fn probe(&self, tier: &str, took: Duration) {
        let histogram = self
            .families
            .probe_duration_seconds
            .get_or_create_owned(&self.tier(tier));
        histogram.observe(took.as_secs_f64());
    }

    /// `dns_refreshes_total{tier,result}`; `result`: ok, changed, failed. From the first `failed` to the next
    /// other result `dns_stale_seconds{tier}` grows; not for upstreams, which share one label and are looked up
    /// only when they are wanted.
    pub fn dns_refresh(&self, tier: &str, result: &'static str) {
        let labels = self.tier_result(tier, result);
        self.families.dns_refreshes.get_or_create(&labels).inc();
        if tier == "upstream" {
            return;
        }
        let mut failing = self.dns_failing.lock();
        if result == "failed" {
            failing.entry(labels.tier.0).or_insert_with(Instant::now);
        } else {
            failing.remove(tier);
        }
    }

    /// `discovery_refreshes_total{tier,result}`; `result`: ok, failed.
    pub fn discovery_refresh(&self, tier: &str, result: &'static str) {
        let labels = self.tier_result(tier, result);
        let refreshes = &self.families.discovery_refreshes;
        refreshes.get_or_create(&labels).inc();
    }

    /// `projects{tier}`: registries that discovery found a project for.
    pub fn projects(&self, tier: &str, found: usize) {
        let gauge = self.families.projects.get_or_create_owned(&self.tier(tier));
        gauge.set(i64::try_from(found).unwrap_or(i64::MAX));
    }

    /// `token_fetches_total{tier,result}`; `result`: ok, denied, failed.
    pub fn token_fetch(&self, tier: &str, result: &'static str) {
        let labels = self.tier_result(tier, result);
        self.families.token_fetches.get_or_create(&labels).inc();
    }

    /// `hosts_writes_total{runtime,result}`
    pub fn hosts_write(&self, runtime: &'static str, result: &'static str) {
        let labels = HostsWriteLabels { runtime, result };
        self.families.hosts_writes.get_or_create(&labels).inc();
    }

    /// `hosts_conflicts_total`
    pub fn hosts_conflict(&self) {
        self.families.hosts_conflicts.inc();
    }

    /// `config_last_reload_successful`
    pub fn config_reloaded(&self, successful: bool) {
        self.families
            .config_last_reload_successful
            .set(i64::from(successful));
    }

    /// A client's connection was refused or ended by the agent: `refused`, `made_way` or `stalled`.
    pub fn client_ended(&self, reason: &'static str) {
        let labels = ReasonLabels { reason };
        self.families.clients_ended.get_or_create(&labels).inc();
    }

    /// Totals since the start.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let mut traffic = Traffic::default();
        let requests = self.requests.read();
        // Keys beyond the limits share a series, which must be counted once.
        let series = requests.values().map(|handles| (&handles.labels, handles));
        for (labels, handles) in series.collect::<HashMap<_, _>>() {
            *traffic.requests.entry(labels.outcome).or_default() += handles.requests.get();
        }
        for (tier, counter) in self.relayed.read().iter() {
            traffic
                .relayed_bytes
                .insert(tier.to_string(), counter.get());
        }
        traffic
    }

    /// The answer to a scrape.
    #[must_use]
    pub fn render(&self, scrape: &Scrape<'_>, format: Format) -> String {
        let mut series = self.series.lock();
        self.refill(&mut series, scrape);
        render_registry(&self.registry, format)
    }

    /// Sets the gauges that are only known at a scrape. The caller holds the series' lock, so that no two
    /// scrapes mix.
    fn refill(&self, series: &mut Series, scrape: &Scrape<'_>) {
        let families = &self.families;
        families.endpoint_healthy.clear();
        for (tier, endpoint, healthy) in series.update(scrape.tiers, scrape.now) {
            let labels = EndpointLabels {
                tier: Label(tier),
                endpoint,
            };
            let gauge = families.endpoint_healthy.get_or_create_owned(&labels);
            gauge.set(i64::from(healthy));
        }
        families.node_files_state.clear();
        let labels = StateLabels {
            state: scrape.node_files,
        };
        families
            .node_files_state
            .get_or_create_owned(&labels)
            .set(1);
        families.tier_ready.clear();
        families.dns_stale_seconds.clear();
        let failing = self.dns_failing.lock();
        for gauge in scrape.tiers {
            let Some(ready) = gauge.ready else { continue };
            let labels = TierLabels {
                tier: Label(gauge.tier.clone()),
            };
            let family = &families.tier_ready;
            family.get_or_create_owned(&labels).set(i64::from(ready));
            let since = failing.get(&gauge.tier);
            let age = since.map(|since| scrape.now.saturating_duration_since(*since));
            let family = &families.dns_stale_seconds;
            let gauge = family.get_or_create_owned(&labels);
            gauge.set(age.unwrap_or_default().as_secs_f64());
        }
        let store = |counter: &Counter, total| counter.inner().store(total, Ordering::Relaxed);
        store(&families.log_dropped, scrape.log_dropped);
        let [exported, dropped, failed] = scrape.spans;
        store(&families.spans_exported, exported);
        store(&families.spans_dropped, dropped);
        store(&families.span_exports_failed, failed);
        store(&families.task_panics, scrape.task_panics);
        store(&families.memory_refused, scrape.memory.refused);
        for (what, bytes) in &scrape.memory.bytes {
            let gauge = &families.memory_bytes;
            let gauge = gauge.get_or_create_owned(&MemoryLabels { what });
            gauge.set(i64::try_from(*bytes).unwrap_or(i64::MAX));
        }
    }

    fn tier(&self, tier: &str) -> TierLabels {
        let tier = self.labels.intern(tier);
        TierLabels { tier }
    }

    fn tier_result(&self, tier: &str, result: &'static str) -> TierResultLabels {
        let tier = self.labels.intern(tier);
        TierResultLabels { tier, result }
    }
}

#[cfg(test)]
mod tests;
