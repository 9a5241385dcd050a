//! One node of the fleet: the real candidates, memories and health task, and its kept connections.

use super::site::PooledConnection;
use super::world::World;
use crate::budget::Budget;
use crate::discovery::EndpointSets;
use crate::health::{Health, ProbeReport, Prober, Verdict};
use crate::lifecycle::Tasks;
use crate::relay::{Context, Relay};
use crate::topology::{EndpointId, Source, Sources};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// As `upstream::pool` keeps them.
const IDLE_LIMIT: Duration = Duration::from_secs(55);
const IDLE_CONNECTIONS: usize = 32;

pub(super) struct Node {
    pub(super) world: Arc<World>,
    pub(super) parts: Arc<Context>,
    idle: Mutex<HashMap<EndpointId, Vec<PooledConnection>>>,
    _open: Open,
}

/// The other ends of what its health task watches: closed, they would end it. Each node has its own, as on a machine of its
/// own: in one channel for all, every turn of a node would touch those that wait before and behind it.
struct Open {
    _sources: watch::Sender<Arc<Sources>>,
    _sets: watch::Sender<Arc<EndpointSets>>,
}

/// Asks modelled addresses how they are.
struct ModelProber {
    world: Arc<World>,
    node: u32,
}

impl Prober for ModelProber {
    async fn probe(
        &self,
        source: &Arc<Source>,
        endpoint: &EndpointId,
        cookie: Option<String>,
    ) -> ProbeReport {
        let began = Instant::now();
        let limit = self.world.timeouts.connect.min(source.probe.timeout);
        let verdict = match self.world.site(endpoint).probe(self.node, limit).await {
            Ok(()) => Verdict::Passed,
            Err(failure) => Verdict::Failed {
                failure,
                detail: String::new(),
            },
        };
        ProbeReport {
            verdict,
            took: began.elapsed(),
            lowered: false,
            cookie,
        }
    }
}

// === impl Node ===

impl Node {
    /// Starts its health task; `seed` is its own.
    pub(super) fn start(world: &Arc<World>, index: u32, seed: u64) -> Arc<Self> {
        let prober = ModelProber {
            world: world.clone(),
            node: index,
        };
        let outside = &world.outside;
        let (send_sources, sources) = watch::channel(outside.sources.clone());
        let (send_sets, sets) = watch::channel(outside.sets.clone());
        let health = Health::start(
            sources,
            sets,
            prober,
            outside.journal.clone(),
            outside.metrics.clone(),
            // A list of its own: each start looks through the whole list for tasks that have ended.
            &Tasks::default(),
            seed,
        );
        let relay = Relay::new(Context::new(
            world.config.clone(),
            outside.client.clone(),
            outside.exchanger.clone(),
            outside.discovery.clone(),
            health,
            outside.journal.clone(),
            outside.metrics.clone(),
            Budget::unlimited(),
            // Nothing is read from there.
            std::path::Path::new(""),
            seed,
        ));
        Arc::new(Self {
            world: world.clone(),
            parts: relay.parts().clone(),
            idle: Mutex::default(),
            _open: Open {
                _sources: send_sources,
                _sets: send_sets,
            },
        })
    }

    /// A kept connection.
    pub(super) fn take_idle(&self, endpoint: &EndpointId) -> Option<PooledConnection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let pool = idle.get_mut(endpoint)?;
        pool.retain(|pooled| pooled.since.elapsed() < IDLE_LIMIT);
        pool.pop()
    }

    /// Keeps a connection.
    pub(super) fn park(&self, endpoint: &EndpointId, mut pooled: PooledConnection) {
        pooled.since = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let pool = idle.entry(endpoint.clone()).or_default();
        if pool.len() < IDLE_CONNECTIONS {
            pool.push(pooled);
        }
    }
}
