//! Short memories of the pull path: manifests for the GET that follows a HEAD and who was asked by it, denials, what tags were
//! answered with, and whose bytes went out without a proof. All bounded. What follows from them for addresses is the reputation's.

mod image;
mod tags;

pub(crate) use image::{Image, Pulled};

use super::outcome::Ended;
use crate::budget::SMALL;
use crate::cache::{Bounds, SharedTtlMap, Trust, TtlMap};
use crate::oci::{Digest, RegistryName, Repository};
use crate::telemetry::RequestOutcome;
use crate::topology::EndpointId;
use bytes::Bytes;
use http::header::HeaderName;
use std::sync::Arc;
use std::time::Duration;
use tags::TagAnswers;
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// The digest that a registry says of what it sends.
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A verified manifest.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) body: Bytes,
    pub(crate) digest: Digest,
    pub(crate) media_type: Arc<str>,
    pub(crate) endpoint: EndpointId,
    /// Upstream was the first choice when it was fetched.
    pub(crate) direct: bool,
}

/// The size of a blob that no manifest named, and who told it.
#[derive(Clone, Debug)]
pub(crate) struct Size {
    pub(crate) bytes: u64,
    pub(crate) endpoint: EndpointId,
    pub(crate) outcome: RequestOutcome,
}

#[derive(Debug)]
pub(crate) struct Memories {
    /// Manifests by digest, 30 s (design P6): the GET by digest that follows a HEAD by tag.
    pub(crate) manifests: SharedTtlMap<Image, Arc<Manifest>>,
    /// Whose HEAD by tag told such a client a digest, 30 s: there the GET by digest goes first (harbor-facts 13.1).
    pub(crate) headed: SharedTtlMap<Pulled, EndpointId>,
    /// What tiers answered for tags, and what of it is nowhere (design P13).
    pub(crate) tags: TagAnswers,
    /// Repositories that upstream denied, 10 min (design P5).
    pub(crate) denials: SharedTtlMap<(RegistryName, Repository), String>,
    /// Why a Harbor has not got a tag, as it says to GET alone, 60 s (harbor-facts 13.9). For the log.
    pub(crate) no_tag: SharedTtlMap<(EndpointId, Image), Arc<str>>,
    /// What was told of the sizes of blobs that no manifest names, 10 s: each blob is searched for once in that time.
    pub(crate) told_sizes: SharedTtlMap<Pulled, Arc<OnceCell<Arc<Ended<Size>>>>>,
    /// Who gave bytes of the newest pull of a blob that nobody could prove before they went out, 10 min: ranges, and what was not
    /// hashed. Asked for anew the blob is suspect: containerd has found it wrong, perhaps (design P8, P13).
    pub(crate) unproven: SharedTtlMap<Pulled, Vec<EndpointId>>,
}

// === impl Memories ===

impl Memories {
    /// `bytes`: what all that is kept may take.
    pub(crate) fn new(bytes: usize) -> Self {
        let seconds = Duration::from_secs;
        let recent = Bounds {
            bytes,
            ..Bounds::entries(seconds(30), 64)
        };
        Self {
            // Of at most 4 MiB each, in practice of a few KiB.
            manifests: SharedTtlMap::from_map(TtlMap::weighed(recent, |_, kept| kept.body.len())),
            headed: SharedTtlMap::new(Bounds::entries(seconds(30), 1024)),
            tags: TagAnswers::new(),
            denials: SharedTtlMap::new(Bounds::entries(seconds(600), 1024)),
            no_tag: SharedTtlMap::new(Bounds::entries(seconds(60), 256)),
            told_sizes: SharedTtlMap::new(Bounds::entries(seconds(10), 1024)),
            unproven: SharedTtlMap::new(Bounds::entries(seconds(600), 1024)),
        }
    }

    pub(crate) fn sweep(&self, now: Instant) {
        self.manifests.sweep(now);
        self.headed.sweep(now);
        self.denials.sweep(now);
        self.no_tag.sweep(now);
        self.told_sizes.sweep(now);
        self.unproven.sweep(now);
    }

    /// Gives kept manifests up until that is enough: those of untrusted clients' pulls first, of each the oldest first. Small
    /// ones stay: all of them together are little, and most of them are somebody's next request.
    pub(crate) fn give_up(&self, is_enough: &dyn Fn() -> bool) {
        let of_kept = |kept: &Arc<Manifest>| kept.body.len() > SMALL;
        for trust in [Trust::Untrusted, Trust::Trusted] {
            while !is_enough() && self.manifests.evict(trust, of_kept) {}
        }
    }
}
