//! `doctor` on a node of real parts: nothing to find while the node is healthy, and each planted fault found by its code, with
//! its remedy, and nothing else beside it.

use crate::lab::{AgentOptions, Fault, Lab, Place};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

const PROGRAM: &str = env!("CARGO_BIN_EXE_harbor-pilot");

/// What the command said.
struct Said {
    status: Option<i32>,
    report: Value,
}

impl Said {
    fn codes(&self) -> Vec<&str> {
        let findings = self.report["findings"]
            .as_array()
            .expect("a list of findings");
        let mut codes: Vec<&str> = findings
            .iter()
            .filter_map(|one| one["code"].as_str())
            .collect();
        codes.dedup();
        codes
    }

    fn check(&self, name: &str) -> &Value {
        let checks = self.report["checks"].as_array().expect("a list of checks");
        checks
            .iter()
            .find(|check| check["name"] == name)
            .expect("the check exists")
    }

    /// Exactly this was found, and its remedy says so.
    fn assert_found(&self, code: &str, subject: &str, remedy: &str) {
        assert_eq!(
            (self.status, self.codes()),
            (Some(1), vec![code]),
            "{:#}",
            self.report
        );
        let finding = &self.report["findings"][0];
        let has = |key: &str, part: &str| finding[key].as_str().unwrap_or_default().contains(part);
        assert!(
            has("subject", subject) && has("instead", remedy),
            "{finding:#}"
        );
    }

    fn assert_healthy(&self) {
        assert_eq!(
            (self.status, self.codes()),
            (Some(0), vec![]),
            "{:#}",
            self.report
        );
    }
}

/// A laboratory whose containerd is described in /etc/containerd, as the agent and doctor see it.
struct Node {
    lab: Lab,
    certs_d: PathBuf,
}

impl Node {
    fn start(keys: &str) -> Self {
        let lab = Lab::start();
        let certs_d = lab.etc().join("containerd/certs.d");
        // Nobody here plays these.
        let absent = [
            "ghcr.io",
            "quay.io",
            "gcr.io",
            "public.ecr.aws",
            "mcr.microsoft.com",
            "registry.k8s.io",
        ];
        let absent =
            absent.map(|name| format!("[[registry]]\nname = \"{name}\"\nenabled = false\n"));
        let more = format!(
            "\n[node]\nruntime = \"containerd\"\ncerts_d = \"{}\"\n{keys}\n{}",
            certs_d.display(),
            absent.concat(),
        );
        let mut node = Self { lab, certs_d };
        node.describe_containerd(true);
        node.lab.start_agent(&AgentOptions {
            more,
            ..AgentOptions::default()
        });
        node
    }

    /// /etc/containerd/config.toml, with or without the one line that matters.
    fn describe_containerd(&self, reads_certs_d: bool) {
        // What lies there is mounted over /etc of everything that the laboratory starts.
        let directory = self.lab.scratch("etc/containerd");
        let line = format!("config_path = \"{}\"\n", self.certs_d.display());
        let text = format!(
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n{}",
            if reads_certs_d { line.as_str() } else { "" }
        );
        let file = directory.join("config.toml");
        fs::write(&file, text).expect("the laboratory's directory is writable");
        // Written long ago: some other containerd of this machine may have been started since.
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
        let opened = fs::File::options().write(true).open(&file);
        let opened = opened.expect("the file is ours");
        opened.set_modified(long_ago).expect("the file is ours");
    }

    fn doctor(&self) -> Said {
        self.doctor_by(self.lab.command(PROGRAM))
    }

    fn doctor_by(&self, mut command: Command) -> Said {
        let begun = Instant::now();
        let output = command
            .args(["doctor", "--json", "--config"])
            .arg(self.lab.scratch("agent").join("config.toml"))
            .env(
                "CONTAINERD_ADDRESS",
                self.lab.scratch("containerd").join("containerd.sock"),
            )
            .env("CONTAINER_RUNTIME_ENDPOINT", "/nowhere")
            .output()
            .expect("the program starts");
        println!("doctor took {:.1} s", begun.elapsed().as_secs_f32());
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!(
                "{error}: {}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )
        });
        Said {
            status: output.status.code(),
            report,
        }
    }

    fn status(&self) -> Value {
        let status = self.lab.agent().command(&["status", "--json"]);
        serde_json::from_slice(&status.stdout).unwrap_or_default()
    }

    fn wait_until_ready(&self) {
        crate::lab::wait_until("the agent is ready", Duration::from_secs(30), || {
            let status = self.status();
            let ready = status["verdict"] == "ready";
            ready.then_some(()).ok_or_else(|| status.to_string())
        });
    }

    /// Waits until the agent has put itself into containerd's file.
    fn wait_for_files(&self) {
        let file = self.certs_d.join("docker.io/hosts.toml");
        crate::lab::wait_until("the agent keeps the files", Duration::from_secs(30), || {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let status = self.status();
            if text.contains("# harbor-pilot") && status["node_files"] == "as they should be" {
                Ok(())
            } else {
                Err(format!("{}: {text}", status["node_files"]))
            }
        });
    }
}

/// A process that ends with the value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_healthy_node_has_no_finding_and_containerd_pulls_through_the_agent() {
    let node = Node::start("manage = true");
    node.wait_for_files();
    let before = node.lab.containerd().content();
    let said = node.doctor();
    said.assert_healthy();
    for check in said.report["checks"].as_array().expect("a list of checks") {
        assert_eq!(check["state"], "ok", "{check:#}");
    }
    let pull = said.check("pull");
    // One of the files that are alike, and each that says something of others.
    assert_eq!(
        pull["said"],
        "ctr pulled the test image through the agent, of 3 registries"
    );
    assert_eq!(
        node.lab.containerd().content(),
        before,
        "nothing is left of it"
    );
    let text = node.lab.agent().command(&["doctor"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert_eq!(
        text.lines().last(),
        Some("ready: No problem found."),
        "{text}"
    );
}

#[test]
fn faults_of_tiers_are_found() {
    let mut node = Node::start("manage = true");
    node.wait_for_files();
    let replica = format!("replica/{}:443", Place::ReplicaA.address());

    node.lab.set_fault(Place::ReplicaA, Fault::WrongCertificate);
    node.doctor()
        .assert_found("tls-unknown-issuer", &replica, "ca_file of tier replica");

    node.lab
        .set_fault(Place::ReplicaA, Fault::ExpiredCertificate);
    let said = node.doctor();
    said.assert_found("tls-expired", &replica, "renew");
    assert!(
        said.report["findings"][0]["what"]
            .as_str()
            .unwrap_or_default()
            .contains("28 days ago"),
        "{:#}",
        said.report
    );

    node.lab.set_fault(Place::ReplicaA, Fault::None);
    node.lab.set_fault(Place::Core, Fault::Status(401));
    node.doctor().assert_found(
        "tier-denied",
        "core/198.18.2.11:443 project proxy-docker-io",
        "project",
    );

    node.lab.set_fault(Place::Core, Fault::Refused);
    node.doctor()
        .assert_found("endpoint-unreachable", "core/198.18.2.11:443", "firewalls");

    node.lab.set_fault(Place::Core, Fault::None);
    node.lab.silence_dns();
    let said = node.doctor();
    node.lab.unsilence_dns();
    said.assert_found("dns-fails", "replicas.lab.example", "servers answer");
    assert!(
        said.report["findings"][0]["subject"]
            .as_str()
            .unwrap_or_default()
            .contains("core.lab.example"),
        "one finding for all names"
    );
    // The agent's own lookup may have fallen into the silence. It says so until the next one.
    node.wait_until_ready();
    node.doctor().assert_healthy();
}

#[test]
fn faults_of_the_node_are_found() {
    let mut node = Node::start("manage = true");
    node.wait_for_files();

    // Ten minutes slow.
    let mut late = node.lab.command("faketime");
    late.args(["-f", "-10m", PROGRAM])
        .env("DONT_FAKE_MONOTONIC", "1");
    let said = node.doctor_by(late);
    said.assert_found("clock-off", "this node", "timedatectl");
    assert!(
        said.report["findings"][0]["what"]
            .as_str()
            .unwrap_or_default()
            .contains("s behind"),
        "{:#}",
        said.report
    );

    // The way out is closed; whoever runs doctor knows a proxy, the agent does not.
    node.lab.power_off(Place::Upstream);
    let mut knowing = node.lab.command(PROGRAM);
    knowing.env(
        "HTTPS_PROXY",
        "http://user:never-shown@proxy.lab.example:3128",
    );
    let said = node.doctor_by(knowing);
    node.lab.power_on(Place::Upstream);
    said.assert_found("proxy-missing", "registry docker.io", "[direct]");
    assert!(
        !said.report.to_string().contains("never-shown"),
        "{:#}",
        said.report
    );

    node.describe_containerd(false);
    node.doctor().assert_found(
        "config-path-not-read",
        "containerd",
        &format!("config_path = \"{}\"", node.certs_d.display()),
    );
    node.describe_containerd(true);
    // The agent looks at containerd's configuration every two seconds, and doctor reports what the agent says.
    node.wait_for_files();
    node.doctor().assert_healthy();

    node.lab.stop_agent();
    let mut thief = node.lab.command("busybox");
    thief
        .args(["httpd", "-f", "-p", "127.0.0.1:290", "-h"])
        .arg(node.lab.scratch("empty"));
    let thief = thief
        .stdin(Stdio::null())
        .spawn()
        .map(Running)
        .expect("busybox runs");
    crate::lab::wait_until("the thief listens", Duration::from_secs(10), || {
        let curl = node
            .lab
            .command("curl")
            .args(["-s", "-o", "/dev/null", "http://127.0.0.1:290/"])
            .status();
        curl.map_err(|error| error.to_string())?
            .success()
            .then_some(())
            .ok_or("not yet".to_owned())
    });
    let said = node.doctor();
    said.assert_found("port-stolen", "127.0.0.1:290", "stop that program");
    assert!(
        said.report["findings"][0]["what"]
            .as_str()
            .unwrap_or_default()
            .starts_with("busybox (pid"),
        "{:#}",
        said.report
    );
    drop(thief);
    let said = node.doctor();
    said.assert_found(
        "agent-not-running",
        "127.0.0.1:290",
        "systemctl reset-failed harbor-pilot; systemctl restart harbor-pilot",
    );
}

#[test]
fn a_pull_that_goes_past_the_agent_raises_the_alarm() {
    let node = Node::start("manage = false");
    // By hand, with the agent first: but tags are resolved elsewhere.
    let hosts = |capabilities: &str| {
        node.lab.containerd().write_hosts(
            "docker.io",
            &format!(
                "server = \"https://registry.lab.example\"\nca = \"{}\"\n\n[host.\"http://127.0.0.1:290\"]\ncapabilities = [{capabilities}]\n",
                node.lab.ca().display()
            ),
        );
    };
    hosts("\"pull\", \"resolve\"");
    node.doctor().assert_healthy();
    hosts("\"pull\"");
    node.doctor().assert_found(
        "pull-bypasses-agent",
        "docker.io/harbor-pilot.invalid/doctor:check-",
        "config_path",
    );
}
