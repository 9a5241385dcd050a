//! Paths of the registry endpoint.

use super::EMPTY;
use crate::oci::{PathError, ResourceKind, ResourcePath};
use proptest::prelude::*;

/// What a row expects: the name and the kind's suffix, or the error.
type Expected<'a> = Result<(&'a str, &'a str), PathError>;

fn check(path: &str, expected: Expected<'_>) {
    let parsed = ResourcePath::parse(path);
    let found = parsed.map(|parsed| match parsed {
        ResourcePath::Ping => (String::new(), String::new()),
        ResourcePath::Resource { name, kind } => (name.as_str().to_owned(), kind.suffix()),
    });
    let expected = expected.map(|(name, suffix)| (name.to_owned(), suffix.to_owned()));
    assert_eq!(found, expected, "{path:?}");
}

#[test]
fn pings() {
    for path in ["/v2", "/v2/"] {
        assert_eq!(ResourcePath::parse(path), Ok(ResourcePath::Ping));
    }
    for path in [
        "", "/", "v2/", "/v1/", "/v2x", "/V2/", "//v2/", "/v2//", "/v2/.", "/v2/..", " /v2/",
    ] {
        check(path, Err(PathError::NotAnEndpoint));
    }
}

#[test]
fn resources() {
    let blob = format!("/blobs/{EMPTY}");
    let manifest = format!("/manifests/{EMPTY}");
    let referrers = format!("/referrers/{EMPTY}");
    let rows = [
        ("library/nginx", "/manifests/1.27"),
        ("nginx", "/manifests/latest"),
        ("library/nginx", manifest.as_str()),
        ("library/nginx", blob.as_str()),
        ("library/nginx", "/tags/list"),
        ("library/nginx", referrers.as_str()),
        // The words of the endpoints are good names too.
        ("manifests", "/manifests/manifests"),
        ("blobs/manifests", "/manifests/latest"),
        ("a/manifests/latest", "/manifests/b"),
        ("a/blobs/b", blob.as_str()),
        ("manifests/blobs/tags/list", "/manifests/list"),
        ("tags/list", "/tags/list"),
        ("a/manifests", "/tags/list"),
        ("v2/v2", "/manifests/v2"),
        ("a/tags", "/manifests/list"),
        ("referrers", "/manifests/referrers"),
        // A registry in front (design P1): port and upper case are the registry's alone.
        ("docker.io/library/nginx", "/manifests/latest"),
        ("myreg.example:5000/app", "/manifests/latest"),
        ("MyReg.example/app", "/manifests/latest"),
    ];
    for (name, suffix) in rows {
        check(&format!("/v2/{name}{suffix}"), Ok((name, suffix)));
    }
}

#[test]
fn not_endpoints() {
    for path in [
        "/v2/_catalog",
        "/v2/nginx",
        "/v2/library/nginx",
        "/v2/tags/list",
        "/v2/manifests/latest",
        "/v2/nginx/tags/list/",
        "/v2/nginx/tags/lists",
        "/v2/nginx/tags",
        "/v2/nginx/blobs/uploads/",
        "/v2/nginx/Manifests/latest",
        "/v2/nginx/manifests%2flatest",
        "/v2/nginx/manifests/latest/",
        "/v2/nginx/manifests/a/b",
        "/v2/nginx/manifest/latest",
        "/v2/nginx/signatures/latest",
        "/api/v2.0/health",
        "/v2/../etc/passwd",
        "http://127.0.0.1:290/v2/nginx/manifests/latest",
        "*",
    ] {
        check(path, Err(PathError::NotAnEndpoint));
    }
}

#[test]
fn malformed_names() {
    let long = "a/".repeat(128);
    let names = [
        "",
        "a//b",
        "/a",
        "a/",
        ".",
        "..",
        "../a",
        "a/..",
        "a/../b",
        "a%2fb",
        "a%2Fb",
        "%2e%2e/a",
        "a%00b",
        "a/B",
        "Nginx",
        "a b/c",
        "a\\..\\b",
        "é/a",
        "a/é",
        "a\r\nHost: x/b",
        "a\0b",
        "a;b/c",
        "host:99999/a",
        "host:/a",
        "host.example/",
        "host.example/a/../b",
        "a?ns=docker.io",
        "user@host/a",
        long.as_str(),
    ];
    for name in names {
        for suffix in ["/manifests/latest", "/tags/list"] {
            check(&format!("/v2/{name}{suffix}"), Err(PathError::Name));
        }
    }
}

#[test]
fn malformed_references() {
    let long = "t".repeat(129);
    let rows = [
        ("manifests", ""),
        ("manifests", "."),
        ("manifests", ".."),
        ("manifests", "a%2fb"),
        ("manifests", "latest?ns=docker.io"),
        ("manifests", "latest\r\n"),
        ("manifests", "sha256:abc"),
        ("manifests", "é"),
        ("manifests", &long),
        ("blobs", ""),
        ("blobs", "latest"),
        ("blobs", "uploads"),
        ("blobs", "sha256:abc"),
        ("blobs", &EMPTY[7..]),
        ("blobs", &EMPTY.to_uppercase()),
        ("referrers", "latest"),
    ];
    for (kind, last) in rows {
        let path = format!("/v2/library/nginx/{kind}/{last}");
        check(&path, Err(PathError::Reference));
    }
}

#[test]
fn registry_in_front_is_split_at_the_first_slash() {
    let rows = [
        (
            "docker.io/library/nginx",
            "docker.io",
            Some(("docker.io", "library/nginx")),
        ),
        (
            "Index.Docker.IO/nginx",
            "Index.Docker.IO",
            Some(("docker.io", "nginx")),
        ),
        (
            "localhost:5000/a/b",
            "localhost:5000",
            Some(("localhost:5000", "a/b")),
        ),
        ("library/nginx", "library", Some(("library", "nginx"))),
        ("nginx", "nginx", None),
        ("a_b/c", "a_b", Some(("a_b", "c"))),
    ];
    for (text, first, expected) in rows {
        let path = ResourcePath::parse(&format!("/v2/{text}/manifests/latest")).unwrap();
        let ResourcePath::Resource { name, .. } = path else {
            panic!("{text} is no resource");
        };
        assert_eq!(name.first_component(), first);
        let split = name.split_registry();
        let split = split.as_ref().map(|(r, n)| (r.as_str(), n.as_str()));
        assert_eq!(split, expected, "{text}");
        let lower = !text.contains(|c: char| c.is_ascii_uppercase() || c == ':');
        assert_eq!(name.repository().is_some(), lower, "{text}");
    }
}

#[test]
fn words_and_references_of_kinds() {
    let rows = [
        ("manifests/latest".to_owned(), "manifest", "latest"),
        (format!("manifests/{EMPTY}"), "manifest", EMPTY),
        (format!("blobs/{EMPTY}"), "blob", EMPTY),
        (format!("referrers/{EMPTY}"), "referrers", EMPTY),
        ("tags/list".to_owned(), "tags", ""),
    ];
    for (suffix, word, reference) in rows {
        let path = ResourcePath::parse(&format!("/v2/a/{suffix}")).unwrap();
        let ResourcePath::Resource { kind, .. } = path else {
            panic!("{suffix} is no resource");
        };
        assert_eq!((kind.word(), &*kind.reference()), (word, reference));
        assert_eq!(matches!(kind, ResourceKind::Blob(_)), word == "blob");
    }
}

#[test]
fn a_long_path_is_refused_without_ado() {
    let path = format!("/v2/{}manifests/latest", "a/".repeat(1 << 20));
    assert_eq!(ResourcePath::parse(&path), Err(PathError::Name));
}

proptest! {
    #[test]
    fn parse_display(
        path in "/v2/([a-b.:_/-]{1,9}|manifests|blobs|tags|list|[A-B]{1,2}\\.c){1,3}/(manifests/[a-z0-9.]{1,5}|tags/list|(blobs|referrers)/sha256:[0-9a-f]{64})"
    ) {
        if let Ok(parsed) = ResourcePath::parse(&path) {
            prop_assert_eq!(parsed.to_string(), path.clone());
            prop_assert_eq!(ResourcePath::parse(&parsed.to_string()), Ok(parsed));
            let climbs = |segment: &str| segment.is_empty() || segment == "." || segment == "..";
            prop_assert!(!path.split('/').skip(1).any(climbs));
        }
    }

    #[test]
    fn any_text_is_answered(path in "\\PC{0,60}") {
        if let Ok(parsed) = ResourcePath::parse(&path) {
            prop_assert_eq!(ResourcePath::parse(&parsed.to_string()), Ok(parsed));
        }
    }
}
