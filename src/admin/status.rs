//! `/status`: the shape of the JSON, which `harbor-pilot status --json` prints as well. Fields may be added,
//! never changed; readers must ignore what they do not know.

mod judge;
mod memory;
mod projects;
mod reputation;
mod router;
mod source;
mod traces;

pub(super) use judge::NO_SOURCE;
pub(crate) use judge::judge;

pub(crate) use memory::MemoryStatus;
pub(crate) use projects::ProjectsStatus;
pub(crate) use reputation::ReputationStatus;
pub(crate) use router::RouterStatus;
pub(crate) use source::{EndpointStatus, SourceStatus, State};
pub(crate) use traces::TracesStatus;

use super::names::Names;
use super::{Reason, Verdict, View};
use crate::lifecycle;
use crate::node::detect::Detected;
use crate::node::{FilesState, NodeFilesStatus, TroubleKind};
use crate::telemetry::RecentChange;
use crate::topology::{SourceId, SourceState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tokio::time::Instant;

/// Stands where a message would name an image.
const WITHHELD: &str = "about an image, whose name is not shown to everybody";

/// Everything that is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Of the running daemon.
    pub version: String,
    /// Seconds since the daemon's start.
    pub uptime_seconds: u64,
    /// `ready`, `degraded` or `down`; absent: of a version that did not say so.
    #[serde(default)]
    pub verdict: Verdict,
    /// Why it is not `ready`.
    #[serde(default)]
    pub reasons: Vec<Reason>,
    /// The verdict is not `down`: as `/readyz`.
    pub ready: bool,
    pub not_ready: Vec<String>,
    /// The generation of the health snapshot shown.
    pub generation: u64,
    pub config: ConfigStatus,
    /// Tiers in order of preference.
    pub tiers: Vec<SourceStatus>,
    /// Direct upstreams that have been used.
    pub upstreams: Vec<SourceStatus>,
    /// What is known against addresses and sources, beside their health; the first 100 rows.
    #[serde(default)]
    pub reputation: Vec<ReputationStatus>,
    /// Rows of `reputation` that are left out, because they name images.
    #[serde(default)]
    pub reputation_hidden: usize,
    /// Whoever asked sees no names of images.
    #[serde(default)]
    pub names_hidden: bool,
    /// What is known of images without a registry.
    #[serde(default)]
    pub router: RouterStatus,
    /// The last 20 state changes, oldest first.
    pub changes: Vec<Change>,
    /// Totals since the start.
    pub traffic: TrafficStatus,
    /// State of the node's files for people: `not managed`.
    pub node_files: String,
    /// The same in one word; absent: of a version that did not say so.
    #[serde(default)]
    pub node_files_state: Option<FilesState>,
    /// Files that carry our part though the configuration has none for them any more.
    #[serde(default)]
    pub node_files_left: Vec<PathBuf>,
    /// What was found on the node: `k3s server`; absent: nobody has looked.
    #[serde(default)]
    pub runtime: Option<String>,
    /// Why the runtime's next start would bring something of another meaning; absent: it would not.
    #[serde(default)]
    pub restart_pending: Option<String>,
    /// What else was found on the node; absent: nobody has looked.
    #[serde(default)]
    pub node: Option<Detected>,
    /// Files of the node that are not as they should be.
    #[serde(default)]
    pub node_troubles: Vec<FileTrouble>,
    /// Log records lost since the start.
    pub log_dropped: u64,
    /// What became of traces; absent: requests are not traced.
    #[serde(default)]
    pub traces: Option<TracesStatus>,
    /// Panics of single connections since the start: each is a defect worth a report.
    pub task_panics: u64,
    #[serde(default)]
    pub memory: MemoryStatus,
}

/// A file of the node that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileTrouble {
    pub path: String,
    /// `left`, `failed`, `not_writable` or `conflict`.
    pub kind: String,
    /// Why, and what to do.
    pub why: String,
}

/// The configuration in force and the file on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    pub message: String,
}

/// Totals since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficStatus {
    pub requests: BTreeMap<String, u64>,
    /// Bytes sent to clients by tier.
    pub relayed_bytes: BTreeMap<String, u64>,
}

// === impl Status ===

impl Status {
    /// What the view shows at `now`.
    #[must_use]
    pub(super) fn new(view: &View, names: Names, now: Instant) -> Self {
        let snapshot = view.snapshot.borrow().clone();
        let not_ready = view.not_ready();
        let shown = |wanted: fn(&SourceState) -> bool| {
            let states = snapshot.sources.iter().filter(|state| wanted(state));
            states
                .map(|state| SourceStatus::new(state, view, now))
                .collect::<Vec<_>>()
        };
        let traffic = view.metrics.traffic();
        let requests = traffic.requests.into_iter();
        let files = view.node_files.borrow().clone();
        let detected = files.detected.as_ref();
        let changes = view.journal.recent();
        let (reputation, reputation_hidden) = ReputationStatus::all(&view.reputation, names, now);
        let mut status = Self {
            verdict: Verdict::default(),
            reasons: Vec::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: now.saturating_duration_since(view.started).as_secs(),
            ready: not_ready.is_empty(),
            not_ready,
            generation: snapshot.generation,
            config: ConfigStatus::new(&view.config.borrow()),
            tiers: shown(|state| matches!(state.source.id, SourceId::Tier(_))),
            upstreams: shown(|state| {
                let is_used = !state.endpoints.is_empty() || state.dns_error.is_some();
                matches!(state.source.id, SourceId::Upstream(_)) && is_used
            }),
            names_hidden: names == Names::Hidden,
            reputation,
            reputation_hidden,
            router: RouterStatus::new(&view.lookups, now),
            changes: changes.iter().map(|one| Change::new(one, names)).collect(),
            traffic: TrafficStatus {
                requests: requests.map(|(word, n)| (word.to_owned(), n)).collect(),
                relayed_bytes: traffic.relayed_bytes,
            },
            node_files: node_files(&files),
            node_files_state: Some(files.state),
            node_files_left: match files.state {
                FilesState::NotManaged => files.files.clone(),
                _ => Vec::new(),
            },
            runtime: detected.map(|found| found.runtime.to_string()),
            restart_pending: detected.and_then(|found| found.restart_pending.clone()),
            node: detected.cloned(),
            node_troubles: troubles(&files),
            log_dropped: view.journal.dropped(),
            traces: view.traces.as_ref().map(TracesStatus::new),
            task_panics: lifecycle::panics(),
            memory: MemoryStatus::new(view.budget.usage()),
        };
        (status.verdict, status.reasons) = judge(&status);
        status
    }
}

// === impl ConfigStatus ===

impl ConfigStatus {
    fn new(state: &super::ConfigState) -> Self {
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

// === impl Change ===

impl Change {
    fn new(recent: &RecentChange, names: Names) -> Self {
        let change = &recent.change;
        let hides = names == Names::Hidden && change.event.names_an_image();
        Self {
            at: recent.at.clone(),
            event: change.event.word().to_owned(),
            tier: change.tier.clone(),
            endpoint: change.endpoint.clone(),
            message: match hides {
                true => WITHHELD.to_owned(),
                false => change.message.clone(),
            },
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
        FilesState::Unknown => "not looked at yet",
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
