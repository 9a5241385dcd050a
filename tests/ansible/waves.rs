//! A rollout in waves: a canary that is no good is given back, and the play ends before the next node.

use crate::lab::Lab;
use crate::package;
use crate::site::{CERTS_D, Site};
use serde_json::json;

const UNIT: &str = "harbor-pilot.service";
/// One node, then the rest.
const WAVES: &str = "--extra-vars={harbor_pilot_serial: [1, '100%']}";

#[test]
fn a_canary_that_is_no_good_is_given_back_and_ends_the_play() {
    let lab = Lab::start();
    let site = Site::build(&lab);
    let gate = json!({ "harbor_pilot_health_retries": 3, "harbor_pilot_health_delay": 1 });
    site.set_variables("gate", &gate);
    a_new_node_without_an_agent(&site);
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
    let before = site.node_files();
    let [canary, _] = &site.nodes;
    canary.shell("systemd-run --unit=thief python3 -m http.server --bind 127.0.0.1 290");
    let play = site.play("rollout", &[WAVES]);
    for told in [
        "This node was given back: no agent answers (status 2)",
        "It has no harbor-pilot, as before",
    ] {
        assert!(play.refused().contains(told), "{told}: {}", play.text);
    }
    assert_eq!(play.count("node-b", "ok"), 0, "{}", play.text);
    assert_eq!(site.node_files(), before);
    let there = "ls -d /usr/bin/harbor-pilot /var/cache/harbor-pilot 2>/dev/null || true";
    assert_eq!(site.run("sh", &["-c", there]), ["", ""]);
    canary.shell("systemctl stop thief");
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
