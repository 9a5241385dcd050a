//! What all requests share: the configuration in force, the published snapshot, who carries requests out, and what the pull path
//! remembers.

use super::dials::Dials;
use super::fetched::{FetchKey, Served};
use super::flight::Flights;
use super::hedge::Hedging;
use super::memory::Memories;
use super::network::LiveNetwork;
use super::outcome::NotFound;
use super::rates::Rates;
use super::record::Sinks;
use super::reputation::Reputation;
use super::rules::FinalAnswer;
use super::sizes::KnownSizes;
use super::stale::Stale;
use super::sticky::Sticky;
use crate::bandwidth::{Bandwidth, local_minute};
use crate::budget::{Budget, Keeper};
use crate::cache::Trust;
use crate::config::{Config, Limits, Timeouts};
use crate::discovery::Discovery;
use crate::exchange::Exchanger;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::oci::{RegistryName, Repository};
use crate::route::{Route, RouteTable};
use crate::telemetry::{Journal, RequestId};
use crate::topology::{Snapshot, SourceId};
use crate::upstream::Client;
use arc_swap::ArcSwap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;
use tokio::time::Instant;

/// What all searches share.
#[derive(Debug)]
pub struct Context {
    /// The configuration in force with its routes; swapped as one.
    pub(crate) rules: ArcSwap<Rules>,
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(crate) network: Arc<LiveNetwork>,
    pub(crate) health: Health,
    pub(crate) sinks: Arc<Sinks>,
    pub(crate) sizes: KnownSizes,
    pub(crate) memories: Memories,
    pub(crate) stickiness: Sticky,
    pub(crate) hedging: Hedging,
    pub(crate) stale: Stale,
    pub(crate) dials: Dials,
    pub(crate) reputation: Arc<Reputation>,
    pub(crate) rates: Rates,
    /// The searches for manifests that are under way, by configuration and key.
    pub(crate) flights: Flights<(u64, Arc<FetchKey>), Served>,
    pub(crate) timeouts: Timeouts,
    pub(crate) limits: Limits,
    /// Limits for the bytes of blobs.
    pub(crate) bandwidth: Bandwidth,
    /// Of what waits in memory.
    pub(crate) budget: Budget,
    random: AtomicU64,
}

/// A configuration with its routes.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) config: Arc<Config>,
    pub(crate) routes: RouteTable,
    /// Counts the configurations: requests under different ones share no search.
    pub(crate) generation: u64,
}

// === impl Rules ===

impl Rules {
    pub(crate) fn new(config: Arc<Config>, generation: u64) -> Self {
        Self {
            routes: RouteTable::new(config.clone()),
            config,
            generation,
        }
    }
}

/// A request on its way along a route, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Pull {
    pub(crate) parts: Arc<Context>,
    pub(crate) rules: Arc<Rules>,
    pub(crate) route: Arc<Route>,
    /// The number that goes upstream.
    pub(crate) request_id: RequestId,
    pub(crate) trust: Trust,
}

// === impl Pull ===

impl Pull {
    pub(crate) fn new(
        parts: &Arc<Context>,
        rules: &Arc<Rules>,
        route: Arc<Route>,
        request_id: RequestId,
        trust: Trust,
    ) -> Self {
        Self {
            parts: parts.clone(),
            rules: rules.clone(),
            route,
            request_id,
            trust,
        }
    }
}

// === impl Context ===

impl Context {
    /// `seed` feeds request numbers and tie-breaking; `sizes` is the file of known sizes of an earlier run.
    #[must_use]
    #[allow(
        clippy::too_many_arguments,
        reason = "the composition root hands over what it built, once"
    )]
    pub fn new(
        config: Arc<Config>,
        client: Client,
        exchanger: Exchanger,
        discovery: Discovery,
        health: Health,
        journal: Journal,
        metrics: Arc<Metrics>,
        budget: Budget,
        sizes: &Path,
        seed: u64,
    ) -> Self {
        let directory = config.state_directory.join("manifests");
        let stale = Stale::start(directory, journal.clone(), budget.clone());
        let bandwidth = Bandwidth::new(&config, local_minute);
        let (timeouts, limits) = (config.timeouts, config.limits);
        Self {
            rules: ArcSwap::from_pointee(Rules::new(config, 0)),
            snapshots: health.snapshot(),
            network: Arc::new(LiveNetwork {
                client,
                exchanger,
                discovery,
            }),
            health,
            sinks: Arc::new(Sinks { journal, metrics }),
            sizes: KnownSizes::load(sizes, &budget),
            memories: Memories::new(budget.limit()),
            stickiness: Sticky::default(),
            hedging: Hedging::default(),
            stale,
            dials: Dials::default(),
            reputation: Arc::default(),
            rates: Rates::default(),
            flights: Flights::default(),
            timeouts,
            limits,
            bandwidth,
            budget,
            random: AtomicU64::new(seed | 1),
        }
    }

    /// A number nobody can foretell much of; for tie-breaking and request numbers, not for secrets.
    pub(crate) fn random(&self) -> u64 {
        let value = self
            .random
            .fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }

    /// The route less upstream where upstream denied the repository a while ago; then with the reason.
    pub(crate) fn without_denied(&self, route: Arc<Route>) -> (Arc<Route>, Option<String>) {
        let (denials, now) = (&self.memories.denials, Instant::now());
        let Some(reason) = denials.get(&repository_of(&route), now) else {
            return (route, None);
        };
        let mut route = Route::clone(&route);
        let is_upstream = |source: &SourceId| matches!(source, SourceId::Upstream(_));
        route.targets.retain(|target| !is_upstream(&target.source));
        (Arc::new(route), Some(reason))
    }

    /// Upstream serves what it has denied a while ago.
    pub(crate) fn forget_denial(&self, route: &Route) {
        let denials = &self.memories.denials;
        denials.change(|denials| denials.remove(&repository_of(route)));
    }

    /// Remembers what upstream said, if it is a denial of the repository.
    pub(crate) fn keep_denial(
        &self,
        route: &Route,
        trust: Trust,
        answer: FinalAnswer,
        detail: &str,
    ) {
        if answer == FinalAnswer::Denied {
            let (denials, key) = (&self.memories.denials, repository_of(route));
            denials.put(key, detail.to_owned(), trust, Instant::now());
        }
    }

    /// Remembers upstream's denial; where one was remembered already, the tiers' failure stays that denial.
    pub(crate) fn remember_denial(
        &self,
        route: &Route,
        trust: Trust,
        remembered: Option<String>,
        nothing: NotFound,
    ) -> NotFound {
        if let NotFound::Final { answer, detail, .. } = &nothing {
            self.keep_denial(route, trust, *answer, detail);
        }
        match (remembered, nothing) {
            (Some(detail), NotFound::Failed) => NotFound::Final {
                answer: FinalAnswer::Denied,
                by: "upstream".to_owned(),
                detail,
            },
            (_, nothing) => nothing,
        }
    }
}

fn repository_of(route: &Route) -> (RegistryName, Repository) {
    (route.registry_label.clone(), route.repository.clone())
}

impl Keeper for Context {
    fn give_up(&self, is_enough: &dyn Fn() -> bool) {
        self.memories.give_up(is_enough);
    }
}
