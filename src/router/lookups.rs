//! What is remembered of images that name no registry, and the searches for them that are under way.

use super::breaker::Breakers;
use super::mappings::{Freshness, Mappings, Wanted};
use super::named::Repositories;
use super::rates::{self, Rates};
use super::sharing::{RedisState, Sharing};
use crate::cache::Trust;
use crate::config::Router;
use crate::lifecycle;
use crate::oci::RegistryName;
use crate::relay::{FailedAttempt, Flights};
use foldhash::HashMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Images that are looked for at once, for trusted clients and for others: each asks every project.
const TRUSTED: usize = 64;
const UNTRUSTED: usize = 16;
/// One client of another machine has this part of them.
const SHARE: usize = 4;

/// What a search is for: the configuration's generation, the image, and what is known of it.
pub(crate) type Search = (u64, Wanted, Before);

/// What is known of an image before it is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Before {
    Nothing,
    /// This one had it, and says definitely that it has not any more.
    GoneFrom(RegistryName),
    /// This one has not served the content with this digest, which is as good from any other.
    Unserved(RegistryName),
}

/// How a search ended.
#[derive(Clone, Debug)]
pub(crate) enum Looked {
    /// It is taken from this registry.
    Found(RegistryName),
    /// Another agent found it there.
    Told(RegistryName),
    /// None of these has it.
    Nowhere(Vec<RegistryName>),
    /// This one's word is missing, and why; without one there is none to ask.
    Blocked(Option<RegistryName>, Vec<FailedAttempt>),
    /// Too many others are looked for.
    Busy,
}

/// What all lookups share.
#[derive(Debug)]
pub struct Lookups {
    pub(crate) mappings: Arc<Mappings>,
    pub(crate) sharing: Sharing,
    pub(crate) breakers: Breakers,
    pub(crate) rates: Rates,
    pub(crate) repositories: Repositories,
    pub(crate) searches: Flights<Search, Looked>,
    trusted: Places,
    untrusted: Places,
    /// Where the mappings are kept.
    file: PathBuf,
}

/// What such clients may cause at once.
#[derive(Debug)]
pub(crate) struct Places {
    /// Searches that somebody waits for.
    pub(crate) searches: Semaphore,
    /// Those that one client may wait for; kept while it does.
    clients: Mutex<HashMap<IpAddr, Weak<Semaphore>>>,
    of_client: usize,
    /// What goes on behind an answer.
    behind: Arc<Semaphore>,
}

// === impl Before ===

impl Before {
    /// Whether it may be at that registry.
    pub(crate) fn allows(&self, registry: &RegistryName) -> bool {
        match self {
            Self::Nothing => true,
            Self::GoneFrom(known) | Self::Unserved(known) => known != registry,
        }
    }
}

// === impl Places ===

impl Places {
    fn new(count: usize) -> Self {
        Self {
            searches: Semaphore::new(count),
            clients: Mutex::default(),
            of_client: count / SHARE,
            behind: Arc::new(Semaphore::new(count)),
        }
    }

    /// One of the searches that a client of another machine may wait for at once, so that it keeps nobody else from searching.
    /// `None`: there is no limit for clients of this machine.
    pub(crate) async fn of_client(&self, client: Option<IpAddr>) -> Option<OwnedSemaphorePermit> {
        let client = rates::network(client?);
        let places = {
            let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
            clients.retain(|_, places| places.strong_count() > 0);
            let known = clients.get(&client).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let new = Arc::new(Semaphore::new(self.of_client));
                clients.insert(client, Arc::downgrade(&new));
                new
            })
        };
        // Cancel safe: who leaves gives its place in the queue up.
        places.acquire_owned().await.ok()
    }

    /// Does it behind the answer, where not too much is done there already.
    pub(crate) fn behind(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Ok(place) = self.behind.clone().try_acquire_owned() {
            lifecycle::spawn_detached("router", async move {
                work.await;
                drop(place);
            });
        }
    }
}

// === impl Lookups ===

impl Default for Lookups {
    /// Nothing is known, and nothing is kept.
    fn default() -> Self {
        Self::load(PathBuf::new())
    }
}

impl Lookups {
    /// With the mappings of an earlier run.
    pub(crate) fn load(file: PathBuf) -> Self {
        Self {
            mappings: Arc::new(Mappings::load(&file)),
            sharing: Sharing::default(),
            breakers: Breakers::default(),
            rates: Rates::default(),
            repositories: Repositories::default(),
            searches: Flights::default(),
            trusted: Places::new(TRUSTED),
            untrusted: Places::new(UNTRUSTED),
            file,
        }
    }

    /// It is there: remembered, and told to other agents each time it was asked again. `moved`: it is definitely no more where it was.
    /// Returns where it was before, if that is another registry.
    pub(crate) fn found(
        &self,
        wanted: &Wanted,
        registry: &RegistryName,
        moved: bool,
        router: &Router,
    ) -> Option<RegistryName> {
        let now = Instant::now();
        let known = self.mappings.place(wanted, router, now);
        if known.is_none_or(|(at, freshness)| at != *registry || freshness != Freshness::Fresh) {
            self.sharing.found(wanted, registry, moved);
        }
        self.mappings.found(wanted, registry, now)
    }

    /// How it stands with the Redis in which agents share what they find; `None`: there is none.
    #[must_use]
    pub fn redis(&self) -> Option<RedisState> {
        self.sharing.state()
    }

    /// Writes the mappings down if they changed.
    pub(crate) fn store(&self) -> io::Result<()> {
        let stored = self.mappings.store(&self.file);
        stored.map_err(|error| {
            let file = self.file.display();
            io::Error::new(error.kind(), format!("{file}: {error}"))
        })
    }

    /// How many images are remembered.
    #[must_use]
    pub fn images(&self) -> usize {
        self.mappings.len()
    }

    /// Projects that are left out of searches now, as `TIER/REGISTRY`.
    #[must_use]
    pub fn left_out(&self, now: Instant) -> Vec<String> {
        self.breakers.open(now)
    }

    pub(crate) fn places(&self, trust: Trust) -> &Places {
        match trust {
            Trust::Trusted => &self.trusted,
            Trust::Untrusted => &self.untrusted,
        }
    }
}
