//! The package that the role installs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_harbor-pilot");

/// A package of that version, made now. The program is the one that was just built.
pub(crate) fn build(directory: &Path, version: &str) -> PathBuf {
    let tree = directory.join(format!("package-{version}"));
    for folder in [
        "DEBIAN",
        "usr/bin",
        "lib/systemd/system",
        "etc/harbor-pilot/config.d",
        "etc/rancher",
        "var/lib/rancher",
    ] {
        fs::create_dir_all(tree.join(folder)).unwrap();
    }
    let program = tree.join("usr/bin/harbor-pilot");
    fs::copy(PROGRAM, &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    // Every copy of it goes through a pipe.
    assert!(
        Command::new("strip")
            .arg(&program)
            .status()
            .unwrap()
            .success()
    );
    for (file, text) in [
        ("DEBIAN/control", format!("Package: harbor-pilot\nVersion: {version}\nArchitecture: amd64\nMaintainer: nobody <nobody@example.com>\nDescription: stand-in\n")),
        ("DEBIAN/conffiles", "/etc/harbor-pilot/config.toml\n".to_owned()),
        ("etc/harbor-pilot/config.toml", "# nothing\n".to_owned()),
        ("lib/systemd/system/harbor-pilot.service",
         "[Unit]\nDescription=harbor-pilot\n[Service]\nType=notify\nExecStart=/usr/bin/harbor-pilot run\nExecReload=/bin/kill -HUP $MAINPID\n\
          StateDirectory=harbor-pilot\n[Install]\nWantedBy=multi-user.target\n".to_owned()),
    ] {
        fs::write(tree.join(file), text).unwrap();
    }
    let package = directory.join(format!("harbor-pilot_{version}_amd64.deb"));
    let mut command = Command::new("dpkg-deb");
    command
        .args(["--build", "--root-owner-group", "-Zgzip"])
        .arg(&tree)
        .arg(&package);
    assert!(command.output().unwrap().status.success());
    package
}
