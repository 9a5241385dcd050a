//! The Ansible role harbor_tier on a booted Debian that stands for a Harbor host: real nginx and systemd, and a scripted Harbor behind
//! them (harbor.py). Needs root; `make test-harbor-tier`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that cannot go on says so and ends"
)]

#[allow(
    dead_code,
    unused_imports,
    reason = "other tests use other parts of it"
)]
#[path = "../lab/lab.rs"]
mod lab;
#[path = "../ansible/package.rs"]
mod package;

mod host;
mod nginx;

use host::{Host, SECRETS};
use lab::Lab;
use serde_json::json;

const UNIT: &str = "harbor-pilot-healthd";
const PROJECTS: [&str; 2] = ["proxy-docker-io", "proxy-quay-io"];

#[test]
fn a_replicas_host_from_the_first_run_to_the_last() {
    let lab = Lab::start_without_servers();
    let host = Host::boot(&lab);
    first_run(&host);
    nginx::rewrites(&host);
    nginx::passes_on(&host);
    health(&host);
    drift(&host);
    cut_off(&host);
    older_package(&host);
    refusals(&host);
    core(&host);
    uninstall(&host);
    let journal = host.machine.run("journalctl", &["--no-pager", "--quiet"]);
    assert!(
        journal.contains("harbor_tier"),
        "modules log their invocation"
    );
    host::assert_no_secret(&journal);
}

fn first_run(host: &Host) {
    let foretold = host.play("tier_replica", &["--check", "--diff"]);
    foretold.succeeded();
    let package = format!("harbor-pilot {} would be installed", host.version);
    for word in [
        package.as_str(),
        "harbor-tier.conf would be written, nginx started",
        "harbor-pilot-healthd.service would be enabled and started",
        "proxy-quay-io",
        "in /etc/harbor-pilot-robot.secret",
    ] {
        assert!(foretold.text.contains(word), "{word}: {}", foretold.text);
    }
    assert_eq!(
        host.harbor("changes"),
        json!([]),
        "check mode changes nothing"
    );
    for gone in [
        "/usr/sbin/nginx",
        "/usr/bin/harbor-pilot",
        host::SECRET_FILE,
    ] {
        assert!(!host.machine.path(gone).exists(), "{gone}");
    }

    let play = host.play("tier_replica", &["--diff", "-vvv"]);
    play.succeeded();
    assert!(play.text.contains("proxy-quay-io"), "the diff is shown");
    let file = host
        .machine
        .run("stat", &["-c", "%a %U", host::SECRET_FILE]);
    assert_eq!(file, "600 root");
    let secret = host.machine.run("cat", &[host::SECRET_FILE]);
    assert!(secret.starts_with("Made0by1Harbor"), "{secret}");
    let listed = host.harbor("projects");
    let names: Vec<&str> = listed
        .as_object()
        .unwrap()
        .values()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, [&["library"][..], &PROJECTS].concat());

    assert_eq!(host.play("tier_replica", &["--diff"]).changed(), 0);
    assert_eq!(host.machine.run("cat", &[host::SECRET_FILE]), secret);
}

fn health(host: &Host) {
    let ask = || {
        let format = ["-s", "-o", "/dev/null", "-w", "%{http_code}"];
        let arguments = [&format[..], &["http://127.0.0.1:1337/"]].concat();
        host.machine.say("curl", &arguments)
    };
    let wait = |status: &str| {
        host.wait(&format!("healthd says {status}"), || ask() == status);
    };
    wait("200");
    host.set_harbor(&json!({"unhealthy": "redis"}));
    wait("503");
    host.set_harbor(&json!({"unhealthy": null}));
    wait("200");
}

/// A project made private, the site edited, the responder stopped: each is foretold, corrected, and said.
fn drift(host: &Host) {
    let number = host.project_number("proxy-quay-io");
    host.api(
        "PUT",
        &format!("/projects/{number}"),
        &json!({"metadata": {"public": "false"}}),
    );
    host.machine
        .shell(&format!("sed -i 's/TLSv1.3/TLSv1.2/' {}", host::SITE));
    host.machine
        .run("systemctl", &["disable", "--now", "harbor-pilot-healthd"]);
    let foretold = host.play("tier_replica", &["--check", "--diff"]);
    assert!(foretold.text.contains("public: true"), "{}", foretold.text);
    assert!(
        foretold.text.contains("+    ssl_protocols TLSv1.3;"),
        "{}",
        foretold.text
    );
    let play = host.play("tier_replica", &["--diff"]);
    assert_eq!(play.changed(), foretold.changed());
    // Site, nginx reloaded, Harbor, the responder.
    assert_eq!(play.changed(), 4);
    assert_eq!(
        host.harbor("projects")[&number]["metadata"]["public"],
        "true"
    );
    host.machine
        .run("systemctl", &["is-active", "harbor-pilot-healthd", "nginx"]);
    nginx::wants_tls_1_3(host);
}

/// A run whose reload of nginx does not happen, and one that wrote the responder's options and did no more: the next run notices.
fn cut_off(host: &Host) {
    let responder = || {
        let unit = ["show", "--value", "--property=MainPID", UNIT];
        let number = host.machine.run("systemctl", &unit);
        let environment = host
            .machine
            .run("cat", &[&format!("/proc/{number}/environ")]);
        let mut options = environment.split('\0');
        options
            .find_map(|one| one.strip_prefix("HEALTHD_OPTIONS="))
            .unwrap()
            .to_owned()
    };
    let ipv6 = || host.machine.run("ss", &["-Hltn", "sport = :443"]);
    let kept = responder();
    assert!(ipv6().contains("[::]:443"));
    let failing = "/run/systemd/system/nginx.service.d/failing.conf";
    host.machine
        .shell("mkdir -p /run/systemd/system/nginx.service.d");
    host.machine
        .write(failing, "[Service]\nExecReload=\nExecReload=/bin/false\n");
    host.machine.run("systemctl", &["daemon-reload"]);
    let other = json!({"harbor_tier_nginx_ipv6": false, "harbor_tier_healthd_options": format!("{kept} --require database,redis --cache 3s")});
    let other = ["-e", &other.to_string()];
    host.play("tier_replica", &other).refused();
    assert!(ipv6().contains("[::]:443"), "nginx has not read it");
    host.machine.run("rm", &[failing]);
    // And a responder that runs, although it is not enabled.
    host.machine.run("systemctl", &["daemon-reload"]);
    host.machine.run("systemctl", &["disable", UNIT]);
    let foretold = host.play("tier_replica", &[&other[..], &["--check"]].concat());
    let play = host.play("tier_replica", &other);
    assert_eq!(play.changed(), foretold.changed());
    // nginx reloaded; options written, enabled, restarted.
    assert_eq!(play.changed(), 4);
    host.wait("nginx is off IPv6", || !ipv6().contains("[::]:443"));
    assert_eq!(
        responder(),
        format!("{kept} --require database,redis --cache 3s")
    );

    host.machine.shell(&format!(
        "sed -i 's/ --require database,redis --cache 3s//' /etc/systemd/system/{UNIT}.service.d/harbor-tier.conf"
    ));
    let foretold = host.play("tier_replica", &["--check"]);
    let play = host.play("tier_replica", &[]);
    assert_eq!(play.changed(), foretold.changed());
    // The responder; the site with IPv6 again, and nginx.
    assert_eq!(play.changed(), 3);
    assert_eq!(responder(), kept);
    assert_eq!(host.play("tier_replica", &[]).changed(), 0);
}

/// An older package is refused by check mode and run alike, unless it may be.
fn older_package(host: &Host) {
    let newer = format!("harbor_tier_deb_file={}", host.newer.display());
    let tags = ["--tags", "harbor_tier_healthd"];
    let update = [&tags[..], &["-e", &newer]].concat();
    assert_eq!(host.play("tier_replica", &update).changed(), 1);
    for arguments in [&[&tags[..], &["--check"]].concat()[..], &tags] {
        let play = host.play("tier_replica", arguments);
        let said = format!(
            "harbor-pilot {} of harbor_tier_deb_file is older",
            host.version
        );
        assert!(play.refused().contains(&said), "{}", play.text);
    }
    let downgrade = [&tags[..], &["-e", "harbor_tier_allow_downgrade=true"]].concat();
    assert_eq!(host.play("tier_replica", &downgrade).changed(), 1);
    assert_eq!(host.play("tier_replica", &tags).changed(), 0);
}

fn refusals(host: &Host) {
    let before = host.machine.run("cat", &[host::SITE]);
    let play = host.play(
        "tier_replica",
        &[
            "--tags",
            "harbor_tier_nginx",
            "-e",
            "harbor_tier_nginx_certificate=/none.pem",
        ],
    );
    let said = play.refused();
    assert!(
        said.contains("nginx refuses the site, and the former state is back"),
        "{said}"
    );
    assert!(said.contains("/none.pem"), "{said}");
    assert_eq!(host.machine.run("cat", &[host::SITE]), before);
    host.machine.run("nginx", &["-t"]);
    let left = host.machine.shell("ls /etc/nginx/conf.d");
    assert_eq!(left, "harbor-tier.conf");

    let play = host.play(
        "tier_replica",
        &[
            "--tags",
            "harbor_tier_api",
            "-e",
            "harbor_tier_password=Not0the1word",
            "-vvv",
        ],
    );
    assert!(
        play.refused()
            .contains("Harbor refuses the account admin (401)"),
        "{}",
        play.text
    );
    let play = host.play(
        "tier_replica",
        &["-e", "harbor_tier_core_url=https://core.lab.example/v2"],
    );
    assert!(play.refused().contains("without a path"), "{}", play.text);
}

/// A CORE's API, with an account upstream, and the robot with which the replica asks it.
fn core(host: &Host) {
    let own = json!({
        "harbor_tier_hosts": "all",
        "harbor_tier_url": "https://core.lab.example:9443",
        "harbor_tier_upstreams": {"docker.io": {"username": "me", "password": SECRETS[1]}},
        "harbor_tier_robots": [{"name": "replica", "secret": SECRETS[0]}],
        "harbor_tier_nginx_names": [],
        "harbor_tier_healthd": false,
    });
    let own = own.to_string();
    let variables = ["-e", own.as_str()];
    let play = host.play("tier_core", &[&variables[..], &["--diff", "-vvv"]].concat());
    assert_eq!(play.changed(), 1);
    assert!(play.text.contains("registry-1.docker.io"), "{}", play.text);
    assert_eq!(host.play("tier_core", &variables).changed(), 0);
    let kept = host.core("secrets").to_string();
    for secret in [SECRETS[0], SECRETS[1]] {
        assert!(kept.contains(secret), "{secret}: {kept}");
    }
}

fn uninstall(host: &Host) {
    host.set_harbor(&json!({"repositories": {"library": [], "proxy-docker-io": ["library/nginx"], "proxy-quay-io": []}}));
    let foretold = host.play("tier_uninstall", &["--check"]);
    let play = host.play("tier_uninstall", &["-vvv"]);
    assert_eq!(play.changed(), foretold.changed());
    for text in [&foretold.text, &play.text] {
        assert!(
            text.contains("proxy-docker-io: it holds 1 repositories"),
            "{text}"
        );
    }
    for gone in [
        host::SITE,
        host::SECRET_FILE,
        "/etc/systemd/system/harbor-pilot-healthd.service.d",
        "/var/lib/harbor-tier.site",
    ] {
        assert!(!host.machine.path(gone).exists(), "{gone}");
    }
    let state = |verb: &str, unit: &str| host.machine.say("systemctl", &[verb, unit]);
    assert_eq!(state("is-enabled", "harbor-pilot-healthd"), "disabled");
    assert_eq!(state("is-active", "harbor-pilot-healthd"), "inactive");
    assert_eq!(state("is-active", "nginx"), "active");
    host.wait("nobody listens on 443", || {
        let asked = host.machine.output("curl", &["-s", "https://127.0.0.1/"]);
        asked.status.code() == Some(7)
    });
    assert_eq!(host.harbor("robots"), json!({}));
    // Nothing but what the first one left.
    let all = ["-e", "harbor_tier_uninstall_repositories=true"];
    assert_eq!(host.play("tier_uninstall", &all).changed(), 1);
    assert_eq!(host.harbor("registries"), json!({}));
    assert_eq!(
        host.harbor("projects").as_object().unwrap().len(),
        1,
        "library stays"
    );
}
