//! `make sums`: what it puts beside the packages, and that gpg and sha256sum tell a package that was changed.

use crate::client::package;
use crate::repository::{Key, text};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

fn sums(key: &Key, name: &str, directory: &Path, packages: &[&Path]) -> Result<String, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/sums.sh");
    let output = key
        .command(script)
        .arg(directory)
        .arg(name)
        .args(packages)
        .output()
        .unwrap();
    text(&output)
}

fn compare(directory: &Path) -> Result<String, String> {
    let mut command = Command::new("sha256sum");
    command
        .args(["--check", "--strict", "SHA256SUMS"])
        .current_dir(directory);
    text(&command.output().unwrap())
}

#[test]
fn sums_are_signed_and_tell_what_was_changed() {
    let (key, first) = (Key::new("operator@example.com"), package("first"));
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("dist");
    sums(&key, key.name(), &directory, &[&first.path]).unwrap();
    let verify = || {
        let mut gpg = key.command("gpg");
        gpg.args(["--batch", "--verify", "SHA256SUMS.asc", "SHA256SUMS"]);
        text(&gpg.current_dir(&directory).output().unwrap())
    };
    verify().unwrap();
    let said = compare(&directory).unwrap();
    assert_eq!(said.lines().count(), 2, "the package and its list: {said}");
    assert!(
        said.contains("first.deb: OK") && said.contains(".cdx.json: OK"),
        "{said}"
    );

    // A package that was changed, and sums that were changed to fit it.
    let other = directory.join("first.deb");
    let mut bytes = fs::read(&other).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&other, bytes).unwrap();
    assert!(
        compare(&directory)
            .unwrap_err()
            .contains("first.deb: FAILED")
    );
    let new = Command::new("sh")
        .args(["-c", "sha256sum *.deb *.json >SHA256SUMS"])
        .current_dir(&directory)
        .status();
    assert!(new.unwrap().success());
    compare(&directory).unwrap();
    assert!(verify().unwrap_err().contains("BAD signature"));

    // Without a key there is no signature, and a key that is not there is named.
    sums(&key, "", &directory, &[&first.path]).unwrap();
    assert!(!directory.join("SHA256SUMS.asc").exists());
    compare(&directory).unwrap();
    let refused = sums(&key, "stranger@example.com", &directory, &[&first.path]).unwrap_err();
    assert!(
        refused.contains("no secret key for stranger@example.com"),
        "{refused}"
    );
}

/// What a scanner reads: every crate of the program by name and version, with its licence, and nothing of the building machine.
#[test]
fn the_package_lists_what_the_program_is_made_of() {
    let first = package("first");
    let tree = tempfile::tempdir().unwrap();
    let mut extract = Command::new("dpkg-deb");
    extract.arg("--extract").args([&first.path, tree.path()]);
    text(&extract.output().unwrap()).unwrap();
    let list = tree
        .path()
        .join("usr/share/harbor-pilot/harbor-pilot.cdx.json");
    let list = fs::read_to_string(list).unwrap();
    assert!(
        !list.contains(env!("CARGO_MANIFEST_DIR")),
        "a path of this machine"
    );
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["bomFormat"], "CycloneDX");
    assert_eq!(list["metadata"]["component"]["name"], "harbor-pilot");
    assert_eq!(
        list["metadata"]["component"]["version"],
        env!("CARGO_PKG_VERSION")
    );
    let components = list["components"].as_array().unwrap();
    let named = |name: &str| components.iter().find(|it| it["name"] == name);
    for name in ["tokio", "rustls", "hyper", "aws-lc-sys"] {
        let it = named(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert!(it["licenses"][0]["expression"].is_string(), "{it}");
        assert_eq!(it["hashes"][0]["alg"], "SHA-256", "{it}");
    }
    for name in ["proptest", "rcgen"] {
        assert!(named(name).is_none(), "{name} is for tests alone");
    }
}

/// `packaging/compile.sh` with a cargo that builds what it is given.
fn compile(program: &Path) -> Result<String, String> {
    let scratch = tempfile::tempdir().unwrap();
    let (target, cargo) = (scratch.path().join("target"), scratch.path().join("cargo"));
    let built = target.join("release/harbor-pilot");
    let script = format!(
        "#!/bin/sh\n[ \"$1 $2\" = 'auditable build' ] && install -D '{}' '{}'\n",
        program.display(),
        built.display()
    );
    fs::write(&cargo, script).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/compile.sh"))
        .env("PATH", format!("{}:{path}", scratch.path().display()))
        .env("CARGO_TARGET_DIR", &target)
        .output();
    text(&output.unwrap())
}

#[test]
fn a_program_that_does_not_say_what_it_was_built_from_is_not_packaged() {
    let scratch = tempfile::tempdir().unwrap();
    let (plain, listed) = (Path::new("/bin/true"), scratch.path().join("listed"));
    let refused = compile(plain).unwrap_err();
    assert!(refused.contains("no section .dep-v0"), "{refused}");
    let mut add = Command::new("objcopy");
    add.args(["--add-section", ".dep-v0=/etc/hostname"]);
    text(&add.arg(plain).arg(&listed).output().unwrap()).unwrap();
    let said = compile(&listed).unwrap();
    assert!(
        said.trim().ends_with("/target/release/harbor-pilot"),
        "{said}"
    );
}
