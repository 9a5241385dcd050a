//! `make apt-repo`, read by the real apt over a web server. Needs the packages of `make test-packages`; `make test-apt`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says so and ends"
)]

mod client;
#[path = "../support/port.rs"]
#[allow(unreachable_pub, reason = "it is shared with other tests")]
mod port;
mod repository;
mod sums;

use client::{Apt, Server, package};
use repository::{Key, Repository};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

#[test]
fn apt_installs_the_newest_and_goes_back_to_the_older() {
    let key = Key::new("operator@example.com");
    let repository = Repository::new();
    let server = Server::new(&repository);
    let [first, second] = [package("first"), package("second")];
    let said = repository.publish(&key, "stable", &[&first.path]);
    assert!(said.is_ok(), "{said:?}");
    let apt = Apt::new(&server, "stable", &key);
    apt.update().unwrap();
    assert_eq!(apt.versions(), [first.version.as_str()]);

    // A newer one beside it. Nodes may still ask for the older one.
    let said = repository.publish(&key, "stable", &[&second.path]).unwrap();
    assert!(said.contains("2 for amd64, 0 for arm64"), "{said}");
    apt.update().unwrap();
    assert_eq!(
        apt.versions(),
        [second.version.as_str(), first.version.as_str()]
    );
    for package in [&first, &second] {
        let fetched = apt.download(&package.version).unwrap();
        assert!(
            fetched == fs::read(&package.path).unwrap(),
            "apt fetched other bytes of {}",
            package.version
        );
    }
}

#[test]
fn what_the_key_did_not_sign_is_refused() {
    let (key, stranger) = (
        Key::new("operator@example.com"),
        Key::new("stranger@example.com"),
    );
    let repository = Repository::new();
    let server = Server::new(&repository);
    let first = package("first");
    repository.publish(&key, "stable", &[&first.path]).unwrap();
    let said = Apt::new(&server, "stable", &stranger).update().unwrap_err();
    assert!(said.contains("NO_PUBKEY"), "{said}");

    let apt = Apt::new(&server, "stable", &key);
    apt.update().unwrap();
    let path = repository.file("pool/stable/main/h/harbor-pilot");
    let path = fs::read_dir(path).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    let said = apt.download(&first.version).unwrap_err();
    assert!(said.contains("Hash Sum mismatch"), "{said}");

    let list = repository.file("dists/stable/main/binary-amd64/Packages");
    let by_hash = list.parent().unwrap().join("by-hash/SHA256");
    let by_hash = fs::read_dir(by_hash).unwrap();
    let by_hash = by_hash.map(|entry| entry.unwrap().path());
    let lists: Vec<_> = [list.with_extension("xz"), list]
        .into_iter()
        .chain(by_hash)
        .collect();
    assert_eq!(lists.len(), 4);
    for list in lists {
        let mut bytes = fs::read(&list).unwrap();
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        fs::write(&list, bytes).unwrap();
    }
    let said = Apt::new(&server, "stable", &key).update().unwrap_err();
    assert!(said.contains("Hash Sum mismatch"), "{said}");
}

#[test]
fn mistakes_are_named_and_change_nothing() {
    let key = Key::new("operator@example.com");
    let repository = Repository::new();
    let [first, second] = [package("first"), package("second")];
    let nobody = Key::new("nobody@example.com").named("somebody@example.com");
    let said = repository.publish(&nobody, "stable", &[&first.path]);
    assert!(said.unwrap_err().contains("no secret key for somebody"));
    let said = repository.publish(&key, "../stable", &[&first.path]);
    assert!(said.unwrap_err().contains("the suite ../stable"));

    repository.publish(&key, "stable", &[&first.path]).unwrap();
    let list = repository.file("dists/stable/InRelease");
    let before = fs::read(&list).unwrap();
    // The same version with other bytes: nodes that have it would never see the change.
    let name = format!("harbor-pilot_{}_amd64.deb", first.version);
    let published = repository
        .file("pool/stable/main/h/harbor-pilot")
        .join(name);
    fs::copy(&second.path, &published).unwrap();
    let said = repository.publish(&key, "stable", &[&second.path, &first.path]);
    assert!(said.unwrap_err().contains("give the package a new version"));
    assert_eq!(fs::read(&list).unwrap(), before);
    // Not even the package that was named first came in.
    let pool = repository.file("pool/stable/main/h/harbor-pilot");
    assert_eq!(fs::read_dir(pool).unwrap().count(), 1);
}

#[test]
fn a_suite_has_packages_of_its_own() {
    let key = Key::new("operator@example.com");
    let repository = Repository::new();
    let server = Server::new(&repository);
    let [first, second] = [package("first"), package("second")];
    repository
        .publish(&key, "testing", &[&second.path])
        .unwrap();
    let said = repository.publish(&key, "stable", &[&first.path]).unwrap();
    assert!(
        said.contains("1 for amd64, 0 for arm64 in stable"),
        "{said}"
    );
    for (suite, package) in [("stable", &first), ("testing", &second)] {
        let apt = Apt::new(&server, suite, &key);
        apt.update().unwrap();
        assert_eq!(apt.versions(), [package.version.as_str()]);
    }
}

/// Who has read `InRelease` still finds the lists that it names after the next packages came, be it after months.
#[test]
fn lists_stay_for_who_is_in_the_middle_of_fetching() {
    let key = Key::new("operator@example.com");
    let repository = Repository::new();
    let server = Server::new(&repository);
    let [first, second] = [package("first"), package("second")];
    repository.publish(&key, "stable", &[&first.path]).unwrap();
    let release = repository.file("dists/stable/InRelease");
    let earlier = fs::read(&release).unwrap();
    let by_hash = repository.file("dists/stable/main/binary-amd64/by-hash/SHA256");
    let long_ago = SystemTime::now() - Duration::from_secs(60 * 24 * 60 * 60);
    for list in fs::read_dir(&by_hash).unwrap() {
        let list = fs::File::open(list.unwrap().path()).unwrap();
        list.set_modified(long_ago).unwrap();
    }
    let forgotten = by_hash.join("0".repeat(64));
    let file = fs::File::create(&forgotten).unwrap();
    file.set_modified(long_ago).unwrap();
    repository.publish(&key, "stable", &[&second.path]).unwrap();
    fs::write(&release, earlier).unwrap();
    assert!(!forgotten.exists(), "what no InRelease names goes");
    let apt = Apt::new(&server, "stable", &key);
    apt.update().unwrap();
    assert_eq!(apt.versions(), [first.version.as_str()]);
}

/// The empty lists of arm64 are the same at each publication, and a node may be reading them: another file takes their place, and
/// nobody writes into the one that is read.
#[test]
fn lists_are_replaced_as_a_whole() {
    let key = Key::new("operator@example.com");
    let repository = Repository::new();
    let by_hash = repository.file("dists/stable/main/binary-arm64/by-hash/SHA256");
    let files = || {
        let entries = fs::read_dir(&by_hash).unwrap().map(Result::unwrap);
        let mut files: Vec<_> = entries
            .map(|entry| (entry.file_name(), entry.metadata().unwrap().ino()))
            .collect();
        files.sort();
        files
    };
    let [first, second] = [package("first"), package("second")];
    repository.publish(&key, "stable", &[&first.path]).unwrap();
    let before = files();
    repository.publish(&key, "stable", &[&second.path]).unwrap();
    let after = files();
    assert_eq!(before.len(), after.len());
    for ((name, old), (same, new)) in before.iter().zip(&after) {
        assert_eq!(name, same);
        assert_ne!(old, new, "{} was written into", name.display());
    }
    let rest = fs::read_dir(repository.path()).unwrap().map(Result::unwrap);
    let rest: Vec<_> = rest
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().starts_with(".new"))
        .collect();
    assert!(rest.is_empty(), "{rest:?}");
}
