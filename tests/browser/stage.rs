//! An agent of the built program between two tiers, of which one is down, and a registry.

use crate::client::Client;
use crate::support::{FakeRegistry, Image, free_address};
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";

pub struct Stage {
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    pub image: Image,
    child: Child,
    home: TempDir,
    _sources: [FakeRegistry; 2],
}

impl Stage {
    pub async fn start() -> Self {
        let image = Image::with_layers(7, &[900_000, 300_000]);
        let mut replica = FakeRegistry::builder().harbor();
        let mut hub = FakeRegistry::builder().docker_hub();
        for name in ["library/nginx", "library/redis", "team/app"] {
            replica = replica.with_image(&format!("proxy-docker-io/{name}"), "1", &image);
            hub = hub.with_image(name, "1", &image);
        }
        hub = hub.with_image("team/direct", "1", &image);
        let (replica, hub) = (replica.start().await, hub.start().await);
        let home = tempfile::tempdir().unwrap();
        let [listen, admin, dead] = [(); 3].map(|()| free_address());
        let certs = home.path().join("k3s/agent/etc/containerd/certs.d");
        fs::create_dir_all(&certs).unwrap();
        let containerd = format!(
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = {certs:?}\n"
        );
        fs::write(certs.with_file_name("config.toml"), containerd).unwrap();
        let token = home.path().join("token");
        secret(&token, TOKEN);
        let config = format!(
            "[server]\nlisten = [\"{listen}\"]\nadmin = \"{admin}\"\nadmin_token_file = {token:?}\n[state]\ndirectory = {:?}\n\
             [node]\nmanage = true\nallow_unprivileged_port = true\nruntime = \"k3s\"\ndata_dir = {:?}\nregistries_yaml = {:?}\n\
             [[tier]]\nname = \"core\"\nurl = \"http://{dead}\"\n[tier.projects]\n\"docker.io\" = \"proxy-docker-io\"\n\
             [[tier]]\nname = \"replica\"\nurl = \"{}\"\n[tier.projects]\n\"docker.io\" = \"proxy-docker-io\"\n\
             [[registry]]\nname = \"docker.io\"\nupstream = \"{}\"\n",
            home.path().join("state"),
            home.path().join("k3s"),
            home.path().join("registries.yaml"),
            replica.base_url(),
            hub.base_url(),
        );
        let file = home.path().join("config.toml");
        secret(&file, &config);
        let child = Command::new(env!("CARGO_BIN_EXE_harbor-pilot"))
            .args(["run", "--config"])
            .arg(&file)
            .env_remove("JOURNAL_STREAM")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(home.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let stage = Self {
            listen,
            admin,
            image,
            child,
            home,
            _sources: [replica, hub],
        };
        stage.wait_until_ready(&certs).await;
        stage
    }

    async fn wait_until_ready(&self, certs: &Path) {
        let since = Instant::now();
        let port = format!(":{}", self.listen.port());
        while !fs::read_to_string(certs.join("docker.io/hosts.toml"))
            .is_ok_and(|it| it.contains(&port))
        {
            let log = fs::read_to_string(self.home.path().join("log")).unwrap();
            assert!(since.elapsed() < Duration::from_secs(30), "{log}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Manifest and layers of an image.
    pub async fn pull(&self, name: &str) {
        self.get(name, "manifests/1", 200).await;
        for layer in &self.image.blobs {
            self.get(name, &format!("blobs/{}", layer.digest), 200)
                .await;
        }
    }

    pub async fn get(&self, name: &str, what: &str, due: u16) {
        let mut client = Client::connect(self.listen).await;
        let target = format!("/v2/{name}/{what}?ns=docker.io");
        client.ask("GET", &target, &[]).await;
        let got = client.answer(false).await;
        assert_eq!(got.status, due, "{target}: {got:?}");
    }

    /// Gives the tier that is down, the first one, another name.
    pub fn rename(&self, name: &str) {
        let file = self.home.path().join("config.toml");
        let config = fs::read_to_string(&file).unwrap();
        let (head, rest) = config.split_once("[[tier]]\nname = \"").unwrap();
        let (_, rest) = rest.split_once('"').unwrap();
        secret(&file, &format!("{head}[[tier]]\nname = \"{name}\"{rest}"));
        let agent = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(agent, rustix::process::Signal::HUP).unwrap();
    }

    /// What the admin endpoint answers.
    pub async fn admin(&self, path: &str) -> String {
        let mut client = Client::connect(self.admin).await;
        client.ask("GET", path, &[]).await;
        client.answer(false).await.text()
    }

    pub async fn status(&self) -> Value {
        serde_json::from_str(&self.admin("/status").await).unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }
}

fn secret(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
