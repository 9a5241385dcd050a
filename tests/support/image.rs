//! Images made from a seed: the same seed gives the same bytes and digests everywhere.

use harbor_pilot::oci::Digest;
use serde_json::{Value, json};

pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const PLATFORMS: [&str; 4] = ["amd64", "arm64", "ppc64le", "s390x"];

/// A manifest or index as it stands at a registry.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub digest: Digest,
    pub media_type: &'static str,
    pub body: Vec<u8>,
}

/// A config or layer.
#[derive(Clone, Debug)]
pub struct Blob {
    pub digest: Digest,
    pub body: Vec<u8>,
}

/// An image with everything that belongs to it.
#[derive(Clone, Debug)]
pub struct Image {
    /// What the tag names: the last one made.
    pub top: Manifest,
    /// The manifests below an index; empty for a single platform.
    pub children: Vec<Manifest>,
    /// Configs and layers of all platforms.
    pub blobs: Vec<Blob>,
}

impl Image {
    /// One platform, with layers of 20 KB and growing.
    pub fn random(seed: u64, layers: usize) -> Self {
        let sizes: Vec<_> = (1..=layers).map(|n| n * 20_000 + 7).collect();
        Self::with_layers(seed, &sizes)
    }

    /// One platform, with layers of these sizes in bytes. The bytes are no archives: nothing here unpacks them.
    pub fn with_layers(seed: u64, sizes: &[usize]) -> Self {
        let layers: Vec<Blob> = sizes
            .iter()
            .zip(1..)
            .map(|(size, n)| Blob::of(random_bytes(seed.wrapping_mul(1000) + n, *size)))
            .collect();
        let diff_ids: Vec<_> = layers.iter().map(|layer| layer.digest.as_str()).collect();
        let config = Blob::of(bytes(&json!({
            "architecture": "amd64", "os": "linux", "config": {"Labels": {"seed": seed.to_string()}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        })));
        let top = Manifest::of(
            OCI_MANIFEST,
            &json!({
                "schemaVersion": 2, "mediaType": OCI_MANIFEST,
                "config": config.descriptor(OCI_CONFIG),
                "layers": layers.iter().map(|layer| layer.descriptor(OCI_LAYER)).collect::<Vec<_>>(),
            }),
        );
        let mut blobs = layers;
        blobs.push(config);
        Self {
            top,
            children: Vec::new(),
            blobs,
        }
    }

    /// An index over up to four platforms.
    pub fn multi_platform(seed: u64, platforms: usize, layers: usize) -> Self {
        let images = (0..platforms as u64).map(|n| Self::random(seed * 10 + n, layers));
        let images: Vec<Self> = images.collect();
        let children: Vec<_> = images.iter().map(|image| image.top.clone()).collect();
        Self {
            top: index(&children),
            children,
            blobs: images.into_iter().flat_map(|image| image.blobs).collect(),
        }
    }

    /// The same content below a manifest that tells another size of the first layer.
    pub fn claiming(&self, size: u64) -> Self {
        let mut manifest: Value = serde_json::from_slice(&self.top.body).unwrap();
        manifest["layers"][0]["size"] = json!(size);
        Self {
            top: Manifest::of(OCI_MANIFEST, &manifest),
            ..self.clone()
        }
    }

    /// The index as Harbor keeps it when only one platform was pulled in time: trimmed, with a digest of its own
    /// (harbor-facts 3.2).
    pub fn trimmed(&self) -> Manifest {
        index(&self.children[..1])
    }

    /// All manifests, the top one first.
    pub fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        std::iter::once(&self.top).chain(&self.children)
    }

    /// The first layer.
    pub fn layer(&self) -> &Blob {
        &self.blobs[0]
    }
}

impl Manifest {
    fn of(media_type: &'static str, value: &Value) -> Self {
        let body = bytes(value);
        Self {
            digest: Digest::sha256(&body),
            media_type,
            body,
        }
    }
}

impl Blob {
    pub fn of(body: Vec<u8>) -> Self {
        let digest = Digest::sha256(&body);
        Self { digest, body }
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": self.digest.as_str(), "size": self.body.len()})
    }
}

fn index(children: &[Manifest]) -> Manifest {
    let entries: Vec<_> = children
        .iter()
        .zip(PLATFORMS)
        .map(|(child, architecture)| {
            json!({
                "mediaType": child.media_type, "digest": child.digest.as_str(), "size": child.body.len(),
                "platform": {"architecture": architecture, "os": "linux"},
            })
        })
        .collect();
    Manifest::of(
        OCI_INDEX,
        &json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}),
    )
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

/// splitmix64: the same everywhere, and nothing compresses or repeats.
pub fn random_bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    });
    words.flatten().take(length).collect()
}
