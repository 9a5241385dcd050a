//! The unit runs the daemon as root without any capability (design S3): what belongs to others it reports and leaves, and
//! `apply` and `restore` run by root itself do it.

use super::BEFORE;
use std::fs::{self, File, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::{TempDir, tempdir};

const PROGRAM: &str = env!("CARGO_BIN_EXE_harbor-pilot");
/// Nobody's here.
const STRANGER: u32 = 54_321;
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A stock containerd's directory and a daemon without capabilities.
struct Node {
    daemon: Child,
    root: TempDir,
}

impl Node {
    fn start(prepare: impl FnOnce(&Path)) -> Self {
        let root = tempdir().unwrap();
        let certs_d = root.path().join("certs.d");
        let directory = certs_d.join("docker.io");
        fs::create_dir_all(&directory).unwrap();
        let hosts = directory.join("hosts.toml");
        fs::write(&hosts, BEFORE).unwrap();
        chown(&hosts, Some(STRANGER), Some(STRANGER)).unwrap();
        prepare(&directory);
        // Held both at once, so that they differ.
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [listen, admin] = ports.map(|port| port.local_addr().unwrap());
        let text = format!(
            "[server]\nlisten = [\"{listen}\"]\nadmin = \"{admin}\"\n\
             [[tier]]\nname = \"near\"\nkind = \"mirror\"\nurl = \"http://127.0.0.1:9\"\nregistries = [\"docker.io\"]\n\
             [node]\nmanage = true\nallow_unprivileged_port = true\nruntime = \"containerd\"\ncerts_d = {certs_d:?}\n[state]\ndirectory = {:?}\n",
            root.path().join("state")
        );
        fs::write(root.path().join("config.toml"), text).unwrap();
        let log = File::create(root.path().join("log")).unwrap();
        let daemon = Command::new("setpriv")
            .args([
                "--bounding-set=-all",
                "--inh-caps=-all",
                "--ambient-caps=-all",
                "--no-new-privs",
                PROGRAM,
                "run",
                "--config",
            ])
            .arg(root.path().join("config.toml"))
            .env_remove("JOURNAL_STREAM")
            .env_remove("NOTIFY_SOCKET")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { daemon, root }
    }

    fn hosts(&self) -> PathBuf {
        self.root.path().join("certs.d/docker.io/hosts.toml")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.hosts()).unwrap()
    }

    fn owner_and_mode(&self) -> (u32, u32) {
        let metadata = fs::metadata(self.hosts()).unwrap();
        (metadata.uid(), metadata.mode() & 0o7777)
    }

    /// The daemon's log, once it says so.
    fn says(&self, words: &[&str]) -> String {
        let since = Instant::now();
        loop {
            let log = fs::read_to_string(self.root.path().join("log")).unwrap();
            if words.iter().all(|word| log.contains(word)) {
                return log;
            }
            assert!(since.elapsed() < PATIENCE, "{words:?} are not in\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A command by root with everything that root may.
    fn command(&self, name: &str) -> String {
        let mut command = Command::new(PROGRAM);
        let config = self.root.path().join("config.toml");
        let output = command
            .arg(name)
            .arg("--config")
            .arg(config)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(output.status.success(), "{name}: {text}");
        text
    }

    fn is_without_capabilities(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.daemon.id())).unwrap();
        let none = |name: &str| status.contains(&format!("{name}:\t0000000000000000"));
        ["CapPrm", "CapEff", "CapBnd"].into_iter().all(none) && status.contains("Uid:\t0\t0")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.daemon.kill());
        drop(self.daemon.wait());
    }
}

#[test]
fn a_file_of_somebody_else_is_left_to_apply_and_restore() {
    let node = Node::start(|_| {});
    node.says(&[
        "files_not_writable",
        "belongs to uid 54321",
        "harbor-pilot apply",
    ]);
    assert!(node.is_without_capabilities());
    assert_eq!(
        (node.text().as_str(), node.owner_and_mode()),
        (BEFORE, (STRANGER, 0o644))
    );
    // The others are written: one file's trouble is not theirs.
    node.says(&["hosts_rewritten"]);
    let ghcr = node.root.path().join("certs.d/ghcr.io/hosts.toml");
    assert!(
        fs::read_to_string(ghcr)
            .unwrap()
            .contains("# harbor-pilot: agent")
    );
    let beside = fs::read_dir(node.hosts().parent().unwrap())
        .unwrap()
        .count();
    assert_eq!(beside, 1, "nothing is left beside it");

    node.command("apply");
    let ours = node.text();
    assert!(ours.contains("# harbor-pilot: agent"), "{ours}");
    assert_eq!(node.owner_and_mode(), (STRANGER, 0o644));
    // The daemon finds it as it should be and says nothing more.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(node.text(), ours);
    let log = node.says(&[]);
    assert_eq!(log.matches("files_not_writable").count(), 1, "{log}");
    node.command("restore");
    assert_eq!(
        (node.text().as_str(), node.owner_and_mode()),
        (BEFORE, (STRANGER, 0o644))
    );
}

#[test]
fn a_directory_of_somebody_else_is_left_as_well() {
    let node = Node::start(|directory| chown(directory, Some(STRANGER), Some(STRANGER)).unwrap());
    node.says(&[
        "files_not_writable",
        "docker.io/hosts.toml cannot be written",
    ]);
    assert_eq!(node.text(), BEFORE);
    node.command("apply");
    assert!(node.text().contains("# harbor-pilot: agent"));
    assert_eq!(node.owner_and_mode(), (STRANGER, 0o644));
    node.command("restore");
    assert_eq!(node.text(), BEFORE);
}

#[test]
fn a_file_that_only_somebody_else_may_read_is_left_as_well() {
    let node = Node::start(|directory| {
        let hosts = directory.join("hosts.toml");
        fs::set_permissions(hosts, Permissions::from_mode(0o600)).unwrap();
    });
    node.says(&["docker.io/hosts.toml is left as it is", "Permission denied"]);
    assert_eq!(
        (node.text().as_str(), node.owner_and_mode()),
        (BEFORE, (STRANGER, 0o600))
    );
    node.command("apply");
    assert!(node.text().contains("# harbor-pilot: agent"));
    assert_eq!(node.owner_and_mode(), (STRANGER, 0o600));
    node.command("restore");
    assert_eq!(
        (node.text().as_str(), node.owner_and_mode()),
        (BEFORE, (STRANGER, 0o600))
    );
}
