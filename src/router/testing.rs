//! A `[router]` for tests, and a relay that asks nobody by itself.

use crate::budget::Budget;
use crate::config::{Config, Dns, Router};
use crate::discovery::Discovery;
use crate::exchange::Exchanger;
use crate::health::{Health, HttpProber};
use crate::lifecycle::Tasks;
use crate::relay::{Context, Relay};
use crate::telemetry::Journal;
use crate::topology::Sources;
use crate::upstream::Client;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A relay with what it needs to live.
pub(crate) struct Stage {
    pub(crate) relay: Relay,
    pub(crate) state: tempfile::TempDir,
    pub(crate) tasks: Tasks,
    _sources: watch::Sender<Arc<Sources>>,
    _dns: watch::Sender<Dns>,
}

/// A router over that configuration.
pub(crate) fn stage(config: Config) -> Stage {
    let config = Arc::new(config);
    let (tasks, metrics, journal) = (Tasks::default(), Arc::default(), Journal::discarding());
    let (sources_in, sources) = watch::channel(Arc::new(Sources::from_config(&config, 1)));
    let (dns_in, dns) = watch::channel(config.dns.clone());
    let client = Client::new(config.timeouts);
    let state = tempfile::tempdir().expect("a directory");
    let discovery = Discovery::start(
        sources.clone(),
        dns,
        state.path().to_owned(),
        journal.clone(),
        Arc::clone(&metrics),
        &tasks,
    );
    let health = Health::start(
        sources,
        discovery.endpoint_sets(),
        HttpProber::new(client.clone()),
        journal.clone(),
        Arc::clone(&metrics),
        &tasks,
        1,
    );
    let lookup = Arc::new(discovery.clone());
    let budget = Budget::unlimited();
    let exchanger = Exchanger::new(client.clone(), lookup, Arc::clone(&metrics), &budget);
    let sizes = state.path().join("sizes");
    let relay = Relay::new(Context::new(
        config, client, exchanger, discovery, health, journal, metrics, budget, &sizes, 1,
    ));
    Stage {
        relay,
        state,
        tasks,
        _sources: sources_in,
        _dns: dns_in,
    }
}

/// With the defaults, under the name registry.example.com.
pub(crate) fn router() -> Router {
    Router {
        names: vec!["registry.example.com".parse().expect("a name")],
        project: "proxy".to_owned(),
        order: Vec::new(),
        max_fanout: 50,
        grace: Duration::from_millis(150),
        ttl: Duration::from_secs(300),
        negative_ttl: Duration::from_secs(30),
        stale_while_revalidate: Duration::from_secs(60),
        requests_per_second: 0,
        redis: None,
    }
}
