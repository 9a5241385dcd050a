//! What goes wrong with the agent itself, and how long the port is silent then: never for long, so that containerd is
//! refused and goes on to its next host.

use crate::lab::{Image, Lab, Release};
use crate::node::{Node, Runtime};
use std::time::{Duration, Instant};

/// How long a broken agent's port may stay silent: three times the target of design 10.
const SILENT_AT_MOST: Duration = Duration::from_secs(3);

#[test]
fn killed_frozen_or_broken_the_agent_is_refused_or_back() {
    let lab = Lab::start();
    let node = Node::boot(&lab, Release::Bookworm, Runtime::Containerd);
    let image = lab.publish("library/app");
    node.bring_up(&lab);
    // What upstream has may be pulled without the agent.
    let authority = std::fs::read_to_string(lab.ca()).unwrap();
    node.machine
        .write("/usr/local/share/ca-certificates/lab.crt", &authority);
    node.machine.run("update-ca-certificates", &[]);
    node.machine.run("systemctl", &["restart", "containerd"]);

    kill(&node);
    freeze(&node);
    node.pull(&image);
    let (machine, drop_in) = (
        &node.machine,
        "/run/systemd/system/harbor-pilot.service.d/broken.conf",
    );
    // How each fails, and where: before, at and after the program's own start.
    for (phase, text) in [
        (
            "the state directory cannot be made",
            "[Service]\nStateDirectory=../etc\nStateDirectory=harbor-pilot/config/nowhere\n",
        ),
        (
            "a path of the sandbox is missing",
            "[Service]\nReadWritePaths=/nowhere/at/all\n",
        ),
        (
            "a credential is missing",
            "[Service]\nLoadCredential=more:/nowhere/at/all\n",
        ),
        (
            "there is no program",
            "[Service]\nExecStart=\nExecStart=/nowhere/at/all\n",
        ),
        (
            "the program fails at once",
            "[Service]\nExecStart=\nExecStart=/bin/false\n",
        ),
        (
            "the configuration is bad and none was accepted",
            "[Service]\nEnvironment=HARBOR_PILOT_CONFIG=/nowhere/at/all STATE_DIRECTORY=/run/harbor-pilot\n",
        ),
    ] {
        if phase.starts_with("the state directory") {
            machine.shell(
                "rm -rf /var/lib/harbor-pilot/config; echo file >/var/lib/harbor-pilot/config",
            );
        }
        machine.write(drop_in, text);
        machine.run("systemctl", &["daemon-reload"]);
        machine.output("systemctl", &["restart", "--no-block", "harbor-pilot"]);
        let silent = silence(&node);
        println!("{phase}: refused after {:.2} s", silent.as_secs_f32());
        assert!(silent < SILENT_AT_MOST, "{phase}: {}", node.journal(&[]));
        node.wait("it has failed for good", |node| node.state() == "failed");
        assert_eq!(node.connect_status(), 7, "{phase}: still refused");
        without_agent(&node, &image);
        machine.run("rm", &[drop_in]);
        machine.run("systemctl", &["daemon-reload"]);
        machine.run("systemctl", &["reset-failed", "harbor-pilot"]);
        machine.run("systemctl", &["start", "harbor-pilot"]);
        assert_eq!(node.connect_status(), 0, "{phase}: back");
        node.wait_for_hosts_toml();
    }

    machine.run("systemctl", &["mask", "--now", "harbor-pilot"]);
    assert_eq!(node.connect_status(), 7, "masked");
    without_agent(&node, &image);
}

/// kill -9: systemd starts it again within a moment, and between there is a refused connection at most.
fn kill(node: &Node) {
    let pid = node.pid();
    let restarts = node.property("NRestarts");
    let start = Instant::now();
    node.machine.run("kill", &["-KILL", &pid]);
    node.wait("it is back", |node| {
        let exit = node.connect_status();
        assert_ne!(exit, 28, "refused or served, never silent");
        exit == 0
    });
    println!(
        "kill -9: served again after {:.2} s",
        start.elapsed().as_secs_f32()
    );
    assert_ne!(node.property("NRestarts"), restarts);
}

/// SIGSTOP: the port is silent until the watchdog ends it; then all is as after kill -9.
fn freeze(node: &Node) {
    let pid = node.pid();
    let start = Instant::now();
    node.machine.run("kill", &["-STOP", &pid]);
    assert_eq!(node.connect_status(), 28, "a stopped process says nothing");
    while node.connect_status() != 0 {
        assert!(
            start.elapsed() < Duration::from_secs(40),
            "{}",
            node.journal(&[])
        );
    }
    println!(
        "SIGSTOP: served again after {:.2} s",
        start.elapsed().as_secs_f32()
    );
    assert_ne!(node.pid(), pid);
    assert!(
        node.journal(&[]).contains("watchdog"),
        "{}",
        node.journal(&[])
    );
}

/// How long nobody answered and nobody refused: from the last answer of the old process until the refusal that stays.
fn silence(node: &Node) -> Duration {
    let start = Instant::now();
    let (mut answered, mut refused) = (start.elapsed(), None);
    loop {
        let now = start.elapsed();
        match node.connect_status_within("0.3") {
            0 => (answered, refused) = (start.elapsed(), None),
            7 => {
                let first = *refused.get_or_insert(now);
                if now - first > Duration::from_millis(1500) {
                    return first.saturating_sub(answered);
                }
            }
            _ => refused = None,
        }
        assert!(now < Duration::from_secs(40), "{}", node.journal(&[]));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A pull that nobody but upstream can serve.
fn without_agent(node: &Node, image: &Image) {
    node.machine.output(
        "ctr",
        &["images", "rm", "--sync", &image.by_tag("docker.io")],
    );
    let start = Instant::now();
    node.pull(image);
    println!(
        "a pull without the agent: {:.2} s",
        start.elapsed().as_secs_f32()
    );
}

#[test]
fn journald_and_the_disk_may_fail_and_pulls_go_on() {
    let lab = Lab::start();
    let node = Node::boot(&lab, Release::Bookworm, Runtime::Containerd);
    let images: Vec<Image> = (1..=3)
        .map(|number| lab.publish(&format!("library/app{number}")))
        .collect();
    node.machine.shell(
        "mkdir -p /var/lib/harbor-pilot; mount -t tmpfs -o size=1m,mode=700 tmpfs /var/lib/harbor-pilot",
    );
    node.bring_up(&lab);

    // A journald that is stopped takes a few hundred records and blocks its senders; the queue before it holds 4096.
    let machine = &node.machine;
    let journald = machine.run(
        "systemctl",
        &["show", "--property=MainPID", "--value", "systemd-journald"],
    );
    machine.run("kill", &["-STOP", &journald]);
    // Served ones: refused requests would be summed up. curl counts in the fragment, which is not sent.
    let served = format!(
        "http://127.0.0.1:290/v2/{}/manifests/1?ns=docker.io#[1-6000]",
        images[0].repository()
    );
    let answers = machine.run(
        "curl",
        &[
            "-s",
            "-o",
            "/dev/null",
            "--max-time",
            "120",
            "-w",
            "%{http_code}\n",
            &served,
        ],
    );
    assert_eq!(answers.lines().count(), 6000);
    assert!(answers.lines().all(|answer| answer == "200"), "{answers}");
    node.pull_quietly(&images[0]);
    machine.run("kill", &["-CONT", &journald]);
    node.wait("what was lost is said", |node| {
        node.connect_status();
        !node.records(&["EVENT=log_dropped"]).is_empty()
    });

    // The state directory is full: the agent serves, reloads and restarts.
    machine.output("sh", &["-c", "cat /dev/zero >/var/lib/harbor-pilot/fill"]);
    node.pull(&images[1]);
    machine.run("systemctl", &["reload", "harbor-pilot"]);
    machine.run("systemctl", &["restart", "harbor-pilot"]);
    assert_eq!(node.state(), "active");
    node.pull(&images[2]);
    let hosts = machine.run("cat", &["/etc/containerd/certs.d/docker.io/hosts.toml"]);
    assert!(hosts.contains("127.0.0.1:290"), "{hosts}");
    machine.run("rm", &["/var/lib/harbor-pilot/fill"]);
    machine.output("umount", &["-l", "/var/lib/harbor-pilot"]);
}
