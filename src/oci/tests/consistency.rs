//! What a manifest that no digest proves may not be.

use crate::oci::{Digest, is_consistent};
use serde_json::{Value, json};

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

#[test]
fn what_no_digest_proves_must_not_contradict_itself() {
    let digest = Digest::sha256(b"x");
    let entry = json!({"digest": digest.as_str(), "size": 7});
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry, entry]});
    let image = json!({"schemaVersion": 2, "config": entry, "layers": [entry]});
    let schema1 = json!({"schemaVersion": 1, "fsLayers": [{"blobSum": digest.as_str()}]});
    let with = |value: &Value, path: &str, new: Value| {
        let mut changed = value.clone();
        *changed.pointer_mut(path).unwrap() = new;
        changed
    };
    let spoilt = digest.as_str().replace("sha256:", "sha256;");
    let rows = [
        (index.clone(), Some(OCI_INDEX), true),
        (
            index.clone(),
            Some("application/vnd.OCI.image.index.v1+json; charset=utf-8"),
            true,
        ),
        (index.clone(), None, true),
        (index.clone(), Some("application/json"), true),
        (image.clone(), Some(OCI_MANIFEST), true),
        (image.clone(), Some(DOCKER_MANIFEST), true),
        (schema1.clone(), None, true),
        (
            json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}),
            Some(OCI_INDEX),
            true,
        ),
        // The header, or the media type itself.
        (index.clone(), Some(OCI_MANIFEST), false),
        (image.clone(), Some(OCI_INDEX), false),
        (schema1, Some(DOCKER_MANIFEST), false),
        (
            with(
                &index,
                "/mediaType",
                json!("applicatioo/vnd.oci.image.index.v1+json"),
            ),
            Some(OCI_INDEX),
            false,
        ),
        (
            with(&index, "/mediaType", json!("application vnd")),
            None,
            false,
        ),
        // Digests and sizes that are none, wherever they stand.
        (
            with(&index, "/manifests/1/digest", json!(spoilt)),
            None,
            false,
        ),
        (
            with(&index, "/manifests/0/digest", Value::Null),
            None,
            false,
        ),
        (with(&image, "/config/digest", json!(spoilt)), None, false),
        (with(&image, "/layers/0/size", Value::Null), None, false),
        (with(&image, "/config/size", Value::Null), None, false),
        (with(&index, "/schemaVersion", json!(3)), None, false),
        (json!({"errors": []}), None, false),
    ];
    for (body, header, expected) in rows {
        let found = is_consistent(body.to_string().as_bytes(), header);
        assert_eq!(found, expected, "{header:?} with {body}");
    }
}
