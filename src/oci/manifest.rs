//! What a manifest says about itself and about the blobs it names, read leniently and bounded.

use super::digest::Digest;
use serde::Deserialize;

/// The Accept header for manifests: everything that containerd and Harbor know (harbor-facts 3.2: a request
/// without it is answered 400 by Harbor's local path).
pub const ACCEPT_MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, */*;q=0.1";

/// A digest with its size, as found in a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The content's digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it is a manifest (of an index) rather than a config or a layer.
    pub is_manifest: bool,
}

/// What a body turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestKind {
    /// A manifest or index, with its media type and what it names.
    Manifest {
        /// From the body's `mediaType`; `None` where an OCI manifest leaves it out.
        media_type: Option<String>,
        /// Everything it names that has a size.
        descriptors: Vec<Descriptor>,
    },
    /// JSON of another kind (an error document, say), HTML, or no JSON at all.
    NotAManifest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<Entry>,
    #[serde(default)]
    layers: Vec<Entry>,
    #[serde(default)]
    manifests: Vec<Entry>,
    #[serde(default)]
    blobs: Vec<Entry>,
    errors: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Entry {
    digest: String,
    size: u64,
}

/// Reads a manifest's body. Needs no more trust than its digest gave it.
#[must_use]
pub fn inspect_manifest(body: &[u8]) -> ManifestKind {
    let Ok(parsed) = serde_json::from_slice::<Body>(body) else {
        return ManifestKind::NotAManifest;
    };
    if parsed.errors.is_some() || !matches!(parsed.schema_version, Some(1 | 2)) {
        return ManifestKind::NotAManifest;
    }
    let descriptor = |is_manifest| {
        move |entry: &Entry| {
            let digest = entry.digest.parse().ok()?;
            Some(Descriptor {
                digest,
                size: entry.size,
                is_manifest,
            })
        }
    };
    let blobs = parsed
        .config
        .iter()
        .chain(&parsed.layers)
        .chain(&parsed.blobs);
    let descriptors = blobs
        .filter_map(descriptor(false))
        .chain(parsed.manifests.iter().filter_map(descriptor(true)))
        .collect();
    ManifestKind::Manifest {
        media_type: parsed.media_type,
        descriptors,
    }
}
