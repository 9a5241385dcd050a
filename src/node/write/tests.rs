//! What stays as it was when a file is replaced, and what is left when it is not.

use super::*;
use rustix::fs::XattrFlags;
use std::os::unix::fs::symlink;
use tempfile::tempdir;

fn ours(text: &str, mode: u32) -> Standing {
    let (uid, gid) = crate::node::ledger::ourselves();
    Standing {
        bytes: text.as_bytes().to_vec(),
        mode,
        uid,
        gid,
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_is_replaced_with_its_mode_and_nothing_is_left_beside_it() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("hosts.toml");
    assert_eq!(read(&path).unwrap(), None);
    for (text, mode) in [("one", 0o644), ("two", 0o600), ("", 0o640)] {
        replace(&path, &ours(text, mode)).unwrap();
        assert_eq!(read(&path).unwrap(), Some(ours(text, mode)));
        assert_eq!(names(directory.path()), ["hosts.toml"]);
    }
    remove(&path).unwrap();
    remove(&path).unwrap();
    assert!(names(directory.path()).is_empty());
}

#[test]
fn a_symlink_stays_one_and_the_file_behind_it_is_replaced() {
    let directory = tempdir().unwrap();
    let real = directory.path().join("managed");
    fs::create_dir(&real).unwrap();
    let behind = real.join("registries.yaml");
    fs::write(&behind, "old").unwrap();
    let link = directory.path().join("registries.yaml");
    symlink("managed/registries.yaml", &link).unwrap();
    replace(&link, &ours("new", 0o600)).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&behind).unwrap(), "new");
    assert_eq!(names(&real), ["registries.yaml"]);
    assert_eq!(names(directory.path()), ["managed", "registries.yaml"]);
    // A link whose target is not there yet.
    fs::remove_file(&behind).unwrap();
    replace(&link, &ours("again", 0o600)).unwrap();
    assert_eq!(fs::read_to_string(&behind).unwrap(), "again");
}

#[test]
fn attributes_go_over() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("f");
    fs::write(&path, "old").unwrap();
    if let Err(Errno::NOTSUP) =
        rustix::fs::setxattr(&path, "user.note", b"kept", XattrFlags::empty())
    {
        // This file system has none, so that there is nothing to keep.
        return;
    }
    replace(&path, &ours("new", 0o644)).unwrap();
    let mut value = Vec::with_capacity(64);
    rustix::fs::getxattr(
        &path,
        "user.note",
        rustix::buffer::spare_capacity(&mut value),
    )
    .unwrap();
    assert_eq!(value, b"kept");
}

#[test]
fn the_owner_stays_where_we_may_give_files_away() {
    if !is_root() {
        let directory = tempdir().unwrap();
        let path = directory.path().join("f");
        let new = Standing {
            uid: 0,
            ..ours("new", 0o644)
        };
        let error = replace(&path, &new).unwrap_err();
        assert!(
            matches!(error, Error::ForeignOwner { uid: 0, .. }),
            "{error}"
        );
        assert!(names(directory.path()).is_empty());
        return;
    }
    let directory = tempdir().unwrap();
    let path = directory.path().join("f");
    let new = Standing {
        uid: 12345,
        gid: 54321,
        ..ours("new", 0o640)
    };
    replace(&path, &new).unwrap();
    assert_eq!(read(&path).unwrap(), Some(new));
}

#[test]
fn what_is_no_file_is_refused() {
    let directory = tempdir().unwrap();
    let error = read(directory.path()).unwrap_err();
    assert!(matches!(error, Error::NotAFile(_)), "{error}");
    let below_a_file = directory.path().join("f");
    fs::write(&below_a_file, "").unwrap();
    assert_eq!(read(&below_a_file.join("hosts.toml")).unwrap(), None);
    let error = replace(&directory.path().join("missing/f"), &ours("", 0o644)).unwrap_err();
    assert!(
        matches!(error, Error::System { .. }) && !error.forbids(),
        "{error}"
    );
}

#[test]
fn errors_are_sorted_by_what_can_be_done() {
    let sorted = |kind: ErrorKind| Error::from_io("cannot write", Path::new("/f"), kind.into());
    let table = [
        (ErrorKind::StorageFull, "no room", false),
        (ErrorKind::QuotaExceeded, "no room", false),
        (ErrorKind::ReadOnlyFilesystem, "ReadWritePaths", true),
        (ErrorKind::PermissionDenied, "ReadWritePaths", true),
        (ErrorKind::TimedOut, "cannot write /f", false),
    ];
    for (kind, words, forbids) in table {
        let error = sorted(kind);
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.forbids(), forbids, "{error}");
    }
}

#[test]
fn a_directory_appears_and_vanishes_whole() {
    let directory = tempdir().unwrap();
    let registry = directory.path().join("docker.io");
    let files = [
        (OsString::from("ca.pem"), ours("CA", 0o644)),
        (OsString::from("hosts.toml"), ours("server", 0o644)),
    ];
    create_directory(&registry, &files).unwrap();
    assert_eq!(names(&registry), ["ca.pem", "hosts.toml"]);
    assert_eq!(names(directory.path()), ["docker.io"]);
    let error = create_directory(&registry, &files).unwrap_err();
    assert!(matches!(error, Error::System { .. }), "{error}");
    assert_eq!(names(directory.path()), ["docker.io"]);

    let known: Vec<OsString> = files.iter().map(|(name, _)| name.clone()).collect();
    fs::write(registry.join("theirs.crt"), "").unwrap();
    assert!(!remove_directory(&registry, &known).unwrap());
    assert_eq!(names(&registry).len(), 3);
    fs::remove_file(registry.join("theirs.crt")).unwrap();
    assert!(remove_directory(&registry, &known).unwrap());
    assert!(names(directory.path()).is_empty());
    assert!(remove_directory(&registry, &known).unwrap());
}

#[test]
fn rests_of_a_crash_are_swept() {
    let directory = tempdir().unwrap();
    let registry = directory.path().join("docker.io");
    fs::create_dir(&registry).unwrap();
    fs::write(registry.join(".hosts.toml.harbor-pilot-new"), "half").unwrap();
    for name in [".docker.io.harbor-pilot-new", ".docker.io.harbor-pilot-old"] {
        fs::create_dir(directory.path().join(name)).unwrap();
        fs::write(directory.path().join(name).join("hosts.toml"), "half").unwrap();
    }
    sweep(&registry.join("hosts.toml"));
    assert_eq!(names(directory.path()), ["docker.io"]);
    assert!(names(&registry).is_empty());
    sweep(&registry.join("hosts.toml"));
}
