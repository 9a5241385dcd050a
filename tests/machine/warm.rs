//! The warming of caches, as its timer and unit run it.

use crate::day::exposure_of;
use crate::lab::{Lab, Release};
use crate::node::{Node, Runtime};

#[test]
fn the_warm_timer_and_its_unit_run_as_shipped() {
    let lab = Lab::start();
    let image = lab.publish("library/nginx");
    let node = Node::boot(&lab, Release::Bookworm, Runtime::Containerd);
    let machine = &node.machine;
    node.bring_up(&lab);
    let state = |verb: &str, unit: &str| machine.say("systemctl", &[verb, unit]);
    assert_eq!(state("is-enabled", "harbor-pilot-warm.timer"), "disabled");

    // Without a list nothing is done, and nothing is wrong.
    machine.run("systemctl", &["start", "harbor-pilot-warm.service"]);
    assert_eq!(state("is-failed", "harbor-pilot-warm.service"), "inactive");

    machine.write(
        "/etc/harbor-pilot/warm.list",
        &format!(
            "{}   # web\nlibrary/nobody-has-this:1\n",
            image.by_tag("docker.io")
        ),
    );
    machine.write(
        "/etc/default/harbor-pilot-warm",
        "WARM_OPTIONS=\"--all-platforms\"\n",
    );
    machine.run("systemctl", &["start", "harbor-pilot-warm.service"]);
    // One image that nobody has is no failure of the unit.
    assert_eq!(state("is-failed", "harbor-pilot-warm.service"), "inactive");
    let journal = machine.say(
        "journalctl",
        &["-u", "harbor-pilot-warm", "-o", "cat", "--no-pager"],
    );
    assert!(journal.contains("1 fetched, 1 failed"), "{journal}");
    assert!(journal.contains("replica/"), "{journal}");
    let records = node.records(&["KIND=blob", "OUTCOME=served"]);
    assert!(!records.is_empty(), "it was fetched through the agent");
    exposure_of(&node, "harbor-pilot-warm.service");

    machine.run("systemctl", &["enable", "--now", "harbor-pilot-warm.timer"]);
    let timers = machine.say(
        "systemctl",
        &["list-timers", "--no-pager", "harbor-pilot-warm.timer"],
    );
    assert!(timers.contains("harbor-pilot-warm.service"), "{timers}");
    node.take_away("purge");
    assert_ne!(state("is-active", "harbor-pilot-warm.timer"), "active");
}
