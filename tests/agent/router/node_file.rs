//! What the agent writes for a name of `[router]` by itself (design F6).

use super::harbor;
use crate::support::free_address;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The daemon; it ends with the value.
struct Daemon(Child);

impl Daemon {
    fn start(config: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_harbor-pilot"));
        command.args(["run", "--config"]).arg(config);
        let null = Stdio::null;
        command
            .env_clear()
            .stdin(null())
            .stdout(null())
            .stderr(null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What a file holds, once it is there.
async fn read(file: &Path) -> toml::Table {
    let since = Instant::now();
    loop {
        if let Ok(text) = std::fs::read_to_string(file) {
            return text
                .parse()
                .unwrap_or_else(|error| panic!("{error}: {text}"));
        }
        assert!(since.elapsed() < PATIENCE, "no {}", file.display());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_without_a_registry_leads_to_the_agent_and_to_nobody_else() {
    let tier = harbor().start().await;
    let home = tempfile::tempdir().unwrap();
    let (listen, admin) = (free_address(), free_address());
    let certs_d = home.path().join("certs.d");
    std::fs::create_dir(&certs_d).unwrap();
    let file = home.path().join("config.toml");
    let text = format!(
        "[server]\nlisten = [\"{listen}\"]\nadmin = \"{admin}\"\n[state]\ndirectory = {:?}\n\
         [[tier]]\nname = \"hub\"\nurl = \"{}\"\n[tier.projects]\n\"docker.io\" = \"proxy-docker-io\"\n\
         [node]\nmanage = true\nallow_unprivileged_port = true\nruntime = \"containerd\"\ncerts_d = {certs_d:?}\n\
         [router]\nnames = [\"registry.example.com\"]\n",
        home.path().join("state"),
        tier.base_url()
    );
    crate::node::write(&file, &text);
    let hosts = |name: &str| certs_d.join(name).join("hosts.toml");

    let daemon = Daemon::start(&file);
    let agent = format!("http://{listen}");
    let ours = read(&hosts("registry.example.com")).await;
    // The one that is asked, and the one that containerd goes on to: without a `server` it would dial the name.
    assert_eq!(ours["server"].as_str(), Some(&*agent), "{ours}");
    let hosts_of = |file: &toml::Table| file["host"].as_table().unwrap().clone();
    assert!(hosts_of(&ours).is_empty(), "{ours}");
    // A registry's own file has its upstream behind the agent.
    let hub = read(&hosts("docker.io")).await;
    assert_ne!(hub["server"].as_str(), Some(&*agent), "{hub}");
    assert!(hosts_of(&hub).contains_key(&agent), "{hub}");

    // Who kills it opens no other way.
    drop(daemon);
    assert_eq!(read(&hosts("registry.example.com")).await, ours);
}
