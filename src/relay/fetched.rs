//! What is searched for once for all who ask for it, and what came of it.

use super::memory::{Image, Manifest};
use super::stale::StaleManifest;
use crate::cache::Trust;
use crate::oci::{Digest, ManifestKinds};
use crate::telemetry::RequestOutcome;
use crate::topology::EndpointId;
use std::sync::Arc;

/// What is asked for and by whom; equal ones get the same answer. What an untrusted client begins teaches as one, so a
/// trusted one does not share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FetchKey {
    pub(crate) image: Image,
    /// The kinds of manifest that the client takes.
    pub(crate) kinds: ManifestKinds,
    pub(crate) head: bool,
    /// Its user reads what the answer says of a denial (design P4): what upstream said a while ago is asked again.
    pub(crate) confirms_denial: bool,
    pub(crate) trust: Trust,
}

/// What a HEAD tells of a manifest: complete, as containerd needs it.
#[derive(Clone, Debug)]
pub(crate) struct ManifestHead {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) length: u64,
}

/// A good answer.
#[derive(Clone, Debug)]
pub(crate) enum Served {
    /// All of it.
    Whole(Arc<Manifest>, RequestOutcome),
    /// A HEAD, and who told it.
    Head(ManifestHead, EndpointId, RequestOutcome),
    /// From disk.
    Stale(StaleManifest),
}

// === impl FetchKey ===

impl FetchKey {
    /// What is asked for as such clients know it.
    pub(crate) fn asked(&self) -> (Image, Trust) {
        (self.image.clone(), self.trust)
    }

    /// The same client's request for the whole of a digest.
    pub(crate) fn of_digest(&self, digest: &Digest) -> Self {
        let (registry, repository) = (&self.image.registry, &self.image.repository);
        Self {
            image: Image::content(registry.clone(), repository.clone(), digest.clone()),
            kinds: self.kinds,
            head: false,
            confirms_denial: false,
            trust: self.trust,
        }
    }
}
