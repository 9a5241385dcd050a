//! The admin endpoint: /metrics, /livez, /readyz, /status and a page for people. Reads published state;
//! writes nothing.
//!
//! Loopback names only (a page in a browser must not read it through DNS rebinding), GET only, few
//! connections with short limits. A second listener serves /metrics alone.

mod answer;
mod page;
mod status;
mod verdict;

pub use status::{
    Change, ConfigStatus, EndpointStatus, FileTrouble, MemoryStatus, SourceStatus, State, Status,
    TrafficStatus, judge,
};
pub use verdict::{About, Reason, Verdict};

use crate::admission::{Admission, Peers, Place};
use crate::budget::Budget;
use crate::lifecycle::{DrainWatch, spawn_detached};
use crate::metrics::Metrics;
use crate::node::{FilesState, NodeFilesStatus};
use crate::telemetry::Journal;
use crate::topology::{Snapshot, SourceId, SourceState};
use crate::upstream::Client;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// Connections at once, per listener. A monitor or two and a person need a handful. Beyond, who has not asked for longest makes
/// way.
const CONNECTIONS: usize = 16;

/// A request's head must have come within this.
const HEAD_LIMIT: Duration = Duration::from_secs(5);

/// A connection ends after this: one request, one answer of some KiB.
const CONNECTION_LIMIT: Duration = Duration::from_secs(10);

/// Bytes and fields of a request's head.
const HEAD_BYTES: usize = 16 * 1024;
const HEAD_FIELDS: usize = 64;

/// The command `status` waits for 2 s.
const FIRST_LOOK: Duration = Duration::from_millis(1500);

/// What is said at [`CONNECTIONS`].
const BUSY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// The published state that is shown. Cheap to clone.
#[derive(Clone, Debug)]
pub struct View {
    /// Health.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// The configuration in force.
    pub config: watch::Receiver<Arc<ConfigState>>,
    /// Who saw the sources' certificates.
    pub clients: Vec<Client>,
    /// The node's files.
    pub node_files: watch::Receiver<Arc<NodeFilesStatus>>,
    /// `true` from the moment that the registry endpoint accepts connections.
    pub listening: watch::Receiver<bool>,
    /// Whether the daemon stops.
    pub drain: DrainWatch,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Recent changes and lost records.
    pub journal: Journal,
    /// What waits in memory.
    pub budget: Budget,
    /// When the daemon started.
    pub started: Instant,
}

/// What is known of the configuration, kept by whoever loads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigState {
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
pub enum Surface {
    /// Everything, to loopback names only.
    Admin,
    /// `/metrics` alone, to everybody.
    MetricsOnly,
}

/// Serves until it is dropped; goes on during the drain, so that /readyz can say so. Dropping it does not end
/// connections that are open: each ends within ten seconds.
pub async fn serve(listener: TcpListener, surface: Surface, view: View, peers: Peers) {
    let admission = Admission::new(CONNECTIONS, CONNECTION_LIMIT, peers);
    let at = listener.local_addr();
    let is_loopback = at.is_ok_and(|at| at.ip().is_loopback());
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, mostly: what is open must end first.
                tracing::warn!("accepting a connection to the admin endpoint: {error}");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (admission, view) = (admission.clone(), view.clone());
        spawn_detached("admin connection", async move {
            let Some(place) = admission.admit(&stream, is_loopback).await else {
                // Full means an answer and a close, never a silent queue (design S5).
                admission.turn_away(stream, || BUSY.to_vec()).await;
                return;
            };
            let served = timeout(CONNECTION_LIMIT, connection(stream, surface, &view, &place));
            tokio::select! {
                // Cancel safe: it ends here. A client that is too slow or breaks off is its own affair.
                _ = served => {}
                // Cancel safe: it only waits.
                () = place.evicted() => {}
            }
        });
    }
}

async fn connection(stream: TcpStream, surface: Surface, view: &View, place: &Place) {
    let service = service_fn(|request: Request<Incoming>| {
        place.answers(Instant::now());
        async move {
            if answer::shows_the_node(surface, &request) {
                view.first_look().await;
            }
            Ok::<_, Infallible>(answer::answer(surface, &request, view))
        }
    });
    let result = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .half_close(true)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEAD_FIELDS)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = result {
        tracing::debug!("a connection to the admin endpoint: {error}");
    }
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
    pub fn not_ready(&self) -> Vec<String> {
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
