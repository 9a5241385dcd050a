//! What a manifest says about itself and about the blobs it names, read leniently and bounded.
//!
//! Leniency ends where containerd's ends: a document that is an index and an image at once is neither.

use super::digest::Digest;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use std::fmt;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
const SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// The media types that are manifests to containerd, distribution and Harbor; those of today first.
pub(super) const KNOWN: [(&str, Shape); 7] = [
    (OCI_INDEX, Shape::Index),
    (
        "application/vnd.docker.distribution.manifest.list.v2+json",
        Shape::Index,
    ),
    (OCI_MANIFEST, Shape::Image),
    (
        "application/vnd.docker.distribution.manifest.v2+json",
        Shape::Image,
    ),
    (
        "application/vnd.oci.artifact.manifest.v1+json",
        Shape::Image,
    ),
    (SCHEMA1, Shape::Schema1),
    (SCHEMA1_SIGNED, Shape::Schema1),
];

/// A digest with its size, as found in a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The digest of the content that is described.
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
        /// The body's `mediaType`; where it is left out (OCI allows that, schema 1 has none), what the
        /// body's fields say it is.
        media_type: Option<String>,
        /// Everything it names that has a size.
        descriptors: Vec<Descriptor>,
    },
    /// JSON of another kind (an error document, say), HTML, or no JSON at all.
    NotAManifest,
}

/// What the fields of a document make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// It names other manifests, one per platform.
    Index,
    /// It names a config, layers or blobs.
    Image,
    /// The first generation: layers without sizes.
    Schema1,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<Entry>,
    // Go writes an empty list as null: every list is an Option.
    layers: Option<Entries>,
    manifests: Option<Entries>,
    blobs: Option<Entries>,
    fs_layers: Option<IgnoredAny>,
    signatures: Option<IgnoredAny>,
    errors: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Entry {
    digest: Option<String>,
    size: Option<u64>,
}

/// The descriptors of a list, those without digest or size left out while they are read: what is kept is never
/// larger than the body that it came from.
struct Entries {
    kept: Vec<(Digest, u64)>,
    is_empty: bool,
    /// None was left out.
    is_complete: bool,
}

// === reading ===

/// Reads a manifest's body. Needs no more trust than its digest gave it.
#[must_use]
pub fn inspect_manifest(body: &[u8]) -> ManifestKind {
    let Some((parsed, shape)) = read(body) else {
        return ManifestKind::NotAManifest;
    };
    let media_type = parsed
        .stated_media_type()
        .map(str::to_owned)
        .or_else(|| shape.map(|shape| parsed.media_type_by_shape(shape).to_owned()));
    let descriptor = |is_manifest| {
        move |(digest, size): (Digest, u64)| Descriptor {
            digest,
            size,
            is_manifest,
        }
    };
    let blobs = parsed
        .config
        .and_then(Entry::complete)
        .into_iter()
        .chain(parsed.layers.into_iter().flat_map(|list| list.kept))
        .chain(parsed.blobs.into_iter().flat_map(|list| list.kept));
    let manifests = parsed.manifests.into_iter().flat_map(|list| list.kept);
    let descriptors = blobs
        .map(descriptor(false))
        .chain(manifests.map(descriptor(true)))
        .collect();
    ManifestKind::Manifest {
        media_type,
        descriptors,
    }
}

/// The Content-Type to answer with a manifest's body; `None`: it is no manifest or says nothing about itself.
///
/// What the digest covers outranks what it does not: first the body's `mediaType` if it is a known manifest
/// type, then the source's header if it is one and the body's fields agree with it, then whatever else the
/// body says, then its fields alone (Harbor 2.1.2 answers without the header, goharbor/harbor#13740).
/// Parameters of the header are stripped: containerd copies the value into its descriptor.
#[must_use]
pub fn media_type_of(body: &[u8], content_type_header: Option<&str>) -> Option<String> {
    let (parsed, shape) = read(body)?;
    let stated = parsed.stated_media_type();
    if let Some((known, _)) = stated.and_then(known) {
        return Some(known.to_owned());
    }
    let header = content_type_header.and_then(known);
    if let Some((known, of)) = header
        && shape.is_none_or(|shape| shape == of)
    {
        return Some(known.to_owned());
    }
    stated
        .map(str::to_owned)
        .or_else(|| shape.map(|shape| parsed.media_type_by_shape(shape).to_owned()))
}

/// The Content-Type to answer with a proved body that cannot be read: what it says of itself, else what its source says, without
/// parameters.
#[must_use]
pub fn media_type_as_told(body: &[u8], content_type_header: Option<&str>) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Stated {
        media_type: String,
    }
    let stated = serde_json::from_slice(body).map(|Stated { media_type }| media_type);
    let stated = stated.ok();
    let header = content_type_header.and_then(|header| header.split(';').next());
    let told = [stated.as_deref(), header.map(str::trim)];
    let mut told = told.into_iter().flatten();
    let told = told.find(|text| is_media_type(text));
    told.unwrap_or("application/octet-stream").to_owned()
}

/// Whether a manifest that no digest proves is of one piece: its `mediaType` is one, and that of the source's header where
/// that names a manifest; everything that it lists has a digest and a size. What a digest proves needs none of this.
#[must_use]
pub fn is_consistent(body: &[u8], content_type_header: Option<&str>) -> bool {
    let Some((parsed, shape)) = read(body) else {
        return false;
    };
    if parsed.media_type.is_some() && parsed.stated_media_type().is_none() {
        return false;
    }
    if let Some((told, of)) = content_type_header.and_then(known) {
        let fits = match parsed.stated_media_type() {
            Some(stated) => known(stated).is_some_and(|(stated, _)| stated == told),
            None => shape.is_none_or(|shape| shape == of),
        };
        if !fits {
            return false;
        }
    }
    let lists = [&parsed.layers, &parsed.manifests, &parsed.blobs];
    let mut lists = lists.into_iter().flatten();
    lists.all(|list| list.is_complete)
        && parsed
            .config
            .is_none_or(|config| config.complete().is_some())
}

/// The body and its shape, if it is a manifest at all.
fn read(body: &[u8]) -> Option<(Body, Option<Shape>)> {
    let parsed = serde_json::from_slice::<Body>(body).ok()?;
    if parsed.errors.is_some() {
        return None;
    }
    let filled = |list: &Option<Entries>| list.as_ref().is_some_and(|list| !list.is_empty);
    let image = parsed.config.is_some() || filled(&parsed.layers) || filled(&parsed.blobs);
    let shape = match parsed.schema_version {
        Some(1) if parsed.fs_layers.is_some() => Some(Shape::Schema1),
        // Both at once is how one digest comes to mean two images (CVE-2021-41190); containerd refuses it.
        Some(2) if image && filled(&parsed.manifests) => return None,
        Some(2) if image => Some(Shape::Image),
        Some(2) if parsed.manifests.is_some() => Some(Shape::Index),
        Some(2) if parsed.stated_media_type().is_some() => None,
        _ => return None,
    };
    let stated = parsed.stated_media_type().and_then(known);
    if let (Some((_, stated)), Some(shape)) = (stated, shape)
        && stated != shape
    {
        return None;
    }
    Some((parsed, shape))
}

/// The known media type of a Content-Type or `mediaType`, as it is registered, with its shape.
fn known(text: &str) -> Option<(&'static str, Shape)> {
    let essence = text.split(';').next().unwrap_or(text).trim();
    KNOWN
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(essence))
}

/// `type/subtype` by RFC 6838, section 4.2: what may be copied into a header.
fn is_media_type(text: &str) -> bool {
    let restricted = |name: &str| {
        name.len() <= 127
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    text.split_once('/')
        .is_some_and(|(kind, subtype)| restricted(kind) && restricted(subtype))
}

// === impl Body ===

impl Body {
    fn stated_media_type(&self) -> Option<&str> {
        self.media_type
            .as_deref()
            .filter(|text| is_media_type(text))
    }

    fn media_type_by_shape(&self, shape: Shape) -> &'static str {
        match shape {
            Shape::Index => OCI_INDEX,
            Shape::Image => OCI_MANIFEST,
            Shape::Schema1 if self.signatures.is_some() => SCHEMA1_SIGNED,
            Shape::Schema1 => SCHEMA1,
        }
    }
}

// === impl Entry ===

impl Entry {
    fn complete(self) -> Option<(Digest, u64)> {
        Some((self.digest?.parse().ok()?, self.size?))
    }
}

// === impl Entries ===

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of descriptors")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Entries, A::Error> {
                let mut kept = Vec::new();
                let (mut is_empty, mut is_complete) = (true, true);
                while let Some(entry) = list.next_element::<Entry>()? {
                    is_empty = false;
                    let entry = entry.complete();
                    is_complete &= entry.is_some();
                    kept.extend(entry);
                }
                Ok(Entries {
                    kept,
                    is_empty,
                    is_complete,
                })
            }
        }

        deserializer.deserialize_seq(Reader)
    }
}
