//! What several agents find out together (`[router.redis]`): where an image without a registry was found, shared through a Redis that
//! sentinels lead to. A help and no truth: what comes from there is used as what an earlier run kept on disk is, and only where it
//! names a registry that is configured. Nobody waits longer than 50 ms for it, and not again before it answers in time.

mod key;
mod link;
mod order;
mod sentinel;
mod state;
mod stream;
mod task;
#[cfg(test)]
pub(super) mod tests;

pub use state::RedisState;

use super::mappings::{Mappings, Wanted};
use crate::cache::Trust;
use crate::config::Config;
use crate::discovery::Discovery;
use crate::lifecycle::{Random, Tasks};
use crate::metrics::Metrics;
use crate::oci::{RegistryName, Repository};
use crate::projects::SharedListing;
use order::Order;
use state::Gate;
use std::sync::Arc;
use task::{PATIENCE, Task};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

/// Orders that wait. Each search and each blob that nobody knows brings one; when it is full nobody is asked, and nothing written.
const WAITING: usize = 256;

/// Asks the task, tells it, and reads what it publishes. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Sharing {
    orders: mpsc::Sender<Order>,
    gate: Gate,
    state: watch::Receiver<Option<RedisState>>,
}

// === impl Sharing ===

impl Default for Sharing {
    /// Shares nothing: without a Redis every router learns by itself.
    fn default() -> Self {
        Self {
            orders: mpsc::channel(1).0,
            gate: Gate::default(),
            state: watch::channel(None).1,
        }
    }
}

impl Sharing {
    /// Starts the task, which follows `config`. What others have found goes into `mappings`; `listings` are carried as well.
    pub(crate) fn start(
        (config, listings): (watch::Receiver<Arc<Config>>, mpsc::Receiver<SharedListing>),
        discovery: Discovery,
        mappings: Arc<Mappings>,
        metrics: Arc<Metrics>,
        tasks: &Tasks,
        seed: u64,
    ) -> Self {
        let (orders, inbox) = mpsc::channel(WAITING);
        let (publish, state) = watch::channel(None);
        let gate = Gate::default();
        let task = Task {
            config,
            orders: inbox,
            listings,
            gate: gate.clone(),
            state: publish,
            discovery,
            mappings,
            metrics,
            random: Random::from_seed(seed),
        };
        tasks.spawn("router redis", task.run());
        Self {
            orders,
            gate,
            state,
        }
    }

    /// Where another agent found it. `None`: nowhere, or Redis does not say so in time.
    pub(crate) async fn place(&self, wanted: &Wanted) -> Option<RegistryName> {
        let wanted = wanted.clone();
        self.ask(|reply| Order::Place { wanted, reply }).await?
    }

    /// Who of these has had anything of the repository, as other agents say.
    pub(crate) async fn holders(
        &self,
        repository: &Repository,
        trust: Trust,
        among: Vec<RegistryName>,
    ) -> Vec<RegistryName> {
        let repository = repository.clone();
        let order = |reply| Order::Holders {
            repository,
            trust,
            among,
            reply,
        };
        self.ask(order).await.unwrap_or_default()
    }

    /// It is there; `moved`: and no longer where it was, which is definite.
    pub(crate) fn found(&self, wanted: &Wanted, registry: &RegistryName, moved: bool) {
        let (wanted, registry) = (wanted.clone(), registry.clone());
        self.tell(Order::Found {
            wanted,
            registry,
            moved,
        });
    }

    /// It is nowhere, and everybody said so.
    pub(crate) fn gone(&self, wanted: &Wanted) {
        self.tell(Order::Gone(wanted.clone()));
    }

    /// How it stands with Redis; `None`: nothing is shared.
    pub(crate) fn state(&self) -> Option<RedisState> {
        self.state.borrow().clone()
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Option<T> {
        if !self.gate.is_open() {
            return None;
        }
        let (reply, answer) = oneshot::channel();
        self.orders.try_send(order(reply)).ok()?;
        match timeout(PATIENCE, answer).await {
            Ok(answered) => answered.ok(),
            Err(_) => {
                self.gate.close();
                None
            }
        }
    }

    fn tell(&self, order: Order) {
        if self.gate.is_open() {
            // Full: whoever uses the image again tells it again.
            let _ = self.orders.try_send(order);
        }
    }
}
