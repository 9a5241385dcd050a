//! An operator's course with the role: first rollout, changes, mistakes, sick tiers, an upgrade.

use crate::apt;
use crate::lab::{Lab, Place};
use crate::package;
use crate::site::{CERTS_D, Site};
use serde_json::{Value, json};

const UNIT: &str = "harbor-pilot.service";
/// As a careful operator does it.
const ONE_BY_ONE: &str = "--extra-vars=harbor_pilot_serial=1";

#[test]
fn a_rollout_changes_what_it_foretold_and_nothing_bad() {
    let lab = Lab::start();
    let site = Site::build(&lab);
    first_rollout(&site);
    changes(&site);
    mistakes(&site);
    upgrade(&site);
    apt::back_and_forth(&lab, &site);
    sick_tiers(&lab, &site);
}

fn first_rollout(site: &Site) {
    let before = site.node_files();
    let aside = || {
        site.run(
            "sh",
            &["-c", "ls -d /run/harbor-pilot.* 2>/dev/null || true"],
        )
    };
    let check = site.play("rollout", &["--check", "--diff"]);
    assert!(
        check.text.contains(&format!(
            "{} would be installed for the first time",
            site.version
        )),
        "{}",
        check.text
    );
    assert!(check.text.contains("+name = \"replica\""), "{}", check.text);
    assert_eq!(
        site.run(
            "sh",
            &[
                "-c",
                "command -v harbor-pilot; ls -d /etc/harbor-pilot 2>/dev/null || true"
            ]
        ),
        ["", ""]
    );
    assert_eq!(aside(), ["", ""], "check mode leaves nothing");

    let play = site.play("rollout", &["--diff", "-vvv"]);
    assert_eq!(
        play.changed(),
        check.changed(),
        "as foretold:\n{}\n{}",
        check.text,
        play.text
    );
    assert_eq!(site.property(UNIT, "ActiveState"), ["active", "active"]);
    assert_eq!(site.property(UNIT, "UnitFileState"), ["enabled", "enabled"]);
    let secret = site.run(
        "stat",
        &["--format=%a %U", "/etc/harbor-pilot/robot.secret"],
    );
    assert_eq!(secret, ["600 root", "600 root"]);
    assert_eq!(aside(), ["", ""], "nothing stays aside");
    assert_ne!(site.node_files(), before);
    for node in &site.nodes {
        let hosts = node.run("cat", &[&format!("{CERTS_D}/docker.io/hosts.toml")]);
        assert!(hosts.contains("http://127.0.0.1:290"), "{hosts}");
    }

    let pids = site.property(UNIT, "MainPID");
    assert_eq!(
        site.play("rollout", &[]).changed(),
        0,
        "a second run changes nothing"
    );
    assert_eq!(
        site.play("rollout", &["--check", "--diff"]).changed(),
        0,
        "nor does it foretell anything"
    );
    assert_eq!(site.property(UNIT, "MainPID"), pids, "it was left alone");
    assert_eq!(site.k3s_count(), [1, 1], "k3s was left alone");
}

fn changes(site: &Site) {
    let pids = site.property(UNIT, "MainPID");
    // A drop-in of somebody else's is part of what is checked and of what is in force.
    for node in &site.nodes {
        node.write(
            "/etc/harbor-pilot/config.d/90-other.toml",
            "[stale]\nmax_age = \"3d\"\n",
        );
        node.shell("systemctl reload harbor-pilot");
    }
    let settings = json!({ "dns": { "max_ttl": "4m" } });
    site.set_variables("x", &json!({ "harbor_pilot_settings": settings }));
    let check = site.play("rollout", &["--check", "--diff"]);
    assert!(check.text.contains("+max_ttl = \"4m\""), "{}", check.text);
    let play = site.play("rollout", &[]);
    assert_eq!(play.changed(), check.changed());
    assert_eq!(play.changed(), 2, "the file and the reload:\n{}", play.text);
    assert_eq!(site.property(UNIT, "MainPID"), pids, "a reload is enough");
    assert_eq!(in_force(site, "dns.max_ttl"), json!("4m"));
    assert_eq!(in_force(site, "stale.max_age"), json!("3d"));
    for status in statuses(site) {
        assert_eq!(status["config"]["last_reload_ok"], json!(true));
    }

    let dropin =
        json!({ "name": "50-limits.toml", "settings": { "limits": { "connections": 300 } } });
    site.set_variables(
        "x",
        &json!({ "harbor_pilot_settings": settings, "harbor_pilot_dropins": [dropin] }),
    );
    let play = site.play("rollout", &[]);
    assert_eq!(
        play.changed(),
        2,
        "the drop-in and the restart:\n{}",
        play.text
    );
    let restarted = site.property(UNIT, "MainPID");
    assert!(
        restarted[0] != pids[0] && restarted[1] != pids[1],
        "limits wait for a restart"
    );
    assert_eq!(in_force(site, "limits.connections"), json!(300));

    // A run that was cut off between writing and telling, here by hand: the next one notices.
    for node in &site.nodes {
        node.shell("sleep 1.1; touch /etc/harbor-pilot/config.toml");
    }
    let absent = ["50-limits.toml", "90-other.toml"];
    site.set_variables(
        "x",
        &json!({ "harbor_pilot_settings": settings, "harbor_pilot_dropins_absent": absent }),
    );
    let play = site.play("rollout", &[]);
    assert!(
        play.text
            .contains("the files are newer than what is in force"),
        "{}",
        play.text
    );
    assert!(play.changed() >= 2, "drop-ins and restart:\n{}", play.text);
    assert_eq!(in_force(site, "limits.connections"), json!(512));
    assert_eq!(site.play("rollout", &[]).changed(), 0);
}

fn mistakes(site: &Site) {
    let kept = site.configuration();
    let pids = site.property(UNIT, "MainPID");
    // Every error at once, and not in one file alone.
    site.set_variables(
        "x",
        &json!({
            "harbor_pilot_settings": { "dns": { "min_tll": "4m" } },
            "harbor_pilot_files": [{ "name": "ca.crt", "content": "no certificate" }],
            "harbor_pilot_dropins": [{ "name": "50-x.toml", "content": "[dns\n" }],
        }),
    );
    for arguments in [&[ONE_BY_ONE, "--check"] as &[&str], &[ONE_BY_ONE]] {
        let play = site.play("rollout", arguments);
        for told in [
            "dns.min_tll: is no key that is known here",
            "/etc/harbor-pilot/ca.crt",
            "/etc/harbor-pilot/config.d/50-x.toml",
        ] {
            assert!(
                play.refused().contains(told),
                "{told} is not said:\n{}",
                play.text
            );
        }
        assert_eq!(play.count("node-a", "changed"), 0);
        assert_eq!(
            play.count("node-b", "ok"),
            0,
            "the second batch was not begun:\n{}",
            play.text
        );
    }
    // The role itself says what is missing, before it does anything.
    site.set_variables("x", &json!({ "harbor_pilot_package_source": "url" }));
    let play = site.play("rollout", &[]);
    for told in [
        "set harbor_pilot_deb_url, or",
        "set harbor_pilot_deb_checksum (",
    ] {
        assert!(play.refused().contains(told), "{told}: {}", play.text);
    }
    site.set_variables(
        "x",
        &json!({ "harbor_pilot_settings": { "dns": { "max_ttl": "4m" } } }),
    );
    assert_eq!(site.configuration(), kept, "nothing was replaced");
    assert_eq!(site.property(UNIT, "MainPID"), pids);
}

fn upgrade(site: &Site) {
    let newer = package::find("second", site.directory());
    let both = |version: &str| [version.to_owned(), version.to_owned()];
    let format = "--showformat=${Version}";
    let installed = || site.run("dpkg-query", &["--show", format, "harbor-pilot"]);
    let pids = site.property(UNIT, "MainPID");
    site.set_variables("y", &json!({ "harbor_pilot_deb_file": newer.path }));
    let check = site.play("rollout", &["--check"]);
    let told = format!(
        "{} would be installed in place of {}",
        newer.version, site.version
    );
    assert!(check.text.contains(&told), "{}", check.text);
    assert_eq!(installed(), both(&site.version));
    assert_eq!(site.play("rollout", &[]).changed(), check.changed());
    assert_eq!(installed(), both(&newer.version));
    let [a, b] = site.property(UNIT, "MainPID");
    assert!(a != pids[0] && b != pids[1], "the new program runs");
    site.forget_variables("y");
    site.play("rollout", &[]).refused();
    assert_eq!(
        installed(),
        both(&newer.version),
        "a downgrade has to be allowed"
    );
    site.set_variables("y", &json!({ "harbor_pilot_deb_file": newer.path }));
}

/// The gate: a node on which no tier is ready ends the rollout.
fn sick_tiers(lab: &Lab, site: &Site) {
    let places = [Place::ReplicaA, Place::ReplicaB, Place::Core];
    for place in places {
        lab.power_off(place);
    }
    for node in &site.nodes {
        // A pull that finds nobody: the addresses are ejected.
        node.output(
            "curl",
            &[
                "-s",
                "--max-time",
                "25",
                "http://127.0.0.1:290/v2/library/none/manifests/1?ns=docker.io",
            ],
        );
    }
    site.set_variables(
        "z",
        &json!({ "harbor_pilot_health_retries": 2, "harbor_pilot_health_delay": 1 }),
    );
    let play = site.play("rollout", &[ONE_BY_ONE]);
    for tier in ["replica", "core"] {
        let refused = play.refused();
        let ill = format!("tier {tier} not ready");
        assert!(refused.contains(&ill), "{ill}: {}", play.text);
    }
    assert_eq!(
        play.count("node-b", "ok"),
        0,
        "the second batch was not begun:\n{}",
        play.text
    );
    for place in places {
        lab.power_on(place);
    }
    site.set_variables(
        "z",
        &json!({ "harbor_pilot_health_retries": 60, "harbor_pilot_health_tiers": "all" }),
    );
    assert_eq!(
        site.play("rollout", &[]).changed(),
        0,
        "it waits until they are back"
    );
}

/// What every running agent says of itself.
fn statuses(site: &Site) -> [Value; 2] {
    site.each(|node| {
        serde_json::from_str(&node.say("harbor-pilot", &["status", "--json"])).unwrap()
    })
}

/// A value that is the same on both nodes.
#[track_caller]
fn in_force(site: &Site, key: &str) -> Value {
    let [a, b] = site.each(|node| {
        let answer: Value =
            serde_json::from_str(&node.run("harbor-pilot", &["check", "--json"])).unwrap();
        let settings = answer["settings"].as_array().unwrap().clone();
        let found = settings.into_iter().find(|setting| setting["key"] == key);
        found.unwrap_or_else(|| panic!("no {key}"))["value"].clone()
    });
    assert_eq!(a, b);
    a
}
