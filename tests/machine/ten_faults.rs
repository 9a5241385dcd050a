//! Ten faults that an operator meets, planted one after the other on a booted Debian 12: doctor finds each, `status`, the page
//! and doctor agree that it is one, and what doctor tells a person to do makes all of them agree that the node is ready. Where that
//! is a command, the very command is run.

use crate::lab::{Fault, Lab, Place, Release};
use crate::node::{Node, Package, Runtime};
use serde_json::Value;
use std::time::{Duration, Instant};

const HOSTS: &str = "/etc/containerd/certs.d/docker.io/hosts.toml";
const CONTAINERD: &str = "/etc/containerd/config.toml";

/// Nobody in the laboratory plays these.
const ABSENT: [&str; 6] = [
    "ghcr.io",
    "quay.io",
    "gcr.io",
    "public.ecr.aws",
    "mcr.microsoft.com",
    "registry.k8s.io",
];

/// The machine's clock is the host's, and nobody inside may set it: the agent and doctor get theirs from this file, and what
/// sets the clock is a stand-in that empties it.
const CLOCK: &str = "/run/clock";
const CLOCK_LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
const TIMEDATECTL: &str = "#!/bin/sh\n[ \"$*\" = 'set-ntp true' ] && echo +0 >/run/clock\n";

/// How soon the node must be ready again: an ejection of 5 s, a probe of the next 8 s, three successes; or a look at the files.
const RECOVERY: Duration = Duration::from_secs(60);

/// What doctor said.
struct Found {
    report: Value,
    code: i32,
}

#[test]
fn ten_faults_are_found_and_their_remedies_help() {
    let mut lab = Lab::start();
    let node = Node::boot(&lab, Release::Bookworm, Runtime::Containerd);
    let image = lab.publish("library/app");
    node.install(Package::First);
    prepare(&node);
    node.configure(&lab);
    node.machine
        .run("systemctl", &["enable", "--now", "harbor-pilot"]);
    node.wait_for_hosts_toml();
    node.pull(&image);
    node.becomes_ready("at the beginning");
    authority(&node, &lab);
    certificate(&node, &mut lab);
    name(&node, &mut lab);
    refusal(&node, &mut lab);
    config_path(&node);
    port(&node);
    clock(&node);
    proxy(&node);
    hosts_toml(&node);
    read_only(&node);
    node.forget(&image);
    node.pull(&image);
}

fn prepare(node: &Node) {
    let machine = &node.machine;
    let absent = ABSENT.map(|name| format!("[[registry]]\nname = \"{name}\"\nenabled = false\n"));
    node.drop_in("80-absent", &absent.concat());
    machine.copy(CLOCK_LIBRARY.as_ref(), CLOCK_LIBRARY);
    machine.write(CLOCK, "+0\n");
    machine.write("/usr/local/sbin/timedatectl", TIMEDATECTL);
    machine.shell("chmod 755 /usr/local/sbin/timedatectl");
    let variables = clock_variables().map(|(name, value)| format!("{name}={value}"));
    machine.write(
        "/run/systemd/system/harbor-pilot.service.d/clock.conf",
        &format!("[Service]\nEnvironment={}\n", variables.join(" ")),
    );
    machine.run("systemctl", &["daemon-reload"]);
}

fn clock_variables() -> [(&'static str, &'static str); 7] {
    [
        ("LD_PRELOAD", CLOCK_LIBRARY),
        ("FAKETIME_TIMESTAMP_FILE", CLOCK),
        ("FAKETIME_CACHE_DURATION", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("NO_FAKE_STAT", "1"),
        ("FAKETIME_DISABLE_SHM", "1"),
    ]
}

/// 1: the node has the certificate of another authority.
fn authority(node: &Node, lab: &Lab) {
    let ca = "/etc/harbor-pilot/ca.crt";
    node.machine.shell(&format!(
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=other -days 2 -out {ca} 2>&1"
    ));
    let found = node.finds("tls-unknown-issuer");
    found.tells("put that authority's certificate");
    node.machine.copy(lab.ca(), ca);
    node.becomes_ready("the right authority");
}

/// 2: the certificate of a tier has expired.
fn certificate(node: &Node, lab: &mut Lab) {
    for place in [Place::ReplicaA, Place::ReplicaB] {
        lab.set_fault(place, Fault::ExpiredCertificate);
    }
    let found = node.finds("tls-expired");
    found.tells("renew the certificate on that server");
    for place in [Place::ReplicaA, Place::ReplicaB] {
        lab.set_fault(place, Fault::None);
    }
    node.becomes_ready("a new certificate");
}

/// 3: the tier's name is gone from DNS.
fn name(node: &Node, lab: &mut Lab) {
    lab.set_dns("replicas.lab.example", &[]);
    let found = node.finds("dns-fails");
    let lookup = found.tells("getent ahosts replicas.lab.example");
    let looked_up = node.machine.output("sh", &["-c", &lookup]);
    assert!(!looked_up.status.success(), "{looked_up:?}");
    lab.set_dns("replicas.lab.example", &[Place::ReplicaA, Place::ReplicaB]);
    let looked_up = node.machine.run("sh", &["-c", &lookup]);
    assert!(looked_up.contains("198.18.1.11"), "{looked_up}");
    node.becomes_ready("the name is back");
}

/// 4: a tier lets nobody in.
fn refusal(node: &Node, lab: &mut Lab) {
    for place in [Place::ReplicaA, Place::ReplicaB] {
        lab.set_fault(place, Fault::Status(401));
    }
    let found = node.finds("tier-denied");
    found.tells("make the project public");
    for place in [Place::ReplicaA, Place::ReplicaB] {
        lab.set_fault(place, Fault::None);
    }
    node.becomes_ready("the project is public");
}

/// 5: containerd does not read the directory.
fn config_path(node: &Node) {
    node.machine.write(CONTAINERD, "version = 2\n");
    node.machine.run("systemctl", &["restart", "containerd"]);
    let found = node.finds("config-path-not-read");
    let is_toml =
        |line: &&str| line.trim_start().starts_with(['[', '#']) || line.contains("config_path =");
    let lines: Vec<&str> = found.remedy().lines().filter(is_toml).collect();
    assert!(lines.len() > 1, "{:#}", found.report);
    let text = node.machine.run("cat", &[CONTAINERD]);
    node.machine
        .write(CONTAINERD, &format!("{text}\n{}\n", lines.join("\n")));
    node.machine.run("containerd", &["config", "dump"]);
    // A restart within the second of the change could not be told from one before it.
    std::thread::sleep(Duration::from_millis(1100));
    node.machine.run("systemctl", &["restart", "containerd"]);
    node.becomes_ready("containerd reads it");
}

/// 6: another program has the agent's port.
fn port(node: &Node) {
    let machine = &node.machine;
    machine.run("systemctl", &["stop", "harbor-pilot"]);
    // It sends back whatever it is asked.
    machine.shell(
        "systemd-run --unit=thief systemd-socket-activate --accept --inetd -l 127.0.0.1:290 cat",
    );
    node.wait("the port is taken", |node| node.connect_status() != 7);
    machine.output("systemctl", &["start", "harbor-pilot"]);
    node.wait("it has failed for good", |node| node.state() == "failed");
    let found = node.finds("port-stolen");
    found.tells("stop that program");
    machine.run("systemctl", &["stop", "thief"]);
    for command in found.commands() {
        machine.shell(&command);
    }
    node.becomes_ready("the agent has its port");
}

/// 7: the node's clock is thirty years fast: no certificate is good.
fn clock(node: &Node) {
    node.machine.write(CLOCK, "+30y\n");
    let found = node.finds("clock-off");
    let command = found.tells("timedatectl set-ntp true");
    node.machine.shell(&command);
    node.becomes_ready("the clock is right");
}

/// 8: the way to a tier leads through a proxy that is dead.
fn proxy(node: &Node) {
    node.drop_in(
        "95-proxy",
        "[[tier]]\nname = \"replica\"\nproxy = \"http://127.0.0.1:9\"\n",
    );
    node.machine.run("systemctl", &["reload", "harbor-pilot"]);
    let found = node.finds("proxy-fails");
    found.tells("proxy = \"none\"");
    node.drop_in(
        "95-proxy",
        "[[tier]]\nname = \"replica\"\nproxy = \"none\"\n",
    );
    node.machine.run("systemctl", &["reload", "harbor-pilot"]);
    node.becomes_ready("without the proxy");
}

/// 9: somebody has written a hosts.toml that containerd ignores as a whole.
fn hosts_toml(node: &Node) {
    node.machine.write(
        HOSTS,
        "server = \"https://registry.lab.example\"\n\n[host.\"https://mirror.lab.example\"]\n  capabilities = \"pull\"\n",
    );
    node.wait("the agent has seen it", |node| node.said_by_status().0 != 0);
    let found = node.finds("hosts-unreadable");
    found.tells("move it away");
    node.machine.shell(&format!("mv {HOSTS} /root/"));
    node.wait_for_hosts_toml();
    node.becomes_ready("the file is gone");
}

/// 10: the file system of the node's files is read-only.
fn read_only(node: &Node) {
    let directory = "/etc/containerd/certs.d";
    node.machine.shell(&format!(
        "cp -a {directory} /root/kept && mount -t tmpfs -o mode=755 tmpfs {directory} && cp -a /root/kept/. {directory} && mount -o remount,ro {directory}"
    ));
    let start = Instant::now();
    while node.said_by_status().0 == 0 {
        assert!(start.elapsed() < RECOVERY, "{}", node.journal(&[]));
        std::thread::sleep(Duration::from_millis(500));
    }
    let found = node.finds("files-not-writable");
    let command = found.tells(&format!("mount -o remount,rw {directory}"));
    node.machine.shell(&command);
    node.becomes_ready("it can be written");
}

// === impl Node ===

impl Node {
    /// `status`: its exit status and its verdict; without an agent `down`.
    fn said_by_status(&self) -> (i32, String) {
        let output = self.machine.output("harbor-pilot", &["status", "--json"]);
        let code = output.status.code().expect("it ends by itself");
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let verdict = said["verdict"].as_str().unwrap_or("down");
        (code, verdict.to_owned())
    }

    /// What the page says in its title; `down` without an agent.
    fn page(&self) -> String {
        let page = self.machine.say("curl", &["-s", "http://127.0.0.1:291/"]);
        let word = page.split("<title>harbor-pilot: ").nth(1);
        let word = word.and_then(|rest| rest.split('<').next());
        word.unwrap_or("down").to_owned()
    }

    fn doctor(&self) -> Found {
        let variables = clock_variables().map(|(name, value)| format!("{name}={value}"));
        let mut arguments: Vec<&str> = variables.iter().map(String::as_str).collect();
        arguments.extend(["harbor-pilot", "doctor", "--json"]);
        let output = self.machine.output("env", &arguments);
        let report = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {output:?}"));
        Found {
            report,
            code: output.status.code().expect("it ends by itself"),
        }
    }

    /// Requests for images that there are not: they reach every source, and the agent learns how those are.
    fn asks(&self) {
        let number = self.machine.say("date", &["+%N"]);
        let url =
            format!("http://127.0.0.1:290/v2/library/none-{number}-[1-4]/manifests/1?ns=docker.io");
        self.machine
            .output("curl", &["-s", "-o", "/dev/null", "--max-time", "20", &url]);
    }

    /// The fault shows everywhere, and doctor has it.
    fn finds(&self, code: &str) -> Found {
        let start = Instant::now();
        loop {
            self.asks();
            let found = self.doctor();
            let (exit, verdict) = self.said_by_status();
            let agreed = found.report["verdict"] == verdict && self.page() == verdict;
            if agreed && exit != 0 && verdict != "ready" && found.codes() == [code] {
                println!(
                    "{code}: {verdict} after {:.1} s",
                    start.elapsed().as_secs_f32()
                );
                assert_eq!(found.code, 1);
                return found;
            }
            assert!(
                start.elapsed() < RECOVERY,
                "not within {RECOVERY:?}: {code}, and nothing else, everywhere; status says {exit} {verdict}, the page {}, doctor\n{:#}\n{}",
                self.page(),
                found.report,
                self.journal(&[])
            );
        }
    }

    /// Everything agrees that all is well.
    fn becomes_ready(&self, after: &str) {
        let start = Instant::now();
        loop {
            self.asks();
            if self.said_by_status() == (0, "ready".to_owned()) && self.page() == "ready" {
                let found = self.doctor();
                if found.code == 0 && found.report["verdict"] == "ready" {
                    assert_eq!(found.codes(), [""; 0]);
                    println!(
                        "{after}: ready after {:.1} s",
                        start.elapsed().as_secs_f32()
                    );
                    return;
                }
                // Between the two something may have changed.
                assert!(start.elapsed() < RECOVERY, "{after}: {:#}", found.report);
            }
            assert!(
                start.elapsed() < RECOVERY,
                "{after}: not ready within {RECOVERY:?}\n{}\n{}",
                self.machine.say("harbor-pilot", &["status"]),
                self.journal(&[])
            );
        }
    }
}

// === impl Found ===

impl Found {
    /// The codes, each once.
    fn codes(&self) -> Vec<&str> {
        let findings = self.report["findings"].as_array().expect("a list");
        let codes = findings
            .iter()
            .map(|one| one["code"].as_str().expect("a word"));
        let mut codes: Vec<&str> = codes.collect();
        codes.dedup();
        codes
    }

    fn remedy(&self) -> &str {
        self.report["findings"][0]["instead"]
            .as_str()
            .expect("a text")
    }

    /// The remedy has these words; gives them back.
    fn tells(&self, words: &str) -> String {
        assert!(self.remedy().contains(words), "{:#}", self.report);
        words.to_owned()
    }

    /// The commands of systemctl in the remedy, in their order.
    fn commands(&self) -> Vec<String> {
        let parts = self.remedy().split([';', '\n', ':']).map(str::trim);
        let parts = parts.flat_map(|part| part.split(" && "));
        let commands = parts.filter(|part| part.starts_with("systemctl "));
        commands.map(str::to_owned).collect()
    }
}
