//! Short memories of the pull path: manifests for the GET that follows a HEAD, denials, quarantined bytes, tags that were
//! answered without a proof, and blobs that were delivered a moment ago. All bounded, all forgetting by time.

mod behind;
mod eviction;
mod image;
mod unproved;

pub(crate) use behind::{Marked, Pulled, Unproven};
pub(crate) use image::{Image, Named};
pub(crate) use unproved::Doubted;

use super::answer::{header_value, served_by};
use super::blob::ToldSize;
use crate::cache::{Bounds, SharedTtlMap, TtlMap};
use crate::http1::Fields;
use crate::oci::{Digest, RegistryName, Repository};
use crate::topology::EndpointId;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use std::sync::Arc;
use std::time::Duration;
use unproved::UnprovedTags;

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
    pub(crate) spelled: Spelled,
    /// Who gave it.
    pub(crate) endpoint: EndpointId,
    /// Upstream was the first choice when it was fetched.
    pub(crate) direct: bool,
}

/// What every answer with a manifest says of it, spelled once.
#[derive(Clone, Debug)]
pub(crate) struct Spelled {
    /// `Content-Type`
    pub(crate) content_type: HeaderValue,
    /// `Docker-Content-Digest`
    pub(crate) content_digest: HeaderValue,
    /// `X-Harbor-Pilot-Served-By`
    pub(crate) served_by: HeaderValue,
    /// The endpoint's address, for the record.
    pub(crate) address: Arc<str>,
}

/// A manifest that was proved and read, with the bytes and headers that it came in: the same again from the same address
/// need not be hashed and read again.
#[derive(Debug)]
pub(crate) struct Proved {
    /// What came of it.
    pub(crate) manifest: Arc<Manifest>,
    /// The source's headers that had a part in it.
    pub(crate) claims: Claims,
}

/// What an answer's head says of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    /// `Docker-Content-Digest`
    pub(crate) digest: Option<String>,
    /// `Content-Type`
    pub(crate) content_type: Option<String>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Memories {
    /// Manifests by digest, 30 s (design P6): the GET by digest that follows a HEAD by tag.
    pub(crate) manifests: SharedTtlMap<Image, Arc<Manifest>>,
    /// What tags were answered with, 30 s: a GET by tag follows a HEAD by tag, and the next pod of the same image both.
    pub(crate) proved: SharedTtlMap<Image, Arc<Proved>>,
    /// What tiers answered for tags without a digest, and whether anything came of it (design P13).
    pub(crate) unproved: UnprovedTags,
    /// Repositories that upstream denied, 10 min (design P5).
    pub(crate) denials: SharedTtlMap<(RegistryName, Repository), String>,
    /// What was told of the sizes of blobs that no manifest names, 10 s: each blob is searched for once in that time.
    pub(crate) told_sizes: SharedTtlMap<Pulled, Arc<ToldSize>>,
    /// Where wrong bytes came from, 10 min (design P8). A digest proves that they are, whoever asked for them.
    pub(crate) quarantine: SharedTtlMap<(EndpointId, Digest), ()>,
    /// Addresses that let a request wait until another was asked, 30 s: they stand behind their tier's others (design P6).
    pub(crate) silent: Marked,
    /// Addresses that stalled or dripped in the middle of a blob until another went on, 5 min: they stand behind the others
    /// like the silent ones.
    pub(crate) slow: Marked,
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
            spelled: Spelled {
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
}

// === impl Proved ===

impl Proved {
    /// Whether an answer of that endpoint is the same as this one.
    pub(crate) fn is(&self, endpoint: &EndpointId, fields: &Fields, body: &Bytes) -> bool {
        let Claims {
            digest,
            content_type,
        } = &self.claims;
        self.manifest.endpoint == *endpoint
            && digest.as_ref().map(String::as_bytes) == fields.get(&CONTENT_DIGEST)
            && content_type.as_ref().map(String::as_bytes) == fields.get(&CONTENT_TYPE)
            && self.manifest.body == *body
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
        let ten_minutes = Bounds::entries(seconds(600), 1024);
        Self {
            // Of at most 4 MiB each, in practice of a few KiB.
            manifests: SharedTtlMap::of(TtlMap::weighed(recent, |_, kept| kept.body.len())),
            proved: SharedTtlMap::of(TtlMap::weighed(recent, |_, kept| kept.manifest.body.len())),
            unproved: UnprovedTags::new(),
            denials: SharedTtlMap::new(ten_minutes),
            told_sizes: SharedTtlMap::new(Bounds::entries(seconds(10), 1024)),
            quarantine: SharedTtlMap::new(ten_minutes),
            silent: Marked::lasting(seconds(30)),
            slow: Marked::lasting(seconds(300)),
            unproven: Unproven::new(),
        }
    }
}
