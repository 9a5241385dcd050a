//! DNS for one report: a discovery of its own, for what the running agent cannot say and for the hosts that
//! sources name. Keeps nothing.

use crate::budget::Budget;
use crate::config::{self, Config};
use crate::discovery::{Discovery, EndpointSets};
use crate::exchange::Exchanger;
use crate::lifecycle::Tasks;
use crate::route::Route;
use crate::telemetry::Journal;
use crate::topology::{EndpointSet, Source, SourceId, Sources};
use crate::upstream::Client;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// People wait for the report.
const LIMIT: Duration = Duration::from_secs(3);

/// No directory: nothing can be kept below it, and nothing is read from it. The agent's own directory has one
/// writer, the agent.
const NO_STATE: &str = "/dev/null";

/// The discovery while it is used.
#[derive(Debug)]
pub(in crate::cli) struct Lookups {
    pub(in crate::cli) sources: Arc<Sources>,
    discovery: Discovery,
    tasks: Tasks,
    /// The discovery ends with them.
    _sources: watch::Sender<Arc<Sources>>,
    _dns: watch::Sender<config::Dns>,
}

impl Lookups {
    /// Starts looking up tiers; upstreams follow when they are wanted. Needs a runtime.
    pub(in crate::cli) fn start(config: &Config) -> Self {
        let sources = Arc::new(Sources::from_config(config, 1));
        let (sources_in, followed) = watch::channel(sources.clone());
        let (dns_in, dns) = watch::channel(config.dns.clone());
        let tasks = Tasks::default();
        let discovery = Discovery::start(
            followed,
            dns,
            PathBuf::from(NO_STATE),
            Journal::discarding(),
            Arc::default(),
            &tasks,
        );
        Self {
            sources,
            discovery,
            tasks,
            _sources: sources_in,
            _dns: dns_in,
        }
    }

    /// The sources of a route's targets, in their order.
    pub(in crate::cli) fn sources_of(&self, route: &Route) -> Vec<Arc<Source>> {
        let targets = route.targets.iter();
        let sources = targets.filter_map(|target| self.sources.get(&target.source));
        sources.cloned().collect()
    }

    /// A client of the sources, and what asks them over it.
    pub(in crate::cli) fn requests(&self, config: &Config) -> (Client, Exchanger) {
        let client = Client::new(config.timeouts);
        client.update(&self.sources);
        let lookup = Arc::new(self.discovery.clone());
        let budget = Budget::unlimited();
        let exchanger = Exchanger::new(client.clone(), lookup, Arc::default(), &budget);
        (client, exchanger)
    }

    /// The addresses of these sources, for which it waits up to three seconds. Who has none has an error.
    pub(in crate::cli) async fn addresses(&self, wanted: &[SourceId]) -> EndpointSets {
        for source in wanted {
            self.discovery.touch(source);
        }
        let mut sets = self.discovery.endpoint_sets();
        let is_known = |set: &Arc<EndpointSet>| !set.addresses.is_empty() || set.error.is_some();
        let complete = sets.wait_for(|sets| {
            let mut wanted = wanted.iter();
            wanted.all(|source| sets.get(source).is_some_and(is_known))
        });
        // Too late: what is there by then is shown.
        let _ = timeout(LIMIT, complete).await.is_ok();
        let sets = sets.borrow();
        let of = |source: &SourceId| {
            let known = sets.get(source).filter(|set| is_known(set)).cloned();
            let set = known.unwrap_or_else(|| Arc::new(unanswered()));
            (source.clone(), set)
        };
        wanted.iter().map(of).collect()
    }
}

impl Drop for Lookups {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

fn unanswered() -> EndpointSet {
    EndpointSet {
        of: (String::new(), 0),
        addresses: Vec::new(),
        stale: false,
        error: Some(format!("no answer from DNS within {} s", LIMIT.as_secs()).into()),
    }
}
