//! Images that name no registry (`[router]`): in which registry each one is found; from there on it is pulled by the relay as
//! `REGISTRY/REPOSITORY`, like any other. This file is the entry of all requests: what names a registry goes straight to the relay.
//!
//! `named` knows such images, `request` answers one, `look` asks all projects by the relay's path, `verdict` says what their
//! answers mean, `lookups` holds what all requests share, `sharing` what several agents do. Pure: `choice` decides by answers of which `definite` says what a "no" is
//! worth, `fan_out` drives the questions, `mappings` remembers what came of them, `breaker` spares projects that keep failing,
//! `rates` counts a client's requests.

mod breaker;
mod choice;
mod definite;
mod fan_out;
mod known;
mod look;
mod lookups;
mod mappings;
mod named;
mod rates;
mod request;
mod sharing;
#[cfg(test)]
pub(crate) mod testing;
mod verdict;
mod words;

pub(crate) use choice::{Answer, Choice, Decision, Step};
pub(crate) use definite::is_definite_no;
pub use lookups::Lookups;
pub(crate) use named::repository;
pub use sharing::RedisState;

use crate::config::Config;
use crate::discovery::Discovery;
use crate::http1::Response;
use crate::lifecycle::{Tasks, contained};
use crate::oci::RegistryName;
use crate::projects::SharedListing;
use crate::relay::{PullBody, PullRequest, Relay, RequestRecord, broken};
use crate::telemetry::RequestId;
use request::RouterRequest;
use sharing::Sharing;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Where images without a registry were found, in the state directory.
const MAPPINGS: &str = "router";

/// The entry of requests: the relay, and the search for images that name no registry above it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    relay: Relay,
    lookups: Arc<Lookups>,
}

// === impl Dispatcher ===

impl Dispatcher {
    /// With what an earlier run found, and alone with it.
    #[must_use]
    pub fn new(relay: Relay, state_directory: &Path) -> Self {
        let lookups = Lookups::load(state_directory.join(MAPPINGS));
        let lookups = Arc::new(lookups);
        Self { relay, lookups }
    }

    /// The same, and with what other agents find where `config` says so (`[router.redis]`), projects of Harbors included.
    #[must_use]
    pub fn start(
        relay: Relay,
        state_directory: &Path,
        (config, listings): (watch::Receiver<Arc<Config>>, mpsc::Receiver<SharedListing>),
        discovery: Discovery,
        tasks: &Tasks,
        seed: u64,
    ) -> Self {
        let mut lookups = Lookups::load(state_directory.join(MAPPINGS));
        let mappings = lookups.mappings.clone();
        let metrics = relay.parts().sinks.metrics.clone();
        lookups.sharing = Sharing::start(
            (config, listings),
            discovery,
            mappings,
            metrics,
            tasks,
            seed,
        );
        let lookups = Arc::new(lookups);
        Self { relay, lookups }
    }

    /// The pull path below.
    #[must_use]
    pub fn relay(&self) -> &Relay {
        &self.relay
    }

    /// What is known of images without a registry.
    #[must_use]
    pub fn lookups(&self) -> Arc<Lookups> {
        self.lookups.clone()
    }

    /// Whether any image without a registry can be looked for; true where none is to be.
    #[must_use]
    pub fn has_projects(&self) -> bool {
        let config = &self.relay.parts().rules.load().config;
        let mut tiers = config.tiers.iter();
        config.router.is_none() || tiers.any(|tier| !tier.projects.is_empty())
    }

    /// The name of `[router]` that a client has dialled, with or without the port.
    #[must_use]
    pub fn name_of(&self, host: &str) -> Option<String> {
        let rules = self.relay.parts().rules.load();
        let router = rules.config.router.as_ref()?;
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let named = router.named(host).or_else(|| router.named(name))?;
        Some(named.to_string())
    }

    /// The registry that a request's image without one is pulled from, where that is known.
    #[must_use]
    pub fn known(&self, request: &PullRequest) -> Option<RegistryName> {
        let parts = self.relay.parts();
        let rules = parts.rules.load_full();
        let routed = RouterRequest::new((parts, &self.lookups), &rules, request)?;
        let (route, _) = routed.known_route()?;
        Some(route.registry_label.clone())
    }

    /// Writes down where images without a registry were found, if that changed.
    ///
    /// # Errors
    /// [`std::io::Error`]: the file cannot be written.
    pub fn store_mappings(&self) -> std::io::Result<()> {
        self.lookups.store()
    }

    /// Answers one request. One that a panic ends is answered 503, as one that no source could serve.
    pub async fn pull(&self, request: PullRequest) -> Response<PullBody> {
        let head = request.head;
        let id = self.relay.request_id().traced(request.trace.clone());
        let answered = contained("request", self.answer(request, id.clone())).await;
        answered.unwrap_or_else(|_| broken(head, &id).map(PullBody::Full))
    }

    async fn answer(&self, request: PullRequest, id: RequestId) -> Response<PullBody> {
        let parts = self.relay.parts();
        let (method, now) = (if request.head { "HEAD" } else { "GET" }, Instant::now());
        let record = RequestRecord::new(parts.sinks.clone(), id, method, now);
        let rules = parts.rules.load_full();
        match RouterRequest::new((parts, &self.lookups), &rules, &request) {
            Some(routed) => Box::pin(routed.answer(record)).await,
            None => self.relay.pull(&rules, &request, record).await,
        }
    }
}
