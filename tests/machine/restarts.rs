//! Upgrades and restarts under load: nothing is refused, nothing fails, nothing waits long; and a new version that cannot
//! use the configuration leaves the old process alone.

use crate::lab::{Image, Lab, Release};
use crate::node::{Node, Package, Runtime};
use std::time::Duration;

/// How often the agent is restarted while pulls run; `make test` asks for fewer by this variable.
fn restarts() -> usize {
    std::env::var("HARBOR_PILOT_RESTARTS").map_or(50, |number| number.parse().unwrap())
}

/// The most that a request may wait, in seconds: three times the target of design 10, for machines with other work.
const LONGEST: f64 = 6.0;

/// Requests by hand all the time, each with its status and its time; and pulls by containerd, each with its success. A
/// layer that was cut goes on where it ended, as containerd does it, and its digest is checked.
const LOAD: &str = r#"
manifest=http://127.0.0.1:290/v2/REPOSITORY/manifests/1?ns=docker.io
blob=http://127.0.0.1:290/v2/REPOSITORY/blobs/DIGEST?ns=docker.io
accept='Accept: application/vnd.oci.image.index.v1+json'
format='%{exitcode} %{http_code} %{time_total}'
(while [ ! -e /root/enough ]; do
    curl -s -o /dev/null --max-time 30 -H "$accept" -w "manifest $format\n" "$manifest" >>/root/requests
    sleep 0.02
done) &
(while [ ! -e /root/enough ]; do
    rm -f /root/blob
    curl -s -o /root/blob --max-time 30 -w "blob $format\n" "$blob" >/root/answer
    case "$(cat /root/answer)" in
        "blob 18 200 "*) curl -s -C - -o /root/blob --max-time 30 -w "rest $format\n" "$blob" >/root/answer ;;
    esac
    cat /root/answer >>/root/requests
    echo "DIGEST" | sed 's,sha256:\(.*\),\1  /root/blob,' | sha256sum --check --quiet >>/root/requests 2>&1
done) &
while [ ! -e /root/enough ]; do
    ctr images rm --sync REFERENCE >/dev/null 2>&1 || true
    if ctr images pull --hosts-dir HOSTS REFERENCE >/root/pull 2>&1; then echo good; else echo "bad: $(cat /root/pull)"; fi >>/root/pulls
done
wait
"#;

#[test]
fn restarts_and_upgrades_under_load_cost_no_pull() {
    let lab = Lab::start();
    let node = Node::boot(&lab, Release::Bookworm, Runtime::Containerd);
    let image = lab.publish("library/app");
    node.bring_up(&lab);
    node.pull(&image);
    // Without the agent nothing would answer: a pull that goes round it must not look like a good one.
    node.drop_in(
        "80-closed",
        "[[registry]]\nname = \"docker.io\"\ndirect = false\n",
    );
    node.machine.run("systemctl", &["reload", "harbor-pilot"]);
    node.wait("nothing but the agent is in hosts.toml", |node| {
        let hosts = node
            .machine
            .say("cat", &["/etc/containerd/certs.d/docker.io/hosts.toml"]);
        hosts.contains("server = \"http://127.0.0.1:290\"")
    });
    let before = node.files("/etc/containerd");

    start_load(&node, &image);
    let restarts = restarts();
    for round in 0..restarts {
        std::thread::sleep(Duration::from_millis(200));
        // An upgrade is one restart; five in a few seconds would meet the start limit, which is not what is tested.
        node.machine
            .run("systemctl", &["reset-failed", "harbor-pilot"]);
        if round == restarts / 2 {
            let pid = node.pid();
            node.install(Package::Second);
            assert_ne!(node.pid(), pid, "the upgrade restarts once");
        } else {
            node.machine.run("systemctl", &["restart", "harbor-pilot"]);
        }
    }
    end_load(&node);
    assert_eq!(
        node.files("/etc/containerd"),
        before,
        "restarts write nothing"
    );
    assert!(
        node.machine
            .run("dpkg-query", &["-W", "harbor-pilot"])
            .contains(&Package::Second.version())
    );

    // Downgrade over one version: state and files are those that the older one knows.
    node.install(Package::First);
    assert_eq!(node.state(), "active");
    node.forget(&image);
    node.pull(&image);
}

fn start_load(node: &Node, image: &Image) {
    let script = LOAD
        .replace("REPOSITORY", image.repository())
        .replace("DIGEST", &image.layers()[1])
        .replace("HOSTS", node.certs_d())
        .replace("REFERENCE", &image.by_tag("docker.io"));
    node.machine.write("/root/load.sh", &script);
    node.machine
        .run("systemd-run", &["--unit=load", "sh", "/root/load.sh"]);
    node.wait("the load runs", |node| {
        node.machine.say("cat", &["/root/pulls"]).contains("good")
    });
}

fn end_load(node: &Node) {
    node.machine.write("/root/enough", "");
    node.wait("the load ends", |node| {
        node.machine.say("systemctl", &["is-active", "load"]) != "active"
    });
    let requests = node.machine.run("cat", &["/root/requests"]);
    let mut longest = 0.0_f64;
    let mut bad = Vec::new();
    for line in requests.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [what, exit, status, seconds] = fields[..] else {
            bad.push(line.to_owned());
            continue;
        };
        let expected = if what == "rest" { "206" } else { "200" };
        if exit != "0" || status != expected {
            bad.push(line.to_owned());
        }
        longest = longest.max(seconds.parse().unwrap());
    }
    let pulls = node.machine.run("cat", &["/root/pulls"]);
    let good = pulls.lines().filter(|line| *line == "good").count();
    println!(
        "{} restarts, one of them an upgrade: {} requests, the slowest {longest:.2} s; \
         {} layers were cut and went on; {good} pulls",
        restarts(),
        requests.lines().count(),
        requests
            .lines()
            .filter(|line| line.starts_with("rest "))
            .count()
    );
    assert_eq!(bad, Vec::<String>::new(), "{}", node.journal(&[]));
    assert_eq!(good, pulls.lines().count(), "{pulls}");
    assert!(good >= 5, "too few pulls to say anything: {pulls}");
    assert!(longest < LONGEST, "{longest} s");
}

#[test]
fn an_upgrade_that_cannot_use_the_configuration_leaves_the_old_process_alone() {
    let lab = Lab::start();
    let node = Node::boot(&lab, Release::Bookworm, Runtime::Containerd);
    let image = lab.publish("library/app");
    node.bring_up(&lab);
    let pid = node.pid();
    node.drop_in("99-later", "[relay]\nverify = \"never\"\n");
    let text = node.install(Package::Second);
    assert!(text.contains("relay.verify"), "{text}");
    assert!(text.contains("keeps the old program"), "{text}");
    assert_eq!(node.pid(), pid);
    node.pull(&image);
    assert!(
        node.machine
            .run("dpkg-query", &["-W", "harbor-pilot"])
            .contains(&Package::Second.version())
    );

    // Fixed, one restart brings the new one.
    node.machine
        .run("rm", &["/etc/harbor-pilot/config.d/99-later.toml"]);
    node.machine.run("systemctl", &["restart", "harbor-pilot"]);
    assert_eq!(node.state(), "active");

    // An agent that somebody has stopped stays stopped.
    node.machine.run("systemctl", &["stop", "harbor-pilot"]);
    node.install(Package::First);
    assert_eq!(node.state(), "inactive");

    // The ledger of a later version is refused in words, and pulls go on.
    node.machine.run("systemctl", &["start", "harbor-pilot"]);
    node.wait_for_hosts_toml();
    node.machine.run("systemctl", &["stop", "harbor-pilot"]);
    node.machine
        .shell("sed -i 's/\"version\": *1/\"version\":99/' /var/lib/harbor-pilot/ledger.json");
    node.machine.run("systemctl", &["start", "harbor-pilot"]);
    let plan = node.machine.output("harbor-pilot", &["plan"]);
    let said = String::from_utf8_lossy(&plan.stderr).into_owned();
    assert_eq!(plan.status.code(), Some(2), "{said}");
    assert!(said.contains("use the newer program"), "{said}");
    node.forget(&image);
    node.pull(&image);
}
