//! Tables of references, good and bad.

use super::*;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn references_are_read_as_containerd_reads_them() {
    let digest = format!("sha256:{HEX}");
    let rows = [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("grafana/grafana", "docker.io/grafana/grafana:latest"),
        ("docker.io/nginx", "docker.io/library/nginx:latest"),
        ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
        ("index.docker.io/a/b:c", "docker.io/a/b:c"),
        ("library/nginx:1", "docker.io/library/nginx:1"),
        ("host:5000/x:tag", "host:5000/x:tag"),
        ("localhost/x", "localhost/x:latest"),
        ("localhost:5000/a/b/c", "localhost:5000/a/b/c:latest"),
        // A tag that looks like a port: without a slash there is no registry.
        ("host:5000", "docker.io/library/host:5000"),
        ("registry/x", "docker.io/registry/x:latest"),
        ("GHCR.IO/org/app:V1", "ghcr.io/org/app:V1"),
        (
            "replicas.example.com/proxy-docker-io/library/nginx:1",
            "replicas.example.com/proxy-docker-io/library/nginx:1",
        ),
        (
            "public.ecr.aws/a--b/c__d/e.f",
            "public.ecr.aws/a--b/c__d/e.f:latest",
        ),
    ];
    for (text, expected) in rows {
        let image = Image::parse(text).unwrap();
        assert_eq!(image.to_string(), expected, "{text}");
        assert_eq!(Image::parse(expected).unwrap(), image, "{expected}");
    }
    // Capital letters make a registry; without them it is Docker Hub's again.
    let image = Image::parse("Registry/x").unwrap();
    assert_eq!(image.registry.as_str(), "registry");
    assert_eq!(image.name.as_str(), "x");
    let rows = [
        (format!("ghcr.io/o/r@{digest}"), "ghcr.io/o/r"),
        (format!("ghcr.io/o/r:tag@{digest}"), "ghcr.io/o/r"),
        (format!("nginx:1.27@{digest}"), "docker.io/library/nginx"),
        (format!("host:5000/x@{digest}"), "host:5000/x"),
    ];
    for (text, expected) in rows {
        let image = Image::parse(&text).unwrap();
        assert_eq!(image.to_string(), format!("{expected}@{digest}"), "{text}");
        assert_eq!(image.reference.digest().unwrap().as_str(), digest);
    }
}

#[test]
fn the_request_is_the_one_of_containerd() {
    let image = Image::parse("nginx:1.27").unwrap();
    assert_eq!(
        image.request(),
        "/v2/library/nginx/manifests/1.27?ns=docker.io"
    );
}

#[test]
fn what_is_no_reference_is_told_what_to_write() {
    let long = "x".repeat(129);
    let rows = [
        ("", "such as nginx:1.27"),
        ("https://ghcr.io/o/r", "no scheme; write ghcr.io/o/r"),
        ("docker://nginx", "no scheme; write nginx"),
        (HEX, "an image's ID"),
        (
            "ghcr.io/Org/app",
            "\"Org/app\" has capital letters, which no repository has; write org/app",
        ),
        ("Nginx", "write nginx"),
        ("ghcr.io/", "\"\" is no repository"),
        ("ghcr.io//app", "\"/app\" is no repository"),
        ("/nginx", "\"/nginx\" is no repository"),
        ("a b", "\"a b\" is no repository"),
        ("nginx\u{1b}[31m", "\"nginx\\u{1b}[31m\" is no repository"),
        ("ghcr.io/a/../b", "\"a/../b\" is no repository"),
        ("host.io/x:5000/y", "\"x:5000/y\" is no repository"),
        ("[::1]:5000/x", "\"[::1]:5000\" is no registry"),
        ("-bad.example/x", "\"-bad.example\" is no registry"),
        ("host:port/x", "\"host:port\" is no registry"),
        ("nginx:", "\"\" is no tag"),
        ("nginx:.1", "\".1\" is no tag"),
        ("nginx@sha256:12", "\"sha256:12\" is no digest"),
        ("nginx@1.27", "\"1.27\" is no digest"),
        ("nginx@", "\"\" is no digest"),
    ];
    for (text, expected) in rows {
        let error = Image::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let error = Image::parse(&format!("nginx:{long}")).unwrap_err();
    assert_eq!(error, InvalidImage::Tag(long));
    let error = Image::parse(&format!("nginx:!@sha256:{HEX}")).unwrap_err();
    assert_eq!(
        error,
        InvalidImage::Tag("!".to_owned()),
        "the tag counts too"
    );
}
