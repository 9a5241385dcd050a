//! `/status`: the shape of the JSON, which `harbor-pilot status --json` prints as well. Fields may be added,
//! never changed; readers must ignore what they do not know.

mod memory;

pub use memory::MemoryStatus;

use super::View;
use crate::lifecycle;
use crate::node::shown::NodeReport;
use crate::node::{FilesState, NodeFilesStatus, TroubleKind};
use crate::telemetry::RecentChange;
use crate::topology::{self, EndpointState, SourceId, SourceKind, SourceState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::Instant;

/// Everything that is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Of the running daemon.
    pub version: String,
    /// Since its start.
    pub uptime_seconds: u64,
    /// The registry endpoint accepts connections and the daemon does not stop: as `/readyz`.
    pub ready: bool,
    /// Why not.
    pub not_ready: Vec<String>,
    /// The generation of the health snapshot shown.
    pub generation: u64,
    /// The configuration.
    pub config: ConfigStatus,
    /// Tiers in order of preference.
    pub tiers: Vec<SourceStatus>,
    /// Direct upstreams that have been used.
    pub upstreams: Vec<SourceStatus>,
    /// The last 20 state changes, oldest first.
    pub changes: Vec<Change>,
    /// Totals since the start.
    pub traffic: TrafficStatus,
    /// State of the node's files: `not managed`.
    pub node_files: String,
    /// What was found on the node: `k3s server`; absent: nobody has looked.
    #[serde(default)]
    pub runtime: Option<String>,
    /// Why the runtime's next start would bring something of another meaning; absent: it would not.
    #[serde(default)]
    pub restart_pending: Option<String>,
    /// What else was found on the node; absent: nobody has looked.
    #[serde(default)]
    pub node: Option<NodeReport>,
    /// Files of the node that are not as they should be.
    #[serde(default)]
    pub node_troubles: Vec<FileTrouble>,
    /// Log records lost since the start.
    pub log_dropped: u64,
    /// Panics of single connections since the start: each is a defect worth a report.
    pub task_panics: u64,
    /// What waits in memory.
    #[serde(default)]
    pub memory: MemoryStatus,
}

/// A file of the node that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileTrouble {
    /// Which.
    pub path: String,
    /// `left`, `failed`, `not_writable` or `conflict`.
    pub kind: String,
    /// Why, and what to do.
    pub why: String,
}

/// The configuration in force and the file on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// Counts accepted configurations; starts at 1.
    pub generation: u64,
    /// The file; absent: the built-in configuration.
    pub file: Option<String>,
    /// `2026-11-21T01:31:08Z`
    pub loaded_at: String,
    /// The file on disk is in force.
    pub last_reload_ok: bool,
    /// Why the file on disk was refused.
    pub error: Option<String>,
    /// Started with the last accepted configuration because the file was bad.
    pub from_last_accepted: bool,
}

/// A tier or an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// The tier's name, or the upstream's registry.
    pub name: String,
    /// `harbor`, `path`, `mirror` or `upstream`.
    pub kind: String,
    /// Where it is.
    pub url: String,
    /// At least one address may be used normally.
    pub ready: bool,
    /// The addresses are from before the last failed lookup.
    pub dns_stale: bool,
    /// Why the last lookup failed.
    pub dns_error: Option<String>,
    /// Its certificate is not checked.
    pub insecure_skip_verify: bool,
    /// Its addresses.
    pub endpoints: Vec<EndpointStatus>,
}

/// One address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointStatus {
    /// `203.0.113.7:443`
    pub address: String,
    /// Whether it is used.
    pub state: State,
    /// The last reason, such as `connect_timeout: no answer within 2.5 s`.
    pub reason: Option<String>,
    /// For how long the state has held.
    pub since_seconds: u64,
    /// Until probation; only of an ejected one.
    pub ejected_for_seconds: Option<u64>,
    /// Others are preferred: the extra signal or the address itself asked for peace.
    pub lowered: bool,
    /// A connect to it takes too long just now.
    pub suspect: bool,
    /// Moving average of the first byte's time.
    pub latency_ms: Option<u64>,
    /// Requests now at it.
    pub in_flight: u32,
}

/// Whether an address is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Normally.
    Healthy,
    /// Only when there is nothing better.
    Ejected,
    /// One request at a time.
    Probation,
}

/// A state change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// `2026-11-21T01:31:08Z`
    pub at: String,
    /// As the journal's `EVENT`.
    pub event: String,
    /// As the journal's `TIER`.
    pub tier: Option<String>,
    /// As the journal's `ENDPOINT`.
    pub endpoint: Option<String>,
    /// For people.
    pub message: String,
}

/// Totals since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficStatus {
    /// Requests by outcome.
    pub requests: BTreeMap<String, u64>,
    /// Bytes sent to clients by tier.
    pub relayed_bytes: BTreeMap<String, u64>,
}

/// The one-word summary, as the command's exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The daemon is ready, every tier is, and the file on disk is in force.
    AllReady,
    /// Something of that is missing.
    Degraded,
}

// === impl Status ===

impl Status {
    /// What the view shows at `now`.
    #[must_use]
    pub fn of(view: &View, now: Instant) -> Self {
        let snapshot = view.snapshot.borrow().clone();
        let not_ready = view.not_ready();
        let shown = |wanted: fn(&SourceState) -> bool| {
            let states = snapshot.sources.iter().filter(|state| wanted(state));
            states
                .map(|state| SourceStatus::of(state, now))
                .collect::<Vec<_>>()
        };
        let traffic = view.metrics.traffic();
        let requests = traffic.requests.into_iter();
        let files = view.node_files.borrow().clone();
        let detected = files.detected.as_ref();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: now.saturating_duration_since(view.started).as_secs(),
            ready: not_ready.is_empty(),
            not_ready,
            generation: snapshot.generation,
            config: ConfigStatus::of(&view.config.borrow()),
            tiers: shown(|state| matches!(state.source.id, SourceId::Tier(_))),
            upstreams: shown(|state| {
                let is_used = !state.endpoints.is_empty() || state.dns_error.is_some();
                matches!(state.source.id, SourceId::Upstream(_)) && is_used
            }),
            changes: view.journal.recent().iter().map(Change::of).collect(),
            traffic: TrafficStatus {
                requests: requests.map(|(word, n)| (word.to_owned(), n)).collect(),
                relayed_bytes: traffic.relayed_bytes,
            },
            node_files: node_files(&files),
            runtime: detected.map(|found| found.runtime.to_string()),
            restart_pending: detected.and_then(|found| found.restart_pending.clone()),
            node: detected.map(NodeReport::of),
            node_troubles: troubles(&files),
            log_dropped: view.journal.dropped(),
            task_panics: lifecycle::panics(),
            memory: MemoryStatus::of(view.budget.usage()),
        }
    }

    /// The summary.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let tiers_ready = self.tiers.iter().all(|tier| tier.ready);
        if self.ready && tiers_ready && self.config.last_reload_ok {
            Verdict::AllReady
        } else {
            Verdict::Degraded
        }
    }
}

// === impl ConfigStatus ===

impl ConfigStatus {
    fn of(state: &super::ConfigState) -> Self {
        let file = state.file.as_ref();
        Self {
            generation: state.generation,
            file: file.map(|path| path.display().to_string()),
            loaded_at: state.loaded_at.clone(),
            last_reload_ok: state.rejected.is_none(),
            error: state.rejected.clone(),
            from_last_accepted: state.from_last_accepted,
        }
    }
}

// === impl SourceStatus ===

impl SourceStatus {
    fn of(state: &SourceState, now: Instant) -> Self {
        let source = &state.source;
        let kind = match source.kind {
            SourceKind::Harbor => "harbor",
            SourceKind::Path => "path",
            SourceKind::Mirror => "mirror",
            SourceKind::Upstream => "upstream",
        };
        let name = match &source.id {
            SourceId::Tier(name) => name.to_string(),
            SourceId::Upstream(registry) => registry.to_string(),
        };
        let endpoints = state.endpoints.iter();
        Self {
            name,
            kind: kind.to_owned(),
            url: source.url.to_string(),
            ready: state.ready,
            dns_stale: state.dns_stale,
            dns_error: text(state.dns_error.as_ref()),
            insecure_skip_verify: source.tls.insecure_skip_verify,
            endpoints: endpoints.map(|e| EndpointStatus::of(e, now)).collect(),
        }
    }
}

fn text(text: Option<&Arc<str>>) -> Option<String> {
    text.map(ToString::to_string)
}

// === impl EndpointStatus ===

impl EndpointStatus {
    fn of(endpoint: &EndpointState, now: Instant) -> Self {
        let (state, until) = match endpoint.status {
            topology::EndpointStatus::Healthy => (State::Healthy, None),
            topology::EndpointStatus::Ejected { until, .. } => (State::Ejected, Some(until)),
            topology::EndpointStatus::Probation { .. } => (State::Probation, None),
        };
        let latency = endpoint.latency.map(|latency| latency.as_millis());
        Self {
            address: endpoint.id.address.to_string(),
            state,
            reason: text(endpoint.reason.as_ref()),
            since_seconds: now.saturating_duration_since(endpoint.since).as_secs(),
            ejected_for_seconds: until.map(|until| until.saturating_duration_since(now).as_secs()),
            lowered: endpoint.lowered,
            suspect: endpoint.gauges.is_suspect(),
            latency_ms: latency.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)),
            in_flight: endpoint.gauges.in_flight(),
        }
    }
}

// === impl State ===

impl State {
    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Ejected => "ejected",
            Self::Probation => "probation",
        }
    }
}

// === impl Change ===

impl Change {
    fn of(recent: &RecentChange) -> Self {
        let change = &recent.change;
        Self {
            at: recent.at.clone(),
            event: change.event.word().to_owned(),
            tier: change.tier.clone(),
            endpoint: change.endpoint.clone(),
            message: change.message.clone(),
        }
    }
}

fn troubles(status: &NodeFilesStatus) -> Vec<FileTrouble> {
    let kind = |kind| match kind {
        TroubleKind::Left => "left",
        TroubleKind::Failed => "failed",
        TroubleKind::NotWritable => "not_writable",
        TroubleKind::Conflict => "conflict",
        TroubleKind::SecondAgent => "second_agent",
    };
    let all = status.troubles.iter();
    all.map(|trouble| FileTrouble {
        path: trouble.path.display().to_string(),
        kind: kind(trouble.kind).to_owned(),
        why: trouble.why.clone(),
    })
    .collect()
}

/// The files' state in a line for people.
fn node_files(status: &NodeFilesStatus) -> String {
    let word = match status.state {
        FilesState::NotManaged => "not managed",
        FilesState::Released => "released by restore; apply takes them again",
        FilesState::Waiting => "waiting for the runtime's directories",
        FilesState::Current => "as they should be",
        FilesState::Degraded => "degraded",
    };
    let mut line = word.to_owned();
    let detected = status.detected.as_ref();
    let pending = detected.and_then(|found| found.restart_pending.as_deref());
    let pending = pending.map(|why| format!("; restart pending: {why}"));
    if !status.reason.is_empty() {
        line.push_str(": ");
        line.push_str(&status.reason);
    }
    line.push_str(&pending.unwrap_or_default());
    line
}
