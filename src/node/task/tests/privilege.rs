//! A port that every user of the node may bind, by the kernel's word of the moment (design S7).

use super::*;

/// A port of the kernel's choice is never a privileged one: what the machine says decides.
const UNALLOWED: &str = r#"
[[tier]]
name = "core"
url = "https://core.example.com"
project = "proxy-{registry_dashed}"
in_file = true
[[registry]]
name = "quay.io"
direct = false
[node]
manage = true
"#;
const YAML: &str = "mirrors:\n  docker.io:\n    endpoint: [\"https://mirror.example.com\"]\n";

fn says(root: &TempDir, first: u32) {
    let file = root
        .path()
        .join("proc/sys/net/ipv4/ip_unprivileged_port_start");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, format!("{first}\n")).unwrap();
}

fn node(first: u32) -> TempDir {
    let root = tempdir().unwrap();
    fs::create_dir_all(root.path().join(CERTS_D)).unwrap();
    fs::create_dir_all(root.path().join("etc/rancher/k3s")).unwrap();
    fs::write(root.path().join("etc/rancher/k3s/registries.yaml"), YAML).unwrap();
    says(&root, first);
    root
}

#[tokio::test]
async fn the_agent_leaves_every_file_within_five_seconds_of_the_kernels_change() {
    let daemon = Daemon::start_in(node(65536), UNALLOWED).await;
    let yaml = daemon.root.path().join("etc/rancher/k3s/registries.yaml");
    let closed = daemon.root.path().join(CERTS_D).join("quay.io/hosts.toml");
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    daemon.names(&["agent", CORE]).await;
    daemon
        .until("in every file", || {
            [&yaml, &closed].map(|path| read(path).contains("127.0.0.1")) == [true; 2]
        })
        .await;
    let server = |text: &str| text.contains("server = \"http://127.0.0.1:0\"");
    assert!(!server(&read(&closed)));
    assert_eq!(daemon.count(EventName::PortUnprivileged), 0);

    for (round, first) in [1024, 0].into_iter().enumerate() {
        let changed = Instant::now();
        says(&daemon.root, first);
        daemon.names(&[CORE]).await;
        daemon
            .until("out of every file", || {
                server(&read(&closed)) && read(&yaml) == YAML
            })
            .await;
        let taken = changed.elapsed();
        assert!(taken <= Duration::from_secs(5), "{taken:?}");
        daemon
            .until("said", || {
                daemon.count(EventName::PortUnprivileged) == round + 1
            })
            .await;
        let status = daemon.status.borrow().clone();
        assert_eq!(status.state, FilesState::Degraded, "{status:?}");
        assert!(
            status.reason.contains("every user of this node"),
            "{status:?}"
        );
        assert!(
            status.reason.contains(&format!("is {first})")),
            "{status:?}"
        );
        // Back as soon as the port is a privileged one, without a restart.
        says(&daemon.root, 65536);
        daemon.names(&["agent", CORE]).await;
        daemon
            .until("current", || {
                daemon.status.borrow().state == FilesState::Current && read(&yaml) != YAML
            })
            .await;
    }
    daemon.end();
}

#[tokio::test]
async fn it_never_comes_in_behind_such_a_port_until_that_is_allowed() {
    let daemon = Daemon::start_in(node(1024), UNALLOWED).await;
    daemon.names(&[CORE]).await;
    let said = || daemon.count(EventName::PortUnprivileged) == 1;
    daemon.until("said", said).await;
    // Said once, whatever else happens.
    for statuses in [&[EJECTED][..], &[EndpointStatus::Healthy]] {
        daemon.publish(statuses);
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(daemon.count(EventName::PortUnprivileged), 1);
    let allowed = format!("{UNALLOWED}allow_unprivileged_port = true\n");
    daemon.config.send_replace(config(&allowed));
    daemon.names(&["agent", CORE]).await;
    daemon
        .until("current", || {
            daemon.status.borrow().state == FilesState::Current
        })
        .await;
    assert_eq!(daemon.count(EventName::PortUnprivileged), 1);
    daemon.end();
}
