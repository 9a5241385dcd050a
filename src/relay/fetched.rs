//! What is searched for once for all who ask for it, and what came of it.

use super::memory::{Image, Manifest, Pulled};
use super::stale::StaleManifest;
use crate::cache::Trust;
use crate::oci::{Descriptor, Digest, ManifestKinds, Reference};
use crate::route::Route;
use crate::telemetry::RequestOutcome;
use crate::topology::EndpointId;
use bytes::Bytes;
use std::sync::Arc;

/// What is asked for and by whom; equal ones get the same answer. What an untrusted client begins teaches as one, so a
/// trusted one does not share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FetchKey {
    pub(crate) of: Pulled,
    /// The kinds of manifest that the client takes.
    pub(crate) kinds: ManifestKinds,
    pub(crate) head: bool,
    /// Its user reads what the answer says of a denial (design P4): what upstream said a while ago is asked again.
    pub(crate) confirms_denial: bool,
    /// It is looked for in several registries: what a tier says of it decides, and is not remembered. Tiers may be left out.
    pub(crate) is_lookup: bool,
}

/// What a source tells of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) length: u64,
    /// All of it, proved. `None`: it is the answer to a HEAD, complete, as containerd needs it.
    pub(crate) body: Option<Bytes>,
    /// What it names; nothing where it cannot be read.
    pub(crate) descriptors: Vec<Descriptor>,
}

#[derive(Clone, Debug)]
pub(crate) enum Served {
    Whole(Arc<Manifest>, RequestOutcome),
    /// A HEAD, and who told it.
    Head(Told, EndpointId, RequestOutcome),
    /// From disk.
    Stale(StaleManifest),
}

// === impl FetchKey ===

impl FetchKey {
    /// A GET by such a client.
    pub(crate) fn new(
        route: &Route,
        reference: Reference,
        kinds: ManifestKinds,
        trust: Trust,
    ) -> Self {
        let (registry, repository) = (route.registry_label.clone(), route.repository.clone());
        let image = Image::new(registry, repository, reference, kinds);
        Self {
            of: Pulled { image, trust },
            kinds,
            head: false,
            confirms_denial: false,
            is_lookup: false,
        }
    }
}
