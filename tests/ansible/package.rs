//! The packages that the role installs: those that `make test-packages` made of the program that was just built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A package and its version.
pub(crate) struct Package {
    pub(crate) path: PathBuf,
    pub(crate) version: String,
}

/// `first` or `second`, under the name that a package has.
pub(crate) fn find(which: &str, directory: &Path) -> Package {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/debs/test/{which}.deb"));
    let field = Command::new("dpkg-deb")
        .args(["--field".as_ref(), made.as_os_str(), "Version".as_ref()])
        .output()
        .unwrap();
    assert!(
        field.status.success(),
        "there is no package {}; make test-packages",
        made.display()
    );
    let version = String::from_utf8(field.stdout).unwrap().trim().to_owned();
    let path = directory.join(format!("harbor-pilot_{version}_amd64.deb"));
    fs::copy(&made, &path).unwrap();
    Package { path, version }
}
