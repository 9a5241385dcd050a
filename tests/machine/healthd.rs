//! The health responder of a Harbor host, as its unit runs it.

use crate::day::exposure_of;
use crate::lab::{Lab, Place, Release};
use crate::node::{Node, Package, Runtime};

#[test]
fn the_health_responders_unit_runs_as_shipped() {
    let lab = Lab::start();
    let node = Node::boot(&lab, Release::Bookworm, Runtime::Containerd);
    let machine = &node.machine;
    node.install(Package::First);
    let state = |verb: &str| machine.say("systemctl", &[verb, "harbor-pilot-healthd"]);
    assert_eq!(
        (state("is-enabled"), state("is-active")),
        ("disabled".into(), "inactive".into())
    );

    // Without options it says what is missing, and is not started again and again.
    let started = machine.output("systemctl", &["start", "harbor-pilot-healthd"]);
    assert!(!started.status.success());
    assert_eq!(state("is-active"), "failed");
    let journal = machine.say(
        "journalctl",
        &["-u", "harbor-pilot-healthd", "-o", "cat", "--no-pager"],
    );
    assert!(journal.contains("--harbor <URL>"), "{journal}");

    machine.copy(lab.ca(), "/etc/ssl/certs/lab.crt");
    machine.run("chmod", &["644", "/etc/ssl/certs/lab.crt"]);
    machine.write(
        "/etc/default/harbor-pilot-healthd",
        "HEALTHD_OPTIONS=\"--harbor https://core.lab.example --ca /etc/ssl/certs/lab.crt --cache 0s\"\n",
    );
    machine.run("systemctl", &["reset-failed", "harbor-pilot-healthd"]);
    machine.run("systemctl", &["enable", "--now", "harbor-pilot-healthd"]);
    exposure_of(&node, "harbor-pilot-healthd.service");
    let status = |node: &Node| {
        let format = "%{http_code}";
        let url = "http://127.0.0.1:1337/";
        let curl = [
            "-s",
            "-o",
            "/dev/null",
            "--max-time",
            "5",
            "-w",
            format,
            url,
        ];
        node.machine.say("curl", &curl)
    };
    node.wait("Harbor is healthy", |node| status(node) == "200");
    let user = machine.shell("ps -o user= -C harbor-pilot | head -n 1");
    assert_ne!(user.trim(), "root");

    lab.power_off(Place::Core);
    node.wait("Harbor has lost power", |node| status(node) == "503");
    lab.power_on(Place::Core);
    node.wait("Harbor is back", |node| status(node) == "200");
    let changes = node.records(&["EVENT=health_changed"]);
    assert!(changes.len() >= 3, "{changes:?}");
    assert_eq!(changes[0]["REASON"], "healthy");

    // An upgrade runs the new program, a removal ends it.
    node.install(Package::Second);
    node.wait("it answers after the upgrade", |node| status(node) == "200");
    let pid = machine.shell("systemctl show --property=MainPID --value harbor-pilot-healthd");
    let exe = machine.shell(&format!("readlink /proc/{}/exe", pid.trim()));
    assert_eq!(
        exe.trim(),
        "/usr/bin/harbor-pilot",
        "not the deleted program"
    );
    node.take_away("purge");
    assert_ne!(
        machine
            .output("curl", &["-s", "http://127.0.0.1:1337/"])
            .status
            .code(),
        Some(0)
    );
    assert!(!machine.path("/etc/default/harbor-pilot-healthd").exists());
}
