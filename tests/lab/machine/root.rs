//! Roots of machines: debootstrapped once, kept below `target/machines`, never written to afterwards.

use super::super::process::{output, run};
use super::super::programs;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What every root has beyond Debian's smallest one: an init, a container runtime, what operators type, and
/// the Python that Ansible needs.
const PACKAGES: [&str; 12] = [
    "ca-certificates",
    "containerd",
    "curl",
    "dbus",
    "iproute2",
    "less",
    "procps",
    "python3",
    "python3-apt",
    "runc",
    "systemd",
    "systemd-sysv",
];

/// What the root has beyond these that installs packages by dnf and zypper, as Debian packages them.
const RPM: [&str; 7] = [
    "cpio",
    "dnf",
    "python3-dnf",
    "rpm",
    "rpm2cpio",
    "util-linux",
    "zypper",
];

/// A release of Debian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// Debian 12.
    Bookworm,
    /// Debian 13.
    Trixie,
    /// Debian 12 with rpm, dnf and zypper, and without dpkg and apt: the nearest to RHEL and SLES that can be had from Debian.
    Rpm,
}

impl Release {
    fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Rpm => "bookworm-rpm",
        }
    }

    /// What debootstrap knows it by.
    fn suite(self) -> &'static str {
        match self {
            Self::Bookworm | Self::Rpm => "bookworm",
            Self::Trixie => "trixie",
        }
    }

    fn packages(self) -> String {
        let more: &[&str] = if self == Self::Rpm { &RPM } else { &[] };
        [&PACKAGES, more].concat().join(",")
    }
}

/// The root of that release; made now if it is not there (one to three minutes).
pub(crate) fn ensure(release: Release) -> PathBuf {
    for (program, package) in [
        ("debootstrap", "debootstrap"),
        ("systemd-nspawn", "systemd-container"),
    ] {
        assert!(
            programs::find(program).is_some(),
            "not installed: {package}; run `make deps` as root"
        );
    }
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("a directory below target")
        .join("machines");
    fs::create_dir_all(&directory)
        .unwrap_or_else(|error| panic!("cannot make {}: {error}", directory.display()));
    // Several test programs may want it at once: the others wait for the first.
    let lock = File::create(directory.join("lock")).expect("target is writable");
    lock.lock().expect("target/machines/lock can be locked");
    let root = directory.join(release.name());
    let packages = release.packages();
    let made_of = directory.join(format!("{}.packages", release.name()));
    if fs::read_to_string(&made_of).is_ok_and(|text| text == packages) && root.is_dir() {
        return root;
    }
    println!("making a root of {} below target/machines", release.name());
    let part = directory.join(format!("{}.part", release.name()));
    for old in [&root, &part] {
        remove(old);
    }
    let mut command = Command::new("debootstrap");
    command
        .args(["--variant=minbase", &format!("--include={packages}")])
        .arg(release.suite())
        .arg(&part)
        .arg(mirror());
    if let Some(proxy) = proxy() {
        command.env("http_proxy", proxy);
    }
    run(&mut command);
    // They would be the host's, or be asked for at the first boot.
    for file in ["etc/machine-id", "etc/hostname", "etc/resolv.conf"] {
        drop(fs::remove_file(part.join(file)));
    }
    fs::write(part.join("etc/machine-id"), "").expect("the root is writable");
    remove(&part.join("var/cache/apt/archives"));
    fs::create_dir_all(part.join("var/cache/apt/archives/partial")).expect("the root is writable");
    if release == Release::Rpm {
        for program in [
            "apt-get",
            "dpkg",
            "dpkg-query",
            "deb-systemd-helper",
            "deb-systemd-invoke",
        ] {
            fs::remove_file(part.join("usr/bin").join(program)).expect("Debian has it");
        }
    }
    fs::rename(&part, &root).expect("target is writable");
    fs::write(&made_of, packages).expect("target is writable");
    root
}

/// The server that this host's own packages come from.
fn mirror() -> String {
    let targets = output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI) $(COMPONENT) $(RELEASE) $(CODENAME)",
        "Created-By: Packages",
    ]));
    let text = String::from_utf8_lossy(&targets.stdout).into_owned();
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .expect("/etc/os-release names Debian's release")
        .trim_matches('"');
    text.lines()
        .map(|line| line.split_whitespace().collect::<Vec<&str>>())
        .find_map(|fields| match fields[..] {
            [uri, "main", ref names @ ..] if names.contains(&codename) => Some(uri.to_owned()),
            _ => None,
        })
        .unwrap_or_else(|| panic!("apt's sources name no server for {codename} main:\n{text}"))
}

/// The proxy that apt is configured to use.
fn proxy() -> Option<String> {
    let shell = output(Command::new("apt-config").args(["shell", "proxy", "Acquire::http::Proxy"]));
    let text = String::from_utf8_lossy(&shell.stdout).into_owned();
    let proxy = text
        .trim()
        .strip_prefix("proxy=")?
        .trim_matches('\'')
        .to_owned();
    (!proxy.is_empty() && proxy != "DIRECT").then_some(proxy)
}

fn remove(directory: &Path) {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            panic!("cannot remove {}: {error}", directory.display())
        }
        _ => {}
    }
}
