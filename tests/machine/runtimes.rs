//! The node's files inside the sandbox: k3s that comes after the package, a removal that meets a conflict, a reboot.

use crate::lab::{Lab, Release};
use crate::node::{Node, Package, Runtime};

#[test]
fn k3s_may_come_after_the_package() {
    let lab = Lab::start();
    let node = Node::boot(&lab, Release::Bookworm, Runtime::K3s);
    let image = lab.publish("library/app");
    let machine = &node.machine;
    // Neither containerd's directory nor k3s' is there: the package brings the parents.
    machine.shell("systemctl stop containerd; rm -rf /etc/containerd");
    node.install(Package::First);
    node.configure(&lab);
    node.drop_in("20-k3s", "[node]\nruntime = \"k3s\"\n");
    machine.run("systemctl", &["enable", "--now", "harbor-pilot"]);
    assert_eq!(node.connect_status(), 0);
    let hosts = format!("{}/docker.io/hosts.toml", node.certs_d());
    assert!(!machine.path(&hosts).exists());

    // k3s arrives, with the agent running: its directories appear below the parents.
    machine.write(
        "/etc/rancher/k3s/registries.yaml",
        "mirrors:\n  docker.io:\n    endpoint:\n      - https://registry.lab.example\n",
    );
    machine.shell(&format!("mkdir -p {}", node.certs_d()));
    node.wait_for_hosts_toml();
    node.wait("registries.yaml names the agent", |node| {
        let text = node
            .machine
            .say("cat", &["/etc/rancher/k3s/registries.yaml"]);
        text.contains("http://127.0.0.1:290")
    });
    machine.write("/etc/containerd/config.toml", "version = 2\n");
    machine.run("systemctl", &["start", "containerd"]);
    node.pull(&image);

    // A reboot writes nothing, and everything is as before after it.
    let before = node.files("/etc/rancher /var/lib/rancher");
    let mut node = node;
    node.machine.reboot();
    node.wait("it serves after the reboot", |node| {
        node.connect_status() == 0
    });
    assert_eq!(node.files("/etc/rancher /var/lib/rancher"), before);
    assert!(
        node.records(&["EVENT=hosts_rewritten", "_BOOT_ID=this"])
            .is_empty()
    );
    node.forget(&image);
    node.pull(&image);
}

#[test]
fn a_conflict_is_said_and_the_removal_goes_on() {
    let lab = Lab::start();
    let node = Node::boot(&lab, Release::Bookworm, Runtime::Containerd);
    node.bring_up(&lab);
    let machine = &node.machine;
    // Our lines go out of a file that somebody has broken as well; out of one that cannot be written they cannot.
    let (broken, fixed) = (
        "/etc/containerd/certs.d/ghcr.io/hosts.toml",
        "/etc/containerd/certs.d/docker.io/hosts.toml",
    );
    machine.run("systemctl", &["kill", "--signal=STOP", "harbor-pilot"]);
    machine.shell(&format!("echo '[broken' >>{broken}"));
    machine.shell(
        "cd /etc/containerd/certs.d; mount --bind docker.io docker.io; mount -o remount,ro,bind docker.io",
    );
    let before = machine.run("cat", &[fixed]);
    assert!(before.contains("127.0.0.1:290"), "{before}");
    let text = node.take_away("remove");
    assert!(text.contains("could not be restored"), "{text}");
    assert!(text.contains(fixed), "{text}");
    assert_eq!(machine.run("cat", &[fixed]), before, "left as it was");
    assert!(!machine.path("/usr/bin/harbor-pilot").exists());
    // Every other file of the node is clean.
    let named = machine.shell("grep -rl 127.0.0.1:290 /etc /var/lib/rancher || true");
    assert_eq!(named, fixed);
    assert_eq!(machine.run("cat", &[broken]), "[broken");
}
