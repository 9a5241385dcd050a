//! Images that containerd can unpack, made from a seed: every layer is a tar archive with one file of random bytes.

use crate::support::{Blob, Image, Manifest, OCI_INDEX, OCI_MANIFEST, random_bytes};
use harbor_pilot::oci::Digest;
use serde_json::{Value, json};

/// An index over one manifest for this machine. The blobs are the layers, then the configuration.
pub(crate) fn make(seed: u64, layers: &[usize]) -> Image {
    let architecture = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    let mut blobs: Vec<Blob> = layers
        .iter()
        .zip(1..)
        .map(|(size, number)| {
            let content = random_bytes(seed.wrapping_mul(1000) + number, *size);
            Blob::of(archive(&format!("file-{number}"), &content))
        })
        .collect();
    let digests: Vec<&str> = blobs.iter().map(|blob| blob.digest.as_str()).collect();
    let config = Blob::of(bytes(&json!({
        "architecture": architecture, "os": "linux", "config": {"Labels": {"seed": seed.to_string()}},
        "rootfs": {"type": "layers", "diff_ids": digests},
    })));
    let descriptor = |blob: &Blob, media_type: &str| {
        json!({"mediaType": format!("application/vnd.oci.image.{media_type}"),
               "digest": blob.digest.as_str(), "size": blob.body.len()})
    };
    let manifest = of(
        OCI_MANIFEST,
        &json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": descriptor(&config, "config.v1+json"),
            "layers": blobs.iter().map(|layer| descriptor(layer, "layer.v1.tar")).collect::<Vec<_>>(),
        }),
    );
    let top = of(
        OCI_INDEX,
        &json!({
            "schemaVersion": 2, "mediaType": OCI_INDEX,
            "manifests": [{"mediaType": OCI_MANIFEST, "digest": manifest.digest.as_str(), "size": manifest.body.len(),
                           "platform": {"architecture": architecture, "os": "linux"}}],
        }),
    );
    blobs.push(config);
    Image {
        top,
        children: vec![manifest],
        blobs,
    }
}

fn of(media_type: &'static str, value: &Value) -> Manifest {
    let body = bytes(value);
    Manifest {
        digest: Digest::sha256(&body),
        media_type,
        body,
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("JSON can be written")
}

/// A ustar archive with one file.
fn archive(name: &str, content: &[u8]) -> Vec<u8> {
    let mut head = [0_u8; 512];
    let mut put =
        |at: usize, text: &str| head[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = head.to_vec();
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}
