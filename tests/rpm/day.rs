//! Install, upgrade, go back, remove, install again: by dnf and rpm, with a systemd that runs.

use crate::lab::{Lab, Machine, Release};
use crate::node::{Node, Runtime, said};
use crate::package::Package;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What belongs to the node, not to the agent.
const NODE_FILES: &str = "/etc/rancher /var/lib/rancher /etc/containerd";
const HOSTS: &str = "/var/lib/rancher/k3s/agent/etc/containerd/certs.d/docker.io/hosts.toml";
const OWN_HOSTS: &str = "# kept by hand\nserver = \"https://registry-1.docker.io\"\n\n\
     [host.\"https://old.lab.example\"]\n  capabilities = [\"pull\"]\n";

/// What the packages require of a distribution. Debian's rpm knows of nothing that Debian has installed.
const DISTRIBUTION: &str = "Name: distribution\nVersion: 9\nRelease: 1\nSummary: What the machine has from Debian\nLicense: MIT\n\
     BuildArch: noarch\nProvides: /bin/sh\nProvides: ca-certificates\nProvides: coreutils\nProvides: systemd = 252\n\
     Provides: util-linux\nProvides: libc.so.6(GLIBC_2.34)(64bit)\nProvides: libgcc_s.so.1()(64bit)\nProvides: libm.so.6()(64bit)\n\
     %description\nNothing.\n%files\n";

/// Brings both packages, and has rpm know what the machine has.
pub(crate) fn prepare(lab: &Lab, machine: &Machine) {
    let directory = lab.scratch("distribution");
    let spec = directory.join("distribution.spec");
    fs::write(&spec, DISTRIBUTION).unwrap();
    let mut build = Command::new("rpmbuild");
    build
        .args(["-bb", "--quiet", "--define"])
        .arg(format!("_topdir {}", directory.display()))
        .arg(&spec);
    said(&build.output().expect("rpmbuild is there: make deps"));
    let made = directory.join("RPMS/noarch/distribution-9-1.noarch.rpm");
    // Debian's rpm has a database for each user elsewhere, and zypper asks this one.
    machine.write("/etc/rpm/macros", "%_dbpath /var/lib/rpm\n");
    machine.copy(&made, "/root/distribution.rpm");
    said(&dnf(machine, &["install", "/root/distribution.rpm"]));
    for (package, path) in [
        (Package::First, "/root/first.rpm"),
        (Package::Second, "/root/second.rpm"),
    ] {
        machine.copy(&package.path(), path);
    }
}

fn dnf(machine: &Machine, arguments: &[&str]) -> std::process::Output {
    let options = ["--assumeyes", "--nogpgcheck"];
    machine.output("dnf", &[&options, arguments].concat())
}

/// The version that rpm says is installed.
pub(crate) fn installed(machine: &Machine) -> String {
    machine.say(
        "rpm",
        &[
            "--query",
            "--queryformat",
            "%{VERSION}-%{RELEASE}",
            "harbor-pilot",
        ],
    )
}

#[test]
fn an_operators_day_with_dnf() {
    let lab = Lab::start();
    let node = Node::boot(&lab, Release::Rpm, Runtime::K3s);
    let machine = &node.machine;
    let image = lab.publish("library/app");
    machine.write(HOSTS, OWN_HOSTS);
    let before = node.files(NODE_FILES);

    // A distribution that has not what is needed is refused before anything is unpacked.
    machine.copy(&Package::First.path(), "/root/first.rpm");
    let refused = dnf(machine, &["install", "/root/first.rpm"]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success());
    assert!(text.contains("GLIBC_2.34"), "{text}");
    assert!(!Path::new(&machine.path("/usr/bin/harbor-pilot")).exists());

    // Nothing is configured: nothing starts, and the package says what to do.
    prepare(&lab, machine);
    let text = said(&dnf(machine, &["install", "/root/first.rpm"]));
    assert!(text.contains("not configured, and not started"), "{text}");
    assert_eq!(node.state(), "inactive");
    let has_parents = || {
        for parent in NODE_FILES.split(' ') {
            assert!(machine.path(parent).is_dir(), "{parent}");
        }
    };
    has_parents();
    assert_eq!(node.files(NODE_FILES), before);

    node.configure(&lab);
    machine.run("harbor-pilot", &["check"]);
    machine.run("systemctl", &["enable", "--now", "harbor-pilot"]);
    node.wait_for_hosts_toml();
    node.pull(&image);

    // An upgrade is one restart, and the old package's script leaves the node's files alone. So does going back.
    let carried = changes(&node);
    for (package, path) in [
        (Package::Second, "/root/second.rpm"),
        (Package::First, "/root/first.rpm"),
    ] {
        let pid = node.pid();
        let how = if matches!(package, Package::Second) {
            "install"
        } else {
            "downgrade"
        };
        said(&dnf(machine, &[how, path]));
        assert_eq!(installed(machine), package.version());
        assert_eq!(node.state(), "active");
        assert_ne!(node.pid(), pid, "the new program runs");
        assert_eq!(
            changes(&node),
            carried,
            "{package:?} wrote the node's files"
        );
    }
    node.forget(&image);
    node.pull(&image);

    // Everything as before, and nothing left that names the agent.
    machine.write("/etc/harbor-pilot/config.d/99-site.toml", "# ours\n");
    let text = said(&dnf(machine, &["remove", "harbor-pilot"]));
    assert_eq!(node.files(NODE_FILES), before, "after the removal\n{text}");
    // Also where they are empty: another package may have made them.
    has_parents();
    assert_eq!(node.connect_status(), 7, "refused after the removal");
    assert_eq!(
        machine.shell("find /etc/systemd /usr/lib/systemd -name 'harbor-pilot*'; find / -xdev -name '*.rpmsave'"),
        ""
    );
    assert_eq!(machine.say("systemctl", &["is-system-running"]), "running");
    assert!(!machine.path("/usr/share/harbor-pilot").exists());

    // The configuration is still there, so that it starts by itself.
    said(&dnf(machine, &["install", "/root/second.rpm"]));
    assert_eq!(node.state(), "active");
    assert_eq!(
        machine.run("systemctl", &["is-enabled", "harbor-pilot"]),
        "enabled"
    );
    node.wait_for_hosts_toml();
    said(&dnf(machine, &["remove", "harbor-pilot"]));
    assert_eq!(node.files(NODE_FILES), before);
}

/// When the node's files were written, and as which.
fn changes(node: &Node) -> String {
    node.machine.shell(
        "find /etc/rancher /var/lib/rancher /etc/containerd -type f -printf '%p %i %T@\\n' | sort",
    )
}
