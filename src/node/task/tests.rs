//! The task on a node in a temporary directory, with a port of its own: files follow what happens around them.

mod others;
mod privilege;
mod restless;

use super::*;
use crate::lifecycle::spawn_detached;
use crate::node::detect::Process;
use crate::telemetry::{Captured, EventName};
use crate::topology::{
    EndpointGauges, EndpointId, EndpointState, EndpointStatus, SourceState, Sources,
};
use std::fs;
use std::path::Path;
use tempfile::{TempDir, tempdir};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio::time::sleep;

const CONFIG: &str = r#"
[[tier]]
name = "core"
url = "https://core.example.com"
project = "proxy-{registry_dashed}"
in_file = true
[node]
manage = true
allow_unprivileged_port = true
"#;
const CORE: &str = "https://core.example.com/v2/proxy-docker-io";
const CERTS_D: &str = "var/lib/rancher/k3s/agent/etc/containerd/certs.d";
/// Far more than anything here takes; a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

struct Daemon {
    root: TempDir,
    config: channel::Sender<Arc<Config>>,
    snapshot: channel::Sender<Arc<Snapshot>>,
    status: channel::Receiver<Arc<Status>>,
    events: Captured,
    port: Option<AbortHandle>,
    tasks: Tasks,
}

/// Answers as the agent does.
async fn own_port() -> (SocketAddr, AbortHandle) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    #[allow(clippy::disallowed_methods, reason = "the test ends it by its handle")]
    let handle = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            spawn_detached("answer", async move {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let answer =
                    "HTTP/1.1 200 OK\r\nx-harbor-pilot-request-id: 1\r\nconnection: close\r\n\r\n";
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    (address, handle.abort_handle())
}

fn snapshot(config: &Config, statuses: &[EndpointStatus]) -> Arc<Snapshot> {
    let sources = Sources::from_config(config, 1);
    let states = sources.tiers.iter().map(|source| {
        let endpoints = statuses
            .iter()
            .enumerate()
            .map(|(at, status)| EndpointState {
                id: EndpointId {
                    source: source.id.clone(),
                    address: SocketAddr::from(([203, 0, 113, u8::try_from(at).unwrap()], 443)),
                },
                status: *status,
                lowered: false,
                since: Instant::now(),
                next_try: None,
                readmitted: None,
                gauges: Arc::new(EndpointGauges::default()),
                reason: None,
                latency: None,
            });
        Arc::new(SourceState {
            source: source.clone(),
            endpoints: endpoints.collect(),
            ready: statuses.contains(&EndpointStatus::Healthy),
            dns_stale: false,
            dns_error: None,
            refused: None,
        })
    });
    Arc::new(Snapshot {
        generation: 1,
        sources: states.collect(),
    })
}

fn config(text: &str) -> Arc<Config> {
    Arc::new(Config::from_toml(text).unwrap())
}

impl Daemon {
    async fn start(text: &str) -> Self {
        let root = tempdir().unwrap();
        fs::create_dir_all(root.path().join(CERTS_D)).unwrap();
        Self::start_in(root, text).await
    }

    async fn start_in(root: TempDir, text: &str) -> Self {
        let node = root.path().to_owned();
        Self::start_on_node(&node, root, text).await
    }

    /// Another agent, with a state and a port of its own, on the same node.
    async fn start_beside(&self, text: &str) -> Self {
        Self::start_on_node(self.root.path(), tempdir().unwrap(), text).await
    }

    async fn start_on_node(node: &Path, root: TempDir, text: &str) -> Self {
        let (listen, port) = own_port().await;
        let process = Process {
            pid: 1,
            argv: vec!["k3s server".to_owned()],
            started_at: Duration::from_secs(4_000_000_000),
        };
        let place = Place {
            machine: Arc::new(Machine::below(node, vec![process])),
            listen,
            state_dir: root.path().join("state"),
        };
        let first = config(text);
        let (snapshot_in, snapshots) =
            channel::channel(snapshot(&first, &[EndpointStatus::Healthy]));
        let (config_in, configs) = channel::channel(first);
        let (journal, events) = Journal::capturing();
        let tasks = Tasks::default();
        let status = start(place, configs, snapshots, journal, Arc::default(), &tasks);
        Self {
            root,
            config: config_in,
            snapshot: snapshot_in,
            status,
            events,
            port: Some(port),
            tasks,
        }
    }

    fn hosts(&self) -> PathBuf {
        self.root.path().join(CERTS_D).join("docker.io/hosts.toml")
    }

    fn chain(&self) -> Vec<String> {
        let text = fs::read_to_string(self.hosts()).unwrap_or_default();
        let Ok(view) = crate::node::hosts_toml::read(&text) else {
            return Vec::new();
        };
        let hosts = view.hosts.into_iter().chain(view.server);
        hosts
            .map(|host| {
                if host.url.contains("127.0.0.1") {
                    "agent".to_owned()
                } else {
                    host.url
                }
            })
            .collect()
    }

    /// Waits for the file to name these, then upstream.
    async fn names(&self, expected: &[&str]) {
        let mut expected: Vec<&str> = expected.to_vec();
        expected.push("https://registry-1.docker.io");
        self.until(&format!("{expected:?}"), || self.chain() == expected)
            .await;
    }

    async fn until(&self, what: &str, mut is: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is() {
            assert!(
                within_patience(start),
                "not {what}, but {:?}; {:?}",
                self.chain(),
                self.status.borrow()
            );
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn count(&self, event: EventName) -> usize {
        let events = self.events.events();
        events.iter().filter(|change| change.event == event).count()
    }

    /// The files have been written so often, and that was said.
    async fn said(&self, times: usize) {
        let what = format!("{times} times");
        self.until(&what, || self.count(EventName::HostsRewritten) >= times)
            .await;
        assert_eq!(self.count(EventName::HostsRewritten), times);
    }

    fn publish(&self, statuses: &[EndpointStatus]) {
        let snapshot = snapshot(&self.config.borrow(), statuses);
        self.snapshot.send_replace(snapshot);
    }

    fn end(mut self) -> TempDir {
        self.tasks.stop();
        self.port.take().unwrap().abort();
        self.root
    }
}

fn within_patience(start: Instant) -> bool {
    Instant::now().saturating_duration_since(start) < PATIENCE
}

const EJECTED: EndpointStatus = EndpointStatus::Probation { successes: 0 };

#[tokio::test]
async fn the_file_follows_a_tier() {
    let daemon = Daemon::start(CONFIG).await;
    daemon.names(&["agent", CORE]).await;
    daemon.said(1).await;
    daemon.publish(&[EndpointStatus::Healthy, EJECTED]);
    daemon.names(&["agent"]).await;
    daemon.publish(&[EndpointStatus::Healthy, EndpointStatus::Healthy]);
    daemon.names(&["agent", CORE]).await;
    // What changes nothing in a file writes none.
    for _ in 0..5 {
        daemon.publish(&[EndpointStatus::Healthy]);
        sleep(Duration::from_millis(20)).await;
    }
    daemon.said(3).await;
    let status = daemon.status.borrow().clone();
    assert_eq!(status.state, FilesState::Current, "{status:?}");
    daemon.end();
}

#[tokio::test]
async fn nothing_is_written_before_it_is_wanted() {
    let unmanaged = CONFIG.replace("manage = true", "manage = false");
    for (text, state) in [
        // A runtime that pulls past the agent is said.
        (unmanaged.as_str(), FilesState::Degraded),
        ("[node]\nmanage = true\n", FilesState::NotManaged),
    ] {
        let daemon = Daemon::start(text).await;
        let mut status = daemon.status.clone();
        tokio::time::timeout(
            PATIENCE,
            status.wait_for(|status| !status.reason.is_empty()),
        )
        .await
        .unwrap()
        .unwrap();
        sleep(Duration::from_millis(300)).await;
        let said = daemon.status.borrow().clone();
        assert_eq!(said.state, state);
        let past = state == FilesState::Degraded;
        assert_eq!(said.reason.contains("no pull comes through it"), past);
        assert_eq!(daemon.count(EventName::NodeDegraded), usize::from(past));
        assert!(!daemon.hosts().exists() && !daemon.root.path().join("state").exists());
        daemon.config.send_replace(config(CONFIG));
        daemon.publish(&[EndpointStatus::Healthy]);
        daemon.names(&["agent", CORE]).await;
        daemon.end();
    }
}

#[tokio::test]
async fn a_restart_writes_nothing() {
    let daemon = Daemon::start(CONFIG).await;
    daemon.names(&["agent", CORE]).await;
    daemon.said(1).await;
    let before = fs::read_to_string(daemon.hosts()).unwrap();
    let state = fs::read(daemon.root.path().join("state/ledger.json")).unwrap();
    let root = daemon.end();
    let old = before.split("127.0.0.1:").nth(1).unwrap();
    let listener = retry_bind(old.split('"').next().unwrap()).await;
    let first = config(CONFIG);
    let place = Place {
        machine: Arc::new(Machine::below(
            root.path(),
            vec![Process {
                pid: 1,
                argv: vec!["k3s server".to_owned()],
                started_at: Duration::from_secs(4_000_000_000),
            }],
        )),
        listen: listener.local_addr().unwrap(),
        state_dir: root.path().join("state"),
    };
    // Nothing is known of tiers yet.
    let (snapshot_in, snapshots) = channel::channel(Arc::new(Snapshot::default()));
    let (config_in, configs) = channel::channel(first);
    let (journal, events) = Journal::capturing();
    let tasks = Tasks::default();
    let mut status = start(place, configs, snapshots, journal, Arc::default(), &tasks);
    // The port is silent first: nothing is known of it.
    sleep(Duration::from_millis(300)).await;
    spawn_detached("answers", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nx-harbor-pilot-request-id: 1\r\n\r\n")
                .await;
        }
    });
    tokio::time::timeout(
        PATIENCE,
        status.wait_for(|status| status.state == FilesState::Current),
    )
    .await
    .unwrap()
    .unwrap();
    snapshot_in.send_replace(snapshot(&config_in.borrow(), &[EndpointStatus::Healthy]));
    sleep(Duration::from_millis(300)).await;
    assert_eq!(
        fs::read_to_string(root.path().join(CERTS_D).join("docker.io/hosts.toml")).unwrap(),
        before
    );
    assert_eq!(
        fs::read(root.path().join("state/ledger.json")).unwrap(),
        state
    );
    assert!(events.events().is_empty(), "{:?}", events.events());
    tasks.stop();
}

async fn retry_bind(port: &str) -> TcpListener {
    let start = Instant::now();
    loop {
        match TcpListener::bind(format!("127.0.0.1:{port}")).await {
            Ok(listener) => return listener,
            Err(error) => assert!(within_patience(start), "{error}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_silent_port_takes_the_agent_out() {
    let daemon = Daemon::start(CONFIG).await;
    daemon.names(&["agent", CORE]).await;
    daemon.port.as_ref().unwrap().abort();
    daemon.names(&[CORE]).await;
    daemon.end();
}

#[tokio::test]
async fn directories_that_appear_later_are_filled() {
    let root = tempdir().unwrap();
    let daemon = Daemon::start_in(root, CONFIG).await;
    let status = daemon.status.clone();
    daemon
        .until("waiting", || status.borrow().state == FilesState::Waiting)
        .await;
    fs::create_dir_all(daemon.root.path().join(CERTS_D)).unwrap();
    daemon.names(&["agent", CORE]).await;
    daemon.end();
}

#[tokio::test]
async fn trouble_is_said_once_and_fixed_later() {
    let daemon = Daemon::start(CONFIG).await;
    daemon.names(&["agent", CORE]).await;
    fs::write(daemon.hosts(), "server = \n").unwrap();
    daemon
        .until("said", || daemon.count(EventName::HostsWriteFailed) == 1)
        .await;
    for statuses in [&[EJECTED][..], &[EndpointStatus::Healthy]] {
        daemon.publish(statuses);
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(daemon.count(EventName::HostsWriteFailed), 1);
    assert_eq!(daemon.status.borrow().state, FilesState::Degraded);
    fs::write(
        daemon.hosts(),
        "server = \"https://registry-1.docker.io\"\n[host]\n",
    )
    .unwrap();
    daemon.names(&["agent", CORE]).await;
    daemon
        .until("current", || {
            daemon.status.borrow().state == FilesState::Current
        })
        .await;
    daemon.end();
}
