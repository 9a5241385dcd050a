//! Manifests, indexes and what is neither; error bodies.

use super::EMPTY;
use crate::oci::{
    Descriptor, Digest, ErrorCode, ManifestKind, error_body, inspect_manifest, media_type_of,
};
use serde_json::json;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
const SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// A descriptor of `bytes`, in JSON.
fn of(bytes: &[u8]) -> serde_json::Value {
    json!({"mediaType": "x/y", "digest": Digest::sha256(bytes).as_str(), "size": bytes.len()})
}

fn named(bytes: &[u8], is_manifest: bool) -> Descriptor {
    Descriptor {
        digest: Digest::sha256(bytes),
        size: bytes.len() as u64,
        is_manifest,
    }
}

fn inspected(body: &serde_json::Value) -> ManifestKind {
    inspect_manifest(body.to_string().as_bytes())
}

fn manifest(media_type: &str, descriptors: Vec<Descriptor>) -> ManifestKind {
    ManifestKind::Manifest {
        media_type: Some(media_type.to_owned()),
        descriptors,
    }
}

#[test]
fn an_image_names_its_config_and_layers() {
    let mut body = json!({"schemaVersion": 2, "mediaType": DOCKER_MANIFEST,
                          "config": of(b"c"), "layers": [of(b"l1"), of(b"layer2")]});
    let named = vec![
        named(b"c", false),
        named(b"l1", false),
        named(b"layer2", false),
    ];
    assert_eq!(inspected(&body), manifest(DOCKER_MANIFEST, named.clone()));
    body.as_object_mut().unwrap().remove("mediaType");
    assert_eq!(inspected(&body), manifest(OCI_MANIFEST, named));
}

#[test]
fn an_index_names_manifests() {
    let mut body = json!({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [of(b"m")]});
    assert_eq!(
        inspected(&body),
        manifest(DOCKER_LIST, vec![named(b"m", true)])
    );
    body.as_object_mut().unwrap().remove("mediaType");
    assert_eq!(
        inspected(&body),
        manifest(OCI_INDEX, vec![named(b"m", true)])
    );
}

#[test]
fn other_manifests() {
    let artifact = "application/vnd.oci.artifact.manifest.v1+json";
    let rows = [
        (
            json!({"schemaVersion": 2, "mediaType": artifact, "blobs": [of(b"b")]}),
            artifact,
            vec![named(b"b", false)],
        ),
        (
            json!({"schemaVersion": 2, "manifests": []}),
            OCI_INDEX,
            vec![],
        ),
        (
            json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": null}),
            OCI_INDEX,
            vec![],
        ),
        (
            json!({"schemaVersion": 2, "config": of(b"c"), "layers": null, "manifests": null}),
            OCI_MANIFEST,
            vec![named(b"c", false)],
        ),
        (
            json!({"schemaVersion": 2, "config": of(b"c"), "layers": [], "manifests": []}),
            OCI_MANIFEST,
            vec![named(b"c", false)],
        ),
        (
            json!({"schemaVersion": 1, "name": "a", "fsLayers": [{"blobSum": EMPTY}]}),
            SCHEMA1,
            vec![],
        ),
        (
            json!({"schemaVersion": 1, "fsLayers": [], "signatures": [{}]}),
            SCHEMA1_SIGNED,
            vec![],
        ),
        (
            json!({"schemaVersion": 2, "mediaType": "application/vnd.example.v7+json"}),
            "application/vnd.example.v7+json",
            vec![],
        ),
        // A text that cannot stand in a header says nothing.
        (
            json!({"schemaVersion": 2, "mediaType": "a/b\r\nX: y", "manifests": []}),
            OCI_INDEX,
            vec![],
        ),
        // What has no digest or no size is left out, the rest stays.
        (
            json!({"schemaVersion": 2, "config": {}, "layers": [{"size": 1}, of(b"l"), {"digest": EMPTY}, {"digest": "md5:1", "size": 1}]}),
            OCI_MANIFEST,
            vec![named(b"l", false)],
        ),
        (
            json!({"schemaVersion": 2, "config": of(b""), "layers": [{"digest": EMPTY, "size": u64::MAX}]}),
            OCI_MANIFEST,
            vec![
                named(b"", false),
                Descriptor {
                    digest: EMPTY.parse().unwrap(),
                    size: u64::MAX,
                    is_manifest: false,
                },
            ],
        ),
    ];
    for (body, media_type, descriptors) in rows {
        assert_eq!(
            inspected(&body),
            manifest(media_type, descriptors),
            "{body}"
        );
    }
}

#[test]
fn not_manifests() {
    let rows = [
        "",
        " ",
        "null",
        "[]",
        "{}",
        "2",
        "\"schemaVersion\"",
        "<html><body>502 Bad Gateway</body></html>",
        "<!DOCTYPE html>",
        "404 page not found",
        r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
        r#"{"schemaVersion":2,"manifests":[],"errors":[{"code":"UNKNOWN"}]}"#,
        r#"{"status":"unhealthy","components":[]}"#,
        r#"{"schemaVersion":2}"#,
        r#"{"schemaVersion":1}"#,
        r#"{"schemaVersion":3,"manifests":[]}"#,
        r#"{"schemaVersion":-2,"manifests":[]}"#,
        r#"{"schemaVersion":"2","manifests":[]}"#,
        r#"{"manifests":[]}"#,
        r#"{"schemaVersion":2,"manifests":{}}"#,
        r#"{"schemaVersion":2,"manifests":[1]}"#,
        r#"{"schemaVersion":2,"manifests":[{"digest":"x","size":-1}]}"#,
        r#"{"schemaVersion":2,"config":"x"}"#,
        r#"{"schemaVersion":2,"mediaType":7,"manifests":[]}"#,
        // Cut off, glued on (harbor-facts 0.3), said twice.
        r#"{"schemaVersion":2,"manifests":["#,
        r#"{"schemaVersion":2,"manifests":[]}{"errors":[]}"#,
        r#"{"schemaVersion":2,"manifests":[],"manifests":[]}"#,
        r#"{"schemaVersion":2,"schemaVersion":1,"manifests":[]}"#,
        // Two things at once (CVE-2021-41190).
        r#"{"schemaVersion":2,"manifests":[{"size":1}],"config":{"size":1}}"#,
        r#"{"schemaVersion":2,"manifests":[{"size":1}],"layers":[{"size":1}]}"#,
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","manifests":[{"size":1}]}"#,
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","config":{"size":1}}"#,
    ];
    for body in rows {
        assert_eq!(
            inspect_manifest(body.as_bytes()),
            ManifestKind::NotAManifest,
            "{body}"
        );
        assert_eq!(
            media_type_of(body.as_bytes(), Some(OCI_INDEX)),
            None,
            "{body}"
        );
    }
    assert_eq!(
        inspect_manifest(b"{\"schemaVersion\":2,\"manifests\":[\xff]}"),
        ManifestKind::NotAManifest
    );
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0];
    assert_eq!(inspect_manifest(&gzip), ManifestKind::NotAManifest);
}

#[test]
fn depth_bombs_do_not_reach_the_stack() {
    let deep = 1_000_000;
    let nest = |open: &str, close: &str| open.repeat(deep) + &close.repeat(deep);
    for field in ["manifests", "config", "layers", "mediaType"] {
        for bomb in [nest("[", "]"), nest("{\"a\":", "}")] {
            let body = format!("{{\"schemaVersion\":2,\"{field}\":{bomb}}}");
            let found = inspect_manifest(body.as_bytes());
            assert_eq!(found, ManifestKind::NotAManifest, "{field}");
        }
    }
    // Where nobody looks it may be as deep as it likes.
    let body = format!(
        "{{\"schemaVersion\":2,\"manifests\":[],\"annotations\":{}}}",
        nest("[", "]")
    );
    assert_eq!(
        inspect_manifest(body.as_bytes()),
        manifest(OCI_INDEX, vec![])
    );
}

#[test]
fn four_mebibytes_are_read() {
    const LIMIT: usize = 4 << 20;
    let entry = of(b"layer").to_string();
    let head = format!("{{\"schemaVersion\":2,\"config\":{},\"layers\":[", of(b"c"));
    let count = (LIMIT - head.len() - 2) / (entry.len() + 1);
    let list = vec![entry.as_str(); count].join(",");
    let mut body = format!("{head}{list}]}}");
    body.push_str(&" ".repeat(LIMIT - body.len()));
    let ManifestKind::Manifest { descriptors, .. } = inspect_manifest(body.as_bytes()) else {
        panic!("a manifest of 4 MiB is one");
    };
    assert_eq!(descriptors.len(), count + 1);

    // Entries that name nothing are not kept: a body cannot grow in memory.
    let body = format!("{head}{}{{}}]}}", "{},".repeat(1 << 20));
    let ManifestKind::Manifest { descriptors, .. } = inspect_manifest(body.as_bytes()) else {
        panic!("empty entries are read over");
    };
    assert_eq!(descriptors.len(), 1);
    assert!(descriptors.capacity() <= 8);
}

#[test]
fn media_types() {
    let index = json!({"schemaVersion": 2, "manifests": []});
    let image = json!({"schemaVersion": 2, "config": of(b"c"), "layers": []});
    let docker = json!({"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": of(b"c")});
    let odd = json!({"schemaVersion": 2, "mediaType": "application/vnd.example.v7+json"});
    let schema1 = json!({"schemaVersion": 1, "fsLayers": [], "signatures": []});
    let rows = [
        // Nothing said: by the fields (goharbor/harbor#13740).
        (&index, None, OCI_INDEX),
        (&image, None, OCI_MANIFEST),
        (&schema1, None, SCHEMA1_SIGNED),
        (&docker, None, DOCKER_MANIFEST),
        // A known header that fits.
        (&index, Some(DOCKER_LIST), DOCKER_LIST),
        (&image, Some(DOCKER_MANIFEST), DOCKER_MANIFEST),
        (&schema1, Some(SCHEMA1), SCHEMA1),
        (&odd, Some(OCI_MANIFEST), OCI_MANIFEST),
        // Parameters and capitals go.
        (
            &index,
            Some("application/vnd.oci.image.index.v1+json; charset=utf-8"),
            OCI_INDEX,
        ),
        (
            &image,
            Some(" Application/Vnd.Docker.Distribution.Manifest.V2+JSON "),
            DOCKER_MANIFEST,
        ),
        // A header that is no manifest type.
        (&index, Some("application/json"), OCI_INDEX),
        (&image, Some("text/html"), OCI_MANIFEST),
        (&docker, Some("application/octet-stream"), DOCKER_MANIFEST),
        (&odd, Some("text/plain"), "application/vnd.example.v7+json"),
        (&image, Some(""), OCI_MANIFEST),
        (&image, Some(";"), OCI_MANIFEST),
        // A header that contradicts what the digest covers.
        (&index, Some(OCI_MANIFEST), OCI_INDEX),
        (&image, Some(OCI_INDEX), OCI_MANIFEST),
        (&docker, Some(OCI_MANIFEST), DOCKER_MANIFEST),
        (&schema1, Some(DOCKER_MANIFEST), SCHEMA1_SIGNED),
    ];
    for (body, header, expected) in rows {
        let found = media_type_of(body.to_string().as_bytes(), header);
        assert_eq!(found.as_deref(), Some(expected), "{header:?} with {body}");
    }
}

#[test]
fn error_bodies() {
    let body = error_body(
        ErrorCode::Unavailable,
        "replica: \"refused\"\r\ncore: timeout",
    );
    let parsed: serde_json::Value = serde_json::from_str(&body).unwrap();
    let expected = json!({"errors": [{"code": "UNAVAILABLE", "message": "replica: \"refused\"  core: timeout"}]});
    assert_eq!(parsed, expected);
    assert_eq!(
        inspect_manifest(body.as_bytes()),
        ManifestKind::NotAManifest
    );
}

#[test]
fn messages_are_short() {
    for (message, length) in [
        ("x".repeat(256), 256),
        ("x".repeat(257), 256),
        // Two bytes each: the cut never halves one.
        ("é".repeat(200), 255),
        ("é".repeat(128), 256),
    ] {
        let body = error_body(ErrorCode::NameUnknown, &message);
        let parsed: serde_json::Value = serde_json::from_str(&body).unwrap();
        let shown = parsed["errors"][0]["message"].as_str().unwrap();
        assert_eq!(shown.len(), length);
        assert_eq!(shown.ends_with('…'), message.len() > 256);
    }
}
