//! Short memories of the pull path: manifests for the GET that follows a HEAD and who was asked by it, denials, what tags were
//! answered with, and whose bytes went out without a proof. All bounded. What follows from them for addresses is the reputation's.

mod eviction;
mod image;
mod tags;
mod unproven;

pub(crate) use image::Image;
pub(crate) use tags::{Answered, Refuted};
pub(crate) use unproven::{Pulled, Unproven};

use super::outcome::Ended;
use super::response::{header_value, served_by};
use crate::cache::{Bounds, SharedTtlMap, Trust, TtlMap};
use crate::http1::Fields;
use crate::oci::{Digest, RegistryName, Repository};
use crate::telemetry::RequestOutcome;
use crate::topology::EndpointId;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use std::sync::Arc;
use std::time::Duration;
use tags::TagAnswers;
use tokio::time::Instant;

/// The digest that a registry says of what it sends.
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A verified manifest with what its answer needs.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    /// The content.
    pub(crate) body: Bytes,
    /// Its digest.
    pub(crate) digest: Digest,
    /// Its `Content-Type`.
    pub(crate) media_type: Arc<str>,
    /// The same and more, as answers say it.
    pub(crate) encoded: Encoded,
    /// Who gave it.
    pub(crate) endpoint: EndpointId,
    /// Upstream was the first choice when it was fetched.
    pub(crate) direct: bool,
}

/// What every answer with a manifest says of it, encoded once.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    /// `Content-Type`
    pub(crate) content_type: HeaderValue,
    /// `Docker-Content-Digest`
    pub(crate) content_digest: HeaderValue,
    /// `X-Harbor-Pilot-Served-By`
    pub(crate) served_by: HeaderValue,
    /// The endpoint's address, for the record.
    pub(crate) address: Arc<str>,
}

/// What an answer's head says of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    /// `Docker-Content-Digest`
    pub(crate) digest: Option<String>,
    /// `Content-Type`
    pub(crate) content_type: Option<String>,
}

/// The size of a blob that no manifest named, and who told it.
#[derive(Clone, Debug)]
pub(crate) struct Size {
    pub(crate) bytes: u64,
    pub(crate) endpoint: EndpointId,
    pub(crate) outcome: RequestOutcome,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Memories {
    /// Manifests by digest, 30 s (design P6): the GET by digest that follows a HEAD by tag.
    pub(crate) manifests: SharedTtlMap<Image, Arc<Manifest>>,
    /// Whose HEAD by tag told such a client a digest, 30 s: there the GET by digest goes first (harbor-facts 13.1).
    pub(crate) headed: SharedTtlMap<(Image, Trust), EndpointId>,
    /// Manifests by digest that have passed: since when they are kept on disk, if they are.
    pub(crate) passed: SharedTtlMap<Image, Option<Instant>>,
    /// What tiers answered for tags, and what of it is nowhere (design P13).
    pub(crate) tags: TagAnswers,
    /// Repositories that upstream denied, 10 min (design P5).
    pub(crate) denials: SharedTtlMap<(RegistryName, Repository), String>,
    /// Why a Harbor has not got a tag, as it says to GET alone, 60 s (harbor-facts 13.9). For the log.
    pub(crate) no_tag: SharedTtlMap<(EndpointId, Image), Arc<str>>,
    /// What was told of the sizes of blobs that no manifest names, 10 s: each blob is searched for once in that time.
    pub(crate) told_sizes: SharedTtlMap<Pulled, Arc<Ended<Size>>>,
    /// Whose bytes went out without a proof, 10 min.
    pub(crate) unproven: Unproven,
}

// === impl Manifest ===

impl Manifest {
    /// `direct`: upstream was the first choice.
    pub(crate) fn new(
        body: Bytes,
        digest: Digest,
        media_type: Arc<str>,
        endpoint: EndpointId,
        direct: bool,
    ) -> Self {
        Self {
            encoded: Encoded {
                content_type: header_value(&media_type),
                content_digest: header_value(digest.as_str()),
                served_by: served_by(&endpoint),
                address: endpoint.address.to_string().into(),
            },
            body,
            digest,
            media_type,
            endpoint,
            direct,
        }
    }

    /// The same for an answer of another endpoint, which named it.
    pub(crate) fn told_by(&self, endpoint: &EndpointId) -> Self {
        let (body, digest) = (self.body.clone(), self.digest.clone());
        let media_type = self.media_type.clone();
        Self::new(body, digest, media_type, endpoint.clone(), self.direct)
    }
}

// === impl Claims ===

impl Claims {
    /// Of an answer's head.
    pub(crate) fn of(fields: &Fields) -> Self {
        Self {
            digest: fields.text(&CONTENT_DIGEST).map(ToOwned::to_owned),
            content_type: fields.text(&CONTENT_TYPE).map(ToOwned::to_owned),
        }
    }

    /// The digest that the head tells. Harbor sends it empty on its proxy path (harbor-facts 3.2); only a filled one says
    /// something.
    pub(crate) fn told_digest(&self) -> Option<Digest> {
        self.digest.as_ref()?.parse().ok()
    }
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
            passed: SharedTtlMap::new(Bounds::entries(Duration::MAX, 4096)),
            tags: TagAnswers::new(),
            denials: SharedTtlMap::new(Bounds::entries(seconds(600), 1024)),
            no_tag: SharedTtlMap::new(Bounds::entries(seconds(60), 256)),
            told_sizes: SharedTtlMap::new(Bounds::entries(seconds(10), 1024)),
            unproven: Unproven::new(),
        }
    }
}
