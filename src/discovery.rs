//! Addresses of sources and of hosts that sources name (design H1), through hickory-resolver.
//!
//! One task owns every fact and publishes the sets; everybody else reads them or asks the task. Knows nothing
//! of health: an address in a set is one that DNS named, no more. Which addresses may be dialled at all is
//! `upstream`'s to say.

mod known;
mod memory;
mod named;
mod resolver;
mod task;

pub use resolver::{Answer, Family, Resolve, SystemResolver};

use crate::config;
use crate::lifecycle::Tasks;
use crate::metrics::Metrics;
use crate::telemetry::Journal;
use crate::topology::{EndpointSet, SourceId, Sources};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use task::{Request, Task};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// Requests that wait for the task: touches (dropped when full; the next request touches again) and lookups
/// (which wait for a place). The task never blocks, so the queue is short unless a burst comes in.
const QUEUE: usize = 256;

/// What DNS says of every source now.
pub type EndpointSets = BTreeMap<SourceId, Arc<EndpointSet>>;

/// Until when a touch of each upstream changes nothing: spares the task the wake-ups.
type QuietUntil = BTreeMap<SourceId, Instant>;

/// Asks the discovery task. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Discovery {
    sets: watch::Receiver<Arc<EndpointSets>>,
    quiet: watch::Receiver<Arc<QuietUntil>>,
    requests: mpsc::Sender<Request>,
}

/// Why a lookup gave nothing.
#[derive(Clone, Debug, thiserror::Error)]
#[error("looking up {host}: {reason}")]
pub struct LookupError {
    /// The name that was looked up.
    pub host: String,
    /// The resolver's words, or the limit that passed.
    pub reason: String,
}

impl Discovery {
    /// Starts the task. It follows `sources` and `dns` as they change; what is known of a source whose dialled
    /// host and port stay is kept. The last good sets of tiers are kept in `<state_directory>/dns.json`.
    #[must_use]
    pub fn start(
        sources: watch::Receiver<Arc<Sources>>,
        dns: watch::Receiver<config::Dns>,
        state_directory: PathBuf,
        journal: Journal,
        metrics: Arc<Metrics>,
        tasks: &Tasks,
    ) -> Self {
        let resolver = SystemResolver::new(dns.clone());
        Self::start_with(
            resolver,
            sources,
            dns,
            state_directory,
            journal,
            metrics,
            tasks,
        )
    }

    /// As [`Self::start`], with a resolver of the caller's.
    #[must_use]
    pub fn start_with(
        resolver: impl Resolve,
        sources: watch::Receiver<Arc<Sources>>,
        dns: watch::Receiver<config::Dns>,
        state_directory: PathBuf,
        journal: Journal,
        metrics: Arc<Metrics>,
        tasks: &Tasks,
    ) -> Self {
        let (requests, inbox) = mpsc::channel(QUEUE);
        let (publish_sets, sets) = watch::channel(Arc::default());
        let (publish_quiet, quiet) = watch::channel(Arc::default());
        let task = Task::new(
            resolver,
            task::Inputs {
                sources,
                dns,
                inbox,
            },
            task::Outputs {
                sets: publish_sets,
                quiet: publish_quiet,
                journal,
                metrics,
            },
            state_directory.join(memory::FILE),
        );
        tasks.spawn("discovery", task.run());
        Self {
            sets,
            quiet,
            requests,
        }
    }

    /// Follows the addresses of all sources.
    #[must_use]
    pub fn endpoint_sets(&self) -> watch::Receiver<Arc<EndpointSets>> {
        self.sets.clone()
    }

    /// A request wants this source. Tiers are kept fresh anyway; an upstream is looked up when it is first
    /// wanted, and again when its records ran out and it is wanted. Never waits.
    pub fn touch(&self, source: &SourceId) {
        if matches!(source, SourceId::Tier(_)) {
            return;
        }
        let quiet = self.quiet.borrow().get(source).copied();
        if quiet.is_none_or(|until| until <= Instant::now()) {
            // Full: somebody else's request touches it again within moments.
            let _ = self.requests.try_send(Request::Touch(source.clone()));
        }
    }

    /// A request has no address of this source: DNS is asked again now, by one lookup for all who wait, and four times a second
    /// at most. Ready when it has answered or failed. True: the sets have addresses of it.
    pub async fn ask_again(&self, source: &SourceId) -> bool {
        let (reply, answer) = oneshot::channel();
        let request = Request::Again(source.clone(), reply);
        // Whoever is stopping, or has too many waiting, drops the other end.
        if self.requests.send(request).await.is_ok() {
            let _ = answer.await;
        }
        let sets = self.sets.borrow();
        sets.get(source)
            .is_some_and(|set| !set.addresses.is_empty())
    }

    /// Addresses of any host (redirect target, token realm), cached for the records' life, single-flight.
    ///
    /// # Errors
    /// [`LookupError`]: DNS has no address or does not answer, too many lookups wait, or the agent stops.
    pub async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let stopped = || LookupError {
            host: host.to_owned(),
            reason: "the agent is stopping".to_owned(),
        };
        let (reply, answer) = oneshot::channel();
        let request = Request::Lookup(host.to_ascii_lowercase(), reply);
        self.requests.send(request).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}
