//! Who teaches which size, for whom, and what a restart keeps of it.

use super::*;
use crate::oci::{RegistryName, Repository};
use Trust::{Trusted, Untrusted};

fn descriptor(text: &str, size: u64) -> Descriptor {
    Descriptor {
        digest: Digest::sha256(text.as_bytes()),
        size,
        is_manifest: false,
    }
}

/// `docker.io/library/app`
fn names(text: &str) -> (RegistryName, Repository) {
    let (registry, repository) = text.split_once('/').unwrap();
    (registry.parse().unwrap(), repository.parse().unwrap())
}

fn empty() -> KnownSizes {
    KnownSizes::load(Path::new(""), &Budget::new(64 << 20))
}

impl KnownSizes {
    fn told(&self, of: &str, descriptors: &[Descriptor], trust: Trust) {
        let (registry, repository) = names(of);
        let image = Image::content(registry, repository, Digest::sha256(b"manifest"));
        self.learn(&Pulled { image, trust }, descriptors);
    }

    fn of(&self, of: &str, text: &str) -> Option<u64> {
        let (registry, repository) = names(of);
        let digest = Digest::sha256(text.as_bytes());
        self.get(&Image::content(registry, repository, digest))
    }
}

#[test]
fn a_manifest_tells_sizes_of_its_own_repository_alone() {
    let known = empty();
    known.told("docker.io/library/app", &[descriptor("a", 7)], Trusted);
    for (other, size) in [
        ("docker.io/evil/app", 8),
        ("docker.io/library/app2", 6),
        ("quay.io/library/app", 1 << 63),
    ] {
        known.told(other, &[descriptor("a", size)], Untrusted);
        assert_eq!(known.of(other, "a"), Some(size));
    }
    assert_eq!(known.of("docker.io/library/app", "a"), Some(7));
    assert_eq!(known.of("ghcr.io/library/app", "a"), None);
}

#[test]
fn what_is_forgotten_is_forgotten_in_that_repository() {
    let known = empty();
    for of in ["docker.io/a", "docker.io/b"] {
        known.told(of, &[descriptor("x", 1)], Trusted);
    }
    let (registry, repository) = names("docker.io/a");
    known.forget(&Image::content(registry, repository, Digest::sha256(b"x")));
    assert_eq!(known.of("docker.io/a", "x"), None);
    assert_eq!(known.of("docker.io/b", "x"), Some(1));
}

#[test]
fn a_restart_keeps_who_told_what_of_which_repository() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sizes");
    let known = empty();
    known.told(
        "docker.io/a",
        &[descriptor("x", 1), descriptor("y", 2)],
        Trusted,
    );
    known.told(
        "myreg.example:5000/b/c",
        &[descriptor("x", u64::MAX)],
        Untrusted,
    );
    known.store(&path).unwrap();
    let budget = Budget::new(64 << 20);
    let again = KnownSizes::load(&path, &budget);
    assert_eq!(
        budget.held_for(Kind::Sizes),
        again.sizes.read(TtlMap::bytes)
    );
    assert_eq!(again.of("docker.io/a", "x"), Some(1));
    assert_eq!(again.of("docker.io/a", "y"), Some(2));
    assert_eq!(again.of("myreg.example:5000/b/c", "x"), Some(u64::MAX));
    assert_eq!(again.of("myreg.example:5000/b/c", "y"), None);
    let trusts = |known: &KnownSizes| {
        known
            .sizes
            .read(|sizes| sizes.iter().map(|(.., trust)| trust).collect::<Vec<_>>())
    };
    assert_eq!(trusts(&again), [Untrusted, Trusted, Trusted]);
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn nonsense_in_the_file_is_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sizes");
    let good = Digest::sha256(b"x");
    let text = format!(
        "nonsense\nsha256:12 7\n{good} 9\ndocker.io app {good} 9\ndocker.io app {good} -9 trusted\n\
         docker.io app {good} 9 friend\ndocker.io app {good} 10 trusted\ndocker.io App {good} 9 trusted"
    );
    fs::write(&path, text).unwrap();
    let known = KnownSizes::load(&path, &Budget::unlimited());
    assert_eq!(known.of("docker.io/app", "x"), Some(10));
}

#[test]
fn untrusted_clients_manifests_displace_no_trusted_clients_sizes() {
    let known = empty();
    known.told("docker.io/app", &[descriptor("kept", 1)], Trusted);
    for image in 0..30 {
        let layers = (0..NAMES + 1).map(|layer| descriptor(&format!("{image} {layer}"), 1));
        known.told("docker.io/evil", &layers.collect::<Vec<_>>(), Untrusted);
    }
    assert_eq!(known.of("docker.io/app", "kept"), Some(1));
    assert_eq!(known.sizes.read(|sizes| sizes.len()), 1 + SIZES / 4);
    let beyond = format!("29 {NAMES}");
    assert_eq!(
        known.of("docker.io/evil", &beyond),
        None,
        "one manifest teaches so many"
    );
}

/// A flood of manifests in repositories with long names takes a bounded part of the memory for everything, and says so.
#[test]
fn all_sizes_take_an_eighth_of_the_budget() {
    let budget = Budget::new(16 << 20);
    let known = KnownSizes::load(Path::new(""), &budget);
    let long = "a".repeat(200);
    for image in 0..20 {
        let layers = (0..NAMES).map(|layer| descriptor(&format!("{image} {layer}"), 1));
        let of = format!("docker.io/{long}{image}");
        known.told(&of, &layers.collect::<Vec<_>>(), Trusted);
        assert!(budget.held() <= budget.limit() / PART, "{budget:?}");
    }
    assert!(budget.held_for(Kind::Sizes) > budget.limit() / PART - 1024);
    assert_eq!(known.of(&format!("docker.io/{long}19"), "19 0"), Some(1));
    let (registry, repository) = names(&format!("docker.io/{long}19"));
    let before = budget.held();
    known.forget(&Image::content(
        registry,
        repository,
        Digest::sha256(b"19 0"),
    ));
    assert!(budget.held() < before);
    drop(known);
    assert_eq!(budget.held(), 0);
}
