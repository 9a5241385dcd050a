//! The admin endpoint: /metrics, /livez, /readyz, /status and a page for people. Reads published state;
//! writes nothing.
//!
//! Loopback names only (a page in a browser must not read it through DNS rebinding), GET only, few
//! connections with short limits. A second listener serves /metrics alone.

mod answer;
pub(crate) mod endpoint;
mod explain;
mod files;
mod names;
mod page;
mod status;
mod verdict;

pub use explain::Explain;
pub(crate) use explain::Explainer;
pub(crate) use files::FileDiffs;
#[cfg(test)]
pub(crate) use status::{Change, ConfigStatus, RouterStatus, TrafficStatus};
pub(crate) use status::{
    EndpointStatus, FileTrouble, MemoryStatus, ProjectsStatus, ReputationStatus, SourceStatus,
    State, Status, judge,
};
pub(crate) use verdict::{About, Reason, Verdict};

use crate::admission::{Admission, Peers};
use crate::budget::Budget;
use crate::config::{Config, Secret};
use crate::lifecycle::DrainWatch;
use crate::metrics::Metrics;
use crate::node::{FilesState, NodeFilesStatus};
use crate::projects::{Projects, RobotAccounts};
use crate::relay::Reputation;
use crate::router::Lookups;
use crate::telemetry::Journal;
use crate::topology::{Snapshot, SourceId, SourceState};
use crate::traces::Traces;
use crate::upstream::Client;
use endpoint::CONNECTION_LIMIT;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// Connections at once, per listener. A monitor or two and a person need a handful. Beyond, who has not asked for longest makes
/// way.
const CONNECTIONS: usize = 16;

/// The command `status` waits for 2 s.
const FIRST_LOOK: Duration = Duration::from_millis(1500);

/// The published state that is shown. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    pub config: watch::Receiver<Arc<ConfigState>>,
    /// Who saw the sources' certificates.
    pub clients: Vec<Client>,
    pub node_files: watch::Receiver<Arc<NodeFilesStatus>>,
    /// `true` from the moment that the registry endpoint accepts connections.
    pub listening: watch::Receiver<bool>,
    pub drain: DrainWatch,
    /// What the Harbors with `[tier.discovery]` have.
    pub projects: watch::Receiver<Arc<Projects>>,
    /// The robot accounts of tiers.
    pub robots: watch::Receiver<Arc<RobotAccounts>>,
    pub metrics: Arc<Metrics>,
    /// Recent changes and lost records.
    pub journal: Journal,
    /// Where traces go; `None`: requests are not traced.
    pub traces: Option<Traces>,
    /// What is known against addresses and sources.
    pub reputation: Arc<Reputation>,
    /// What is known of images without a registry.
    pub lookups: Arc<Lookups>,
    pub budget: Budget,
    /// The token of `[server] admin_token_file`.
    pub token: watch::Receiver<Option<Secret>>,
    /// The configuration as it was written, without what was found.
    pub configured: watch::Receiver<Arc<Config>>,
    /// What the agent changed in the node's files.
    pub files: FileDiffs,
    /// What says how an image would be routed; `None`: nobody.
    pub explain: Option<Explainer>,
    pub started: Instant,
}

/// What is known of the configuration, kept by whoever loads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigState {
    /// Counts accepted configurations; starts at 1.
    pub generation: u64,
    /// The file; `None`: there is none and the built-in configuration is in force.
    pub file: Option<PathBuf>,
    /// When the one in force was loaded, as [`utc_now`](crate::telemetry::utc_now) writes it.
    pub loaded_at: String,
    /// Why what stands on disk now was refused; `None`: it is in force.
    pub rejected: Option<String>,
    /// The daemon started with the last accepted configuration because the file was bad.
    pub from_last_accepted: bool,
}

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surface {
    /// Everything, to loopback names only.
    Admin,
    /// `/metrics` alone, to everybody.
    MetricsOnly,
}

/// Serves until it is dropped; continues during the drain, so that /readyz can say so. Dropping it does not end
/// connections that are open: each ends within ten seconds.
pub(crate) async fn serve(listener: TcpListener, surface: Surface, view: View, peers: Peers) {
    let admission = Admission::new(CONNECTIONS, CONNECTION_LIMIT, peers);
    endpoint::serve("admin", listener, admission, move |request| {
        let view = view.clone();
        async move {
            if answer::shows_the_node(surface, &request) {
                view.first_look().await;
            }
            answer::answer_in_time(surface, &request, &view).await
        }
    })
    .await;
}

impl View {
    /// Waits for the first look at the node's files, which takes a moment after the start.
    async fn first_look(&self) {
        let mut files = self.node_files.clone();
        let looked = files.wait_for(|files| files.state != FilesState::Unknown);
        // Later is still an answer, and says that nobody has looked.
        let _ = timeout(FIRST_LOOK, looked).await;
    }

    /// Why the daemon is not ready; empty: it is.
    #[must_use]
    pub(crate) fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if !*self.listening.borrow() {
            reasons.push("the registry endpoint does not accept connections yet".to_owned());
        }
        if self.drain.is_draining() {
            reasons.push("stopping".to_owned());
        }
        let sources = &self.snapshot.borrow().sources;
        if !sources.is_empty() && !sources.iter().any(|state| may_serve(state)) {
            reasons.push(status::NO_SOURCE.to_owned());
        }
        reasons
    }
}

/// A tier that is ready, or an upstream that nothing is known against: most are looked up when they are first wanted.
fn may_serve(state: &SourceState) -> bool {
    let is_unasked = state.endpoints.is_empty() && state.dns_error.is_none();
    state.ready || (is_unasked && matches!(state.source.id, SourceId::Upstream(_)))
}

#[cfg(test)]
mod tests;
