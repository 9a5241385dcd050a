//! Two agents of the built program between two Harbors and a registry, and what goes wrong there.

use crate::client::{Client, Got};
use crate::support::{Api, FakeDns, FakeRegistry, Fault, Image, On, Reply, free_address};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Where the image is at the real registry, and at a tier.
const REPOSITORY: &str = "library/app";
const TIERED: &str = "proxy-docker-io/library/app";

/// How often everything goes wrong.
pub const ROUNDS: u64 = 2;
/// Places for clients at each agent.
const PLACES: usize = 32;

/// Two Harbors, a registry, their names, and the agents.
pub struct Fleet {
    replica: FakeRegistry,
    core: FakeRegistry,
    hub: FakeRegistry,
    _dns: FakeDns,
    pub agents: Vec<Agent>,
}

/// A running agent. It ends with the value.
pub struct Agent {
    pub name: &'static str,
    pub listen: SocketAddr,
    pub metrics: SocketAddr,
    home: TempDir,
    child: Child,
}

/// A layer that the replica breaks off, another one in each round.
fn broken(round: u64) -> Image {
    Image::with_layers(100 + round, &[400_000])
}

/// A layer that the replica spoils near its end, where the agent has not let go of the bytes yet.
fn spoiled() -> Image {
    Image::with_layers(200, &[400_000])
}

impl Fleet {
    pub async fn start() -> Self {
        let app = Image::random(1, 1);
        let mut replica = FakeRegistry::builder().harbor();
        let mut core = FakeRegistry::builder().harbor();
        let mut hub = FakeRegistry::builder().docker_hub();
        let tags = ["1", "unavailable", "denied"];
        let images = tags.map(|tag| (tag.to_owned(), app.clone()));
        let rounds = (0..ROUNDS).map(|round| (format!("broken-{round}"), broken(round)));
        let rounds = rounds.chain([("spoiled".to_owned(), spoiled())]);
        for (tag, image) in images.into_iter().chain(rounds) {
            replica = replica.with_image(TIERED, &tag, &image);
            core = core.with_image(TIERED, &tag, &image);
            hub = hub.with_image(REPOSITORY, &tag, &image);
        }
        let hub = hub.start().await;
        let api = Api::of(&[("proxy-docker-io", "docker-hub", "https://hub.docker.com")]);
        let core = core.with(|it| it.api = Some(api)).start().await;
        let replica = replica.start().await;
        let dns = FakeDns::start().await;
        dns.set_ttl(1);
        for name in ["replica.lab.example", "core.lab.example"] {
            dns.set(name, &["127.0.0.1"]);
        }
        let mut fleet = Self {
            replica,
            core,
            hub,
            _dns: dns,
            agents: Vec::new(),
        };
        fleet.go_wrong();
        for name in ["lab-a", "lab-b"] {
            let config = fleet.config();
            fleet.agents.push(Agent::start(name, &config));
        }
        fleet
    }

    /// What is wrong from the beginning, with one image each.
    fn go_wrong(&self) {
        let on = |tag: &str| On::Ending(format!("/manifests/{tag}"));
        let unavailable = Reply::error(503, "UNAVAILABLE", "down for maintenance");
        let denial = "current image with 3 vulnerabilities cannot be pulled";
        let denied = Reply::error(412, "PROJECTPOLICYVIOLATION", denial);
        let replica = &self.replica;
        replica.set_fault_on(on("unavailable"), Fault::Reply(unavailable));
        replica.set_fault_on(on("denied"), Fault::Reply(denied));
        let on = |image: &Image| On::Ending(image.layer().digest.as_str().to_owned());
        for round in 0..ROUNDS {
            replica.set_fault_on(on(&broken(round)), Fault::CloseAt(200_000));
        }
        replica.set_fault_on(on(&spoiled()), Fault::CorruptAt(390_000));
        // Only the registry has this one, and says what is left of the quota.
        let rare = Image::random(9, 1).top;
        self.hub.script(move |request| {
            let is_rare = request.path.ends_with("/manifests/rare");
            let reply = Reply::new(200).header("ratelimit-remaining", "76;w=21600");
            is_rare.then(|| reply.body(rare.media_type, rare.body.clone()))
        });
    }

    fn config(&self) -> String {
        format!(
            "[timeouts]\nconnect_race = \"100ms\"\nfirst_byte = \"500ms\"\nupstream_joins = \"400ms\"\ntls = \"1s\"\n\
             total = \"5s\"\n\
             [limits]\nconnections = {PLACES}\n[dns]\nnameservers = [\"{}\"]\nmin_ttl = \"1s\"\n\
             [[tier]]\nname = \"replica\"\nurl = \"{}\"\n[tier.projects]\n\"docker.io\" = \"proxy-docker-io\"\n\
             [tier.health]\ninterval = \"2s\"\ntimeout = \"1s\"\n\
             [[tier]]\nname = \"core\"\nurl = \"{}\"\n[tier.discovery]\nenabled = true\n\
             [tier.health]\ninterval = \"2s\"\ntimeout = \"1s\"\n\
             [[registry]]\nname = \"docker.io\"\nupstream = \"{}\"\n",
            self._dns.addr,
            self.replica.url_as("replica.lab.example"),
            self.core.url_as("core.lab.example"),
            self.hub.base_url(),
        )
    }

    /// One pull of everything but what is spoiled, through each agent.
    pub async fn pull(&self, round: u64) {
        for agent in &self.agents {
            for what in ["1", "unavailable", "1", "denied", "1", "rare"] {
                let got = agent.get(&format!("manifests/{what}")).await;
                assert_eq!(got.status, 200, "{what}: {got:?}");
            }
            agent
                .pull_layer(&format!("broken-{round}"), &broken(round))
                .await;
            let unknown = agent.get("manifests/nowhere").await;
            assert_eq!(unknown.status, 404, "{unknown:?}");
        }
    }

    /// Wrong bytes, after which the replica stands behind for five minutes.
    pub async fn spoil(&self) {
        for agent in &self.agents {
            agent.pull_layer("spoiled", &spoiled()).await;
        }
    }

    /// No source answers: what was pulled before comes from disk, and nothing else comes.
    pub async fn lose_all_sources(&mut self) {
        for source in [&mut self.replica, &mut self.core, &mut self.hub] {
            source.refuse().await;
        }
        for agent in &self.agents {
            let got = agent.get("manifests/1").await;
            assert!(got.header("x-harbor-pilot-stale").is_some(), "{got:?}");
            let got = agent.get("manifests/never").await;
            assert_eq!(got.status, 503, "{got:?}");
        }
        for source in [&mut self.replica, &mut self.core, &mut self.hub] {
            source.listen_again().await;
        }
    }

    /// More clients than there are places: those that ask for nothing make way.
    pub async fn crowd(&self) {
        for agent in &self.agents {
            let mut idle = Vec::new();
            for _ in 0..2 * PLACES {
                idle.push(Client::connect(agent.listen).await);
            }
            assert_eq!(agent.get("manifests/1").await.status, 200);
        }
    }
}

impl Agent {
    fn start(name: &'static str, rest: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let [listen, admin, metrics] = [(); 3].map(|()| free_address());
        let data = home.path().join("k3s");
        let certs = data.join("agent/etc/containerd/certs.d");
        fs::create_dir_all(&certs).unwrap();
        let containerd = format!(
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = {certs:?}\n"
        );
        fs::write(certs.with_file_name("config.toml"), containerd).unwrap();
        let config = format!(
            "[server]\nlisten = [\"{listen}\"]\nadmin = \"{admin}\"\nmetrics = \"{metrics}\"\n\
             [state]\ndirectory = {:?}\n\
             [node]\nmanage = true\nallow_unprivileged_port = true\nruntime = \"k3s\"\ndata_dir = {data:?}\n\
             registries_yaml = {:?}\n{rest}",
            home.path().join("state"),
            home.path().join("registries.yaml"),
        );
        let file = home.path().join("config.toml");
        fs::write(&file, config).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let log = fs::File::create(home.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_harbor-pilot"))
            .args(["run", "--config"])
            .arg(&file)
            .env("NO_COLOR", "1")
            .env_remove("JOURNAL_STREAM")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self {
            name,
            listen,
            metrics,
            home,
            child,
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap()
    }

    /// The file that leads containerd to it for docker.io.
    fn hosts(&self) -> PathBuf {
        let certs = self.home.path().join("k3s/agent/etc/containerd/certs.d");
        certs.join("docker.io/hosts.toml")
    }

    /// Waits until it serves and stands in containerd's file.
    pub async fn wait_until_ready(&self) {
        let since = Instant::now();
        let port = format!(":{}", self.listen.port());
        loop {
            let hosts = fs::read_to_string(self.hosts()).unwrap_or_default();
            let serves = tokio::net::TcpStream::connect(self.listen).await.is_ok();
            if serves && hosts.contains(&port) {
                return;
            }
            assert!(since.elapsed() < Duration::from_secs(30), "{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Another program writes its own text into the file of docker.io, whenever the agent has put itself back.
    pub async fn quarrel_for(&self, time: Duration) {
        let since = Instant::now();
        while since.elapsed() < time {
            fs::write(self.hosts(), "server = \"https://registry-1.docker.io\"\n").unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The manifest, and the layer, which comes whole.
    async fn pull_layer(&self, tag: &str, image: &Image) {
        let manifest = self.get(&format!("manifests/{tag}")).await;
        assert_eq!(manifest.status, 200, "{tag}: {manifest:?}");
        let layer = image.layer();
        let got = self.get(&format!("blobs/{}", layer.digest)).await;
        assert!(
            got.status == 200 && got.body == layer.body,
            "{tag}: {got:?}"
        );
    }

    async fn get(&self, what: &str) -> Got {
        let mut client = Client::connect(self.listen).await;
        let target = format!("/v2/{REPOSITORY}/{what}?ns=docker.io");
        client.ask("GET", &target, &[]).await;
        client.answer(false).await
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
