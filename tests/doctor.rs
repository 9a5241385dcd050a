//! `doctor` beside an agent in this process, between scripted registries on loopback, on a k3s node that is a tree of
//! files. What real parts can show is in `tests/real/doctor.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::large_futures,
    clippy::disallowed_methods,
    dead_code,
    unreachable_pub,
    reason = "it is test code, in which a panic is a failed test"
)]

mod support;

#[path = "agent/client.rs"]
mod client;
#[path = "agent/node.rs"]
mod node;
#[path = "doctor/page.rs"]
mod page;

use harbor_pilot::cli::Invocation;
use harbor_pilot::cli::doctor::run;
use harbor_pilot::config::Loader;
use harbor_pilot::node::detect::{Machine, Process};
use harbor_pilot::telemetry::EventName;
use node::{Node, write};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use support::{Api, FakeRegistry, Reply};
use tempfile::TempDir;

const SECRET: &str = "never-shown";

/// A k3s node as files, its tier and the real registry.
struct Place {
    tier: FakeRegistry,
    hub: FakeRegistry,
    home: TempDir,
    ip: Ipv4Addr,
    keys: String,
    processes: Vec<Process>,
}

#[derive(Debug)]
struct Said {
    status: u8,
    report: Value,
}

impl Said {
    fn codes(&self) -> Vec<&str> {
        let findings = self.report["findings"].as_array().unwrap();
        findings
            .iter()
            .map(|one| one["code"].as_str().unwrap())
            .collect()
    }

    /// Exactly this was found, about this, with this in its remedy.
    fn assert_found(&self, code: &str, subject: &str, remedy: &str) {
        assert_eq!(
            (self.status, self.codes()),
            (1, vec![code]),
            "{:#}",
            self.report
        );
        let finding = &self.report["findings"][0];
        let has = |key: &str, part: &str| finding[key].as_str().unwrap().contains(part);
        assert!(
            has("subject", subject) && has("instead", remedy),
            "{finding:#}"
        );
        assert!(
            !self.report.to_string().contains(SECRET),
            "{:#}",
            self.report
        );
    }

    fn assert_healthy(&self) {
        assert_eq!(
            (self.status, self.codes()),
            (0, vec![]),
            "{:#}",
            self.report
        );
        assert!(
            !self.report.to_string().contains(SECRET),
            "{:#}",
            self.report
        );
    }
}

impl Place {
    /// `number` is another one for each test: its agent has an address of loopback to itself.
    async fn new(number: u8) -> Self {
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let tier = FakeRegistry::builder().harbor();
        let tier = tier.account("robot$node", SECRET).start().await;
        let hub = FakeRegistry::builder().docker_hub().start().await;
        let place = Self {
            tier,
            hub,
            home: tempfile::tempdir().unwrap(),
            ip: Ipv4Addr::new(127, number, high, low.max(1)),
            keys: String::new(),
            processes: Vec::new(),
        };
        let config = place.data_dir().join("agent/etc/containerd/config.toml");
        fs::create_dir_all(place.certs_d()).unwrap();
        let text = format!(
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = {:?}\n",
            place.certs_d()
        );
        fs::write(config, text).unwrap();
        fs::create_dir_all(place.registries().parent().unwrap()).unwrap();
        place
    }

    fn root(&self) -> &Path {
        self.home.path()
    }

    fn data_dir(&self) -> PathBuf {
        self.root().join("var/lib/rancher/k3s")
    }

    fn certs_d(&self) -> PathBuf {
        self.data_dir().join("agent/etc/containerd/certs.d")
    }

    fn registries(&self) -> PathBuf {
        self.root().join("etc/rancher/k3s/registries.yaml")
    }

    fn config_file(&self) -> PathBuf {
        self.root().join("config.toml")
    }

    fn configure(&self) {
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
        let text = format!(
            "[server]\nlisten = [\"{ip}:5290\"]\nadmin = \"{ip}:5291\"\n\
             [[tier]]\nname = \"core\"\nurl = \"{}\"\n{}\n[tier.projects]\n\"docker.io\" = \"proxy-docker-io\"\n\
             [[registry]]\nname = \"docker.io\"\nupstream = \"{}\"\n{}\
             [node]\nmanage = true\nallow_unprivileged_port = true\nruntime = \"k3s\"\ndata_dir = {:?}\nregistries_yaml = {:?}\n\
             [state]\ndirectory = {:?}\n",
            self.tier.base_url(),
            self.keys,
            self.hub.base_url(),
            absent.concat(),
            self.data_dir(),
            self.registries(),
            self.root().join("state"),
            ip = self.ip,
        );
        write(&self.config_file(), &text);
    }

    /// Gives the tier an account.
    fn with_password(&mut self, password: &str) {
        let file = self.root().join("password");
        write(&file, password);
        self.keys = format!("username = \"robot$node\"\npassword_file = {file:?}\n");
    }

    /// Starts the agent and waits until it has put itself into containerd's file.
    async fn start(&self) -> Node {
        self.configure();
        // The node is this place's: the agent's home is a link to it.
        let home = tempfile::tempdir().unwrap();
        fs::copy(self.config_file(), home.path().join("config.toml")).unwrap();
        let node = Node::start_with_files(home).await;
        let hosts = self.certs_d().join("docker.io/hosts.toml");
        let since = Instant::now();
        while !fs::read_to_string(&hosts)
            .unwrap_or_default()
            .contains("5290")
        {
            assert!(
                since.elapsed() < Duration::from_secs(30),
                "no {}",
                hosts.display()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        node
    }

    /// Runs the command beside the agent whose file that is.
    fn doctor(&self, file: &Path) -> Said {
        let mut loader =
            Loader::packaged(BTreeMap::from([("NO_COLOR".to_owned(), "1".to_owned())]));
        loader.config_file = file.to_owned();
        loader.explicit = true;
        let args = Invocation {
            loader,
            json: true,
            machine: Arc::new(Machine::below(self.root(), self.processes.clone())),
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let environment = Some(BTreeMap::new());
        let ran = tokio::task::block_in_place(|| run(&args, environment, &mut out, &mut err));
        let status = ran.unwrap();
        Said {
            status,
            report: serde_json::from_slice(&out).unwrap(),
        }
    }

    /// k3s has been running since then.
    fn runs_since(&mut self, started: SystemTime) {
        let started_at = started.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        self.processes = vec![Process {
            pid: 1,
            argv: vec!["/usr/local/bin/k3s server".to_owned()],
            started_at,
        }];
    }
}

fn hour() -> Duration {
    Duration::from_secs(3600)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_k3s_node_has_no_finding() {
    let mut place = Place::new(101).await;
    place.tier.change(|it| it.private = true);
    place.with_password(SECRET);
    place.runs_since(SystemTime::now() + hour());
    let node = place.start().await;
    let said = place.doctor(&node.config_file());
    said.assert_healthy();
    let checks = said.report["checks"].as_array().unwrap();
    let check = |name: &str| checks.iter().find(|check| check["name"] == name).unwrap();
    for (name, state) in [
        ("configuration", "ok"),
        ("agent", "ok"),
        ("files", "ok"),
        ("environment", "ok"),
        ("dns", "not_applicable"),
        ("connections", "ok"),
        ("access", "ok"),
        ("pull", "not_applicable"),
    ] {
        assert_eq!(check(name)["state"], state, "{name}: {:#}", said.report);
    }
    let note = check("access")["notes"][0].as_str().unwrap();
    assert!(
        note.contains("every process on this node"),
        "design S6: {note}"
    );
    // What was asked of the tier: nothing that it would have to fetch.
    let asked: Vec<String> = place
        .tier
        .lines()
        .into_iter()
        .filter(|line| line.contains("/v2/proxy"))
        .collect();
    let due = "GET /v2/proxy-docker-io/harbor-pilot.invalid/doctor/manifests/doctor";
    assert!(
        !asked.is_empty() && asked.iter().all(|line| line == due),
        "{asked:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registries_yaml_with_rewrite_is_found() {
    let mut place = Place::new(102).await;
    let text = "mirrors:\n  docker.io:\n    endpoint:\n      - https://mirror.example.com\n    rewrite:\n      \"^(.*)$\": \"hub/$1\"\n";
    fs::write(place.registries(), text).unwrap();
    place.runs_since(SystemTime::now() + hour());
    let node = place.start().await;
    let said = place.doctor(&node.config_file());
    said.assert_found(
        "registries-rewrite",
        "registries.yaml: docker.io",
        "take rewrite out",
    );
    assert_eq!(said.report["findings"][0]["severity"], "warning");
    assert_eq!(
        fs::read_to_string(place.registries()).unwrap(),
        text,
        "and left alone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_restart_of_k3s_is_found() {
    let mut place = Place::new(103).await;
    let text = "mirrors:\n  docker.io:\n    endpoint:\n      - https://mirror.example.com\n";
    fs::write(place.registries(), text).unwrap();
    let node = place.start().await;
    place.runs_since(SystemTime::now() - hour());
    let said = place.doctor(&node.config_file());
    said.assert_found(
        "restart-pending",
        "k3s",
        "systemctl restart k3s (pods keep running)",
    );
    place.runs_since(SystemTime::now() + hour());
    place.doctor(&node.config_file()).assert_healthy();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_account_and_a_missing_project_are_told_apart() {
    let mut place = Place::new(104).await;
    place.tier.change(|it| it.private = true);
    place.with_password("the wrong one");
    let node = place.start().await;
    let said = place.doctor(&node.config_file());
    said.assert_found("tier-denied", "project proxy-docker-io", "robot$node");
    assert!(
        !said.report.to_string().contains("the wrong one"),
        "{:#}",
        said.report
    );
    // Only to who shows a token, as a real Harbor (harbor-facts 13.4).
    place.tier.change(|it| it.project_missing = true);
    let said = place.doctor(&node.config_file());
    said.assert_found(
        "project-missing",
        "project proxy-docker-io",
        "[tier.projects]",
    );
}

/// An event and a finding. The agent looks within a minute of its start; until then there is neither.
#[tokio::test(flavor = "multi_thread")]
async fn a_robot_that_expires_is_found() {
    let mut place = Place::new(110).await;
    let then = SystemTime::now() + hour() * (24 * 6 + 1);
    let then = then.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let mut api = Api::of(&[("proxy-docker-io", "docker-hub", "")]);
    api.expires_at = i64::try_from(then.as_secs()).ok();
    place.tier.change(|it| it.api = Some(api));
    place.with_password(SECRET);
    let node = place.start().await;
    let since = Instant::now();
    let said = loop {
        let said = place.doctor(&node.config_file());
        if said.codes() == ["robot-expiring"] {
            break said;
        }
        said.assert_healthy();
        assert!(since.elapsed() < Duration::from_secs(75));
        tokio::time::sleep(Duration::from_millis(300)).await;
    };
    said.assert_found("robot-expiring", "core", "renew it in Harbor");
    let finding = &said.report["findings"][0];
    assert_eq!(finding["what"], "its robot account expires in 6 days");
    assert_eq!(finding["severity"], "warning");
    let mut events = node.journal.events().into_iter();
    let event = events
        .find(|one| one.event == EventName::CredentialExpiring)
        .unwrap();
    assert_eq!(event.reason, "expires in 6 days");
    assert!(event.message.contains("robot$node"), "{}", event.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unhealthy_tier_is_found() {
    let place = Place::new(105).await;
    let node = place.start().await;
    place.tier.change(|it| it.unhealthy = vec!["redis"]);
    let said = place.doctor(&node.config_file());
    said.assert_found("endpoint-unhealthy", "core/127.0.0.1", "/api/v2.0/health");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_two_hours_fast_is_found() {
    let place = Place::new(106).await;
    let node = place.start().await;
    place.tier.script(|asked| {
        let then = SystemTime::now() - hour() * 2;
        let reply =
            Reply::error(401, "UNAUTHORIZED", "").header("Date", httpdate::fmt_http_date(then));
        (asked.path == "/v2/").then_some(reply)
    });
    let said = place.doctor(&node.config_file());
    said.assert_found("clock-off", "this node", "timedatectl");
    assert_eq!(said.report["findings"][0]["severity"], "error");
    assert!(
        said.report["findings"][0]["what"]
            .as_str()
            .unwrap()
            .contains("s ahead of"),
        "{:#}",
        said.report
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_free_port_and_a_stolen_one_are_told_apart() {
    let place = Place::new(107).await;
    place.configure();
    let said = place.doctor(&place.config_file());
    let at = format!("{}:5290", place.ip);
    said.assert_found(
        "agent-not-running",
        &at,
        "systemctl reset-failed harbor-pilot; systemctl restart harbor-pilot",
    );
    let thief = TcpListener::bind(&at).unwrap();
    let said = place.doctor(&place.config_file());
    said.assert_found("port-stolen", &at, "stop that program");
    let what = said.report["findings"][0]["what"].as_str().unwrap();
    assert!(
        what.contains(&format!("(pid {}", std::process::id())),
        "{what}"
    );
    drop(thief);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_beside_a_running_agent_is_found_and_the_rest_still_checked() {
    let place = Place::new(108).await;
    let node = place.start().await;
    let mut text = fs::read_to_string(node.config_file()).unwrap();
    text.push_str("[relya]\nverify = \"always\"\n");
    write(&node.config_file(), &text);
    let said = place.doctor(&node.config_file());
    said.assert_found("config-invalid", "config.toml", "harbor-pilot check");
    let checks = said.report["checks"].as_array().unwrap();
    assert!(
        checks
            .iter()
            .any(|check| check["name"] == "access" && check["state"] == "ok"),
        "{:#}",
        said.report
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_somebody_fixes_by_hand_is_found() {
    let place = Place::new(109).await;
    let node = place.start().await;
    let said = place.doctor(&node.config_file());
    said.assert_healthy();
    drop(node);
    tokio::time::sleep(Duration::from_millis(200)).await;
    // Nobody is there to repair it: the file names an agent that is gone.
    let hosts = place.certs_d().join("docker.io/hosts.toml");
    fs::write(&hosts, "server = \n").unwrap();
    let said = place.doctor(&place.config_file());
    assert_eq!(said.status, 1);
    for code in ["agent-not-running", "hosts-unreadable"] {
        assert!(said.codes().contains(&code), "{code}: {:#}", said.report);
    }
}
