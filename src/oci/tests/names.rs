//! Registries, repositories, references, digests and globs.

use super::EMPTY;
use crate::oci::{Digest, Reference, RegistryName, Repository};
use proptest::prelude::*;

#[test]
fn registries() {
    let label = "a".repeat(63);
    let longest = [label.as_str(), &label, &label, &label[..61]].join(".");
    let rows: &[(&str, Option<&str>)] = &[
        ("docker.io", Some("docker.io")),
        ("index.docker.io", Some("docker.io")),
        ("registry-1.docker.io", Some("docker.io")),
        ("Registry-1.Docker.IO", Some("docker.io")),
        ("DOCKER.IO", Some("docker.io")),
        ("docker.io:443", Some("docker.io:443")),
        ("localhost", Some("localhost")),
        ("myreg.example:5000", Some("myreg.example:5000")),
        ("203.0.113.7:5000", Some("203.0.113.7:5000")),
        ("xn--bcher-kva.example", Some("xn--bcher-kva.example")),
        (&longest, Some(&longest)),
        (&format!("{longest}a"), None),
        (&"a".repeat(64), None),
        ("", None),
        (":5000", None),
        ("host:", None),
        ("host:0", None),
        ("host:080", None),
        ("host:65535", Some("host:65535")),
        ("host:65536", None),
        ("host:+80", None),
        ("host:80:80", None),
        ("host..example", None),
        (".example", None),
        ("host.", None),
        ("-host", None),
        ("host-", None),
        ("under_score.example", Some("under_score.example")),
        ("bücher.example", None),
        ("host/path", None),
        ("user@host", None),
        ("[::1]:5000", None),
        ("host\r\nx: y", None),
        ("host ", None),
        ("ho%73t", None),
    ];
    for (text, expected) in rows {
        let parsed = text.parse::<RegistryName>().ok();
        let parsed = parsed.as_ref().map(RegistryName::as_str);
        assert_eq!(parsed, *expected, "{text:?}");
    }
}

#[test]
fn dashed_registry_names() {
    for (name, dashed) in [
        ("docker.io", "docker-io"),
        ("myreg.example:5000", "myreg-example-5000"),
        ("localhost", "localhost"),
    ] {
        let name: RegistryName = name.parse().unwrap();
        assert_eq!(name.dashed(), dashed);
    }
}

#[test]
fn repositories() {
    let longest = "a".repeat(255);
    let valid = [
        "nginx",
        "library/nginx",
        "a/b/c/d/e/f",
        "0",
        "a.b",
        "a_b",
        "a__b",
        "a-b",
        "a---b",
        "library/tags/list",
        "manifests/blobs",
        longest.as_str(),
    ];
    let too_long = "a".repeat(256);
    let invalid = [
        "",
        "/",
        "/nginx",
        "nginx/",
        "a//b",
        "a/./b",
        "a/../b",
        "..",
        "Nginx",
        "library/NGINX",
        "a..b",
        "a___b",
        "a.-b",
        "a_-b",
        "a.",
        ".a",
        "-a",
        "a-",
        "_a",
        "a_",
        "a:b",
        "a@b",
        "a b",
        "a%2fb",
        "a%2Fb",
        "a\\b",
        "a?b",
        "a#b",
        "a\r\nb",
        "a\0b",
        "é",
        "a/é/b",
        "ａ",
        too_long.as_str(),
    ];
    for text in valid {
        let parsed = text.parse::<Repository>();
        assert_eq!(parsed.as_ref().map(Repository::as_str), Ok(text));
    }
    for text in invalid {
        assert!(text.parse::<Repository>().is_err(), "{text:?}");
    }
}

#[test]
fn references() {
    let longest = "t".repeat(128);
    for text in [
        "latest",
        "3.20",
        "_x",
        "A-b_C.d",
        "1",
        "a..b",
        longest.as_str(),
    ] {
        let parsed = text.parse::<Reference>();
        assert_eq!(parsed, Ok(Reference::Tag(text.into())), "{text:?}");
    }
    let digest: Digest = EMPTY.parse().unwrap();
    assert_eq!(EMPTY.parse(), Ok(Reference::Digest(digest.clone())));
    assert_eq!(Reference::Digest(digest.clone()).digest(), Some(&digest));
    assert_eq!(Reference::Tag("latest".into()).digest(), None);
    let too_long = "t".repeat(129);
    for text in [
        "",
        ".hidden",
        "-dash",
        "..",
        "a/b",
        "a b",
        "a:b",
        "sha256:",
        "sha256:abc",
        "sha512:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "latest\n",
        "latest\r\nHost: x",
        "l%61test",
        "tägg",
        "a@sha256",
        too_long.as_str(),
    ] {
        assert!(text.parse::<Reference>().is_err(), "{text:?}");
    }
}

#[test]
fn digests() {
    let sha512 = format!("sha512:{}", "0f".repeat(64));
    for text in [EMPTY, &sha512] {
        assert_eq!(text.parse::<Digest>().unwrap().as_str(), text);
    }
    let hex = &EMPTY[7..];
    for text in [
        String::new(),
        hex.to_owned(),
        format!("md5:{hex}"),
        format!("SHA256:{hex}"),
        format!("sha256:{}", hex.to_uppercase()),
        format!("sha256:{}", &hex[1..]),
        format!("sha256:{hex}0"),
        format!("sha256:{}g", &hex[1..]),
        format!("sha256::{}", &hex[1..]),
        format!("sha512:{hex}"),
        format!(" sha256:{hex}"),
        format!("sha256:{hex} "),
        format!("sha256:{}é", &hex[2..]),
        format!("sha256+b64u:{hex}"),
    ] {
        assert!(text.parse::<Digest>().is_err(), "{text:?}");
    }
}

#[test]
fn a_digest_knows_its_bytes() {
    let empty: Digest = EMPTY.parse().unwrap();
    assert_eq!(Digest::sha256(b""), empty);
    assert!(empty.is_of_nothing());
    // FIPS 180-2, appendices B.1 and C.1.
    let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(Digest::sha256(b"abc").as_str(), abc);
    assert!(!Digest::sha256(b"abc").is_of_nothing());
    let abc512: Digest = "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                          2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        .parse()
        .unwrap();
    assert!(abc512.matches(b"abc"));
    assert!(!abc512.matches(b"abd"));
}

#[test]
fn a_kept_hash_state_is_not_moved_by_later_bytes() {
    let whole = Digest::sha256(b"released tail");
    let mut released = whole.hasher();
    released.update(b"released");
    let mut tried = released.clone();
    tried.update(b" error JSON");
    assert_ne!(tried.finish(), whole);
    released.update(b" tail");
    assert_eq!(released.finish(), whole);
}

#[test]
fn globs() {
    let rows = [
        ("goharbor/*", "goharbor/harbor-core", true),
        ("goharbor/*", "goharbor/a/b", true),
        ("goharbor/*", "goharbor", false),
        ("goharbor/*", "xgoharbor/a", false),
        ("goharbor", "goharbor", true),
        ("goharbor", "goharbor/a", false),
        ("*", "library/nginx", true),
        ("**", "a", true),
        ("", "a", false),
        ("*/nginx", "library/nginx", true),
        ("*/nginx", "nginx", false),
        ("*nginx", "nginx", true),
        ("lib*/ng*x", "library/nginx", true),
        ("lib*/ng*x", "library/nginxy", false),
        ("a*a*b", "aaaab", true),
        ("a*a*b", "ab", false),
        ("a?b", "axb", false),
        ("[a]", "a", false),
    ];
    for (glob, name, expected) in rows {
        let name: Repository = name.parse().unwrap();
        let found = name.matches_any(&[glob.to_owned()]);
        assert_eq!(found, expected, "{glob} on {name}");
    }
    let name: Repository = "a/b".parse().unwrap();
    assert!(!name.matches_any(&[]));
    assert!(name.matches_any(&["x".to_owned(), "a/*".to_owned()]));
}

#[test]
fn a_hostile_glob_ends() {
    let name: Repository = "a".repeat(255).parse().unwrap();
    let glob = format!("{}b", "*a".repeat(10_000));
    assert!(!name.matches_any(&[glob]));
}

proptest! {
    #[test]
    fn registry_parse_display(text in "[a-zA-Z0-9.:-]{0,40}") {
        if let Ok(name) = text.parse::<RegistryName>() {
            prop_assert_eq!(name.to_string().parse::<RegistryName>(), Ok(name));
        }
    }

    #[test]
    fn repository_parse_display(text in "[a-c/._-]{0,12}") {
        if let Ok(name) = text.parse::<Repository>() {
            prop_assert_eq!(name.as_str(), text.as_str());
            prop_assert!(!text.contains("..") && !text.contains("//"));
        }
    }

    #[test]
    fn repositories_of_the_grammar_are_accepted(
        text in "[a-z0-9]{1,5}((\\.|_|__|-{1,3})[a-z0-9]{1,3}){0,3}(/[a-z0-9]{1,5}((\\.|_|__|-{1,3})[a-z0-9]{1,3}){0,2}){0,4}"
    ) {
        prop_assert!(text.parse::<Repository>().is_ok());
    }

    #[test]
    fn reference_parse_display(text in "[a-zA-Z0-9._:-]{0,140}") {
        if let Ok(reference) = text.parse::<Reference>() {
            prop_assert_eq!(reference.to_string(), text);
        }
    }

    #[test]
    fn digest_parse_display(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let digest = Digest::sha256(&bytes);
        prop_assert!(digest.matches(&bytes));
        prop_assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
    }

    #[test]
    fn globs_agree_with_their_definition(glob in "[ab*]{0,8}", name in "[ab]{1,10}") {
        fn reference(glob: &[u8], name: &[u8]) -> bool {
            match glob.split_first() {
                None => name.is_empty(),
                Some((b'*', rest)) => (0..=name.len()).any(|skip| reference(rest, &name[skip..])),
                Some((byte, rest)) => name.first() == Some(byte) && reference(rest, &name[1..]),
            }
        }
        let repository: Repository = name.parse().unwrap();
        let expected = reference(glob.as_bytes(), name.as_bytes());
        prop_assert_eq!(repository.matches_any(&[glob]), expected);
    }
}
