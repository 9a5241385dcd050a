//! `[router]` as it is checked, and whom it asks.

use super::{HostPort, Registry, Secret, Tier};
use crate::oci::RegistryName;
use std::sync::Arc;
use std::time::Duration;

/// `[router]`: images that name no registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    /// Image registries whose images are looked for.
    pub names: Vec<RegistryName>,
    /// What stands between the name and the repository.
    pub project: String,
    /// A strict preference among the registries; empty: whoever answers first within the grace.
    pub order: Vec<RegistryName>,
    /// Registries that are asked at once for one image.
    pub max_fanout: u32,
    /// How long after the first good answer a better-placed one is waited for.
    pub grace: Duration,
    /// Where an image was found is used for so long without asking again.
    pub ttl: Duration,
    /// So long an image that no project has is not looked for again.
    pub negative_ttl: Duration,
    /// So long after `ttl` it is looked up again behind the answer.
    pub stale_while_revalidate: Duration,
    /// Of one client's address, outside loopback; 0: any number.
    pub requests_per_second: u32,
    /// Where several agents share what they find.
    pub redis: Option<Redis>,
}

/// `[router.redis]`: a Redis that several agents share, found by Sentinel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// Who says where the master is; asked in turn.
    pub sentinels: Vec<HostPort>,
    /// The master's name at the sentinels.
    pub master: String,
    /// For the master, and for sentinels that ask for one.
    pub password: Option<Secret>,
    /// The number of the database.
    pub db: u32,
    /// What all keys begin with: agents that share have the same.
    pub key_prefix: String,
}

// === impl Router ===

impl Router {
    /// So long what is nowhere may be remembered at most.
    pub(crate) const LONGEST_NEGATIVE_TTL: Duration = Duration::from_secs(3600);

    /// The name under which images are looked for. `name`: as a client wrote it.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&RegistryName> {
        let mut names = self.names.iter();
        names.find(|known| known.as_str().eq_ignore_ascii_case(name))
    }

    /// The registries that are asked for an image, the preferred ones first: all of `order`, whose word counts whether or not a tier
    /// has a project for them at this moment, and the others that some tier has a project for.
    #[must_use]
    pub fn candidates(
        &self,
        registries: &[Arc<Registry>],
        tiers: &[Arc<Tier>],
    ) -> Vec<RegistryName> {
        let others = registries.iter().map(|registry| &registry.name);
        let others = others.filter(|name| !self.order.contains(name) && self.asks(name, tiers));
        self.order.iter().chain(others).cloned().collect()
    }

    /// Whether that one is among them, where it is configured.
    pub(crate) fn asks(&self, registry: &RegistryName, tiers: &[Arc<Tier>]) -> bool {
        self.order.contains(registry) || tiers.iter().any(|tier| tier.has_project(registry))
    }

    /// With a written order a registry that is placed better decides before one that is placed worse.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        !self.order.is_empty()
    }
}

// === impl Tier ===

impl Tier {
    /// Whether it has a project that stands for `registry`.
    #[must_use]
    pub fn has_project(&self, registry: &RegistryName) -> bool {
        self.projects.contains_key(registry) && self.serves(registry)
    }
}
