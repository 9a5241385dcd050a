//! A rollout in waves: a canary that is no good is given back, and the play ends before the next node.

use crate::lab::Lab;
use crate::package;
use crate::site::{CERTS_D, Site};
use serde_json::json;

const UNIT: &str = "harbor-pilot.service";
/// One node, then the rest.
const WAVES: &str = "--extra-vars={harbor_pilot_serial: [1, '100%']}";
/// A containerd that asks the agent for what it is to pull and has no room for it.
const CRICTL: &str = "#!/bin/sh\nfor last; do :; done\n[ \"$last\" != version ] || exit 0\n\
     curl -s -o /dev/null \"http://127.0.0.1:290/v2/harbor-pilot.invalid/doctor/manifests/${last##*:}?ns=docker.io\"\n\
     echo no space left on device >&2\nexit 1\n";

#[test]
fn a_canary_that_is_no_good_is_given_back_and_ends_the_play() {
    let lab = Lab::start();
    let site = Site::build(&lab);
    let gate = json!({ "harbor_pilot_health_retries": 3, "harbor_pilot_health_delay": 1 });
    site.set_variables("gate", &gate);
    a_new_node_without_an_agent(&site);
    a_new_node_that_does_not_pull(&site);
    let play = site.play("rollout", &[WAVES]);
    assert!(play.success, "through all waves: {}", play.text);
    assert_eq!(
        installed(&site),
        [site.version.clone(), site.version.clone()]
    );
    an_upgrade_that_pulls_nothing(&site);
    an_outage(&site);
    downgrade(&site);
}

/// Somebody has the port: the agent cannot start, `status` is 2.
fn a_new_node_without_an_agent(site: &Site) {
    let [canary, _] = &site.nodes;
    canary.shell("systemd-run --unit=thief python3 -m http.server --bind 127.0.0.1 290");
    given_back(site, "no agent answers (status 2)");
    canary.shell("systemctl stop thief");
}

/// The agent is well. What doctor has containerd pull does not come, or comes without the agent.
fn a_new_node_that_does_not_pull(site: &Site) {
    let [canary, _] = &site.nodes;
    let (socket, program) = (
        "/run/k3s/containerd/containerd.sock",
        "/usr/local/bin/crictl",
    );
    canary.write(socket, "");
    for (code, script) in [
        ("pull-fails", CRICTL),
        ("pull-bypasses-agent", &CRICTL.replace("curl", ": curl")),
    ] {
        canary.write(program, script);
        canary.shell(&format!("chmod 755 {program}"));
        given_back(site, &format!("{code}:"));
    }
    canary.shell(&format!("rm {program} {socket}"));
}

/// Rolls out: the canary is refused for this reason and is then as it was, and the other node is not touched.
#[track_caller]
fn given_back(site: &Site, reason: &str) {
    let before = site.node_files();
    let play = site.play("rollout", &[WAVES]);
    for told in [
        &format!("This node was given back: {reason}"),
        "It has no harbor-pilot, as before",
    ] {
        assert!(play.refused().contains(told), "{told}: {}", play.text);
    }
    assert_eq!(play.count("node-b", "ok"), 0, "{}", play.text);
    assert_eq!(site.node_files(), before);
    let there = "ls -d /usr/bin/harbor-pilot /var/cache/harbor-pilot 2>/dev/null || true";
    assert_eq!(site.run("sh", &["-c", there]), ["", ""]);
}

/// The new version runs, and an image that must come does not.
fn an_upgrade_that_pulls_nothing(site: &Site) {
    let newer = package::find("second", site.directory());
    let configuration = site.configuration();
    let carried = site.node_files();
    let wrong = json!({
        "harbor_pilot_deb_file": newer.path,
        "harbor_pilot_health_images": ["docker.io/library/not-there:1"],
        "harbor_pilot_settings": { "dns": { "max_ttl": "4m" } },
    });
    site.set_variables("y", &wrong);
    let play = site.play("rollout", &[WAVES]);
    let told = format!(
        "{} and its configuration are back. The node is led to its agent again.",
        site.version
    );
    for told in ["This node was given back: harbor-pilot warm", &told] {
        assert!(play.refused().contains(told), "{told}: {}", play.text);
    }
    assert_eq!(play.count("node-b", "ok"), 0, "{}", play.text);
    assert_eq!(
        installed(site),
        [site.version.clone(), site.version.clone()]
    );
    assert_eq!(site.configuration(), configuration);
    assert_eq!(site.property(UNIT, "ActiveState"), ["active", "active"]);
    let named = format!("grep -rl http://127.0.0.1:290 {CERTS_D} || true");
    for files in site.run("sh", &["-c", &named]) {
        assert!(!files.is_empty(), "containerd is not led to the agent");
    }
    assert_eq!(site.node_files(), carried);

    // With what was wrong corrected, the same nodes are taken up again.
    site.set_variables("y", &json!({ "harbor_pilot_deb_file": newer.path }));
    let play = site.play("rollout", &[WAVES]);
    assert!(play.success, "{}", play.text);
    assert_eq!(installed(site), [newer.version.clone(), newer.version]);
    assert_eq!(site.node_files(), carried);
    assert_eq!(site.play("rollout", &[WAVES]).changed(), 0);
}

/// A registry is down, and the run has changed nothing: there is nothing to give back.
fn an_outage(site: &Site) {
    let before = (site.node_files(), site.configuration(), installed(site));
    let pid = || site.property(UNIT, "MainPID");
    let running = pid();
    site.set_variables(
        "z",
        &json!({ "harbor_pilot_health_images": ["docker.io/library/not-there:1"] }),
    );
    let play = site.play("rollout", &[WAVES]);
    for told in [
        "nothing is given back",
        "harbor-pilot warm",
        "This run has changed nothing of the node.",
    ] {
        assert!(play.refused().contains(told), "{told}: {}", play.text);
    }
    assert_eq!(play.count("node-a", "changed"), 0, "{}", play.text);
    assert_eq!(play.count("node-b", "ok"), 0, "{}", play.text);
    let after = (site.node_files(), site.configuration(), installed(site));
    assert_eq!(after, before);
    assert_eq!(pid(), running);
    site.forget_variables("z");
}

fn downgrade(site: &Site) {
    let carried = site.node_files();
    site.set_variables("y", &json!({ "harbor_pilot_allow_downgrade": true }));
    assert!(site.play("rollout", &[WAVES]).changed() > 0);
    assert_eq!(
        installed(site),
        [site.version.clone(), site.version.clone()]
    );
    assert_eq!(site.property(UNIT, "ActiveState"), ["active", "active"]);
    assert_eq!(site.node_files(), carried);
    assert_eq!(site.play("rollout", &[WAVES]).changed(), 0);
}

fn installed(site: &Site) -> [String; 2] {
    let format = "--showformat=${Version}";
    site.run("dpkg-query", &["--show", format, "harbor-pilot"])
}
