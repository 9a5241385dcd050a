//! What is searched for once for all who ask for it, and what came of it.

use super::memory::{Manifest, Pulled};
use super::stale::StaleManifest;
use crate::oci::{Descriptor, Digest, ManifestKinds};
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
    /// The same client's request for the whole of a digest.
    pub(crate) fn of_digest(&self, digest: &Digest) -> Self {
        Self {
            of: self.of.beside(digest),
            kinds: self.kinds,
            head: false,
            confirms_denial: false,
            is_lookup: false,
        }
    }
}
