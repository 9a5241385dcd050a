//! What is remembered of images that name no registry, and the searches for them that are under way.

use super::causes::Tried;
use super::flight::Flights;
use crate::cache::Trust;
use crate::oci::RegistryName;
use crate::router::{Breakers, Mappings, Rates, Wanted};
use std::io;
use std::path::PathBuf;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Images that are looked for at once, for trusted clients and for others: each asks every project.
const TRUSTED: usize = 64;
const UNTRUSTED: usize = 16;

/// What a search is for: the configuration's generation, the image, the registry that has not got it any more, and who wants it.
pub(crate) type Search = (u64, Wanted, Option<RegistryName>, Trust);

/// How a search ended.
#[derive(Clone, Debug)]
pub(crate) enum Looked {
    /// It is taken from this registry.
    Found(RegistryName),
    /// None of these has it.
    Nowhere(Vec<RegistryName>),
    /// This one's word is missing, and why; without one there is none to ask.
    Blocked(Option<RegistryName>, Vec<Tried>),
}

/// What all lookups share.
#[derive(Debug)]
pub struct Lookups {
    pub(crate) mappings: Mappings,
    pub(crate) breakers: Breakers,
    pub(crate) rates: Rates,
    pub(crate) searches: Flights<Search, Looked>,
    trusted: Semaphore,
    untrusted: Semaphore,
    /// Where the mappings are kept.
    file: PathBuf,
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
            mappings: Mappings::load(&file),
            breakers: Breakers::default(),
            rates: Rates::default(),
            searches: Flights::default(),
            trusted: Semaphore::new(TRUSTED),
            untrusted: Semaphore::new(UNTRUSTED),
            file,
        }
    }

    /// Writes the mappings down if they changed.
    pub(crate) fn store(&self) -> io::Result<()> {
        self.mappings.store(&self.file)
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

    /// Where searches for such clients wait for each other.
    pub(crate) fn places(&self, trust: Trust) -> &Semaphore {
        match trust {
            Trust::Trusted => &self.trusted,
            Trust::Untrusted => &self.untrusted,
        }
    }
}
