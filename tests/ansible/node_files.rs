//! k3s and its files in an operator's course: restarts in turn, given back, a registries.yaml of the site's own.

use crate::lab::Lab;
use crate::site::{BEFORE, CERTS_D, REGISTRIES, Site};
use std::path::Path;

/// Both nodes in one batch, and k3s may be restarted.
const ALLOWED: [&str; 2] = [
    "--extra-vars",
    "{harbor_pilot_serial: 2, harbor_pilot_k3s_restart: true}",
];
const AGENT: &str = "      - \"http://127.0.0.1:290\" # harbor-pilot\n";

#[test]
fn k3s_restarts_in_turn_where_it_waits_and_may() {
    let lab = Lab::start();
    let site = Site::build(&lab);
    restarts_in_turn(&site);
    one_that_does_not_come_back(&site);
}

#[test]
fn files_are_given_back_and_a_sites_own_is_left_alone() {
    let lab = Lab::start();
    let site = Site::build(&lab);
    let before = site.node_files();
    assert!(site.play("rollout", &ALLOWED).changed() > 0);
    given_back(&site, &before);
    own_registries(&site);
}

/// containerd as Debian brings it: its own configuration is written where that is wanted, and containerd restarted where that is
/// allowed; until then the gate refuses the node.
#[test]
fn a_containerd_by_itself_is_told_once() {
    let lab = Lab::start();
    let site = Site::build(&lab);
    site.each(|node| {
        node.shell("systemctl disable --now k3s; rm -r /etc/systemd/system/k3s.service /etc/rancher/k3s /var/lib/rancher/k3s; systemctl daemon-reload; systemctl restart containerd")
    });
    // The gate waits for what comes by itself.
    let gate =
        serde_json::json!({ "harbor_pilot_health_retries": 3, "harbor_pilot_health_delay": 1 });
    site.set_variables("gate", &gate);
    let file = "/etc/containerd/config.toml";
    let text = || site.run("cat", &[file]);
    let started = || site.property("containerd", "ActiveEnterTimestampMonotonic");
    let all = || {
        site.each(|node| {
            node.shell("find /etc/containerd | sort; find /etc/containerd -type f -exec sha256sum {} + | sort; command -v harbor-pilot || true")
        })
    };
    let (before, running, kept) = (text(), started(), all());
    let play = site.play("rollout", &[]);
    for told in [
        "This node was given back: config-path-not-read",
        "does not read /etc/containerd/certs.d",
        "It has no harbor-pilot, as before",
    ] {
        assert!(play.refused().contains(told), "{told}: {}", play.text);
    }
    assert_eq!(
        (text(), started()),
        (before.clone(), running.clone()),
        "nothing is written unasked"
    );
    assert_eq!(all(), kept, "neither the agent's files nor its program");

    let wanted = ["--extra-vars", "{harbor_pilot_containerd_config: true}"];
    let play = site.play("rollout", &wanted);
    assert!(
        play.refused()
            .contains("does not read /etc/containerd/certs.d"),
        "{}",
        play.text
    );
    assert!(
        play.text.contains("Until containerd is restarted"),
        "{}",
        play.text
    );
    assert_eq!(
        started(),
        running,
        "it is restarted only where that is allowed"
    );
    for text in text() {
        assert!(
            text.contains("config_path = \"/etc/containerd/certs.d\""),
            "{text}"
        );
        assert!(text.starts_with(&before[0]), "{text}");
    }
    let allowed = [
        "--extra-vars",
        "{harbor_pilot_containerd_config: true, harbor_pilot_containerd_restart: true}",
    ];
    assert_eq!(
        site.play("rollout", &allowed).changed(),
        1,
        "the restart alone"
    );
    assert_ne!(started(), running);
    assert_eq!(site.play("rollout", &allowed).changed(), 0);

    // What only a person can change stays.
    let mirrors = "[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"docker.io\"]\nendpoint = [\"https://mirror.gcr.io\"]\n";
    site.each(|node| node.write(file, &format!("version = 2\n{mirrors}")));
    let play = site.play("rollout", &allowed);
    assert!(
        play.refused().contains("may not stand beside config_path"),
        "{}",
        play.text
    );
    assert!(text().iter().all(|text| text.ends_with(mirrors.trim_end())));
}

fn restarts_in_turn(site: &Site) {
    let play = site.play("rollout", &[]);
    play.changed();
    assert!(
        play.text.contains("has changed since k3s started"),
        "the operator is told:\n{}",
        play.text
    );
    assert_eq!(site.k3s_count(), [1, 1], "not without being allowed to");

    let play = site.play("rollout", &ALLOWED);
    assert_eq!(play.changed(), 1, "the restart alone:\n{}", play.text);
    assert_eq!(site.k3s_count(), [2, 2]);
    let [a, b] = site.k3s_starts().map(|starts| starts[1]);
    let ready = a.1.expect("node-a became ready");
    assert!(ready <= b.0, "b began at {}, a was ready at {ready}", b.0);

    assert_eq!(site.play("rollout", &ALLOWED).changed(), 0);
    assert_eq!(site.k3s_count(), [2, 2], "allowed, but not pending");
}

/// The site changes an endpoint, so that both nodes wait for a restart again.
fn one_that_does_not_come_back(site: &Site) {
    edit(site, "https://mirror.gcr.io", "https://mirror.example.com");
    site.nodes[0].write("/etc/rancher/k3s/broken", "");
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ansible/restart_all.yml");
    let play = site.play_file(&all, &[]);
    let told = "k3s is not restarted here, because it did not come back on node-a";
    assert!(play.refused().contains(told), "{}", play.text);
    assert_eq!(site.k3s_count(), [3, 2], "node-b was spared");

    // Somebody fixes and starts it, so that only node-b waits for a restart.
    site.nodes[0].shell("rm /etc/rancher/k3s/broken; systemctl start k3s");
    let changed = |arguments: &[&str]| {
        let play = site.play("k3s_restart", arguments);
        assert!(play.success, "{}", play.text);
        ["node-a", "node-b"].map(|node| play.count(node, "changed"))
    };
    assert_eq!(changed(&["--check"]), [0, 1]);
    assert_eq!(site.k3s_count(), [4, 2], "check mode restarts nothing");
    assert_eq!(changed(&[]), [0, 1]);
    assert_eq!(site.k3s_count(), [4, 3]);
    assert_eq!(changed(&[]), [0, 0]);
    edit(site, "https://mirror.example.com", "https://mirror.gcr.io");
}

fn given_back(site: &Site, before: &[String; 2]) {
    assert_eq!(site.play("uninstall", &["--check"]).changed(), 3);
    assert_eq!(
        site.property("harbor-pilot", "ActiveState"),
        ["active", "active"]
    );
    assert_eq!(
        site.play("uninstall", &[]).changed(),
        3,
        "files, service, package"
    );
    gone(site, before);
    assert_eq!(site.play("uninstall", &[]).changed(), 0);

    // And once more: the role takes the files up again that restore has let go of. Prometheus is told this time.
    let folder = site.directory().join("file_sd");
    std::fs::create_dir(&folder).unwrap();
    let scrape = serde_json::json!({
        "harbor_pilot_scrape_directory": folder, "harbor_pilot_scrape_delegate_to": "localhost",
    });
    site.set_variables("scrape", &scrape);
    assert!(site.play("rollout", &[]).changed() > 0);
    for text in site.run("cat", &[REGISTRIES]) {
        assert!(text.contains(AGENT), "{text}");
    }
    assert_eq!(site.play("rollout", &[]).changed(), 0);
    for name in ["node-a", "node-b"] {
        let text = std::fs::read_to_string(folder.join(format!("harbor-pilot-{name}.json")));
        let targets: serde_json::Value = serde_json::from_str(&text.unwrap()).unwrap();
        let target = format!("{name}:9105");
        let expected = serde_json::json!([{ "targets": [target], "labels": { "node": name } }]);
        assert_eq!(targets, expected);
    }
    let purge = ["--extra-vars", "harbor_pilot_uninstall_purge=true"];
    assert!(site.play("uninstall", &purge).changed() > 3);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    site.forget_variables("scrape");
    gone(site, before);
    let left = "ls -d /etc/harbor-pilot /var/lib/harbor-pilot 2>/dev/null || true";
    assert_eq!(site.run("sh", &["-c", left]), ["", ""]);
}

/// Nothing is left of harbor-pilot in what k3s and containerd read, and k3s' next start makes what it made before.
fn gone(site: &Site, before: &[String; 2]) {
    let program = site.run("sh", &["-c", "command -v harbor-pilot || true"]);
    assert_eq!(program, ["", ""]);
    for node in &site.nodes {
        let text = std::fs::read_to_string(node.path(REGISTRIES)).unwrap();
        assert_eq!(text, BEFORE, "byte for byte");
        // Nor what k3s generated while its file named the agent.
        let left = format!("grep -rl 127.0.0.1:290 {CERTS_D} || true");
        assert_eq!(node.shell(&left), "", "a port that nobody serves");
        node.run("systemctl", &["restart", "k3s"]);
    }
    assert_eq!(&site.node_files(), before, "byte for byte");
}

/// A site whose own role writes registries.yaml, by the documented example.
fn own_registries(site: &Site) {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("ansible/examples/own_registries.yml");
    assert!(site.play_file(&example, &[]).changed() > 0);
    let [text, _] = site.run("cat", &[REGISTRIES]);
    assert!(text.contains("Ansible managed"), "{text}");
    // What a command prints comes without its last newline.
    assert_eq!(text.matches(AGENT.trim_end()).count(), 2, "{text}");
    assert_eq!(site.play_file(&example, &[]).changed(), 0, "nobody fights");
    assert_eq!(site.run("cat", &[REGISTRIES]), [text.clone(), text]);
}

/// The site's own change of its own file. k3s started in an earlier second.
fn edit(site: &Site, old: &str, new: &str) {
    for node in &site.nodes {
        node.shell(&format!("sleep 1.1; sed -i 's|{old}|{new}|' {REGISTRIES}"));
    }
}
